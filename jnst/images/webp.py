"""WebP through the library behind Pillow: Pillow itself decodes every file as an animation, at 18 bytes a pixel."""

import ctypes
import functools
import struct
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from PIL import ImageFile


def decode_webp(image: ImageFile.ImageFile, data: bytes) -> npt.NDArray[np.uint8] | None:
    """Height × width × 3 or 4, uint8, of a still or of an animation's first frame; None where Pillow has to do it.

    Args:
        image: the opened picture, of which size and mode are taken.
        data: the file's bytes.

    Raises:
        ValueError: for data that cannot be decoded.
    """
    library = libwebp()
    if library is None:
        return None
    channels = 4 if image.mode == "RGBA" else 3
    left, top, still = 0, 0, data
    if getattr(image, "n_frames", 1) > 1:
        left, top, still = _first_frame(data)
    height, width = _size(library, still)
    if left + width > image.width or top + height > image.height or (still is data and (width < image.width)):
        raise ValueError("its size contradicts its header")
    out = np.zeros((image.height, image.width, channels), np.uint8)
    stride, skipped = image.width * channels, (top * image.width + left) * channels
    decode = library.WebPDecodeRGBAInto if channels == 4 else library.WebPDecodeRGBInto
    if not decode(still, len(still), out.ctypes.data + skipped, out.nbytes - skipped, stride):
        raise ValueError("its data cannot be decoded")
    return out


def _first_frame(data: bytes) -> tuple[int, int, bytes]:
    """Where the first frame of an animation lies on the canvas (left, top), and a file of it alone.

    (WebP container specification, "Animation": before the first frame the canvas is transparent.)
    """
    for name, content in _chunks(data, 12):
        if name == b"ANMF":
            left, top, width, height = (int.from_bytes(content[at : at + 3], "little") for at in (0, 3, 6, 9))
            parts = dict(_chunks(content, 16))
            kept = [(part, parts[part]) for part in (b"ALPH", b"VP8 ", b"VP8L") if part in parts]
            if b"ALPH" in parts:
                size = (width.to_bytes(3, "little"), height.to_bytes(3, "little"))
                kept.insert(0, (b"VP8X", b"\x10\0\0\0" + b"".join(size)))
            body = b"".join(part + struct.pack("<I", len(one)) + one + bytes(len(one) % 2) for part, one in kept)
            return 2 * left, 2 * top, b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body
    raise ValueError("it has no frame")


def _chunks(data: bytes, start: int) -> Iterator[tuple[bytes, bytes]]:
    while start + 8 <= len(data):
        name, size = struct.unpack_from("<4sI", data, start)
        yield name, data[start + 8 : start + 8 + size]
        start += 8 + size + size % 2


def _size(library: ctypes.CDLL, data: bytes) -> tuple[int, int]:
    width, height = ctypes.c_int(), ctypes.c_int()
    if not library.WebPGetInfo(data, len(data), ctypes.byref(width), ctypes.byref(height)):
        raise ValueError("its header cannot be read")
    return height.value, width.value


@functools.cache
def libwebp() -> ctypes.CDLL | None:
    """The library behind Pillow's WebP, where it can be called."""
    try:
        from PIL import _webp

        library = ctypes.CDLL(_webp.__file__)
        for name in ("WebPDecodeRGBInto", "WebPDecodeRGBAInto"):
            function = getattr(library, name)
            function.restype = ctypes.c_void_p
            function.argtypes = [ctypes.c_char_p, ctypes.c_size_t, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
        number = ctypes.POINTER(ctypes.c_int)
        library.WebPGetInfo.argtypes = [ctypes.c_char_p, ctypes.c_size_t, number, number]
    except (ImportError, OSError, AttributeError):
        return None
    return library
