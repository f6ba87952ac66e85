"""From an opened picture to arrays: RGB in sRGB, and alpha. Grey, palettes, CMYK, depth and profiles are settled here.

Pictures are converted some rows at a time. Beside Pillow's own copy of four bytes a pixel there is only the result.
"""

import ctypes
import functools
import os
import sys
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, ImageFile

from jnst.config import ColorProfile
from jnst.errors import ImageError
from jnst.images.opening import open_picture
from jnst.images.profiles import Converter, make_converter

Pixels: TypeAlias = npt.NDArray[np.uint8 | np.uint16]
Decoded: TypeAlias = tuple[Pixels, Pixels | None, tuple[str, ...]]

_COLOUR_MODES = ("RGB", "L", "CMYK", "YCbCr")
_BAND = 1 << 20  # pixels that are converted at a time


def decode_samples(
    path: str | os.PathLike[str], image: Image.Image, data: bytes, color_profile: ColorProfile = "apply"
) -> Decoded:
    """Pixels (height × width × 3), alpha (height × width, or None), and notes for the user.

    uint8, or uint16 where the file holds more than 8 bits.

    Args:
        path: for messages.
        image: as opened from `data`, or any image of Pillow's whose samples are in memory.
        data: the file's bytes; empty where there is no file.
        color_profile: whether the image's profile is applied.

    Raises:
        ImageError: for samples of a kind that is not supported.
        Exception: whatever a decoder raises.
    """
    if data and ";16" in _raw_modes(image):
        return _decode_deep(path, image, data, color_profile)
    if data:
        _refuse_planar(path, image)
    if data and image.format == "WEBP" and getattr(image, "n_frames", 1) == 1 and webp_library() is not None:
        values = _decode_webp(image, data)
        return decode_bytes(path, image, lambda rows: Image.fromarray(values[rows]), color_profile)
    load_samples(image)
    if image.mode in ("I", "I;16", "I;16B", "I;16L", "I;16N"):
        return _decode_grey16(path, image, color_profile)
    return decode_bytes(path, image, lambda rows: _crop(image, rows), color_profile)


def load_samples(image: Image.Image) -> None:
    """Decodes the image; where damaged files may be read (`jnst.images.damaged`), as far as it goes."""
    try:
        image.load()
    except OSError:
        if not ImageFile.LOAD_TRUNCATED_IMAGES or getattr(image, "tile", None):
            raise


def bands(image: Image.Image) -> Iterator[slice]:
    """The picture's rows, some at a time."""
    height = max(1, _BAND // image.width)
    for top in range(0, image.height, height):
        yield slice(top, min(top + height, image.height))


def _crop(image: Image.Image, rows: slice) -> Image.Image:
    return image.crop((0, rows.start, image.width, rows.stop))


def decode_bytes(
    path: str | os.PathLike[str],
    image: Image.Image,
    take: Callable[[slice], Image.Image],
    color_profile: ColorProfile,
) -> Decoded:
    """8 bits; `take` gives some rows of the picture."""
    transparent = image.has_transparency_data
    mode = _split(take(slice(0, 1)), transparent)[0].mode
    if mode not in _COLOUR_MODES:
        known = "grey, RGB, palette and CMYK of 8 or 16 bits"
        raise ImageError(f"{path} holds pixels of kind {mode!r}, which is not supported; supported are {known}")
    convert, notes = make_converter(mode, image.info.get("icc_profile"), color_profile)
    pixels = np.empty((image.height, image.width, 3), np.uint8)
    alpha = np.empty((image.height, image.width), np.uint8) if transparent else None
    for rows in bands(image):
        colour, opacity = _split(take(rows), transparent)
        pixels[rows] = np.asarray(colour.convert("RGB") if convert is None else convert(colour))
        if alpha is not None and opacity is not None:
            alpha[rows] = np.asarray(opacity)
    return pixels, alpha, notes


def _split(image: Image.Image, transparent: bool) -> tuple[Image.Image, Image.Image | None]:
    """Colour, as grey, RGB or what else it is, and opacity."""
    if transparent:
        seen = image.convert("RGBA")
        colour = image.getchannel("L") if image.mode == "LA" else seen.convert("RGB")
        return colour, seen.getchannel("A")
    if image.mode in ("1", "P", "RGBX"):
        return image.convert("L" if image.mode == "1" else "RGB"), None
    return image, None


def _decode_grey16(path: str | os.PathLike[str], image: Image.Image, color_profile: ColorProfile) -> Decoded:
    tags = getattr(image, "tag_v2", {})
    inverted = tags.get(ExifTags.Base.PhotometricInterpretation) == 0  # Pillow turns only 8 bits round
    key = image.info.get("transparency")
    pixels = np.empty((image.height, image.width, 3), np.uint16)
    alpha = np.empty(pixels.shape[:2], np.uint16) if isinstance(key, int) else None
    for rows in bands(image):
        values = np.asarray(_crop(image, rows))
        if values.min() < 0 or values.max() > 65_535:
            raise ImageError(f"{path} holds grey levels from {values.min()} to {values.max()}; expected 0 to 65535")
        pixels[rows] = (65_535 - values if inverted else values)[..., None]
        if alpha is not None:
            alpha[rows] = np.where(values == key, 0, 65_535)
    return _convert_deep(pixels, alpha, *make_converter("L", image.info.get("icc_profile"), color_profile), grey=True)


def _raw_modes(image: Any) -> str:
    """How the file's samples are packed, in Pillow's words, such as 'RGB;16B'; empty for grey and for most formats."""
    if image.mode not in ("RGB", "RGBA"):
        return ""
    modes = {tile.args if isinstance(tile.args, str) else str((tile.args or ("",))[0]) for tile in image.tile}
    return modes.pop() if len(modes) == 1 else ""


def _refuse_planar(path: str | os.PathLike[str], image: Image.Image) -> None:
    depth = getattr(image, "tag_v2", {}).get(ExifTags.Base.BitsPerSample, (8,))
    if image.mode in ("RGB", "RGBA") and max(depth) > 8:
        raise ImageError(f"{path} stores {max(depth)}-bit colour in separate planes, which is not supported")


def _decode_deep(path: str | os.PathLike[str], image: Image.Image, data: bytes, color_profile: ColorProfile) -> Decoded:
    """16-bit colour. Pillow keeps one byte of two, and the byte order it is told decides which: so ask it twice."""
    raw = _raw_modes(image)
    pixels = np.zeros((image.height, image.width, 3), np.uint16)
    alpha = np.zeros(pixels.shape[:2], np.uint16) if raw[:2] == "LA" or raw[:4] == "RGBA" else None

    def add(mode: str, scale: int, take: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]) -> None:
        with open_picture(data) as half:
            half.tile = [
                tile._replace(args=mode if isinstance(tile.args, str) else (mode, *(tile.args or ("",))[1:]))
                for tile in half.tile
            ]
            load_samples(half)
            for rows in bands(half):
                colour, opacity = take(np.asarray(_crop(half, rows)).astype(np.uint16) * np.uint16(scale))
                pixels[rows] += colour
                if alpha is not None:
                    alpha[rows] += opacity

    if raw == "LA;16B":
        # Four bytes a pixel, taken as they are.
        add("RGBA", 256, lambda values: (values[..., 0:1], values[..., 2]))
        add("RGBA", 1, lambda values: (values[..., 1:2], values[..., 3]))
    elif raw[:-1] in ("RGB;16", "RGBA;16", "RGBX;16"):
        order = raw[-1] if raw[-1] in "BL" else ("L" if sys.byteorder == "little" else "B")
        opposite = raw[:-1] + ("L" if order == "B" else "B")
        for mode, scale in ((raw, 256), (opposite, 1)):
            add(mode, scale, lambda values: (values[..., :3], values[..., -1]))
    else:
        raise ImageError(f"{path} stores 16-bit colour as {raw!r}, which is not supported; save it with plain alpha")
    transparent = image.info.get("transparency")
    if isinstance(transparent, tuple):
        alpha = np.where((pixels == np.array(transparent, np.uint16)).all(axis=2), 0, 65_535).astype(np.uint16)
    # A picture of grey and alpha has a profile for grey, though Pillow opens it as RGB.
    grey = raw[:2] == "LA"
    converter = make_converter("L" if grey else "RGB", image.info.get("icc_profile"), color_profile)
    return _convert_deep(pixels, alpha, *converter, grey=grey)


def _convert_deep(
    pixels: Pixels, alpha: Pixels | None, convert: Converter | None, notes: tuple[str, ...], *, grey: bool
) -> Decoded:
    """16 bits to sRGB; where a profile changes something, at 8 bits, which is what Pillow's transforms take."""
    if convert is None:
        return pixels, alpha, notes
    converted = np.empty(pixels.shape, np.uint8)
    height = max(1, _BAND // pixels.shape[1])
    for top in range(0, pixels.shape[0], height):
        band = (pixels[top : top + height] >> 8).astype(np.uint8)
        converted[top : top + height] = np.asarray(convert(Image.fromarray(band[..., 0] if grey else band)))
    return converted, None if alpha is None else (alpha >> 8).astype(np.uint8), ("converted to sRGB at 8 bits",)


@functools.cache
def webp_library() -> ctypes.CDLL | None:
    """The library behind Pillow's WebP, where it can be called: Pillow itself decodes stills as animations, which
    takes eighteen bytes a pixel."""
    try:
        from PIL import _webp

        library = ctypes.CDLL(_webp.__file__)
        for name in ("WebPDecodeRGBInto", "WebPDecodeRGBAInto"):
            function = getattr(library, name)
            function.restype = ctypes.c_void_p
            function.argtypes = [ctypes.c_char_p, ctypes.c_size_t, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    except (ImportError, OSError, AttributeError):
        return None
    return library


def _decode_webp(image: Image.Image, data: bytes) -> npt.NDArray[np.uint8]:
    channels = 4 if image.mode == "RGBA" else 3
    out = np.zeros((image.height, image.width, channels), np.uint8)
    decode = getattr(webp_library(), "WebPDecodeRGBAInto" if channels == 4 else "WebPDecodeRGBInto")
    if not decode(data, len(data), out.ctypes.data, out.nbytes, image.width * channels):
        raise ValueError("its data cannot be decoded")
    return out
