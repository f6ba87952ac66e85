"""From whole numbers to the bytes of a file: PNG, JPEG, WebP, AVIF, declared as sRGB, with text inside."""

import io
from typing import Any

import numpy as np
from PIL import ExifTags, Image, features
from PIL.PngImagePlugin import PngInfo

from jnst.errors import ImageError
from jnst.images.png16 import encode_png16
from jnst.images.profiles import srgb_profile
from jnst.images.samples import Pixels

SUFFIXES = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".webp": "WEBP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".avif": "AVIF",
}
# A side above that cannot be written, or, in AVIF, not be read again by libavif's own limit.
LONGEST_SIDE = {"JPEG": 65_500, "WEBP": 16_383, "AVIF": 32_768}
# A JPEG segment ends at 65,535 bytes; Pillow refuses to read PNG texts above a mebibyte.
LONGEST_TEXT = {"PNG": 1_000_000, "JPEG": 60_000, "WEBP": 60_000, "AVIF": 1_000_000}


def check_encoder(form: str) -> None:
    """Raises ImageError where what writes the format is not installed; says what to install."""
    if form == "AVIF" and not features.check("avif"):
        raise ImageError("AVIF needs Pillow 11.3 or later: pip install -U pillow, or choose .webp")


def encode(form: str, pixels: Pixels, text: str, quality: int) -> bytes:
    """The bytes of a file.

    Args:
        form: one of the formats of `SUFFIXES` but TIFF (`jnst.images.tiff`).
        pixels: height × width × 3, or 4 with alpha; uint8, or uint16 for PNG.
        text: to be found again by `jnst.images.writing.read_metadata`; empty for none.
        quality: 1 to 100, of JPEG, WebP and AVIF; WebP is lossless at 100.
    """
    if pixels.dtype == np.uint16:
        return encode_png16(pixels, profile=srgb_profile(), text={"jnst": text} if text else None)
    image = Image.fromarray(pixels)
    options: dict[str, Any] = {}
    if form == "PNG":
        info = PngInfo()
        if text:
            info.add_itxt("jnst", text, zip=True)
        options = {"pnginfo": info}
    else:
        if form == "JPEG":
            if image.mode == "RGBA":
                white = Image.new("RGBA", image.size, "white")
                image = Image.alpha_composite(white, image).convert("RGB")
            # Not optimize=True: Pillow then needs a buffer for the whole file, and guesses it too small for noise.
            options = {"quality": quality, "subsampling": 0}
        elif form == "AVIF":
            options = {"quality": quality, "subsampling": "4:4:4"}
        else:
            options = {"quality": quality, "lossless": quality >= 100, "exact": True}
        if text:
            exif = Image.Exif()
            exif[ExifTags.IFD.Exif] = {ExifTags.Base.UserComment: b"ASCII\0\0\0" + text.encode("ascii")}
            options["exif"] = exif
    buffer = io.BytesIO()
    image.save(buffer, form, icc_profile=srgb_profile(), **options)
    return buffer.getvalue()
