"""The words for arrays. Images are RGB, height × width × 3, floating point in [0, 1] unless a name says otherwise."""

from collections.abc import Mapping
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float

from jnst.devices import check_platform
from jnst.errors import MASKED, ArrayError, JnstError

Scalar: TypeAlias = Float[Array, ""]
Image: TypeAlias = Float[Array, "height width 3"]
# The size of a style image, and of a feature map, is its own: it need not be that of the image beside it.
StyleImage: TypeAlias = Float[Array, "_height _width 3"]
FeatureMap: TypeAlias = Float[Array, "_height _width _channels"]
Gram: TypeAlias = Float[Array, "channels channels"]
Moment: TypeAlias = Float[Array, "..."]
"""Sums or means over a layer's positions: of f fᵀ, a Gram matrix, or of f, one number for each channel."""
Features: TypeAlias = Mapping[str, FeatureMap]
Params: TypeAlias = Mapping[str, Mapping[str, jax.Array]]
LossTerms: TypeAlias = Mapping[str, jax.Array]
"""The unweighted terms of the loss by name, each a scalar (or one value per step where terms are stacked)."""
LossWeights: TypeAlias = Mapping[str, float | jax.Array]
"""One factor per term. Arrays, so that a sweep over weights is a batch axis and never a recompilation."""


def to_jax(value: Any, kind: str, axes: str, error: type[JnstError] = ArrayError) -> jax.Array:
    """JAX's array of a value that others have made: whatever goes wrong in that is said of the value, as an `error`."""
    if isinstance(value, np.ma.MaskedArray):
        raise error(f"{kind} {MASKED}")
    check_platform()
    try:
        array = jnp.asarray(value)
        if not isinstance(array, Tracer) and array.is_deleted():
            raise error(f"{kind} has been deleted: a function took over its memory; give a copy to whoever does")
    except JnstError:
        raise
    except (TypeError, ValueError, OverflowError) as reason:
        raise error(f"{kind} is {type(value).__name__}; expected an array, {axes}") from reason
    except Exception as reason:
        if isinstance(reason, jax.errors.JaxRuntimeError):  # no memory, say
            raise
        said = str(reason).partition("\n")[0]
        raise error(f"{kind} is {type(value).__name__}, of which no array can be had ({said})") from reason
    return array


def check_array(kind: str, value: Any, *, axes: str = "height × width × channels") -> jax.Array:
    """The value as an array of floating point numbers with those axes.

    Args:
        kind: what it is to the caller, for the message.
        value: of JAX or NumPy.
        axes: as the message names them, with × between; their number is the rank.

    Raises:
        ArrayError: for another rank or type. Functions take one image or map, and `jax.vmap` makes many of one.
    """
    array = to_jax(value, kind, axes)
    rank = axes.count("×") + 1
    if array.ndim != rank:
        advice = "; for several use jax.vmap" if array.ndim == rank + 1 else ""
        raise ArrayError(f"{kind} has shape {tuple(array.shape)}; expected {axes}{advice}")
    if 0 in array.shape:
        raise ArrayError(f"{kind} has shape {tuple(array.shape)}; expected {axes}, and one or more of each")
    if not jnp.issubdtype(array.dtype, jnp.floating):
        raise ArrayError(f"{kind} holds {array.dtype}; expected floating point numbers")
    return array
