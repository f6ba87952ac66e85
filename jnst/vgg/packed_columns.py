"""3×3 convolution of narrow layers, several columns at once: the form that fills a CPU's vector registers.

With 3 or 16 channels a pixel has too few numbers for XLA's fast convolutions on CPU. Two to eight neighbouring columns
of the result are therefore taken as channels of one: the kernel slides over windows as much wider, with zeros where a
column looks past its own three, and with a stride of as many columns. Pixels lie in memory as before, and zeros do not
round, so the result does not depend on a pixel's place.
"""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax

from jnst.array_types import FeatureMap


def columns_at_once(inputs: int, outputs: int) -> int:
    """How many columns are fastest on a CPU for that many channels; one where the plain convolution is."""
    if inputs > 16:
        return 1
    wanted = 64 if inputs == 3 else 32
    return 2 ** min(3, max(0, (wanted // outputs).bit_length() - 1))


def pack_kernel(kernel: np.ndarray, columns: int) -> np.ndarray:
    """3 × 3 × inputs × outputs to 3 × (columns + 2) × inputs × (columns · outputs)."""
    _, _, inputs, outputs = kernel.shape
    packed = np.zeros((3, columns + 2, inputs, columns, outputs), kernel.dtype)
    for column in range(columns):
        packed[:, column : column + 3, :, column] = kernel
    return packed.reshape(3, columns + 2, inputs, columns * outputs)


def convolve_columns(x: FeatureMap, kernel: Any, padding: int) -> FeatureMap:
    """3×3 convolution with stride one and zero padding, in float32.

    Args:
        x: height × width × inputs.
        kernel: from `pack_kernel`.
        padding: zeros on all four sides.
    """
    columns = kernel.shape[1] - 2
    width = x.shape[1] + 2 * padding - 2
    groups = -(-width // columns)
    y = lax.conv_general_dilated(
        x[None],
        kernel,
        window_strides=(1, columns),
        padding=((padding, padding), (padding, padding + columns * groups - width)),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        precision=lax.Precision.HIGHEST,
    )[0]
    return jnp.reshape(y, (y.shape[0], columns * groups, -1))[:, :width]
