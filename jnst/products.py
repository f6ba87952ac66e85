"""3×3 convolution as three matrix products: the form in which bfloat16 reaches a CPU's matrix units.

XLA on CPU widens a bfloat16 convolution to float32 and gains nothing; its matrix products do use the hardware.
"""

from typing import Any

import jax
import jax.numpy as jnp

from jnst.arrays import FeatureMap


def convolve_by_products(x: FeatureMap, kernel: Any) -> FeatureMap:
    """3×3 convolution with zero padding one and stride one; sums in float32, the result in the dtype of `x`.

    One product per row of the kernel, over three neighbouring columns at once: nine times the map in memory (all taps
    at once) or nine passes over the result (one tap at a time) are slower.

    Args:
        x: height × width × inputs.
        kernel: 3 × 3 × inputs × outputs, of the same dtype.
    """
    height, width, inputs = x.shape
    x = jnp.pad(x, ((1, 1), (1, 1), (0, 0)))
    columns = jnp.concatenate([x[:, i : i + width] for i in range(3)], axis=-1)
    total = jnp.float32(0)
    for row in range(3):
        taps = columns[row : row + height].reshape(height * width, 3 * inputs)
        total += jnp.dot(
            taps,
            kernel[row].reshape(3 * inputs, -1),
            precision=jax.lax.Precision.DEFAULT,
            preferred_element_type=jnp.float32,
        )
    return jnp.asarray(total).reshape(height, width, -1).astype(x.dtype)
