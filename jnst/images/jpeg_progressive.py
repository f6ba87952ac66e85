"""JPEG files of several scans, progressive ones above all: whether all of them are there, and as long as they say.

A progressive picture comes in scans that each bring some coefficients of some components, or a further bit of them. A
file from which a scan is missing decodes without a word to a coarser picture. What is inside a scan is not decoded
here. (ITU-T T.81, annexes B and G.)
"""

import math
import re
from collections.abc import Iterator

NOTE = "its compressed data does not fit its size; parts of it may be damaged"
INCOMPLETE = "some of its scans are missing; it may be coarser than it was"

# Two bytes of FF and a number, apart from FF 00 (a byte of data), the restart markers, and fill bytes.
_MARKER = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")
_RESTART = re.compile(rb"\xff([\xd0-\xd7])")
_FRAMES, _PROGRESSIVE = (0xC0, 0xC1, 0xC2), 0xC2
_SCAN, _INTERVAL, _END, _LINES = 0xDA, 0xDD, 0xD9, 0xDC
# What may follow a scan: tables, comments, applications' own, another scan, the number of lines, the end.
_BETWEEN = {0xC4, 0xCC, 0xDB, _INTERVAL, 0xFE, _SCAN, _LINES, _END, *range(0xE0, 0xF0)}


def note_scans(data: bytes) -> tuple[str, ...]:
    """What there is to say of a file's scans; nothing of a file whose frame is of a kind that is not known here.

    Args:
        data: the file's bytes.
    """
    frame, progressive, interval = b"", False, 0
    # By component and coefficient, how many of its lowest bits have not come yet.
    left: dict[int, list[int | None]] = {}
    for marker, content, compressed, following in _segments(data):
        if marker in _FRAMES and not frame and len(content) >= 9 and len(content) == 6 + 3 * content[5]:
            frame, progressive = content, marker == _PROGRESSIVE
            left = {name: [None] * 64 for name in content[6::3]}
        elif 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            return ()
        elif marker == _INTERVAL and len(content) == 2:
            interval = int.from_bytes(content, "big")
        elif marker == _SCAN:
            names = content[1 : 1 + 2 * content[0] : 2] if content else b""
            if not frame or not names or len(content) != 4 + 2 * len(names) or not left.keys() >= set(names):
                return (NOTE,)
            if following not in _BETWEEN or not _restarts_fit(compressed, _count_units(frame, names), interval):
                return (NOTE,)
            first, last, bits = (content[-3], min(content[-2], 63), content[-1] & 15) if progressive else (0, 63, 0)
            for name in names:
                left[name][first : last + 1] = [bits] * (last + 1 - first)
    whole = all(bits == 0 for coefficients in left.values() for bits in coefficients)
    return () if whole or not left else (INCOMPLETE,)


def _segments(data: bytes) -> Iterator[tuple[int, bytes, bytes, int]]:
    """Marker, content, and of a scan its compressed data and the marker behind it, up to the end of the picture."""
    place = 2
    while place + 4 <= len(data) and data[place] == 0xFF and data[place + 1] != _END:
        marker = data[place + 1]
        if marker == 0xFF:  # a fill byte
            place += 1
            continue
        content = data[place + 4 : place + 2 + int.from_bytes(data[place + 2 : place + 4], "big")]
        place += 4 + len(content)
        if marker != _SCAN:
            yield marker, content, b"", 0
            continue
        end = _MARKER.search(data, place)
        if end is None:
            return
        yield marker, content, data[place : end.start()], data[end.start() + 1]
        place = end.start()


def _restarts_fit(compressed: bytes, units: int, interval: int) -> bool:
    """Whether the restart markers are those of that many units; one more at the end is some programs' habit."""
    found = [marker[0] - 0xD0 for marker in _RESTART.findall(compressed)]
    expected = max(0, units - 1) // interval if interval else 0
    return found[:expected] == [number % 8 for number in range(expected)] and len(found) <= expected + 1


def _count_units(frame: bytes, names: bytes) -> int:
    """How many units a scan of these components consists of: of one alone its blocks, of several those of all."""
    height, width = int.from_bytes(frame[1:3], "big"), int.from_bytes(frame[3:5], "big")
    factors = {
        name: (max(1, both >> 4), max(1, both & 15)) for name, both in zip(frame[6::3], frame[7::3], strict=True)
    }
    most = tuple(max(factor[axis] for factor in factors.values()) for axis in range(2))
    if len(names) > 1:
        return math.ceil(width / (8 * most[0])) * math.ceil(height / (8 * most[1]))
    across, down = factors[names[0]]
    return math.ceil(math.ceil(width * across / most[0]) / 8) * math.ceil(math.ceil(height * down / most[1]) / 8)
