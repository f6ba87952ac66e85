"""Where the true image lies in a padded array or a tile, and what lies around it."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jnst.arrays import FeatureMap, Image
from jnst.config import FirstPadding


class Extent(NamedTuple):
    """Where the true image lies when the array at hand is a padded image or a tile of a larger one.

    `origin` is the row and column of the array's first pixel in the true image (negative inside a border, a multiple
    of 16, of 32 for pool5), `size` the true height and width. Both may be traced. Pixels outside the true image are
    ignored, and activations there are set to zero after every convolution and pool, which is what zero padding at the
    true border means.
    """

    origin: tuple[Any, Any]
    size: tuple[Any, Any]


def inside(x: FeatureMap, extent: Extent) -> jax.Array:
    """True where the array holds the true image: height × width × 1."""
    (top, left), (height, width) = extent
    rows = jnp.arange(x.shape[0]) + top
    columns = jnp.arange(x.shape[1]) + left
    return ((rows >= 0) & (rows < height))[:, None, None] & ((columns >= 0) & (columns < width))[None, :, None]


def border(x: Image, extent: Extent, padding: FirstPadding) -> Image:
    """The image with what the first convolution sees around the true one: zeros, or its border pixels once more."""
    if padding == "zero":
        return jnp.where(inside(x, extent), x, 0)
    for axis, (start, length) in enumerate(zip(*extent, strict=True)):
        position = jnp.expand_dims(jnp.arange(x.shape[axis]) + start, (1 - axis, 2))
        # Shifts and selections, not an indexed copy: the gradient is then the same from run to run on every device.
        before, after = jnp.roll(x, -1, axis), jnp.roll(x, 1, axis)
        x = jnp.where(position == -1, before, jnp.where(position == length, after, x))
    return x
