"""The TIFF writer: strip by strip, so that only one strip of the file exists in memory at a time.

TIFF 6.0 (Adobe 1992) in little-endian order, compressed by deflate; from 4 GB on BigTIFF (Aldus and Adobe's successor,
libtiff 4.0), which differs in the width of its numbers alone.
"""

import os
import struct
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from jnst.files import replacing

# Bytes of pixels up to which classic TIFF is written, which every program reads. Its offsets end at 2³²; what is left
# is for noise, which deflate makes a little larger.
_LARGEST_CLASSIC = 4_000_000_000
_STRIP_BYTES = 1 << 18
_ASCII, _SHORT, _LONG, _RATIONAL, _UNDEFINED, _LONG8 = 2, 3, 4, 5, 7, 16
_FORMS = {_SHORT: "H", _LONG: "I", _LONG8: "Q"}


def write_tiff(
    path: str | os.PathLike[str],
    read_rows: Callable[[slice], npt.NDArray[Any]],
    size: tuple[int, int],
    *,
    text: str,
    profile: bytes,
) -> None:
    """Writes a picture atomically, compressed, declared with that colour profile.

    Args:
        path: of the file.
        read_rows: rows × width × 3, or 4 with alpha that the colours are not multiplied with; uint8 or uint16.
        size: height and width in pixels.
        text: ASCII, kept as the picture's description; empty for none.
        profile: ICC.

    Raises:
        OSError: as the system says it.
        Exception: whatever `read_rows` raises; nothing is left of the file then.
    """
    height, width = size
    first = read_rows(slice(0, 1))
    channels, depth = first.shape[2], first.dtype.itemsize
    rows = max(1, _STRIP_BYTES // (width * channels * depth))
    big = height * width * channels * depth > _LARGEST_CLASSIC
    offset_type = _LONG8 if big else _LONG
    with replacing(path) as file:
        file.write(struct.pack("<2sHHHQ", b"II", 43, 8, 0, 0) if big else struct.pack("<2sHI", b"II", 42, 0))
        offsets, counts = [], []
        for top in range(0, height, rows):
            strip = read_rows(slice(top, min(top + rows, height)))
            data = zlib.compress(np.ascontiguousarray(strip, strip.dtype.newbyteorder("<")).tobytes(), 6)
            offsets.append(file.tell())
            counts.append(len(data))
            file.write(data)
        tags: list[tuple[int, int, Any]] = [
            (256, _LONG, [width]),
            (257, _LONG, [height]),
            (258, _SHORT, [8 * depth] * channels),
            (259, _SHORT, [8]),  # deflate
            (262, _SHORT, [2]),  # RGB
            (270, _ASCII, text.encode("ascii") + b"\0" if text else b""),
            (273, offset_type, offsets),
            (277, _SHORT, [channels]),
            (278, _LONG, [rows]),
            (279, offset_type, counts),
            (282, _RATIONAL, struct.pack("<2I", 1, 1)),  # required; with the unit below it says nothing
            (283, _RATIONAL, struct.pack("<2I", 1, 1)),
            (284, _SHORT, [1]),  # channels side by side
            (296, _SHORT, [1]),  # no unit of resolution
            (338, _SHORT, [2] if channels == 4 else []),  # unassociated alpha
            (34675, _UNDEFINED, profile),
        ]
        _write_directory(file, [tag for tag in tags if len(tag[2])], big=big)


def _write_directory(file: Any, tags: list[tuple[int, int, Any]], *, big: bool) -> None:
    """Writes the tags' values, where they do not fit into an entry, then the entries, and points the header there."""
    number, entry, place = ("Q", "<HHQ", 8) if big else ("H", "<HHI", 4)
    offset = "<Q" if big else "<I"
    entries = b""
    for tag, kind, values in tags:
        data = values if isinstance(values, bytes) else struct.pack(f"<{len(values)}{_FORMS[kind]}", *values)
        count = len(values) // 8 if kind == _RATIONAL else len(values)
        if len(data) > place:
            data = struct.pack(offset, _append(file, data))
        entries += struct.pack(entry, tag, kind, count) + data.ljust(place, b"\0")
    start = _append(file, struct.pack(f"<{number}", len(tags)) + entries + bytes(place))
    file.seek(8 if big else 4)
    file.write(struct.pack(offset, start))


def _append(file: Any, data: bytes) -> int:
    """Writes at the next even place, as the format demands, and returns that place."""
    file.write(bytes(file.tell() % 2))
    start = file.tell()
    file.write(data)
    return start
