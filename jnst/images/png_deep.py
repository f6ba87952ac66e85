"""PNG of 16 bits a channel, some rows at a time: Pillow decodes files whole and keeps one byte of two.

Each band of rows is made a small PNG of its own, below the last row of the band before, which its filters refer to
(PNG specification, third edition, 7.3, 8 and 9). Pillow decodes it twice, for the upper and for the lower bytes.
"""

import struct
import zlib
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from jnst.images.opening import open_picture
from jnst.images.png16 import encode_chunk
from jnst.images.png_chunks import SIGNATURE, Chunk, walk_chunks

_BAND = 1 << 18  # pixels
_PIECE = 1 << 16  # bytes that are inflated at a time
_CHANNELS = {0: 1, 2: 3, 4: 2, 6: 4}  # by the type of colour
_TELLING = (b"eXIf", b"tEXt", b"zTXt", b"iTXt")  # Exif, and XMP among the texts
# Adam7: first column, first row, distance of columns, distance of rows of each pass.
_PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))


def read_deep_png(data: bytes) -> Iterator[tuple[slice, slice, npt.NDArray[np.uint16]]]:
    """Rows, columns, and samples (rows × columns × channels) until the picture is complete.

    Args:
        data: a PNG file of 16 bits a channel.

    Raises (while it is iterated):
        ValueError, OSError: for data that is damaged or ends too early.
    """
    chunks = list(walk_chunks(data))
    width, height, depth, kind, _, _, interlace = struct.unpack_from(">IIBBBBB", data, chunks[0].start + 8)
    if depth != 16 or kind not in _CHANNELS:
        raise ValueError("it is no picture of 16 bits a channel")
    stream = _Inflated(data, [chunk for chunk in chunks if chunk.name == b"IDAT"])
    for left, top, across, down in _PASSES if interlace else ((0, 0, 1, 1),):
        columns, rows = -(-(width - left) // across), -(-(height - top) // down)
        if columns <= 0 or rows <= 0:
            continue
        for first, values in _read_pass(stream, columns, rows, kind):
            begin = top + first * down
            yield slice(begin, begin + len(values) * down, down), slice(left, None, across), values


def around_one_pixel(data: bytes) -> bytes:
    """What the file says about its orientation, around a picture of one pixel: asking decodes nothing else."""
    kept = [data[chunk.start : chunk.stop] for chunk in walk_chunks(data) if chunk.name in _TELLING]
    header = encode_chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0))
    pixel = encode_chunk(b"IDAT", zlib.compress(bytes(4)))
    return SIGNATURE + header + pixel + b"".join(kept) + encode_chunk(b"IEND", b"")


def _read_pass(stream: "_Inflated", columns: int, rows: int, kind: int) -> Iterator[tuple[int, npt.NDArray[np.uint16]]]:
    """The first row of each band, and the band."""
    channels = _CHANNELS[kind]
    line, band = 1 + 2 * channels * columns, max(1, _BAND // columns)
    above = bytes(line)  # its first byte says that it is not filtered
    for first in range(0, rows, band):
        count = min(band, rows - first)
        values = _decode(above + stream.read(count * line), columns, count + 1, kind)[1:]
        above = b"\0" + values[-1].astype(">u2").tobytes()
        yield first, values


def _decode(filtered: bytes, width: int, height: int, kind: int) -> npt.NDArray[np.uint16]:
    header = encode_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 0))
    png = SIGNATURE + header + encode_chunk(b"IDAT", zlib.compress(filtered, 0)) + encode_chunk(b"IEND", b"")
    if kind == 0:
        with open_picture(png) as image:
            return np.asarray(image).astype(np.uint16)[..., None]
    if kind == 4:
        halves = _decode_as(png, "RGBA")  # four bytes a pixel, taken as they are
        return (halves[..., 0::2] << 8 | halves[..., 1::2]).astype(np.uint16)
    name = "RGB;16" if kind == 2 else "RGBA;16"
    values = _decode_as(png, name + "B") << 8 | _decode_as(png, name + "L")
    return values[..., : _CHANNELS[kind]].astype(np.uint16)


def _decode_as(png: bytes, mode: str) -> npt.NDArray[np.uint16]:
    """Pillow keeps the upper byte of a sample; the byte order that it is given decides which one that is."""
    with open_picture(png) as image:
        image.tile = [tile._replace(args=mode) for tile in image.tile]
        return np.asarray(image).astype(np.uint16)


class _Inflated:
    """The stream of all chunks of data, inflated as it is asked for."""

    def __init__(self, data: bytes, chunks: list[Chunk]) -> None:
        view = memoryview(data)
        self._pieces = (
            view[start : min(start + _PIECE, chunk.stop - 4)]
            for chunk in chunks
            for start in range(chunk.start + 8, chunk.stop - 4, _PIECE)
        )
        self._inflater = zlib.decompressobj()

    def read(self, count: int) -> bytes:
        """Exactly so many bytes."""
        found = bytearray()
        while len(found) < count:
            piece = self._inflater.unconsumed_tail or next(self._pieces, None)
            if piece is None or self._inflater.eof:
                raise ValueError("its data ends too early")
            found += self._inflater.decompress(piece, count - len(found))
        return bytes(found)
