"""From an opened picture of 16 bits a channel to arrays, piece by piece, without a second copy of the picture."""

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, ImageFile

from jnst.config import ColorProfile
from jnst.errors import ImageError, quote
from jnst.images import libtiff
from jnst.images.collector import Collector, Decoded
from jnst.images.opening import open_picture
from jnst.images.png_deep import around_one_pixel, read_deep_png

# Rows, columns, and samples there: rows × columns × channels.
Piece: TypeAlias = tuple[slice, slice, npt.NDArray[np.uint16]]

_BAND = 1 << 18  # pixels
_LONGEST_LINE = 1 << 22  # pixels; what is decoded by lines needs a few of them beside the picture


def raw_mode(image: Image.Image) -> str:
    """How colour is packed in the file, in Pillow's words, such as 'RGB;16B'; empty for grey and for most formats."""
    if image.mode not in ("RGB", "RGBA"):
        return ""
    modes = {
        tile.args if isinstance(tile.args, str) else str((tile.args or ("",))[0]) for tile in getattr(image, "tile", ())
    }
    return modes.pop() if len(modes) == 1 else ""


def is_deep(image: Image.Image) -> bool:
    """Whether an opened picture has 16 bits a channel, in colour or grey."""
    raw = raw_mode(image)
    return image.mode in ("I", "I;16", "I;16B", "I;16L", "I;16N") or (";16" in raw and raw[:3] != "BGR")


def load_samples(image: Image.Image) -> None:
    """Decodes the image; where damaged files may be read (`jnst.images.damaged`), as far as it goes."""
    try:
        image.load()
    except OSError:
        if not ImageFile.LOAD_TRUNCATED_IMAGES or getattr(image, "tile", None):
            raise


def decode_deep(
    path: str | os.PathLike[str], image: Image.Image, data: bytes, color_profile: ColorProfile = "apply"
) -> Decoded:
    """What `decode_samples` promises, for 16 bits a channel.

    Raises:
        ImageError: for samples of a kind that is not supported.
        Exception: whatever a decoder raises.
    """
    if max(image.size) > _LONGEST_LINE:
        raise ImageError(
            f"{path} is {image.width} × {image.height} pixels; pictures of 16 bits are read up to {_LONGEST_LINE:,} "
            "pixels each way"
        )
    raw, profile = raw_mode(image), image.info.get("icc_profile")
    strict = image.format == "PNG" and bool(data) and not ImageFile.LOAD_TRUNCATED_IMAGES
    if (not raw and not strict) or not isinstance(image, ImageFile.ImageFile):
        return _decode_grey(path, image, profile, color_profile)
    if raw and raw != "LA;16B" and raw[:-1] not in ("RGB;16", "RGBA;16", "RGBX;16"):
        raise ImageError(
            f"{path} stores 16-bit colour as {quote(raw)}, which is not supported; save it with plain alpha"
        )
    mode, has_alpha, key = "RGB" if raw[:3] == "RGB" else "L", raw[:2] == "LA" or raw[:4] == "RGBA", _key(image)
    size, orientation, pieces = _open_pieces(image, data, raw)
    transparent = has_alpha or key is not None
    collector = Collector(
        size, mode, transparent=transparent, profile=profile, color_profile=color_profile, orientation=orientation
    )
    for rows, columns, values in pieces:
        colour = values[..., : 3 if mode == "RGB" else 1]
        opacity = values[..., -1] if has_alpha else None
        if key is not None:
            opacity = np.where((colour == key).all(axis=2), 0, 65_535).astype(np.uint16)
        collector.put((rows, columns), colour, opacity)
    return collector.stored() if strict else collector.upright()


def _key(image: Image.Image) -> npt.NDArray[np.uint16] | None:
    """The colour that stands for transparent."""
    key = image.info.get("transparency")
    return np.array(key, np.uint16) if isinstance(key, int | tuple) else None


def _open_pieces(image: ImageFile.ImageFile, data: bytes, raw: str) -> tuple[tuple[int, int], int, Iterator[Piece]]:
    """Size in the order of what comes, its orientation, and the pieces."""
    orientation = find_orientation(image, data)
    if image.format == "PNG":
        if ImageFile.LOAD_TRUNCATED_IMAGES:
            return (image.height, image.width), 1, _read_twice(data, raw)
        return (image.height, image.width), orientation, read_deep_png(data)
    channels = 3 if raw[:4] == "RGB;" else 4
    tags = image.tag_v2  # pyright: ignore[reportAttributeAccessIssue]
    size = int(tags[ExifTags.Base.ImageLength]), int(tags[ExifTags.Base.ImageWidth])
    if all(tile[0] == "raw" for tile in image.tile):
        return size, orientation, _read_plain(image, data, raw, channels)
    pieces = libtiff.read_deep(image, data, channels)
    if pieces is not None:
        return size, orientation, pieces
    return (image.height, image.width), 1, _read_twice(data, raw)


def find_orientation(image: ImageFile.ImageFile, data: bytes) -> int:
    """Exif's orientation, from wherever the file tells it; 1 where it does not."""
    with contextlib.suppress(Exception):  # whatever is wrong with the tags, the pixels are there
        if image.format == "PNG":  # what stands behind the picture is read too, which would decode the picture
            with open_picture(around_one_pixel(data)) as small:
                return read_orientation(small)
        return read_orientation(image)
    return 1


def read_orientation(image: Image.Image) -> int:
    """Exif's number for how the stored picture lies, 1 where nothing is said of it."""
    with contextlib.suppress(Exception):
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    return 1


def _order(raw: str) -> str:
    return raw[-1] if raw[-1] in "BL" else ("L" if sys.byteorder == "little" else "B")


def _read_plain(image: ImageFile.ImageFile, data: bytes, raw: str, channels: int) -> Iterator[Piece]:
    """Samples that are stored as they are."""
    dtype = np.dtype("<u2" if _order(raw) == "L" else ">u2")
    for tile in image.tile:
        left, top, right, bottom = tile.extents or (0, 0, *image.size)
        width, stride = right - left, int(tile.args[1]) if isinstance(tile.args, tuple) and len(tile.args) > 1 else 0
        used = 2 * width * channels
        stride = stride or used
        for row in range(top, bottom):
            start = tile.offset + (row - top) * stride
            if start + used > len(data):
                raise ValueError(f"line {row} is missing")
            values = np.frombuffer(data, dtype, width * channels, start).reshape(1, width, channels)
            yield slice(row, row + 1), slice(left, right), values.astype(np.uint16)


def _read_twice(data: bytes, raw: str) -> Iterator[Piece]:
    """Pillow keeps one byte of two, and the byte order that it is given decides which; it turns the picture as well."""
    if raw == "LA;16B":  # four bytes a pixel, taken as they are
        whole = open_picture(data)
        whole.tile = [tile._replace(args="RGBA") for tile in whole.tile]
        load_samples(whole)
        for rows in bands(whole):
            values = np.asarray(crop(whole, rows)).astype(np.uint16)
            yield rows, slice(None), (values[..., 0::2] << 8 | values[..., 1::2]).astype(np.uint16)
        return
    halves = []
    for order in (_order(raw), "L" if _order(raw) == "B" else "B"):
        half = open_picture(data)
        half.tile = [
            tile._replace(args=(raw[:-1] + order, *tile.args[1:]) if isinstance(tile.args, tuple) else raw[:-1] + order)
            for tile in half.tile
        ]
        load_samples(half)
        halves.append(half)
    for rows in bands(halves[0]):
        upper, lower = (np.asarray(crop(half, rows)).astype(np.uint16) for half in halves)
        yield rows, slice(None), (upper << 8 | lower).astype(np.uint16)


def _decode_grey(
    path: str | os.PathLike[str], image: Image.Image, profile: bytes | None, color_profile: ColorProfile
) -> Decoded:
    tags = getattr(image, "tag_v2", {})
    inverted = tags.get(ExifTags.Base.PhotometricInterpretation) == 0  # Pillow turns only 8 bits round
    load_samples(image)
    size = image.height, image.width
    key = _key(image)
    collector = Collector(size, "L", transparent=key is not None, profile=profile, color_profile=color_profile)
    for rows in bands(image):
        values = np.asarray(crop(image, rows))
        if values.min() < 0 or values.max() > 65_535:
            raise ImageError(f"{path} holds grey levels from {values.min()} to {values.max()}; expected 0 to 65535")
        opacity = None if key is None else np.where(values == key, 0, 65_535).astype(np.uint16)
        values = values.astype(np.uint16)
        collector.put((rows, slice(None)), (65_535 - values if inverted else values)[..., None], opacity)
    return collector.upright()


def bands(image: Image.Image, pixels: int = _BAND) -> Iterator[slice]:
    """The picture's rows, some at a time."""
    height = max(1, pixels // image.width)
    for top in range(0, image.height, height):
        yield slice(top, min(top + height, image.height))


def crop(image: Image.Image, rows: slice) -> Image.Image:
    """Some rows of the picture."""
    return image.crop((0, rows.start, image.width, rows.stop))
