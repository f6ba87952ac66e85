"""Damaged and cut-off files: what viewers show of them is read, and how much that is.

All of this runs in a process of its own (`tiff_process`): Pillow's leave to read damaged files belongs to a whole
process. What is there is found by decoding twice, onto black and onto white: a pixel that differs was never decoded.
"""

import ctypes
import os

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFile

from jnst.config import ColorProfile
from jnst.errors import ImageError
from jnst.images.collector import Pixels
from jnst.images.deep import bands, load_samples, read_orientation
from jnst.images.opening import check_size, decoding, open_picture
from jnst.images.reading import Picture, finish_picture
from jnst.images.samples import decode_bytes, decode_samples
from jnst.images.transparency import fill_hidden
from jnst.images.webp import libwebp

Mask = npt.NDArray[np.bool_]


def decode_damaged(
    path: str | os.PathLike[str], data: bytes, *, allow_large: bool, color_profile: ColorProfile
) -> Picture:
    """The picture as far as the file has it, at its full size; what is missing is transparent.

    Rows before the first and after the last one that is there are missing. Single pixels that are missing between them
    (of an interlaced file, which brings pixels from everywhere first) are filled from those that are there.

    Args:
        path: for messages.
        data: the file's bytes.
        allow_large: as for `read_image`.
        color_profile: as for `read_image`.

    Raises:
        ImageError: nothing of it can be read.
    """
    ImageFile.LOAD_TRUNCATED_IMAGES = True
    # A WebP file that ends too soon is opened as if zeros followed; what they stand for is not decoded.
    end = int.from_bytes(data[4:8], "little") + 8
    padded = data + bytes(min(max(0, end - len(data)), 1 << 28)) if data[8:12] == b"WEBP" else data
    with decoding(path, data), open_picture(padded) as image:
        check_size(path, image, allow_large)
        name = image.format or "unknown"
        if name == "WEBP":
            values, there = _decode_webp(image, data)
            decoded = decode_bytes(path, image, lambda rows: Image.fromarray(values[rows]), color_profile)
        else:
            there = _find_decoded(padded)
            decoded = decode_samples(path, image, padded, color_profile)
        orientation = 1 if name == "TIFF" else read_orientation(image)
    del image
    pixels, alpha, notes = decoded
    pixels, alpha, said = _hide_missing(path, pixels, alpha, there, coarse=name == "JPEG")
    return finish_picture((pixels, alpha, notes), orientation, name, (said,))


def _find_decoded(data: bytes) -> Mask:
    """Which pixels the file brings: height × width."""
    with _load_onto(data, 0) as black, _load_onto(data, 255) as white:
        there = np.empty((black.height, black.width), np.bool_)
        for rows in bands(black):
            box = (0, rows.start, black.width, rows.stop)
            same = np.asarray(black.crop(box)) == np.asarray(white.crop(box))
            there[rows] = same if same.ndim == 2 else same.all(axis=2)
        if not there.any() and black.info.get("progressive"):
            there[:] = True  # its scans are whole pictures, each finer than the one before
    return there


def _load_onto(data: bytes, level: int) -> ImageFile.ImageFile:
    image = open_picture(data)
    channels = len(image.getbands())
    ImageFile.ImageFile.load_prepare(image)
    image.im.paste((level,) * channels if channels > 1 else level, (0, 0, *image.size))
    if image.format == "JPEG" and image.fp is not None:
        # Pillow would add an end to the file, and the JPEG library then invents the rows that are missing.
        image.load_read = image.fp.read  # pyright: ignore[reportAttributeAccessIssue]
    load_samples(image)
    return image


def _decode_webp(image: Image.Image, data: bytes) -> tuple[npt.NDArray[np.uint8], Mask]:
    """The rows that are there, by the WebP library's incremental decoder."""
    library, channels = libwebp(), 4 if image.mode == "RGBA" else 3
    if library is None or not hasattr(library, "WebPINewRGB"):
        raise ValueError("its data cannot be decoded")
    new, append, get = library.WebPINewRGB, library.WebPIAppend, library.WebPIDecGetRGB
    new.restype, new.argtypes = ctypes.c_void_p, [ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    append.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t]
    get.restype, get.argtypes = ctypes.c_void_p, [ctypes.c_void_p] + 4 * [ctypes.POINTER(ctypes.c_int)]
    library.WebPIDelete.argtypes = [ctypes.c_void_p]
    out = np.zeros((image.height, image.width, channels), np.uint8)
    decoder = new(1 if channels == 4 else 0, out.ctypes.data, out.nbytes, image.width * channels)
    if not decoder:
        raise ValueError("its data cannot be decoded")
    try:
        append(decoder, data, len(data))
        last = ctypes.c_int(0)
        get(decoder, ctypes.byref(last), None, None, None)
    finally:
        library.WebPIDelete(decoder)
    there = np.zeros(out.shape[:2], np.bool_)
    there[: last.value] = True
    return out, there


def _hide_missing(
    path: str | os.PathLike[str], pixels: Pixels, alpha: Pixels | None, there: Mask, *, coarse: bool
) -> tuple[Pixels, Pixels | None, str]:
    """Pixels and alpha without what was never decoded, and a sentence on how much there is."""
    height, top = there.shape[0], np.iinfo(pixels.dtype).max
    rows = np.flatnonzero(there.any(axis=1))
    if not rows.size:
        raise ImageError(f"{path} is damaged or cut off, and no row of it can be read")
    share = f"{100 * there.mean():.0f} %"
    kept = slice(rows[0], rows[-1] + 1)
    if not there[kept].all():
        known = np.where(there[kept], top, 0).astype(pixels.dtype)
        pixels[kept] = fill_hidden(pixels[kept], known)
        if alpha is not None:
            alpha[kept] = fill_hidden(np.repeat(alpha[kept][..., None], 3, axis=2), known)[..., 0]
    count = kept.stop - kept.start
    if count == height:
        said = f"{share} of its pixels are there, the others are filled from these"
        if there.all():
            said = "what could be decoded is kept" + ("; it may be coarser than it was" if coarse else "")
        return pixels, alpha, f"it is damaged or cut off; {said}"
    if alpha is None:
        alpha = np.full(there.shape, top, pixels.dtype)
    alpha[: kept.start] = alpha[kept.stop :] = 0
    return pixels, alpha, f"it is damaged or cut off; {count} of its {height} rows ({share}) are there"
