"""Colour profiles: sRGB's own, and the way from another one to sRGB."""

import functools
import io
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageCms

from jnst.config import ColorProfile
from jnst.errors import quote

# Input devices, displays, output devices, colour spaces.
_CLASSES = (b"scnr", b"mntr", b"prtr", b"spac")
# Makes RGB of some rows of a picture.
Converter = Callable[[Image.Image], Image.Image]


@functools.cache
def srgb_profile() -> bytes:
    """sRGB as an ICC profile, with a fixed date in its header, so that equal pictures make equal files."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    profile[24:36] = bytes.fromhex("07d000010001000000000000")
    return bytes(profile)


def make_converter(
    mode: str, profile: bytes | None, use: ColorProfile = "apply"
) -> tuple[Converter | None, tuple[str, ...]]:
    """What brings pictures of that mode and profile to sRGB with perceptual intent, and notes for the user.

    None where nothing but the mode has to be changed: without a profile, with one that moves no colour by more than two
    levels, with one that cannot be used, and with one that is to be ignored (a note says so of the last two).
    """
    notes: tuple[str, ...] = ()
    if profile and profile != srgb_profile():
        try:
            convert = _build(mode, profile)
            if convert is None or use == "apply":
                return convert, ()
            notes = (f"colour profile {_describe(profile)} ignored, as the setting color_profile asks",)
        except (ImageCms.PyCMSError, OSError, ValueError, TypeError) as error:
            notes = (f"colour profile ignored ({error})",)
    if mode == "CMYK":
        notes = (*notes, "CMYK without a usable profile; colours are approximate")
    return None, notes


def _describe(profile: bytes) -> str:
    try:
        return quote(ImageCms.getProfileDescription(ImageCms.ImageCmsProfile(io.BytesIO(profile))).strip())
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return "without a name"


def _build(mode: str, profile: bytes) -> Converter | None:
    source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    target = ImageCms.ImageCmsProfile(io.BytesIO(srgb_profile()))
    space = str(getattr(source.profile, "xcolor_space", "")).strip()
    wanted = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}.get(space)
    if wanted is None or (mode != wanted and not (wanted == "RGB" and mode in ("L", "YCbCr"))):
        raise ValueError(f"it is for {space}, the picture is {mode}")
    # A link from one device to another, or a list of names, is no description of a picture's colours (ICC.1, 7.2.5).
    if (kind := profile[12:16]) not in _CLASSES:
        raise ValueError(f"it is of class {quote(kind.decode('latin-1').strip())}, which describes no picture")
    transform = ImageCms.buildTransform(source, target, wanted, "RGB", ImageCms.Intent.PERCEPTUAL)

    def convert(image: Image.Image) -> Image.Image:
        image = image if image.mode == wanted else image.convert(wanted)
        converted = ImageCms.applyTransform(image, transform)
        if converted is None:
            raise ValueError("it could not be applied")
        return converted

    if wanted == "RGB":
        levels = np.arange(0, 256, 17, dtype=np.uint8)
        lattice = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(256, 16, 3)
        moved = np.array(convert(Image.fromarray(lattice))).astype(int)
        if np.abs(moved - lattice).max() <= 2:
            return None
    convert(Image.new(mode, (1, 1)))  # what fails, fails here and not in the middle of a picture
    return convert
