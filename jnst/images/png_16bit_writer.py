"""PNG with 16 bits per channel, which Pillow cannot write in colour (PNG specification, third edition)."""

import struct
import zlib

import numpy as np
import numpy.typing as npt

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_COLOUR_TYPES = {3: 2, 4: 6}
_UP = 2


def encode_png16(
    image: npt.NDArray[np.unsignedinteger], *, profile: bytes | None = None, text: dict[str, str] | None = None
) -> bytes:
    """A PNG file of a height × width × 3 (RGB) or 4 (RGB, alpha) picture.

    Args:
        profile: ICC profile to embed.
        text: keyword → text, stored as compressed iTXt chunks.
    """
    height, width, channels = image.shape
    header = struct.pack(">IIBBBBB", width, height, 16, _COLOUR_TYPES[channels], 0, 0, 0)
    chunks = [(b"IHDR", header)]
    if profile:
        chunks.append((b"iCCP", b"sRGB\0\0" + zlib.compress(profile)))
    for keyword, value in (text or {}).items():
        body = keyword.encode("latin-1") + b"\0\1\0\0\0" + zlib.compress(value.encode())
        chunks.append((b"iTXt", body))
    chunks.append((b"IDAT", zlib.compress(_filter_rows(image), 6)))
    chunks.append((b"IEND", b""))
    return _SIGNATURE + b"".join(encode_chunk(kind, body) for kind, body in chunks)


def _filter_rows(image: npt.NDArray[np.unsignedinteger]) -> bytes:
    """Each row as its difference from the row above ("up"), byte by byte modulo 256, behind the filter's number."""
    height = image.shape[0]
    rows = np.frombuffer(image.astype(">u2").tobytes(), np.uint8).reshape(height, -1)
    filtered = np.empty((height, rows.shape[1] + 1), np.uint8)
    filtered[:, 0] = _UP
    filtered[0, 1:] = rows[0]
    np.subtract(rows[1:], rows[:-1], out=filtered[1:, 1:])
    return filtered.tobytes()


def encode_chunk(kind: bytes, body: bytes) -> bytes:
    """A chunk of a PNG file: length, name, content, CRC-32."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
