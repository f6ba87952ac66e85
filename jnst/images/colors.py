"""Whose colours: a picture brought to the colours of another one, or to its luminance (Gatys et al. 2017, section 5).

Runs on the host in NumPy; pictures are height × width × 3, RGB, and sums are in float64.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from jnst.errors import ImageError
from jnst.images.numpy_array import to_array
from jnst.images.resizing import LUMINANCE, to_unit
from jnst.images.validate import validate_image

Picture = npt.NDArray[np.float32]
Moments = tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]

# Variances below are those of rounding to 8 bits.
_LEAST_VARIANCE = 1e-6
_ROWS_AT_ONCE = 256


def match_colors(
    picture: npt.ArrayLike, like: npt.ArrayLike, *, weights: Any = None, like_weights: Any = None
) -> Picture:
    """The picture with the mean and the covariance of the colours of another one.

    The linear map x ↦ A(x − μ) + μ' with A = Σ'^½ Σ^−½ and symmetric roots (Gatys et al. 2017, arXiv 1611.07865,
    section 5.1). Directions in which the picture's own colours do not vary, as in a grey one, stay without variance.

    Args:
        picture: height × width × 3, RGB; uint8, uint16 or floating point in [0, 1]; such as a style image.
        like: the same, of any size; such as the content image.
        weights: of the picture's pixels, height × width; all alike by default.
        like_weights: of the pixels of `like`.

    Returns:
        float32, of the picture's shape. Not clipped: colours may lie outside [0, 1].

    Raises:
        ImageError: one of the two is no picture, or its weights do not fit it.

    >>> grey = np.array([[[0.25] * 3, [0.75] * 3]])
    >>> match_colors(grey, 0.5 * grey).round(3).tolist()
    [[[0.125, 0.125, 0.125], [0.375, 0.375, 0.375]]]
    """
    for image, share, kind in ((picture, weights, "first"), (like, like_weights, "second")):
        validate_image(image, kind)
        _check_weights(share, np.shape(image)[:2], kind)
    unit = to_unit(picture)
    mean, covariance = color_moments(unit, weights)
    wanted_mean, wanted = color_moments(like, like_weights)
    matrix = _power(wanted, 0.5) @ _power(covariance, -0.5)
    return ((unit - mean.astype(np.float32)) @ matrix.T.astype(np.float32) + wanted_mean).astype(np.float32)


def _check_weights(weights: Any, shape: tuple[int, ...], kind: str) -> None:
    """Raises ImageError unless there are none, or one for each pixel: zero or more, and not all of them zero."""
    if weights is None:
        return
    array = to_array(weights, f"the weights of the {kind} image")
    if array.shape != shape or array.dtype.kind not in "biuf":
        raise ImageError(
            f"the weights of the {kind} image have shape {array.shape} and hold {array.dtype}; expected numbers, "
            f"{shape[0]} × {shape[1]} like its pixels"
        )
    if not (array.min() >= 0 and 0 < array.sum(dtype=np.float64) < np.inf):  # false for NaN as well
        raise ImageError(f"the weights of the {kind} image must be zero or more, and one of them above zero")


def color_moments(picture: npt.ArrayLike, weights: Any = None) -> Moments:
    """Mean colour (3) and covariance (3 × 3) over all pixels, weighted where weights (height × width) are given."""
    mean, total = np.zeros(3), 0.0
    for pixels, share in _bands(picture, weights):
        mean, total = mean + share @ pixels, total + share.sum()
    mean = mean / total
    covariance = np.zeros((3, 3))
    for pixels, share in _bands(picture, weights):
        centred = pixels - mean
        covariance += (centred * share[:, None]).T @ centred
    return mean, covariance / total


def _bands(picture: npt.ArrayLike, weights: Any) -> Iterator[tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]]:
    """Pixels × 3 and their weights, some rows at a time: a photo in float64 would take a gigabyte."""
    array = np.asarray(picture)
    for row in range(0, array.shape[0], _ROWS_AT_ONCE):
        pixels = to_unit(array[row : row + _ROWS_AT_ONCE]).reshape(-1, 3).astype(np.float64)
        share = None if weights is None else np.asarray(weights)[row : row + _ROWS_AT_ONCE].ravel()
        yield pixels, np.ones(len(pixels)) if share is None else share.astype(np.float64)


def _power(matrix: npt.NDArray[np.float64], power: float) -> npt.NDArray[np.float64]:
    """Symmetric power of a positive semi-definite matrix; directions without variance become zero."""
    values, vectors = np.linalg.eigh(matrix)
    usable = values > _LEAST_VARIANCE
    powers = np.where(usable, np.where(usable, values, 1.0) ** power, 0.0)
    return (vectors * powers) @ vectors.T


def to_grey(picture: npt.ArrayLike) -> Picture:
    """The luminance of a picture in all three channels, float32 in [0, 1]."""
    luminance = to_unit(picture) @ LUMINANCE
    return np.repeat(luminance[..., None], 3, axis=2)


def match_luminance(
    picture: npt.ArrayLike, like: npt.ArrayLike, *, weights: Any = None, like_weights: Any = None
) -> Picture:
    """The grey of a picture, with the mean and the standard deviation of the luminance of another one.

    Args:
        picture, like, weights, like_weights: as in `match_colors`.

    Returns:
        Three equal channels, float32, of the picture's shape; not clipped. Flat pictures get the mean alone.
    """
    grey = to_grey(picture)
    mean, covariance = color_moments(grey, weights)
    wanted_mean, wanted = color_moments(to_grey(like), like_weights)
    usable = covariance[0, 0] > _LEAST_VARIANCE
    factor = np.sqrt(wanted[0, 0] / covariance[0, 0]) if usable else 1.0
    return (np.float32(factor) * (grey - mean.astype(np.float32)) + wanted_mean).astype(np.float32)
