"""3×3 convolution as a matrix product: the form in which bfloat16 reaches a CPU's matrix units.

XLA on CPU widens a bfloat16 convolution to float32 and gains nothing; its matrix products do use the hardware.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from jnst.array_types import FeatureMap

# Of a map, taken at once: measured on CPU. Smaller strips keep fewer cores busy, larger ones leave the caches.
_STRIP_PIXELS = 2**15


def products_pay(inputs: int, outputs: int) -> bool:
    """Whether this form is worth its while on a CPU; with fewer channels, copies cost more than products save."""
    low, high = sorted((inputs, outputs))
    return low >= 48 and high >= 64


def convolve_by_products(x: FeatureMap, kernel: Any, padding: int = 1) -> FeatureMap:
    """3×3 convolution with zero padding and stride one; sums in float32, the result in the dtype of `x`.

    One product over three neighbouring columns at once gives what each row of pixels adds to the row above it, to its
    own and to the one below. Nine times the map in memory (all taps at once), a product for each row of the kernel, or
    nine sums over the result (one tap at a time) are slower. A large map is taken some rows at a time, so that the
    three results for each pixel stay near the processor and take little memory; not for rows on several devices.

    Args:
        x: height × width × inputs.
        kernel: 3 × 3 × inputs × outputs, of the same dtype.
        padding: zeros on all four sides.
    """
    height, width, inputs = x.shape[0] + 2 * padding - 2, x.shape[1] + 2 * padding - 2, x.shape[2]
    count = -(-height * width // _STRIP_PIXELS)
    rows = -(-height // count)
    x = jnp.pad(x, ((padding, padding + rows * count - height), (padding, padding), (0, 0)))
    taps = kernel.transpose(1, 2, 0, 3).reshape(3 * inputs, -1)

    # y[i, j] = Σᵣ Σ_c x[i + r, j + c] K[r, c]: the product sums over c, and the rows r are added afterwards.
    def strip(x: FeatureMap) -> FeatureMap:
        columns = jnp.concatenate([x[:, i : i + width] for i in range(3)], axis=-1)
        parts = jnp.dot(
            columns.reshape((rows + 2) * width, 3 * inputs),
            taps,
            precision=lax.Precision.DEFAULT,
            preferred_element_type=jnp.float32,
        ).reshape(rows + 2, width, 3, -1)
        return sum((parts[i : i + rows, :, i] for i in range(3)), jnp.float32(0)).astype(x.dtype)

    def add(index: jax.Array, y: FeatureMap) -> FeatureMap:
        part = strip(lax.dynamic_slice_in_dim(x, index * rows, rows + 2))
        return lax.dynamic_update_slice_in_dim(y, part, index * rows, 0)

    if count == 1:
        return strip(x)
    return lax.fori_loop(0, count, add, jnp.zeros((rows * count, width, kernel.shape[-1]), x.dtype))[:height]
