"""The content term: feature maps of the image against those of the content image."""

from typing import Any

import jax.numpy as jnp

from jnst.array_types import FeatureMap, Scalar
from jnst.loss.distances import content_loss
from jnst.loss.term import Context, Term


def _content(ours: dict[str, FeatureMap], theirs: dict[str, FeatureMap], context: Context) -> Scalar:
    """L_content = Σ_l w_l · s_l · |F^l − P^l|² (Gatys et al. 2015, eq. 1), s_l the normalisation."""
    loss, total = context.config.loss, jnp.float32(0.0)
    for layer, weight in loss.content_layers:
        pixels: Any = context.pixels(layer)
        distance = content_loss(ours[layer], theirs[layer], reduction=loss.content_reduction, pixels=pixels)
        total += weight * context.scale[layer] * distance
    return total


CONTENT = Term("content", "content_weight", "maps", _content, layers="content_layers")
