"""Masks: which part of a picture is meant, as numbers from 0 to 1, height × width."""

from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageColor, ImageOps

from jnst.errors import ConfigError, ImageError, quote
from jnst.images.numpy_array import to_array
from jnst.images.reading import Picture
from jnst.images.resizing import resize, to_unit

Mask = npt.NDArray[np.float32]

# A pixel belongs to a colour of a map where no channel is further away: JPEG moves colours by less than this, and the
# colours of such maps lie further apart.
_TOLERANCE = 32 / 255
# A grey picture may hold some coloured pixels, as JPEG makes them.
_COLOURED_SHARE = 0.01
_SHOWN_COLORS = 6


def parse_color(color: str) -> tuple[int, int, int]:
    """Red, green and blue, 0 to 255, of a colour's name or #rrggbb.

    >>> parse_color("#ff8000"), parse_color("navy")
    ((255, 128, 0), (0, 0, 128))

    Raises:
        ConfigError: it is no colour.
    """
    try:
        red, green, blue = ImageColor.getrgb(color)[:3]
    except (ValueError, AttributeError, TypeError) as error:
        raise ConfigError(f"{quote(color)} is no colour; expected a name such as red, or #rrggbb") from error
    return red, green, blue


def as_mask(mask: Any, kind: str) -> Mask:
    """A mask from an array: height × width, or × 1 or × 3 where all channels are the same; bool, bytes or [0, 1].

    Args:
        mask: the array, Pillow's image, or what `read_image` returned; white (1, 255, True) is what is meant.
        kind: what it is to the caller, such as "mask of region 2".

    Raises:
        ImageError: of another shape or type, coloured, or with numbers outside [0, 1].
    """
    if isinstance(mask, Picture):
        return picture_mask(mask, kind)
    if isinstance(mask, Image.Image):
        mask = _as_shown(mask, kind)
    given = array = to_array(mask, f"the {kind}")
    if array.dtype == bool:
        array = array.astype(np.float32)
    if array.dtype in (np.uint8, np.uint16) and array.size and array.max() == 1:
        raise ImageError(
            f"the {kind} holds {array.dtype} and nothing above 1, where white is {np.iinfo(array.dtype).max}; give it "
            "as bool, or multiplied"
        )
    if array.ndim == 3 and array.shape[2] == 3 and array.size:
        array = _grey(to_unit(array), kind)
    elif array.ndim == 3 and array.shape[2] == 1:
        array = array[..., 0]
    if array.ndim != 2 or array.size == 0:
        raise ImageError(f"the {kind} has shape {given.shape}; expected height × width, white where it holds")
    unit = to_unit(array)
    if not (float(unit.min()) >= 0 and float(unit.max()) <= 1):  # false for NaN as well
        raise ImageError(
            f"the {kind} holds numbers from {float(unit.min()):g} to {float(unit.max()):g}; expected [0, 1] in "
            "floating point, or uint8"
        )
    return unit


def _as_shown(image: Image.Image, kind: str) -> Image.Image:
    """Pillow's image turned as its file says, with colours in the place of a palette's numbers."""
    try:
        image = ImageOps.exif_transpose(image)
        return image.convert("RGB") if image.mode in ("P", "YCbCr", "HSV", "LAB") else image
    except Exception as error:  # damaged files and odd modes raise what they like
        raise ImageError(f"the {kind} cannot be read: {error}") from error


def _grey(unit: npt.NDArray[np.float32], kind: str) -> Mask:
    spread = unit.max(2) - unit.min(2)
    if float((spread > _TOLERANCE).mean()) > _COLOURED_SHARE:
        raise ImageError(
            f"the {kind} has colours ({', '.join(main_colors(unit))}), and so is no plain mask; name the colour of the "
            "region, MAP.png:#rrggbb on the command line and jnst.color_mask in Python, or make it grey"
        )
    return unit.mean(2)


def color_mask(picture: Any, color: str) -> Mask:
    """One region of a map on which each region has a colour of its own.

    A pixel belongs to the region where none of its channels is more than 32 levels of 255 away.

    Args:
        picture: height × width × 3, RGB; uint8, uint16, or floating point in [0, 1].
        color: a name, such as red, or #rrggbb.

    Returns:
        Height × width, float32, 1 in the region and 0 elsewhere.

    Raises:
        ConfigError: it is no colour, or no pixel has it; the message names the colours that there are.
        ImageError: the picture is not height × width × 3.

    >>> color_mask(np.array([[[255, 0, 0], [0, 0, 250]]], np.uint8), "blue").tolist()
    [[0.0, 1.0]]
    """
    wanted, unit = np.array(parse_color(color), np.float32) / 255, to_unit(picture)
    if unit.ndim != 3 or unit.shape[2] != 3:
        raise ImageError(f"the map has shape {unit.shape}; expected height × width × 3, RGB")
    mask = (np.abs(unit - wanted).max(2) <= _TOLERANCE).astype(np.float32)
    if not mask.any():
        raise ConfigError(
            f"the map has no pixel of colour {quote(color)}; its colours are {', '.join(main_colors(unit))}"
        )
    return mask


def main_colors(unit: npt.NDArray[np.float32]) -> list[str]:
    """The commonest colours of a picture in [0, 1], as #rrggbb; most of the picture is near one of them."""
    levels = np.rint(np.clip(unit, 0, 1).reshape(-1, 3) * 255).astype(np.uint8)
    colors, counts = np.unique(levels, axis=0, return_counts=True)
    found: list[Any] = []
    for color in colors[np.argsort(-counts)][:1000].astype(int):
        if all(np.abs(color - other).max() > 255 * _TOLERANCE for other in found):
            found.append(color)
        if len(found) == _SHOWN_COLORS:
            break
    return ["#" + "".join(f"{channel:02x}" for channel in color) for color in found]


def picture_mask(picture: Picture, kind: str, color: str | None = None) -> Mask:
    """A mask from a picture as read: its grey, or one of its colours; what is transparent does not belong to it."""
    mask = as_mask(picture.pixels, kind) if color is None else color_mask(picture.pixels, color)
    return mask if picture.alpha is None else mask * to_unit(picture.alpha)


def same_aspect(mask: tuple[int, ...], picture: tuple[int, ...]) -> bool:
    """Whether one is the other resized, give or take a pixel of rounding.

    >>> same_aspect((100, 133), (300, 400)), same_aspect((100, 120), (300, 400))
    (True, False)
    """
    (rows, columns), (height, width) = mask[:2], picture[:2]
    return abs(columns - rows * width / height) <= 1 or abs(rows - columns * height / width) <= 1


def fit_mask(mask: Mask, size: tuple[int, int]) -> Mask:
    """The mask at height × width, averaged where it shrinks."""
    if mask.shape == size:
        return mask
    return np.clip(resize(mask, *size, "pillow-bilinear"), 0, 1).astype(np.float32)
