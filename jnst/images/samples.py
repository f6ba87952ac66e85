"""From an opened picture to arrays: RGB in sRGB, and alpha. Grey, palettes, CMYK, depth and profiles are settled here.

Pictures are converted some rows at a time. Beside Pillow's own copy of four bytes a pixel there is only the result.
"""

import os
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, ImageFile

from jnst.config import ColorProfile
from jnst.errors import ImageError, quote
from jnst.images.avif import decode_avif
from jnst.images.jpeg_scan import ScanWatch
from jnst.images.profiles import make_converter
from jnst.images.sample_collector import Decoded as Decoded
from jnst.images.sample_collector import Pixels as Pixels
from jnst.images.samples_16bit import bands, crop, decode_deep, is_deep, load_samples
from jnst.images.webp import decode_webp

_COLOUR_MODES = ("RGB", "L", "CMYK", "YCbCr")
_SAMPLE_FORMAT = 339
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
    if is_deep(image):
        return decode_deep(path, image, data, color_profile)
    scale_hidden_grey(image)
    if data and isinstance(image, ImageFile.ImageFile):
        _refuse_odd_tiff(path, image)
        values = _decode_directly(image, data)
    else:
        values = None
    if values is not None:
        return decode_bytes(path, image, lambda rows: Image.fromarray(values[rows]), color_profile)
    watch = None
    if data and isinstance(image, ImageFile.ImageFile) and image.format in ("JPEG", "MPO"):
        watch = None if ImageFile.LOAD_TRUNCATED_IMAGES else ScanWatch(image, data)
    load_samples(image)
    pixels, alpha, notes = decode_bytes(path, image, lambda rows: crop(image, rows), color_profile)
    return pixels, alpha, notes if watch is None else (*watch.notes(), *notes)


def scale_hidden_grey(image: Image.Image) -> None:
    """Brings the grey that a PNG file of 2 or 4 bits calls transparent to 8 bits: Pillow brings the samples alone.

    To be called before the samples are loaded: then it is forgotten how many bits there were.
    """
    known, raw = image.info.get("transparency"), next((tile[3] for tile in getattr(image, "tile", ())), None)
    if image.format == "PNG" and isinstance(known, int) and raw in ("L;2", "L;4"):
        image.info["transparency"] = known * (85 if raw == "L;2" else 17)


def _decode_directly(image: ImageFile.ImageFile, data: bytes) -> npt.NDArray[np.uint8] | None:
    """RGB or RGBA of formats that Pillow needs many times the picture's memory for; None where it has to be used."""
    if image.format == "WEBP":
        return decode_webp(image, data)
    if image.format == "AVIF" and image.mode in ("RGB", "RGBA"):
        return decode_avif(data, image.width, image.height, alpha=image.mode == "RGBA")
    return None


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
        raise ImageError(f"{path} holds pixels of kind {quote(mode)}, which is not supported; supported are {known}")
    convert, notes = make_converter(mode, image.info.get("icc_profile"), color_profile)
    pixels = np.empty((image.height, image.width, 3), np.uint8)
    alpha = np.empty((image.height, image.width), np.uint8) if transparent else None
    for rows in bands(image, _BAND):
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


def _refuse_odd_tiff(path: str | os.PathLike[str], image: Image.Image) -> None:
    """What Pillow would read as something else."""
    tags = getattr(image, "tag_v2", {})
    depth = tags.get(ExifTags.Base.BitsPerSample, (8,))
    if 2 in tags.get(_SAMPLE_FORMAT, ()):  # signed numbers; those of 16 bits are checked as grey levels
        raise ImageError(
            f"{path} stores signed numbers of {max(depth)} bits, which is not supported; save unsigned ones"
        )
    if image.mode in ("RGB", "RGBA") and max(depth) > 8:
        raise ImageError(f"{path} stores {max(depth)}-bit colour in separate planes, which is not supported")
