"""AVIF through the library behind Pillow: Pillow itself has three copies of a picture beside the planes of its colours.

libavif has no stable layout over all its versions. So before a field is used, the fields around it are compared with
the values that are known; where one differs, Pillow decodes.
"""

import ctypes
import functools
from typing import Any

import numpy as np
import numpy.typing as npt

# Places of `uint32` fields in `avifDecoder`, and the values that a new one has there (avif.h, versions 1.0 to 1.4).
_DEFAULTS = {7: 16384 * 16384, 8: 32768, 9: 12 * 3600 * 60}
_STRICT_FLAGS = 10
_STRICT_PIXI, _STRICT_CLAP = 1, 2  # what Pillow allows to be missing or odd
_IMAGE = 48  # bytes before the pointer to the decoded image
# Places in `avifRGBImage`: width, height, depth, format; and in bytes the pointer to the samples, and bytes a row.
_RGB, _RGBA = 0, 1
_PIXELS, _ROW_BYTES = 48, 56


def decode_avif(data: bytes, width: int, height: int, *, alpha: bool) -> npt.NDArray[np.uint8] | None:
    """Height × width × 3, or 4 with alpha, uint8, of a still or of the first frame; None where Pillow has to do it.

    Args:
        data: the file's bytes.
        width, height: in pixels, as Pillow found them.
        alpha: whether Pillow found alpha.

    Raises:
        ValueError: for data that cannot be decoded.
    """
    library = _libavif()
    decoder = library.avifDecoderCreate() if library is not None else None
    if library is None or not decoder:
        return None
    try:
        fields = ctypes.cast(decoder, ctypes.POINTER(ctypes.c_uint32))
        if any(fields[place] != value for place, value in _DEFAULTS.items()):
            return None
        fields[_STRICT_FLAGS] &= ~(_STRICT_PIXI | _STRICT_CLAP)
        _check(library, library.avifDecoderSetIOMemory(decoder, data, len(data)))
        _check(library, library.avifDecoderParse(decoder))
        _check(library, library.avifDecoderNextImage(decoder))
        image = ctypes.c_void_p.from_address(decoder + _IMAGE).value
        found = ctypes.cast(image, ctypes.POINTER(ctypes.c_uint32)) if image else None
        if found is None or (found[0], found[1]) != (width, height):
            return None
        return _to_rgb(library, image, width, height, alpha=alpha)
    finally:
        library.avifDecoderDestroy(decoder)


def _to_rgb(library: Any, image: int | None, width: int, height: int, *, alpha: bool) -> npt.NDArray[np.uint8] | None:
    target = ctypes.create_string_buffer(512)  # larger than the structure is in any version
    library.avifRGBImageSetDefaults(target, image)
    numbers = ctypes.cast(target, ctypes.POINTER(ctypes.c_uint32))
    empty = ctypes.c_void_p.from_buffer(target, _PIXELS).value is None
    if (numbers[0], numbers[1], numbers[3]) != (width, height, _RGBA) or not empty:
        return None
    out = np.zeros((height, width, 4 if alpha else 3), np.uint8)
    numbers[2], numbers[3] = 8, _RGBA if alpha else _RGB
    ctypes.c_void_p.from_buffer(target, _PIXELS).value = out.ctypes.data
    ctypes.c_uint32.from_buffer(target, _ROW_BYTES).value = width * out.shape[2]
    _check(library, library.avifImageYUVToRGB(image, target))
    return out


def _check(library: Any, result: int) -> None:
    if result:
        raise ValueError(library.avifResultToString(result).decode("ascii", "replace"))


@functools.cache
def _libavif() -> Any:
    """The library behind Pillow's AVIF, where it can be called and is of a version whose layout is known."""
    try:
        from PIL import _avif  # pyright: ignore[reportAttributeAccessIssue]

        library = ctypes.CDLL(_avif.__file__)
        library.avifVersion.restype = ctypes.c_char_p
        pointer, number = ctypes.c_void_p, ctypes.c_int
        for name, result, arguments in (
            ("avifDecoderCreate", pointer, []),
            ("avifDecoderDestroy", None, [pointer]),
            ("avifDecoderSetIOMemory", number, [pointer, ctypes.c_char_p, ctypes.c_size_t]),
            ("avifDecoderParse", number, [pointer]),
            ("avifDecoderNextImage", number, [pointer]),
            ("avifRGBImageSetDefaults", None, [pointer, pointer]),
            ("avifImageYUVToRGB", number, [pointer, pointer]),
            ("avifResultToString", ctypes.c_char_p, [number]),
        ):
            function = getattr(library, name)
            function.restype, function.argtypes = result, arguments
    except (ImportError, OSError, AttributeError):
        return None
    return library if library.avifVersion()[:4] in (b"1.0.", b"1.1.", b"1.2.", b"1.3.", b"1.4.") else None
