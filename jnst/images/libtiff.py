"""libtiff, called beside Pillow, which switches its warnings off and decodes a picture whole.

Only in the process of its own that compressed TIFF is decoded in: what libtiff says goes to the terminal. The values of
tags come from Pillow: functions with a variable number of arguments cannot be called everywhere.
"""

import contextlib
import ctypes
import functools
import os
import tempfile
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, ImageFile

_TILE_WIDTH, _TILE_LENGTH = 322, 323
# CCITT RLE, group 3, group 4, CCITT RLE of words, JPEG: libtiff goes on after damage in them, and warns.
_LENIENT = {2, 3, 4, 32771, 7}
_LARGEST = 1 << 30  # bytes of a strip or tile
_DEFLATED = {8, 32946}
_STRIPS, _TILE_OFFSETS, _TILE_SIZES = (273, 279), 324, 325
_PIECE = 1 << 20


def tiff_notes(image: ImageFile.ImageFile, data: bytes) -> tuple[str, ...]:
    """Has libtiff say on stderr what is wrong with the picture, and notes where that is not possible.

    Only for compressions in which it goes on after damage: it decodes the first page for its warnings alone. To be
    called before Pillow decodes anything in this process, since that switches warnings off.
    """
    if _tag(image, ExifTags.Base.Compression) not in _LENIENT or _speak_up(data):
        return ()
    return ("whether it is damaged cannot be told on this machine",)


def check_sums(image: ImageFile.ImageFile, data: bytes) -> None:
    """Compares the checksums of deflated data, which libtiff does not look at once it has all samples.

    Raises:
        ValueError: one does not fit: something in front of it has changed.
    """
    if _tag(image, ExifTags.Base.Compression) not in _DEFLATED:
        return
    tags: Any = image.tag_v2  # pyright: ignore[reportAttributeAccessIssue]
    tiled = _TILE_OFFSETS in tags
    places, sizes = (tags.get(number, ()) for number in ((_TILE_OFFSETS, _TILE_SIZES) if tiled else _STRIPS))
    left = 2 * _LARGEST  # of what may come out, so that a few bytes cannot keep the machine busy
    for start, size in zip(places, sizes, strict=False):
        stream, rest = zlib.decompressobj(), data[start : start + size]
        while rest and not stream.eof and left > 0:
            try:
                left -= len(stream.decompress(rest, _PIECE))
            except zlib.error as error:
                raise ValueError(f"deflated data: {str(error).rpartition(': ')[2]}") from error
            rest = stream.unconsumed_tail


def _speak_up(data: bytes) -> bool:
    """False where libtiff cannot be called."""
    library = _libtiff()
    if library is None:
        return False
    with _open(library, data) as file:
        tiled = bool(library.TIFFIsTiled(file))
        size = library.TIFFTileSize(file) if tiled else library.TIFFStripSize(file)
        count = library.TIFFNumberOfTiles(file) if tiled else library.TIFFNumberOfStrips(file)
        if not 0 < size <= _LARGEST:
            return False
        buffer = ctypes.create_string_buffer(size)
        read = library.TIFFReadEncodedTile if tiled else library.TIFFReadEncodedStrip
        for index in range(count):
            read(file, index, buffer, size)
    return True


def read_deep(
    image: ImageFile.ImageFile, data: bytes, channels: int
) -> Iterator[tuple[slice, slice, npt.NDArray[np.uint16]]] | None:
    """Rows, columns and samples of 16 bits, piece by piece, of the first page; None where libtiff cannot be called.

    Raises (while it is iterated):
        ValueError: for a piece that cannot be decoded.
    """
    library = _libtiff()
    if library is None:
        return None
    height, width = _tag(image, ExifTags.Base.ImageLength), _tag(image, ExifTags.Base.ImageWidth)
    if _tag(image, _TILE_WIDTH) is None:
        return _read_lines(library, data, height, width, channels)
    tile = _tag(image, _TILE_LENGTH), _tag(image, _TILE_WIDTH)
    return _read_tiles(library, data, (height, width), tile, channels)


def _read_lines(
    library: Any, data: bytes, height: int, width: int, channels: int
) -> Iterator[tuple[slice, slice, npt.NDArray[np.uint16]]]:
    rows = max(1, (1 << 18) // width)
    with _open(library, data) as file:
        if library.TIFFScanlineSize(file) != 2 * width * channels:
            raise ValueError("its lines are of another length than its header says")
        for top in range(0, height, rows):
            values = np.empty((min(rows, height - top), width, channels), np.uint16)
            for offset in range(len(values)):
                if library.TIFFReadScanline(file, values[offset].ctypes.data, top + offset, 0) != 1:
                    raise ValueError(f"line {top + offset} cannot be decoded")
            yield slice(top, top + len(values)), slice(0, width), values


def _read_tiles(
    library: Any, data: bytes, size: tuple[int, int], tile: tuple[int, int], channels: int
) -> Iterator[tuple[slice, slice, npt.NDArray[np.uint16]]]:
    with _open(library, data) as file:
        expected = 2 * tile[0] * tile[1] * channels
        if library.TIFFTileSize(file) != expected or expected > _LARGEST:
            raise ValueError("its tiles are of another size than its header says")
        values = np.empty((*tile, channels), np.uint16)
        for top in range(0, size[0], tile[0]):
            for left in range(0, size[1], tile[1]):
                if library.TIFFReadTile(file, values.ctypes.data, left, top, 0, 0) != expected:
                    raise ValueError(f"the tile at line {top} and column {left} cannot be decoded")
                height, width = min(tile[0], size[0] - top), min(tile[1], size[1] - left)
                yield slice(top, top + height), slice(left, left + width), values[:height, :width]


def _tag(image: ImageFile.ImageFile, number: int) -> Any:
    value = image.tag_v2.get(number)  # pyright: ignore[reportAttributeAccessIssue]
    return value[0] if isinstance(value, tuple) and value else value


@contextlib.contextmanager
def _open(library: Any, data: bytes) -> Iterator[int]:
    with tempfile.TemporaryFile() as stored:
        stored.write(data)
        stored.seek(0)
        file = library.TIFFFdOpen(os.dup(stored.fileno()), b"picture", b"rm")  # m: not mapped into memory
        if not file:
            raise ValueError("its header cannot be read")
        try:
            yield file
        finally:
            library.TIFFClose(file)


@functools.cache
def _libtiff() -> Any:
    """The library behind Pillow's TIFF, where it can be called."""
    if os.name == "nt":  # file descriptors of Python's are not the library's
        return None
    try:
        from PIL import _imaging

        library = ctypes.CDLL(_imaging.__file__)
        file, number, size = ctypes.c_void_p, ctypes.c_uint32, ctypes.c_ssize_t
        for name, result, arguments in (
            ("TIFFFdOpen", file, [ctypes.c_int, ctypes.c_char_p, ctypes.c_char_p]),
            ("TIFFClose", None, [file]),
            ("TIFFIsTiled", ctypes.c_int, [file]),
            ("TIFFTileSize", size, [file]),
            ("TIFFStripSize", size, [file]),
            ("TIFFScanlineSize", size, [file]),
            ("TIFFNumberOfTiles", number, [file]),
            ("TIFFNumberOfStrips", number, [file]),
            ("TIFFReadEncodedTile", size, [file, number, ctypes.c_void_p, size]),
            ("TIFFReadEncodedStrip", size, [file, number, ctypes.c_void_p, size]),
            ("TIFFReadScanline", ctypes.c_int, [file, ctypes.c_void_p, number, ctypes.c_uint16]),
            ("TIFFReadTile", size, [file, ctypes.c_void_p, number, number, number, ctypes.c_uint16]),
        ):
            function = getattr(library, name)
            function.restype, function.argtypes = result, arguments
    except (ImportError, OSError, AttributeError):
        return None
    return library
