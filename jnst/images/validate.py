"""Whether an array is a picture: the one check of every array that is given as a picture (`jnst.images.inputs`)."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from jnst.errors import ImageError
from jnst.images.numpy_array import to_array

# Resampling kernels overshoot [0, 1] a little. The weights of Lanczos, the worst, add up to 1.56 without their signs,
# so that along both sides together it reaches 0.71 below and above. What goes from -1 to 1, as other programs have it,
# or holds 255 or NaN is something else.
LOWEST, HIGHEST = -0.75, 1.75


def is_floating(dtype: Any) -> bool:
    """Whether numbers of that type are floating point, bfloat16 and the other small formats included."""
    return jnp.issubdtype(dtype, np.floating)


def validate_image(image: Any, kind: str) -> None:
    """Raises ImageError unless the array is a picture: height × width × 3, RGB, of a type and range that have colours.

    Values are looked at where they are known: not while JAX traces a function.

    Args:
        image: uint8, uint16, or floating point in [0, 1].
        kind: what the picture is to the caller, such as "content".
    """
    traced = isinstance(image, Tracer)
    array: Any = image if traced else to_array(image, f"the {kind} image")
    if array.ndim != 3 or array.shape[2] != 3 or 0 in array.shape:
        raise ImageError(
            f"the {kind} image has shape {tuple(array.shape)}; expected height × width × 3, RGB{_advice(array)}"
        )
    if array.dtype in (np.uint8, np.uint16):
        return
    if not is_floating(array.dtype):
        raise ImageError(f"the {kind} image holds {array.dtype}; expected uint8, uint16 or floating point in [0, 1]")
    if traced:
        return
    low, high = float(array.min()), float(array.max())
    if not (low >= LOWEST and high <= HIGHEST):  # false for NaN as well
        raise ImageError(
            f"the {kind} image holds numbers from {low:g} to {high:g}; expected [0, 1] in floating point, or uint8"
            f"{'; (image + 1) / 2 brings [-1, 1] there' if low >= -1.01 and high <= 1.01 else ''}"
        )


def _advice(array: Any) -> str:
    """What to do about a shape that is seen often."""
    if array.ndim == 2 or (array.ndim == 3 and array.shape[2] == 1):
        return "; a grey picture becomes RGB by repeating its channel, np.stack([grey, grey, grey], axis=-1)"
    if array.ndim == 3 and array.shape[2] == 4:
        return "; leave out the fourth channel: rgba[..., :3]"
    if array.ndim == 3 and array.shape[0] == 3:
        return "; move the channels to the end: image.transpose(1, 2, 0)"
    if array.ndim == 4:
        return "; for several images call stylize_batch, or jax.vmap inside JAX"
    return ""
