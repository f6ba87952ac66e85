"""NumPy's array of whatever is given as one, without JAX: pictures are decoded in processes that do not need it."""

from typing import Any

import numpy as np

from jnst.errors import MASKED, ImageError


def to_array(value: Any, name: str) -> np.ndarray:
    """NumPy's array of a value that others have made: whatever goes wrong in that is said of the value.

    Raises:
        ImageError: it cannot be had (of PyTorch: on another device, or with a gradient), or is a masked array.
    """
    if isinstance(value, np.ma.MaskedArray):
        raise ImageError(f"{name} {MASKED}")
    try:
        return np.asarray(value)
    except Exception as error:
        raise ImageError(f"{name} is no array ({str(error).partition(chr(10))[0]})") from error
