"""The edge term: how far the edges of a picture lie from where the photo has them, whatever their colours and contrast.

Luminance, averaged over blocks of 2×2 and of 4×4 pixels, is compared by its differences between neighbours. The idea of
a loss on the derivatives of the pooled image is that of Li et al. 2017 ("Laplacian-Steered Neural Style Transfer",
arXiv 1707.01253); a correlation in place of a squared distance leaves contrast to the style.
"""

from typing import Any

import jax
import jax.numpy as jnp

from jnst.arrays import Image, Scalar
from jnst.vgg.pooling import average_pool

# Of RGB, as in ITU-R BT.709.
LUMINANCE = (0.2126, 0.7152, 0.0722)
# Differences of a hundredth of the photo's count as none.
FLAT = 1e-4


def outline(image: Image) -> jax.Array:
    """Luminance of an RGB image, averaged over 2×2 pixels: height / 2 × width / 2 × 1, rounded down."""
    return average_pool(jnp.sum(image * jnp.array(LUMINANCE, jnp.float32)[None, None], axis=-1, keepdims=True), "floor")


def edge_loss(drawn: jax.Array, wanted: jax.Array, size: tuple[Any, Any]) -> Scalar:
    """One minus the correlation of the differences between neighbours, mean of both block sizes.

    Zero for the photo itself and for the photo in other colours that grow with its luminance, one where the edges have
    nothing in common, up to two for a negative. A size at which there are no two blocks, or no edges, counts as one.

    Args:
        drawn: from `outline`.
        wanted: the photo's.
        size: true height and width of the image in pixels, where it is padded.
    """
    total = jnp.float32(0.0)
    for factor in (2, 4):
        if factor == 4:
            drawn, wanted = average_pool(drawn, "floor"), average_pool(wanted, "floor")
        height, width = size[0] // factor, size[1] // factor
        energy, common, reference = jnp.float32(0.0), jnp.float32(0.0), jnp.float32(0.0)
        for axis in (0, 1):
            ours, theirs = (_differences(blocks, axis, (height, width)) for blocks in (drawn, wanted))
            energy += jnp.sum(jnp.square(ours))
            common += jnp.sum(ours * theirs)
            reference += jnp.sum(jnp.square(theirs))
        norm = jnp.sqrt(jnp.where(reference > 0, (energy + FLAT * reference) * reference, 1))
        total += 1 - common / norm
    return total / 2


def _differences(blocks: jax.Array, axis: int, size: tuple[Any, Any]) -> jax.Array:
    """From each block to the next along an axis, zero where either lies outside the true image."""
    if axis == 0:
        found, first = blocks[1:] - blocks[:-1], (1, 0)
    else:
        found, first = blocks[:, 1:] - blocks[:, :-1], (0, 1)
    rows, columns = (
        jnp.arange(count, dtype=jnp.int32) + start for count, start in zip(found.shape[:2], first, strict=True)
    )
    return jnp.where((rows < size[0])[:, None, None] & (columns < size[1])[None, :, None], found, 0)
