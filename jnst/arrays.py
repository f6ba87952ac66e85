"""The words for arrays. Images are RGB, height × width × 3, floating point in [0, 1] unless a name says otherwise."""

from collections.abc import Mapping
from typing import TypeAlias

import jax
from jaxtyping import Array, Float

Scalar: TypeAlias = Float[Array, ""]
Image: TypeAlias = Float[Array, "height width 3"]
# The size of a style image, and of a feature map, is its own: it need not be that of the image beside it.
StyleImage: TypeAlias = Float[Array, "_height _width 3"]
FeatureMap: TypeAlias = Float[Array, "_height _width _channels"]
Gram: TypeAlias = Float[Array, "channels channels"]
Features: TypeAlias = Mapping[str, FeatureMap]
Params: TypeAlias = Mapping[str, Mapping[str, jax.Array]]
# The unweighted terms of the loss by name, each a scalar (or one value per step where terms are stacked).
LossTerms: TypeAlias = Mapping[str, jax.Array]
# One factor per term. Arrays, so that a sweep over weights is a batch axis and never a recompilation.
LossWeights: TypeAlias = Mapping[str, float | jax.Array]
