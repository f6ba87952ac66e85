"""Pictures with alpha: hidden pixels are replaced by what is visible around them, so that they colour nothing.

A pixel counts as much as it is visible. With opacity α in [0, 1] its colour c becomes α·c + (1 − α)·f, where f is
diffused from the visible pixels near by: means of premultiplied colours over ever larger squares (the pull), brought
back by bilinear interpolation (the push), as in Gortler et al. 1996, "The Lumigraph", section 3.4. What a file holds
under α = 0 is multiplied by zero before anything is computed from it.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from jnst.errors import ImageError
from jnst.images.resizing import resize, to_unit
from jnst.images.samples import Pixels

_BAND = 1 << 18  # pixels that are converted at a time
Levels = list[npt.NDArray[np.float32]]


def fill_hidden(pixels: Pixels, alpha: Pixels) -> Pixels:
    """The picture with what is hidden, wholly or in part, filled from what is visible around it.

    Besides the result and both arguments it needs six bytes a pixel.

    Args:
        pixels: height × width × 3, uint8 or uint16.
        alpha: height × width, of the same type; its largest number is opaque.

    Raises:
        ImageError: nothing is visible.

    >>> row = np.array([[[9, 9, 9], [200, 0, 0]]], np.uint8)
    >>> fill_hidden(row, np.array([[255, 0]], np.uint8)).tolist()
    [[[9, 9, 9], [9, 9, 9]]]
    """
    top = np.float32(np.iinfo(pixels.dtype).max)
    levels = _pull(pixels, alpha)
    if not levels[-1][0, 0, 3] > 0:
        raise ImageError("every pixel of it is transparent; expected a picture with something to see")
    fill, filled = _push(levels), np.empty_like(pixels)
    for rows in _bands(*alpha.shape):
        opacity = _unit(alpha[rows])
        if opacity.min() == 1:
            filled[rows] = pixels[rows]
            continue
        behind = _enlarge(fill, rows, pixels.shape[1])
        mixed = opacity * pixels[rows].astype(np.float32) + (1 - opacity) * behind
        filled[rows] = np.clip(np.rint(mixed), 0, top).astype(pixels.dtype)
    return filled


def lay_on_white(image: Any, alpha: npt.ArrayLike | None) -> Any:
    """The picture as viewers show it on a white page: RGB in [0, 1], or as it is where nothing is hidden.

    Args:
        image: height × width × 3, of any type that `to_unit` takes.
        alpha: height × width, likewise, or None where everything is opaque.
    """
    if alpha is None:
        return image
    opacity = to_unit(alpha)[..., None]
    return opacity * to_unit(image) + (1 - opacity)


def fit_alpha(alpha: npt.ArrayLike | None, height: int, width: int) -> npt.NDArray[np.float32] | None:
    """Opacity at another size: height × width, float32 in [0, 1]; None stays None."""
    if alpha is None:
        return None
    planes = np.repeat(to_unit(alpha)[..., None], 3, axis=2)
    return np.clip(resize(planes, height, width, "pillow-bilinear")[..., 0], 0, 1).astype(np.float32)


def _bands(height: int, width: int) -> Iterator[slice]:
    """Rows of a picture, an even number of them at a time."""
    step = 2 * max(1, _BAND // (2 * width))
    for start in range(0, height, step):
        yield slice(start, min(start + step, height))


def _unit(alpha: Pixels) -> npt.NDArray[np.float32]:
    return (alpha.astype(np.float32) / np.float32(np.iinfo(alpha.dtype).max))[..., None]


def _pull(pixels: Pixels, alpha: Pixels) -> Levels:
    """Means of α·c (three channels) and α over squares of 2, 4, 8 … pixels, to the one that holds the picture."""

    def weighed(rows: slice) -> npt.NDArray[np.float32]:
        opacity = _unit(alpha[rows])
        return np.concatenate([opacity * pixels[rows], opacity], axis=2)

    height, width = alpha.shape
    levels = [_halve(weighed, height, width)]
    while max(levels[-1].shape[:2]) > 1:
        finer = levels[-1]
        levels.append(_halve(finer.__getitem__, *finer.shape[:2]))
    return levels


def _halve(take: Callable[[slice], npt.NDArray[np.float32]], height: int, width: int) -> npt.NDArray[np.float32]:
    """Means over squares of 2 × 2; beyond the border there are zeros, which is opacity zero. `take` gives some rows."""
    result = np.empty(((height + 1) // 2, (width + 1) // 2, 4), np.float32)
    for rows in _bands(height, width):
        even = np.pad(take(rows), ((0, (rows.stop - rows.start) % 2), (0, width % 2), (0, 0)))
        squares = even[::2, ::2] + even[::2, 1::2] + even[1::2, ::2] + even[1::2, 1::2]
        result[rows.start // 2 : (rows.stop + 1) // 2] = squares / np.float32(4)
    return result


def _push(levels: Levels) -> npt.NDArray[np.float32]:
    """The fill at half the picture's size: at each level what is visible there, and the coarser level behind it.

    The levels are overwritten on the way.
    """
    coarsest = levels.pop()
    fill = coarsest[..., :3] / coarsest[..., 3:]
    while levels:
        level = levels.pop()
        height, width = level.shape[:2]
        for rows in _bands(height, width):
            level[rows, :, :3] += (1 - level[rows, :, 3:]) * _enlarge(fill, rows, width)
        fill = level[..., :3]
    return fill


def _enlarge(values: npt.NDArray[np.float32], rows: slice, width: int) -> npt.NDArray[np.float32]:
    """Some rows, and `width` columns, of the image of twice the size, by bilinear interpolation."""
    tall = _interpolate(values, np.arange(rows.start, rows.stop), axis=0)
    return _interpolate(tall, np.arange(width), axis=1)


def _interpolate(values: npt.NDArray[np.float32], places: npt.NDArray[np.int64], *, axis: int) -> npt.NDArray:
    """Three quarters of the pixel that a place of the doubled axis lies in, and a quarter of the nearer neighbour."""
    near = places // 2
    far = np.clip(near + np.where(places % 2, 1, -1), 0, values.shape[axis] - 1)
    return np.float32(0.75) * np.take(values, near, axis) + np.float32(0.25) * np.take(values, far, axis)
