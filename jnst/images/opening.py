"""Bytes of a file as a Pillow picture whose header is read; what goes wrong comes out as an `ImageError`."""

import contextlib
import io
import os
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path

from PIL import ExifTags, Image, ImageFile, TiffImagePlugin, UnidentifiedImageError

from jnst.errors import ImageError
from jnst.files import check_path_given, check_regular, describe_missing
from jnst.images.formats import BEGINNINGS, HEIC, READABLE, is_heic, pillow_formats

_SAMPLE_FORMAT = 339
_lock = threading.Lock()
_LARGE = 1 << 28  # bytes of a file


class DamagedError(ImageError):
    """A picture whose header is read and whose samples are not all there."""


def read_bytes(path: str | bytes | os.PathLike[str]) -> bytes:
    """What is in a file; ImageError where it cannot be read or nothing is in it."""
    if isinstance(path, bytes):
        path = os.fsdecode(path)
    check_path_given(path)
    try:
        if Path(path).is_dir():
            raise ImageError(f"{path} is a folder; expected a picture")
        check_regular(path)
        data = _read_picture_file(path)
    except FileNotFoundError as error:
        raise ImageError(f"there is no picture at {path}{_describe_link(path)}") from error
    except MemoryError as error:
        raise ImageError(f"{path} does not fit into memory ({os.path.getsize(path):,} bytes)") from error
    except OSError as error:
        raise ImageError(f"cannot read {path}: {error.strerror or error}") from error
    if not data:
        raise ImageError(f"{path} is empty (0 bytes)")
    return data


def _describe_link(path: str | os.PathLike[str]) -> str:
    return f", which is {describe_missing(path)}" if os.path.islink(path) else ""


def _read_picture_file(path: str | os.PathLike[str]) -> bytes:
    """All of the file; of a large one its beginning first: memory is taken for what may be a picture alone."""
    with open(path, "rb") as file:
        if os.fstat(file.fileno()).st_size > _LARGE:
            beginning = file.read(64)
            if not may_be_picture(beginning):
                raise ImageError(f"{path} {_describe_unidentified(beginning)}")
            file.seek(0)
        return file.read()


def may_be_picture(beginning: bytes) -> bool:
    """Whether a file begins as one of a format that is read.

    >>> may_be_picture(b"P6 3 2 255"), may_be_picture(bytes(64))
    (True, False)
    """
    known = any(beginning[place : place + len(mark)] == mark for place, mark in BEGINNINGS.values())
    plain = beginning[:2] in (b"BM", b"II", b"MM") or (beginning[:1] == b"P" and beginning[1:2] in b"1234567fFyY")
    return known or plain or beginning[4:8] == b"ftyp"


@contextlib.contextmanager
def decoding(path: str | os.PathLike[str], data: bytes) -> Iterator[None]:
    """Whatever goes wrong within is the file's fault, and is said as an `ImageError`; Pillow's warnings are dropped.

    Args:
        path: of the file.
        data: its first bytes at least.
    """
    with warnings.catch_warnings():
        # By module: should two threads restore the filters in the wrong order, nothing but Pillow stays silent.
        warnings.filterwarnings("ignore", module=r"PIL\.")
        try:
            yield
        except ImageError:
            raise
        except UnidentifiedImageError as error:
            raise ImageError(f"{path} {_describe_unidentified(data)}") from error
        except MemoryError as error:
            raise ImageError(f"{path} does not fit into memory") from error
        except Exception as error:  # decoders raise all kinds
            reason = f"{path} is damaged or cut off ({str(error) or type(error).__name__})"
            raise DamagedError(f"{reason}; --allow-damaged reads what is there") from error


def _describe_unidentified(data: bytes) -> str:
    for name, (place, beginning) in BEGINNINGS.items():
        if data[place : place + len(beginning)] == beginning:
            if "TIFF" in name and _has_unknown_samples(data):
                return "holds pixels of a kind that is not supported; save it as 8 or 16 bits a channel, unsigned"
            return f"is damaged or cut off (it begins as {name} does, and its header cannot be read)"
    if is_heic(data):
        if HEIC in pillow_formats(heic=True):
            return "is damaged or cut off (it begins as HEIC does, and its header cannot be read)"
        return "is HEIC, which needs pillow-heif: pip install 'jnst[heic]', or convert the picture first"
    return f"is not a picture jnst can read; it reads {', '.join(READABLE)}"


def _has_unknown_samples(data: bytes) -> bool:
    """Whether a TIFF file says that it holds floating-point numbers, or more than 16 bits each."""
    with contextlib.suppress(Exception):  # of a damaged file, anything
        tags = TiffImagePlugin.ImageFileDirectory_v2(data[:8])
        file = io.BytesIO(data)
        file.seek(tags.next)
        tags.load(file)
        return 3 in tags.get(_SAMPLE_FORMAT, ()) or max(tags[ExifTags.Base.BitsPerSample]) > 16
    return False


def open_picture(data: bytes) -> ImageFile.ImageFile:
    """The picture with its header read and nothing decoded. Pillow's own limit is off: `check_size` says more."""
    with _lock:  # the limit belongs to the whole process
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            return Image.open(io.BytesIO(data), formats=pillow_formats(heic=is_heic(data)))
        finally:
            Image.MAX_IMAGE_PIXELS = limit


def check_size(path: str | os.PathLike[str], image: Image.Image, allow_large: bool) -> None:
    """Raises ImageError for a picture without pixels, or above Pillow's limit on them unless `allow_large`."""
    with _lock:
        limit = Image.MAX_IMAGE_PIXELS
    pixels = image.width * image.height
    if pixels == 0:
        raise ImageError(f"{path} is {image.width} × {image.height} pixels; expected one or more each way")
    if limit is not None and pixels > limit and not allow_large:
        raise ImageError(
            f"{path} is {image.width} × {image.height} = {pixels:,} pixels, above the limit of {limit:,} that guards "
            "against files made to fill the memory; --allow-large reads it all the same"
        )
