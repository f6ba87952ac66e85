"""Bringing pictures to working size: the resampling kernels of the published programs, and their rounding of sizes.

Runs on the host in NumPy. Images are height × width × channels (or height × width); sizes are pixels, (height, width).

| kernel | equals | arithmetic |
| --- | --- | --- |
| opencv-cubic | cv2.resize, INTER_CUBIC | a = −0.75, no antialiasing |
| tensorflow-bilinear | tf.image.resize, bilinear | float32, no antialiasing; the result is float32 whatever comes in |
| pillow-bilinear, -bicubic, -lanczos | PIL.Image.resize | antialiased; width, then height, each rounded to bytes |
| nearest | PIL.Image.resize, NEAREST | picks pixels |

Whole numbers stay what they are (uint8 → uint8, uint16 → uint16), rounded and saturated as the original does. Floating
point becomes float32 and is not clipped: cubic and Lanczos kernels overshoot at edges.
"""

from collections.abc import Callable
from typing import NamedTuple, TypeAlias, get_args

import numpy as np
import numpy.typing as npt

from jnst.config import ResizeKernel
from jnst.errors import ImageError, describe_unknown
from jnst.images.numpy_array import to_array

Array: TypeAlias = npt.NDArray[np.generic]
_ROWS_AT_ONCE = 16


class Taps(NamedTuple):
    """Which input positions make an output position: `first` (outputs), `weights` (outputs × taps)."""

    first: npt.NDArray[np.int64]
    weights: npt.NDArray[np.float64]


# Rec. 601, of R, G and B.
LUMINANCE = np.array([0.299, 0.587, 0.114], np.float32)


def to_unit(image: npt.ArrayLike) -> npt.NDArray[np.float32]:
    """The picture as float32 in [0, 1]: whole numbers divided by the largest of their type, floats as they are.

    >>> to_unit(np.array([0, 51, 255], np.uint8)).tolist()
    [0.0, 0.20000000298023224, 1.0]
    """
    array = to_array(image, "picture")
    if array.dtype in (np.uint8, np.uint16):
        return array.astype(np.float32) / np.float32(np.iinfo(array.dtype).max)
    if not np.issubdtype(array.dtype, np.floating) and array.dtype.name != "bfloat16":
        raise ImageError(f"picture holds {array.dtype}; expected uint8, uint16 or floating point in [0, 1]")
    return array.astype(np.float32)


def resize(image: npt.ArrayLike, height: int, width: int, kernel: ResizeKernel) -> Array:
    """The picture at height × width pixels; what comes out of each kernel is in this file's head.

    On x86 OpenCV hands cubic resizing of bytes to Intel's IPP, which computes exactly and rounds once; so do we, and
    agree with it in all but about one value in 100,000, which then differs by one level. OpenCV without IPP uses 11-bit
    coefficients, and is one level away in about four values of a hundred.

    >>> resize(np.array([[0.0, 1.0]]), 1, 4, "tensorflow-bilinear").tolist()
    [[0.0, 0.25, 0.75, 1.0]]

    Raises:
        ImageError: for a kernel that does not exist, an empty picture, or a size below one pixel.
    """
    array = np.asarray(image)
    if kernel not in get_args(ResizeKernel):
        raise ImageError(describe_unknown("resize kernel", kernel, get_args(ResizeKernel)))
    if array.ndim not in (2, 3) or array.size == 0:
        raise ImageError(f"picture has shape {array.shape}; expected height × width or height × width × channels")
    if height < 1 or width < 1:
        raise ImageError(f"size {height} × {width} is impossible; expected one pixel or more each way")
    if kernel == "nearest":
        if array.dtype not in (np.uint8, np.uint16):
            array = to_unit(array)
        return array[_nearest(array.shape[0], height)][:, _nearest(array.shape[1], width)]
    if kernel == "tensorflow-bilinear":
        # tf.image.convert_image_dtype multiplies by the reciprocal, which is not always the same as dividing.
        is_bytes = array.dtype == np.uint8
        return _lerp(array * np.float32(1 / 255) if is_bytes else to_unit(array), height, width)
    dtype = array.dtype if array.dtype in (np.uint8, np.uint16) else np.dtype(np.float32)
    values = array if array.dtype == dtype else to_unit(array)
    if kernel == "opencv-cubic":
        rows = _apply(values, _opencv_taps(array.shape[0], height), axis=0)
        return _quantize(_apply(rows, _opencv_taps(array.shape[1], width), axis=1), dtype)
    # Pillow resizes the width first, stores that at the picture's own depth, and skips a side that does not change.
    # (Since version 13 it begins with the height where that loses much more; the published programs are older.)
    for axis, length in ((1, width), (0, height)):
        if array.shape[axis] != length:
            values = _apply(values, _pillow_taps(array.shape[axis], length, kernel, dtype), axis=axis)
            if dtype == np.uint8:
                values = np.floor(values + 0.5, out=values)  # Pillow rounds its 8-bit sums half up
            values = _quantize(values, dtype)
    return values.copy() if values is array else values


def _quantize(values: npt.NDArray[np.floating], dtype: np.dtype) -> Array:
    if dtype == np.float32:
        return values.astype(np.float32)
    np.rint(values, out=values)
    return np.clip(values, 0, np.iinfo(dtype).max, out=values).astype(dtype)


def _nearest(length: int, new_length: int) -> npt.NDArray[np.int64]:
    # A running sum, because Pillow adds step to step: the rounding errors decide ties.
    step = length / new_length
    steps = np.full(new_length, step)
    steps[0] = step / 2
    return np.minimum(np.cumsum(steps).astype(np.int64), length - 1)


def _lerp(image: npt.NDArray[np.float32], height: int, width: int) -> npt.NDArray[np.float32]:
    """TensorFlow's order of operations, all in float32, so that the result is the same to the last bit."""
    for axis, length in ((1, width), (0, height)):
        scale = np.float32(image.shape[axis]) / np.float32(length)
        position = (np.arange(length, dtype=np.float32) + np.float32(0.5)) * scale - np.float32(0.5)
        lower = np.floor(position)
        fraction = (position - lower).reshape([-1 if i == axis else 1 for i in range(image.ndim)])
        before = np.take(image, np.maximum(lower, 0).astype(np.int64), axis)
        after = np.take(image, np.minimum(np.ceil(position), image.shape[axis] - 1).astype(np.int64), axis)
        image = (before + (after - before) * fraction).astype(np.float32)
    return image


def _opencv_taps(length: int, new_length: int) -> Taps:
    """Keys's cubic with a = −0.75 at half-pixel positions, always four taps; beyond the border the border pixel."""
    position = (np.arange(new_length) + 0.5) * (length / new_length) - 0.5
    base = np.floor(position).astype(np.int64)
    offsets = np.arange(-1, 3)
    weights = _cubic(offsets - (position - base)[:, None], -0.75)
    # Fold the taps outside onto the border pixel they repeat.
    first = np.clip(base - 1, 0, max(length - 4, 0))
    folded = np.zeros((new_length, 4))
    columns = np.clip(base[:, None] + offsets, 0, length - 1) - first[:, None]
    np.add.at(folded, (np.arange(new_length)[:, None], columns), weights)
    return Taps(first, folded[:, : min(4, length)])


def _pillow_taps(length: int, new_length: int, kernel: ResizeKernel, dtype: np.dtype) -> Taps:
    """A kernel stretched by the reduction, cut at the border and normalised; for bytes at 22 bits after the point."""
    function, radius = _PILLOW_KERNELS[kernel]
    scale = length / new_length
    stretch = max(scale, 1.0)
    centre = (np.arange(new_length) + 0.5) * scale
    first = np.maximum((centre - radius * stretch + 0.5).astype(np.int64), 0)
    last = np.minimum((centre + radius * stretch + 0.5).astype(np.int64), length)
    taps = int((last - first).max())
    positions = first[:, None] + np.arange(taps)
    weights = function((positions - centre[:, None] + 0.5) / stretch)
    weights = np.where(positions < last[:, None], weights, 0.0)
    weights /= weights.sum(axis=1, keepdims=True)
    if dtype == np.uint8:
        weights = np.trunc(weights * 2**22 + np.copysign(0.5, weights)) / 2**22
    # Windows that would reach past the end are moved back, so that every row of the table has the same width.
    shifted = np.minimum(first, length - taps)
    moved = np.zeros_like(weights)
    columns = np.arange(taps) + (first - shifted)[:, None]
    inside = columns < taps
    moved[np.nonzero(inside)[0], columns[inside]] = weights[inside]
    return Taps(shifted, moved)


def _apply(image: Array, taps: Taps, *, axis: int) -> npt.NDArray[np.float64]:
    """Weighted sums along an axis, as dense products of a few output rows with the input rows that they need.

    In float64, where sums of bytes times 22-bit coefficients are exact in any order.
    """
    rows = np.ascontiguousarray(np.swapaxes(image, 0, axis))
    flat = rows.reshape(rows.shape[0], -1)
    count, width = taps.weights.shape
    result = np.empty((count, flat.shape[1]))
    for start in range(0, count, _ROWS_AT_ONCE):
        stop = min(start + _ROWS_AT_ONCE, count)
        low, high = int(taps.first[start]), int(taps.first[stop - 1]) + width
        matrix = np.zeros((stop - start, high - low))
        columns = taps.first[start:stop, None] - low + np.arange(width)
        matrix[np.arange(stop - start)[:, None], columns] = taps.weights[start:stop]
        result[start:stop] = matrix @ flat[low:high].astype(np.float64)
    return np.swapaxes(result.reshape(count, *rows.shape[1:]), 0, axis)


def _cubic(x: npt.NDArray[np.float64], a: float) -> npt.NDArray[np.float64]:
    """Keys 1981: (a+2)|x|³ − (a+3)|x|² + 1 up to 1, a|x|³ − 5a|x|² + 8a|x| − 4a up to 2."""
    x = np.abs(x)
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = a * (((x - 5) * x + 8) * x - 4)
    return np.where(x < 1, near, np.where(x < 2, far, 0.0))


def _lanczos(x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.where(np.abs(x) < 3, np.sinc(x) * np.sinc(x / 3), 0.0)


_PILLOW_KERNELS: dict[str, tuple[Callable[[npt.NDArray[np.float64]], npt.NDArray[np.float64]], float]] = {
    "pillow-bilinear": (lambda x: np.maximum(1 - np.abs(x), 0), 1.0),
    "pillow-bicubic": (lambda x: _cubic(x, -0.5), 2.0),
    "pillow-lanczos": (_lanczos, 3.0),
}
