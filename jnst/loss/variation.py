"""The total variation term: differences between neighbouring pixels, on the optimised variable's own pixel scale."""

from jnst.array_types import Image, Scalar
from jnst.loss.distances import total_variation
from jnst.loss.term import Context, Term


def _variation(image: Image, _: None, context: Context) -> Scalar:
    """L_tv = Σ |x[i + 1, j] − x[i, j]|ᵖ + Σ |x[i, j + 1] − x[i, j]|ᵖ, with p = 1 or 2."""
    loss, size = context.config.loss, None if context.extent is None else context.extent.size
    circular = context.config.network.padding == "circular"
    return total_variation(image, norm=loss.tv_norm, reduction=loss.tv_reduction, size=size, circular=circular)


VARIATION = Term("total_variation", "tv_weight", "image", _variation)
