"""JPEG files whose compressed data does not fit their size: damage that the JPEG library only warns of, unheard.

A bit that flips in Huffman-coded data moves everything behind it, and the decoder goes on with whatever it reads. What
shows is that the data does not end where the picture does: some is left over, or it is used up early. Only files with
a single Huffman-coded scan, as nearly all cameras write them, can be looked at so. Of a file with several, such as a
progressive one, each would have to be decoded by itself; there only their order is looked at (`jpeg_progressive`).
(ITU-T T.81, annexes B and F.)
"""

import re
from typing import NamedTuple

from PIL import ImageFile

from jnst.images.jpeg_progressive import NOTE as _NOTE
from jnst.images.jpeg_progressive import note_scans

# Two bytes of FF and a number, apart from FF 00 (a byte of data), the restart markers, and fill bytes.
_MARKER = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")
_RESTART = re.compile(rb"\xff([\xd0-\xd7])")
_SEQUENTIAL, _FRAMES = (0xC0, 0xC1), {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
_SCAN, _INTERVAL, _END, _LINES = 0xDA, 0xDD, 0xD9, 0xDC
# Some cameras write a few bytes more than the picture needs.
_TOLERANCE = 16


class _Scan(NamedTuple):
    """Where the compressed data lies, the marker behind it, and how many units of it stand between two restarts."""

    start: int
    stop: int
    marker: int
    units: int
    interval: int


class ScanWatch:
    """Hands a JPEG file to Pillow's decoder piece by piece, and sees which pieces it asks for.

    Args:
        image: as opened from `data`, not decoded yet.
        data: the file's bytes.
    """

    def __init__(self, image: ImageFile.ImageFile, data: bytes) -> None:
        self._data, self._scan = data, _find_scan(data)
        self._asked = 0
        if self._scan is not None:
            stop = self._scan.stop
            cut = max(self._scan.start, stop - _TOLERANCE)
            # What comes after the data are zeros, of which a whole picture needs none, and the end.
            self._pieces = (data[:cut], data[cut:stop], bytes(_TOLERANCE), b"\xff\xd9")
            image.load_read = self._read  # pyright: ignore[reportAttributeAccessIssue]

    def _read(self, size: int) -> bytes:
        self._asked += 1
        return self._pieces[self._asked - 1] if self._asked <= len(self._pieces) else b""

    def notes(self) -> tuple[str, ...]:
        """What there is to say once the picture is decoded."""
        scan = self._scan
        if scan is None:
            return note_scans(self._data)
        restarts = [found[0] - 0xD0 for found in _RESTART.findall(self._data, scan.start, scan.stop)]
        expected = (scan.units - 1) // scan.interval if scan.interval else 0
        in_order = restarts[:expected] == [number % 8 for number in range(expected)]
        fits = in_order and expected <= len(restarts) <= expected + 1 and scan.marker in (_END, _LINES)
        return () if fits and self._asked in (2, 3) else (_NOTE,)


def _find_scan(data: bytes) -> _Scan | None:
    """None for a file of another kind, or one that is cut off."""
    place, interval, frame = 2, 0, b""
    while place + 4 <= len(data) and data[place] == 0xFF:
        marker = data[place + 1]
        if marker == 0xFF:  # a fill byte
            place += 1
            continue
        content = data[place + 4 : place + 2 + int.from_bytes(data[place + 2 : place + 4], "big")]
        if marker in _FRAMES:
            if marker not in _SEQUENTIAL or frame or len(content) < 9 or len(content) != 6 + 3 * content[5]:
                return None
            frame = content
        elif marker == _INTERVAL and len(content) == 2:
            interval = int.from_bytes(content, "big")
        elif marker == _SCAN:
            start = place + 4 + len(content)
            end = _MARKER.search(data, start)
            if not frame or not content or content[0] != frame[5] or end is None:
                return None
            return _Scan(start, end.start(), data[end.start() + 1], _count_units(frame), interval)
        place += 4 + len(content)
    return None


def _count_units(frame: bytes) -> int:
    """How many units a scan of all components consists of."""
    height, width = int.from_bytes(frame[1:3], "big"), int.from_bytes(frame[3:5], "big")
    factors = frame[7::3] if frame[5] > 1 else b"\x11"
    across, down = max(factor >> 4 for factor in factors), max(factor & 15 for factor in factors)
    return -(-width // (8 * max(1, across))) * -(-height // (8 * max(1, down)))
