"""Pictures into files, and what was embedded in them out again.

Inside jnst a picture is RGB in the sRGB colour space, upright, height × width × 3; a written file declares sRGB.
"""

import contextlib
import json
import os
import sys
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
import PIL.Image
from PIL import ExifTags

from jnst.argument_checks import check_count
from jnst.config import Rounding
from jnst.errors import ConfigError, ImageError, check_choice, describe_unknown
from jnst.files import check_path_given, check_writable_file, write_atomically
from jnst.images.encoding import check_encoder, encode
from jnst.images.formats import LONGEST_SIDE, LONGEST_TEXT, SUFFIXES
from jnst.images.inputs import as_picture
from jnst.images.numpy_array import to_array
from jnst.images.opening import decoding, open_picture, read_bytes
from jnst.images.profiles import srgb_profile
from jnst.images.reading import Picture
from jnst.images.samples import Pixels
from jnst.images.tiff import write_tiff

Bits = Literal[8, 16]


def read_metadata(path: str | os.PathLike[str]) -> dict[str, Any] | None:
    """What `write_image` embedded under `metadata`, or None if the file carries nothing of ours.

    Raises:
        ImageError: the file is missing or not a picture.
    """
    data = read_bytes(path)
    with decoding(path, data), open_picture(data) as image:
        if image.format == "PNG":
            text = image.info.get("jnst", "")
        elif image.format == "TIFF":
            text = image.getexif().get(ExifTags.Base.ImageDescription, "")
        else:
            comment = image.getexif().get_ifd(ExifTags.IFD.Exif).get(ExifTags.Base.UserComment, b"")
            text = comment[8:].decode("ascii", "replace") if isinstance(comment, bytes) else ""
    with contextlib.suppress(ValueError, TypeError, KeyError):
        found = json.loads(text)["jnst"]
        return found if isinstance(found, dict) else None
    return None


def write_image(
    path: str | os.PathLike[str],
    image: npt.ArrayLike | PIL.Image.Image | Picture,
    *,
    alpha: npt.ArrayLike | None = None,
    metadata: dict[str, Any] | None = None,
    rounding: Rounding = "round",
    quality: int = 95,
    overwrite: bool = False,
    bits: Bits = 8,
) -> None:
    """Writes a picture as PNG, JPEG, WebP, AVIF or TIFF by the path's suffix, atomically, declared as sRGB.

    JPEG has no alpha: there the picture is laid on white. WebP is lossless at quality 100. JPEG and AVIF keep colour
    at full resolution (4:4:4).

    Args:
        path: ends in .png, .jpg, .webp, .avif or .tif; the folder must exist.
        image: height × width × 3, floating point in [0, 1] (clipped) or already uint8 or uint16; or Pillow's image or
            what `read_image` returned, whose alpha is written too.
        alpha: height × width, likewise.
        metadata: JSON object to embed; `read_metadata` gives it back. Left out above 60,000 bytes in JPEG and
            WebP, a million in PNG and AVIF.
        rounding: "round" to the nearest level, or "truncate" to the one below.
        quality: of JPEG, WebP and AVIF, 1 to 100.
        overwrite: whether a file that is there may be replaced.
        bits: per channel; 16 in PNG and TIFF only.

    Raises:
        ConfigError: rounding, quality or bits that there are not, or metadata that is no JSON.
        ImageError: everything that `check_writable` finds, shapes that do not fit, NaN, or a disk that is full.
    """
    check_choice("rounding", rounding, get_args(Rounding))
    quality = check_count("quality", quality, 1)
    if quality > 100:
        raise ConfigError(f"quality is {quality}; expected a whole number from 1 to 100")
    if check_count("bits", bits, 8) not in (8, 16):
        raise ConfigError(f"bits is {bits}; expected 8 or 16 per channel")
    if isinstance(image, PIL.Image.Image | Picture):
        image, found, *_ = as_picture(image, "written")
        alpha = found if alpha is None else alpha
    array, opacity = to_array(image, "picture"), None if alpha is None else to_array(alpha, "alpha")
    if array.ndim != 3 or array.shape[2] != 3 or array.size == 0:
        raise ImageError(f"picture has shape {array.shape}; expected height × width × 3")
    height, width = array.shape[:2]
    if opacity is not None and opacity.shape != (height, width):
        raise ImageError(f"alpha has shape {opacity.shape}; expected {(height, width)} like the picture")

    def read_rows(rows: slice) -> Pixels:
        pixels = quantize(array[rows], rounding, bits)
        if opacity is None:
            return pixels
        return np.concatenate([pixels, quantize(opacity[rows], "round", bits)[..., None]], axis=2)

    check_writable(path, overwrite=overwrite, bits=bits, size=(height, width))
    form = SUFFIXES[Path(path).suffix.lower()]
    try:
        text = json.dumps({"jnst": metadata}) if metadata is not None else ""
    except (TypeError, ValueError, RecursionError) as error:
        raise ConfigError(f"metadata cannot be written as JSON ({str(error).partition(chr(10))[0]})") from error
    if len(text) > LONGEST_TEXT.get(form, sys.maxsize):
        text = ""
    try:
        if form == "TIFF":
            write_tiff(path, read_rows, (height, width), text=text, profile=srgb_profile())
        else:
            write_atomically(path, encode(form, read_rows(slice(None)), text, quality))
    except ImageError:
        raise
    except (OSError, ValueError, RuntimeError) as error:  # libavif's are RuntimeErrors
        reason = getattr(error, "strerror", None) or error
        raise ImageError(f"cannot write {path}: {reason}") from error


def check_writable(
    path: str | os.PathLike[str], *, overwrite: bool = False, bits: Bits = 8, size: tuple[int, int] | None = None
) -> None:
    """Finds out before the work starts whether `write_image` will be able to write there.

    Args:
        size: (height, width) if known, for the formats whose sides are limited.

    Raises:
        ImageError: unknown suffix, missing or unwritable folder, existing file without `overwrite`, or a format that
            cannot hold that many bits or pixels.
    """
    form = check_format(path, bits)
    if size and max(size) > LONGEST_SIDE.get(form, sys.maxsize):
        raise ImageError(f"cannot write {path}: {form} ends at {LONGEST_SIDE[form]} pixels a side; use .png or .tiff")
    check_writable_file(path, overwrite=overwrite)


def check_format(path: str | os.PathLike[str], bits: Bits = 8) -> str:
    """The name of the format that the path's suffix stands for.

    Raises:
        ImageError: an empty path, unknown suffix, or a format that cannot hold that many bits.
    """
    check_path_given(path)
    suffix = Path(path).suffix.lower()
    if suffix not in SUFFIXES:
        what = describe_unknown("picture format", suffix, SUFFIXES) if suffix else f"known are: {', '.join(SUFFIXES)}"
        raise ImageError(f"cannot tell the format of {path} by its suffix: {what}")
    form = SUFFIXES[suffix]
    if bits == 16 and form not in ("PNG", "TIFF"):
        raise ImageError(f"cannot write {path}: {form} holds 8 bits per channel; 16 need .png or .tiff")
    check_encoder(form)
    return form


def quantize(image: npt.ArrayLike, rounding: Rounding = "round", bits: Bits = 8) -> Pixels:
    """The picture as uint8 or uint16: clipped, then rounded or, as most published programs do, truncated.

    Both work on float32 times 255 (65,535). Truncation forgives four units in the last place, so that k / 255, in
    whatever order it was computed, comes back as k.

    >>> quantize(np.array([0.0, 0.5, 1.5])).tolist(), quantize(np.array([0.5]), "truncate").tolist()
    ([0, 128, 255], [127])

    Raises:
        ImageError: the picture holds NaN, or a type that is no picture's.
    """
    array = to_array(image, "picture")
    dtype = np.uint8 if bits == 8 else np.uint16
    if array.dtype == dtype:
        return array
    if array.dtype == np.uint8:
        return array.astype(np.uint16) * np.uint16(257)
    if array.dtype == np.uint16:
        array, rounding = array.astype(np.float32) / np.float32(65_535), "round"
    elif array.dtype.kind in "biuOSUcMm" or array.dtype.names:
        raise ImageError(f"picture holds {array.dtype}; expected uint8, uint16 or floating point in [0, 1]")
    levels = np.clip(array.astype(np.float32), 0, 1) * np.float32(np.iinfo(dtype).max)
    if np.isnan(levels).any():
        raise ImageError("picture holds numbers that are not finite (NaN)")
    if rounding == "truncate":
        return np.minimum(np.floor(levels * np.float32(1 + 2**-22)), np.iinfo(dtype).max).astype(dtype)
    return np.rint(levels).astype(dtype)
