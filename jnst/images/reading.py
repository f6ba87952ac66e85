"""From the bytes of a file to an upright sRGB picture: the reading half of Pillow's door (`imageio` is the other).

Whatever a file says about orientation, colour profile, palette, grey, CMYK or depth is settled here.
"""

import contextlib
import functools
import io
import os
import sys
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, ImageCms, ImageFile, UnidentifiedImageError

from jnst.errors import ImageError

Pixels: TypeAlias = npt.NDArray[np.uint8 | np.uint16]

READABLE = ("PNG", "JPEG", "WEBP", "TIFF", "AVIF", "GIF", "BMP", "PPM")
_PNG_END = b"IEND\xaeB`\x82"
_COLOUR_MODES = ("RGB", "L", "CMYK", "YCbCr")
_lock = threading.Lock()


class Picture(NamedTuple):
    """A picture as read: sRGB, upright.

    Attributes:
        pixels: height × width × 3, uint8, or uint16 where the file holds more than 8 bits.
        alpha: height × width of the same type, or None where everything is opaque.
        format: name of the file's format.
        notes: sentences about what could not be taken over as it was, for the user to read.
    """

    pixels: Pixels
    alpha: Pixels | None
    format: str
    notes: tuple[str, ...]

    def __repr__(self) -> str:
        height, width = self.pixels.shape[:2]
        alpha = "" if self.alpha is None else ", with alpha"
        notes = "".join(f", {note}" for note in self.notes)
        return f"Picture({width} × {height}, {self.pixels.dtype.name}, {self.format}{alpha}{notes})"

    def _repr_png_(self) -> bytes:
        from jnst.images.display import png_bytes

        return png_bytes(self.pixels)

    def to_pil(self) -> Image.Image:
        """The picture as Pillow's image, 8 bits a channel, without alpha."""
        from jnst.images.display import to_pil

        return to_pil(self.pixels)

    def show(self) -> None:
        """Shows the picture: below the cell of a notebook, else in the system's viewer."""
        from jnst.images.display import show

        show(self.pixels)


def read_image(path: str | os.PathLike[str], *, allow_large: bool = False) -> Picture:
    """The picture in a file, upright and in sRGB; of an animation, the first frame.

    Colour profiles are converted with perceptual intent, at 8 bits. A profile that moves no colour by more than two
    levels counts as sRGB and changes nothing; one that is broken is ignored, with a note.

    Raises:
        ImageError: missing, a folder, empty, not a picture, damaged or cut off, of a kind that is not supported, or
            above Pillow's limit on pixels (a guard against decompression bombs) unless `allow_large`.
    """
    data = read_bytes(path)
    with decoding(path, data), open_picture(data) as image:
        _check_size(path, image, allow_large)
        notes = _note_frames(image)
        name = image.format or "unknown"
        if name == "PNG":
            _check_png(data)
        if ";16" in _raw_modes(image):
            pixels, alpha, more = _decode_deep(path, image, data)
        else:
            _refuse_planar(path, image)
            pixels, alpha, more = _decode_bytes(path, image)
        # Pillow turns TIFF files itself while loading; whether the tag is still there afterwards says nothing.
        orientation = 1 if name == "TIFF" else _orientation(image)
    if alpha is not None and alpha.min() == np.iinfo(alpha.dtype).max:
        alpha = None
    alpha = None if alpha is None else _turn(alpha, orientation)
    return Picture(_turn(pixels, orientation), alpha, name, (*notes, *more))


def read_bytes(path: str | os.PathLike[str]) -> bytes:
    """What is in a file; ImageError where it cannot be read or nothing is in it."""
    try:
        if Path(path).is_dir():
            raise ImageError(f"{path} is a folder; expected a picture")
        data = Path(path).read_bytes()
    except FileNotFoundError as error:
        raise ImageError(f"there is no picture at {path}") from error
    except OSError as error:
        raise ImageError(f"cannot read {path}: {error.strerror or error}") from error
    if not data:
        raise ImageError(f"{path} is empty (0 bytes)")
    return data


@contextlib.contextmanager
def decoding(path: str | os.PathLike[str], data: bytes) -> Iterator[None]:
    """Whatever goes wrong within is the file's fault, and is said as an `ImageError`; Pillow's warnings are dropped."""
    with warnings.catch_warnings():
        # By module: should two threads restore the filters in the wrong order, nothing but Pillow stays silent.
        warnings.filterwarnings("ignore", module=r"PIL\.")
        try:
            yield
        except ImageError:
            raise
        except UnidentifiedImageError as error:
            hint = "; HEIC must be converted first" if data[4:11] in (b"ftyphei", b"ftypmif") else ""
            raise ImageError(f"{path} is not a picture jnst can read{hint}; it reads {', '.join(READABLE)}") from error
        except MemoryError as error:
            raise ImageError(f"{path} does not fit into memory") from error
        except Exception as error:  # decoders raise all kinds
            raise ImageError(f"{path} is damaged or cut off ({error or type(error).__name__})") from error


def open_picture(data: bytes) -> ImageFile.ImageFile:
    """The picture with its header read and nothing decoded. Pillow's own limit is off: `_check_size` says more."""
    with _lock:  # the limit belongs to the whole process
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            return Image.open(io.BytesIO(data), formats=_formats())
        finally:
            Image.MAX_IMAGE_PIXELS = limit


@functools.cache
def _formats() -> tuple[str, ...]:
    Image.init()
    return tuple(name for name in READABLE if name in Image.OPEN)  # AVIF came with Pillow 11.2


@functools.cache
def readable_suffixes() -> frozenset[str]:
    """Suffixes of the files that `read_image` takes, in small letters, such as .jpg and .jfif."""
    formats = _formats()
    return frozenset(suffix for suffix, name in Image.registered_extensions().items() if name in formats)


def _check_png(data: bytes) -> None:
    """Checksums, and the end mark: Pillow's decoder asks for neither."""
    with open_picture(data) as image:
        image.verify()
    if _PNG_END not in data[-65_536:]:
        raise ValueError("its end is missing")


def _check_size(path: str | os.PathLike[str], image: Image.Image, allow_large: bool) -> None:
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


def _note_frames(image: Image.Image) -> tuple[str, ...]:
    frames = getattr(image, "n_frames", 1)
    # An MPO file is a JPEG with a preview or the other eye's view behind it.
    return () if frames == 1 or image.format == "MPO" else (f"first of {frames} frames",)


def _orientation(image: Image.Image) -> int:
    with contextlib.suppress(Exception):  # whatever is wrong with the tags, the pixels are there
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    return 1


def _turn(array: Pixels, orientation: int) -> Pixels:
    """The eight orientations of Exif 2.3: the number says where row 0 and column 0 lie on the upright picture."""
    if orientation in (5, 6, 7, 8):
        array = array.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        array = array[::-1]
    if orientation in (2, 3, 6, 7):
        array = array[:, ::-1]
    return np.ascontiguousarray(array)


def _decode_bytes(path: str | os.PathLike[str], image: Image.Image) -> tuple[Pixels, Pixels | None, tuple[str, ...]]:
    image.load()
    if image.mode in ("I", "I;16", "I;16B", "I;16L", "I;16N"):
        return _decode_grey16(path, image)
    profile, alpha = image.info.get("icc_profile"), None
    if image.has_transparency_data:
        seen = image.convert("RGBA")
        alpha = np.array(seen.getchannel("A"))
        image = image.getchannel("L") if image.mode == "LA" else seen.convert("RGB")
    elif image.mode in ("1", "P"):
        image = image.convert("L" if image.mode == "1" else "RGB")
    elif image.mode == "RGBX":
        image = image.convert("RGB")
    if image.mode not in _COLOUR_MODES:
        known = "grey, RGB, palette and CMYK of 8 or 16 bits"
        raise ImageError(f"{path} holds pixels of kind {image.mode!r}, which is not supported; supported are {known}")
    image, notes = _to_srgb(image, profile)
    return np.array(image), alpha, notes


def _decode_grey16(path: str | os.PathLike[str], image: Image.Image) -> tuple[Pixels, Pixels | None, tuple[str, ...]]:
    values = np.array(image)
    if values.min() < 0 or values.max() > 65_535:
        raise ImageError(f"{path} holds grey levels from {values.min()} to {values.max()}; expected 0 to 65535")
    values = values.astype(np.uint16)
    alpha = None
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):
        alpha = np.where(values == transparent, 0, 65_535).astype(np.uint16)
    tags = getattr(image, "tag_v2", {})
    if tags.get(ExifTags.Base.PhotometricInterpretation) == 0:  # white is zero; Pillow turns only 8 bits round
        values = 65_535 - values
    return np.repeat(values[..., None], 3, axis=2), alpha, ()


def _raw_modes(image: ImageFile.ImageFile) -> str:
    """How the file's samples are packed, in Pillow's words, such as 'RGB;16B'; empty for grey and for most formats."""
    if image.mode not in ("RGB", "RGBA"):
        return ""
    modes = {tile.args if isinstance(tile.args, str) else str((tile.args or ("",))[0]) for tile in image.tile}
    return modes.pop() if len(modes) == 1 else ""


def _refuse_planar(path: str | os.PathLike[str], image: Image.Image) -> None:
    depth = getattr(image, "tag_v2", {}).get(ExifTags.Base.BitsPerSample, (8,))
    if image.mode in ("RGB", "RGBA") and max(depth) > 8:
        raise ImageError(f"{path} stores {max(depth)}-bit colour in separate planes, which is not supported")


def _decode_deep(
    path: str | os.PathLike[str], image: ImageFile.ImageFile, data: bytes
) -> tuple[Pixels, Pixels | None, tuple[str, ...]]:
    """16-bit colour. Pillow keeps one byte of two, and the byte order it is told decides which: so ask it twice."""
    raw = _raw_modes(image)
    if raw == "LA;16B":
        # Four bytes a pixel, taken as they are.
        halves = _load_as(data, "RGBA").astype(np.uint16)
        values = halves[..., 0::2] * 256 + halves[..., 1::2]
        values = values[..., [0, 0, 0, 1]]
    elif raw[:-1] in ("RGB;16", "RGBA;16", "RGBX;16"):
        order = raw[-1] if raw[-1] in "BL" else ("L" if sys.byteorder == "little" else "B")
        opposite = raw[:-1] + ("L" if order == "B" else "B")
        values = _load_as(data, raw).astype(np.uint16) * 256 + _load_as(data, opposite)
    else:
        raise ImageError(f"{path} stores 16-bit colour as {raw!r}, which is not supported; save it with plain alpha")
    pixels, alpha = values[..., :3], values[..., 3] if values.shape[2] == 4 else None
    transparent = image.info.get("transparency")
    if isinstance(transparent, tuple):
        alpha = np.where((pixels == np.array(transparent)).all(axis=2), 0, 65_535).astype(np.uint16)
    profile = image.info.get("icc_profile")
    if not profile:
        return pixels, alpha, ()
    before = Image.fromarray((pixels >> 8).astype(np.uint8))
    after, notes = _to_srgb(before, profile)
    if after is before:
        return pixels, alpha, notes
    return (
        np.array(after),
        None if alpha is None else (alpha >> 8).astype(np.uint8),
        (*notes, "converted to sRGB at 8 bits"),
    )


def _load_as(data: bytes, raw_mode: str) -> npt.NDArray[np.uint8]:
    with open_picture(data) as image:
        image.tile = [
            tile._replace(args=raw_mode if isinstance(tile.args, str) else (raw_mode, *(tile.args or ("",))[1:]))
            for tile in image.tile
        ]
        return np.array(image)


@functools.cache
def srgb_profile() -> bytes:
    """sRGB as an ICC profile, with a fixed date in its header, so that equal pictures make equal files."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    profile[24:36] = bytes.fromhex("07d000010001000000000000")
    return bytes(profile)


def _to_srgb(image: Image.Image, profile: bytes | None) -> tuple[Image.Image, tuple[str, ...]]:
    notes: tuple[str, ...] = ()
    if profile and profile != srgb_profile():
        try:
            return _convert_profile(image, profile), ()
        except (ImageCms.PyCMSError, OSError, ValueError, TypeError) as error:
            notes = (f"colour profile ignored ({error})",)
    if image.mode == "CMYK":
        notes = (*notes, "CMYK without a usable profile; colours are approximate")
    return image if image.mode == "RGB" else image.convert("RGB"), notes


def _convert_profile(image: Image.Image, profile: bytes) -> Image.Image:
    source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    target = ImageCms.ImageCmsProfile(io.BytesIO(srgb_profile()))
    space = str(getattr(source.profile, "xcolor_space", "")).strip()
    mode = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}.get(space)
    if mode is None or (image.mode != mode and not (mode == "RGB" and image.mode in ("L", "YCbCr"))):
        raise ValueError(f"it is for {space}, the picture is {image.mode}")
    image = image if image.mode == mode else image.convert(mode)
    transform = ImageCms.buildTransform(source, target, mode, "RGB", ImageCms.Intent.PERCEPTUAL)
    if mode == "RGB":
        levels = np.arange(0, 256, 17, dtype=np.uint8)
        lattice = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(256, 16, 3)
        moved = np.array(ImageCms.applyTransform(Image.fromarray(lattice), transform)).astype(int)
        if np.abs(moved - lattice).max() <= 2:
            return image
    return _present(ImageCms.applyTransform(image, transform))


def _present(image: Image.Image | None) -> Image.Image:
    if image is None:
        raise ValueError("it could not be applied")
    return image
