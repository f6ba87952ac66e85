"""PNG files as viewers read them: what belongs to the picture must be sound, what is said about it need not be.

(PNG specification, third edition, 5.3: a chunk is its length, its name, its content and a CRC-32; a name that begins
with a small letter is of a chunk that the picture can do without.)
"""

import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

SIGNATURE = b"\x89PNG\r\n\x1a\n"
# What a picture's samples depend on, besides the colour profile.
_NEEDED = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")
_LONGEST_TEXT = 1 << 20  # as Pillow's own limit
# How sRGB says itself in the chunks cICP (primaries and transfer by ITU-T H.273, RGB, full range) and cHRM (white, red,
# green, blue in 1/100,000); gAMA has 45,455.
_CICP_SRGB = bytes([1, 13, 0, 1])
_SRGB_PRIMARIES = struct.pack(">8I", 31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000)


class Chunk(NamedTuple):
    """Where a chunk lies in the file, and whether its checksum is right."""

    name: bytes
    start: int
    stop: int
    sound: bool


def repair_png(data: bytes, *, bare: bool = False) -> tuple[bytes, tuple[str, ...]]:
    """The file without what follows its end and without damaged chunks that the picture can do without.

    Args:
        data: a file that begins as PNG does.
        bare: whether to leave out everything that the samples do not depend on.

    Returns:
        The bytes, and notes on what was left out.

    Raises:
        ValueError: where the picture itself is damaged or cut off.
    """
    kept, dropped, end = [], [], False
    for chunk in walk_chunks(data):
        critical = chunk.name[0] & 0x20 == 0
        if critical and not chunk.sound:
            raise ValueError(f"the checksum of its {chunk.name.decode()} is wrong")
        end = chunk.name == b"IEND"
        content = memoryview(data)[chunk.start + 8 : chunk.stop - 4]
        if critical or (chunk.sound and _is_usable(chunk.name, content, bare)):
            kept.append(chunk)
        elif not bare or not chunk.sound or chunk.name == b"iCCP":
            dropped.append(chunk.name.decode())
        if end:
            break
    if not end:
        raise ValueError("its end is missing")
    notes = tuple(
        "colour profile ignored (it is damaged)" if name == "iCCP" else f"damaged {name} left out"
        for name in dict.fromkeys(dropped)
    )
    if not dropped and not bare:
        return (data if kept[-1].stop == len(data) else data[: kept[-1].stop]), notes
    return SIGNATURE + b"".join(data[chunk.start : chunk.stop] for chunk in kept), notes


def walk_chunks(data: bytes) -> Iterator[Chunk]:
    """The chunks of a PNG file in their order. Raises ValueError where the file ends too early."""
    start = len(SIGNATURE)
    while start < len(data):
        if start + 12 > len(data):
            raise ValueError("it is cut off")
        length, name = struct.unpack_from(">I4s", data, start)
        stop = start + 12 + length
        if stop > len(data):
            raise ValueError("it is cut off")
        if not name.isalpha() or not name.isascii():
            raise ValueError("it has a chunk without a name")
        found = zlib.crc32(memoryview(data)[start + 4 : stop - 4])
        yield Chunk(name, start, stop, found == int.from_bytes(data[stop - 4 : stop], "big"))
        start = stop


def describe_colours(data: bytes) -> tuple[str, ...]:
    """Notes where a sound PNG file says, and not by a profile, that its numbers are not sRGB's.

    (PNG specification, third edition, 4.3: cICP comes before iCCP, that before sRGB, and that before gAMA and cHRM.)
    """
    found = {}
    for chunk in walk_chunks(data):
        if chunk.name == b"IDAT":
            break
        found.setdefault(chunk.name, data[chunk.start + 8 : chunk.stop - 4])
    if b"cICP" in found:
        return () if found[b"cICP"] == _CICP_SRGB else ("its colour space (cICP) is ignored",)
    if b"iCCP" in found or b"sRGB" in found:
        return ()
    gamma = int.from_bytes(found.get(b"gAMA", b""), "big")
    notes = (f"its gamma of {gamma / 1e5:.3g} (gAMA) is ignored",) if gamma and not 43000 <= gamma <= 48000 else ()
    primaries = found.get(b"cHRM", _SRGB_PRIMARIES)
    if len(primaries) == len(_SRGB_PRIMARIES):
        pairs = zip(struct.unpack(">8I", primaries), struct.unpack(">8I", _SRGB_PRIMARIES), strict=True)
        if any(abs(given - srgb) > 1000 for given, srgb in pairs):
            notes = (*notes, "its primaries (cHRM) are ignored")
    return notes


def _is_usable(name: bytes, content: memoryview, bare: bool) -> bool:
    if name == b"iCCP":
        profile = _inflate(bytes(content), b"\0", 1)
        return profile is not None and len(profile) >= 128  # its header alone has that many bytes
    if name == b"zTXt":
        return not bare and _inflate(bytes(content), b"\0", 1) is not None
    return not bare or name in _NEEDED


def _inflate(content: bytes, separator: bytes, skipped: int) -> bytes | None:
    """What is compressed behind a name, its end, and a byte for the method; None where it is damaged or too long."""
    name, found, rest = content.partition(separator)
    inflater = zlib.decompressobj()
    try:
        text = inflater.decompress(rest[skipped:], 8 * _LONGEST_TEXT)
    except zlib.error:
        return None
    return text if name and found and inflater.eof else None
