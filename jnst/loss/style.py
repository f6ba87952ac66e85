"""The style term: Gram matrices of the image against those of the style images."""

import jax.numpy as jnp

from jnst.arrays import Gram, Scalar
from jnst.loss.distances import style_loss
from jnst.loss.term import Context, Term


def _style(ours: dict[str, Gram], theirs: dict[str, Gram], context: Context) -> Scalar:
    """L_style = Σ_l w_l · s_l · |G^l − A^l|² (Gatys et al. 2015, eq. 4 and 5), s_l the normalisation."""
    loss, total = context.config.loss, jnp.float32(0.0)
    for layer, weight in loss.style_layers:
        distance = style_loss(ours[layer], theirs[layer], reduction=loss.style_reduction)
        total += weight * context.scale[layer] * distance
    return total


STYLE = Term("style", "style_weight", "grams", _style, layers="style_layers")
