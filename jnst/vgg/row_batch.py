"""3×3 convolution with the rows of the image as a batch: the form that a TPU's compiler needs the fewest copies for.

A batch of one image fills a TPU badly; its compiler therefore cuts the columns into eight groups, adds the
neighbours that each group lacks, and undoes all that before anything but a convolution. With its rows as the batch, and
each row beside those above and below it as channels, an image is a batch large enough: three columns wide, three times
as many channels, the same products.
"""

from typing import Any

import jax.numpy as jnp
from jax import lax

from jnst.array_types import FeatureMap


def convolve_rows(x: FeatureMap, kernel: Any, padding: int, precision: lax.Precision) -> FeatureMap:
    """3×3 convolution with stride one and zero padding, in the dtype of `x`.

    Args:
        x: height × width × inputs.
        kernel: 3 × 3 × inputs × outputs, of the same dtype.
        padding: zeros on all four sides.
        precision: of the products.
    """
    x = jnp.pad(x, ((padding, padding), (0, 0), (0, 0)))
    height = x.shape[0] - 2
    rows = jnp.concatenate([x[first : first + height] for first in range(3)], axis=-1)
    return lax.conv_general_dilated(
        rows,
        kernel.transpose(1, 0, 2, 3).reshape(3, -1, kernel.shape[3]),
        window_strides=(1,),
        padding=((padding, padding),),
        dimension_numbers=("NWC", "WIO", "NWC"),
        precision=precision,
    )
