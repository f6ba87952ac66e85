"""Where the true image lies in a padded array or a tile, and what lies around it."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jnst.array_types import FeatureMap, Image
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
    rows = jnp.arange(x.shape[0], dtype=jnp.int32) + top
    columns = jnp.arange(x.shape[1], dtype=jnp.int32) + left
    return ((rows >= 0) & (rows < height))[:, None, None] & ((columns >= 0) & (columns < width))[None, :, None]


def border(x: Image, extent: Extent, padding: FirstPadding) -> Image:
    """The image with what the first convolution sees around the true one: zeros, or its border pixels once more."""
    if padding == "zero":
        return jnp.where(inside(x, extent), x, 0)
    for axis, (start, length) in enumerate(zip(*extent, strict=True)):
        position = jnp.expand_dims(jnp.arange(x.shape[axis], dtype=jnp.int32) + start, (1 - axis, 2))
        # Selections and sums, not an indexed copy: the gradient is then the same from run to run on every device.
        first, last = (
            jnp.where(position == place, x, 0).sum(axis, keepdims=True) for place in (jnp.int32(0), length - 1)
        )
        x = jnp.where(position == -1, first, jnp.where(position == length, last, x))
    return x


def beyond_the_border(x: Image, kernel: jax.Array) -> FeatureMap:
    """What a 3×3 convolution adds where it sees border pixels once more beyond the array, instead of zeros.

    For rows divided among devices, which stay divided so; an array with one row more on either side would not.

    Args:
        x: height × width × channels.
        kernel: 3 × 3 × channels × outputs.

    Returns:
        height × width × outputs; zero but for the outermost pixels.
    """

    def slide(line: jax.Array, taps: jax.Array) -> jax.Array:
        """A line with one pixel more at both ends, under three taps."""
        first, second, third = (
            jnp.matmul(line[tap : tap + line.shape[0] - 2], taps[tap], precision=lax.Precision.HIGHEST)
            for tap in range(3)
        )
        return first + second + third

    height, width = x.shape[:2]
    top, bottom = (slide(jnp.pad(x[index], ((1, 1), (0, 0)), mode="edge"), kernel[index]) for index in (0, -1))
    left, right = (slide(jnp.pad(x[:, index], ((1, 1), (0, 0))), kernel[:, index]) for index in (0, -1))
    rows = _place(top, 0, 0, height) + _place(bottom, 0, height - 1, height)
    return rows + _place(left, 1, 0, width) + _place(right, 1, width - 1, width)


def _place(line: jax.Array, axis: int, index: int, length: int) -> jax.Array:
    """Zeros but for one row (axis 0) or column (axis 1). Selected, so that it can be divided among devices."""
    position = jnp.expand_dims(jnp.arange(length, dtype=jnp.int32), (1 - axis, 2))
    return jnp.where(position == index, jnp.expand_dims(line, axis), 0)
