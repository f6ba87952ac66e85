"""The style term: Gram matrices, or covariance matrices and means, of the image against those of the style images."""

import jax.numpy as jnp

from jnst.array_types import Moment, Scalar
from jnst.loss.distances import covariance_matrix, reduce_squares, style_loss
from jnst.loss.guidance import mean_of
from jnst.loss.term import Context, Term


def _style(ours: dict[str, Moment], theirs: dict[str, Moment], context: Context) -> Scalar:
    """L_style = Σ_l w_l · s_l · |G^l − A^l|² (Gatys et al. 2015, eq. 4 and 5), s_l the normalisation.

    With the statistics "covariance" Σ_l w_l · (s_l · |C^l − D^l|² + t_l · |μ^l − ν^l|²): a Gram matrix is C + μ μᵀ, and
    as maps are positive after the ReLU, μ μᵀ makes most of it and hides how channels vary together.
    """
    loss, total = context.config.loss, jnp.float32(0.0)
    for layer, weight in loss.style_layers:
        if loss.style_statistics == "covariance":
            distance = _moments_distance(ours, theirs, layer, context)
        else:
            distance = context.scale[layer] * style_loss(ours[layer], theirs[layer], reduction=loss.style_reduction)
        total += weight * distance
    return total


def _moments_distance(ours: dict[str, Moment], theirs: dict[str, Moment], layer: str, context: Context) -> Scalar:
    """Of covariance matrices and of means, each with its own normalisation."""
    reduction, name = context.config.loss.style_reduction, mean_of(layer)
    one, other = (covariance_matrix(moments[layer], moments[name]) for moments in (ours, theirs))
    of_means = context.scale[name] * reduce_squares(ours[name] - theirs[name], reduction=reduction)
    return context.scale[layer] * style_loss(one, other, reduction=reduction) + of_means


STYLE = Term("style", "style_weight", "grams", _style, layers="style_layers")
