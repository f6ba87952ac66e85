"""The formats of picture files: which are read and written, by which suffixes, how they begin, where they end."""

import contextlib
import functools
import importlib.util

from PIL import Image

READABLE = ("PNG", "JPEG", "WEBP", "TIFF", "AVIF", "GIF", "BMP", "PPM")
# What Apple's cameras write, read by the extra jnst[heic]; the brands are those of ISO/IEC 23008-12, annex B.
HEIC = "HEIF"  # as pillow-heif calls it
_HEIC_SUFFIXES = frozenset({".heic", ".heif", ".hif"})
_HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1")
# How files of each format begin; formats whose beginning is two letters of text are left out.
BEGINNINGS = {
    "PNG": (0, b"\x89PNG\r\n\x1a\n"),
    "JPEG": (0, b"\xff\xd8\xff"),
    "WEBP": (8, b"WEBP"),
    "AVIF": (4, b"ftypavi"),
    "GIF": (0, b"GIF8"),
    "little-endian TIFF": (0, b"II*\0"),
    "big-endian TIFF": (0, b"MM\0*"),
}
SUFFIXES = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".webp": "WEBP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".avif": "AVIF",
}
# A side above that cannot be written, or, in AVIF, not be read again by libavif's own limit.
LONGEST_SIDE = {"JPEG": 65_500, "WEBP": 16_383, "AVIF": 32_768}
# A JPEG segment ends at 65,535 bytes; Pillow refuses to read PNG texts above a mebibyte.
LONGEST_TEXT = {"PNG": 1_000_000, "JPEG": 60_000, "WEBP": 60_000, "AVIF": 1_000_000}


def is_heic(data: bytes) -> bool:
    """Whether a file begins as HEIC does. AVIF begins likewise, and names itself among the brands that follow."""
    return data[4:8] == b"ftyp" and data[8:12] in _HEIC_BRANDS and b"avif" not in data[16:64]


@functools.cache
def readable_suffixes() -> frozenset[str]:
    """Suffixes of the files that `read_image` takes, in small letters, such as .jpg and .jfif."""
    formats = pillow_formats()
    plain = frozenset(suffix for suffix, name in Image.registered_extensions().items() if name in formats)
    return plain | _HEIC_SUFFIXES if importlib.util.find_spec("pillow_heif") else plain


def pillow_formats(*, heic: bool = False) -> tuple[str, ...]:
    """The formats to look for. pillow-heif is imported for files alone that begin as HEIC does."""
    Image.init()
    if heic:
        with contextlib.suppress(ImportError):
            import pillow_heif  # pyright: ignore[reportMissingImports]

            if HEIC not in Image.OPEN:
                pillow_heif.register_heif_opener()
            return (HEIC,)
    return tuple(name for name in READABLE if name in Image.OPEN)  # AVIF came with Pillow 11.2
