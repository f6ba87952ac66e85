"""From a file to an upright sRGB picture: the reading half of Pillow's use here (`writing` is the other).

Whatever a file says about orientation, colour profile, palette, grey, CMYK or depth is settled here. Compressed TIFF is
decoded by libtiff, which can loop and writes to the terminal by itself: in a process of its own (`tiff_process`).
"""

import os
from typing import NamedTuple

import numpy as np
from PIL import Image, UnidentifiedImageError

from jnst.config import ColorProfile
from jnst.errors import ImageError, one_line
from jnst.images.libtiff import check_sums, tiff_notes
from jnst.images.opening import DamagedError, check_size, decoding, open_picture, read_bytes
from jnst.images.png_chunks import SIGNATURE, describe_colours, repair_png
from jnst.images.samples import Decoded, Pixels, decode_samples
from jnst.images.samples_16bit import find_orientation


class Picture(NamedTuple):
    """A picture as read: sRGB, upright.

    Attributes:
        pixels: height × width × 3, uint8, or uint16 where the file holds more than 8 bits; under alpha what the file
            holds there.
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


def read_image(
    path: str | os.PathLike[str],
    *,
    allow_large: bool = False,
    allow_damaged: bool = False,
    color_profile: ColorProfile = "apply",
) -> Picture:
    """The picture in a file, upright and in sRGB; of an animation, the first frame.

    Colour profiles are converted with perceptual intent, at 8 bits. A profile that moves no colour by more than two
    levels counts as sRGB and changes nothing; one that is broken is ignored, with a note.

    Args:
        path: of the file.
        allow_large: whether to read it above Pillow's limit on pixels.
        allow_damaged: whether to read what is there of a file that is damaged or cut off, as viewers do. The picture
            has its full size; what is missing is transparent, and a note says how much is there.
        color_profile: "ignore" takes the numbers in the file for sRGB, as programs do that read by OpenCV, TensorFlow
            or plain Pillow; a note says where that changes something.

    Returns:
        Pixels (height × width × 3, uint8 or uint16), alpha (height × width, or None), and notes on what was done.

    Raises:
        ImageError: missing, a folder, empty, not a picture, of a kind that is not supported, or
            above Pillow's limit on pixels (a guard against decompression bombs) unless `allow_large`; damaged or cut
            off unless `allow_damaged`, and with it where nothing of it can be read.
    """
    return read_picture_bytes(
        path, read_bytes(path), allow_large=allow_large, allow_damaged=allow_damaged, color_profile=color_profile
    )


def read_picture_bytes(
    path: str | os.PathLike[str],
    data: bytes,
    *,
    allow_large: bool = False,
    allow_damaged: bool = False,
    color_profile: ColorProfile = "apply",
) -> Picture:
    """`read_image` of a file's bytes; `path` is for messages."""
    try:
        return decode_picture(path, data, allow_large=allow_large, color_profile=color_profile)
    except DamagedError:
        if not allow_damaged:
            raise
    from jnst.images.tiff_process import decode_apart

    # Pillow's leave to read damaged files is the whole process's; and these are the ones that decoders fail in.
    options = {"allow_large": allow_large, "color_profile": color_profile, "damaged": True}
    try:
        return Picture(*decode_apart(path, data, 10 * len(data), **options))
    except DamagedError as error:
        raise ImageError(f"{path} is damaged or cut off, and nothing of it can be read") from error


def decode_picture(
    path: str | os.PathLike[str],
    data: bytes,
    *,
    allow_large: bool = False,
    color_profile: ColorProfile = "apply",
    isolated: bool = False,
) -> Picture:
    """`read_image` of bytes that have been read already.

    Args:
        path: for messages.
        data: the file's bytes.
        allow_large: as for `read_image`.
        color_profile: as for `read_image`.
        isolated: whether this is the process of its own that libtiff needs.
    """
    repaired: tuple[str, ...] = ()
    with decoding(path, data):
        if data.startswith(SIGNATURE):
            data, repaired = _repair(data)
            repaired += describe_colours(data)
        with open_picture(data) as image:
            check_size(path, image, allow_large)
            name = image.format or "unknown"
            if not isolated and any(tile[0] == "libtiff" for tile in image.tile):
                from jnst.images.tiff_process import decode_apart

                size = image.width * image.height
                return Picture(*decode_apart(path, data, size, allow_large=allow_large, color_profile=color_profile))
            if isolated:
                check_sums(image, data)
            notes = (*repaired, *_note_frames(image), *(tiff_notes(image, data) if isolated else ()))
            decoded = decode_samples(path, image, data, color_profile)
            # Pillow turns TIFF files itself while loading; whether the tag is still there afterwards says nothing.
            orientation = 1 if name == "TIFF" else find_orientation(image, data)
        del image  # and Pillow's copy of the samples with it
    return finish_picture(decoded, orientation, name, notes)


def finish_picture(decoded: Decoded, orientation: int, name: str, notes: tuple[str, ...]) -> Picture:
    """The picture turned upright, without an alpha that hides nothing.

    Args:
        decoded: from `decode_samples`.
        orientation: Exif's number, 1 to 8.
        name: of the format.
        notes: to which those of `decoded` are added.
    """
    pixels, alpha, more = decoded
    if alpha is not None and alpha.min() == np.iinfo(alpha.dtype).max:
        alpha = None
    alpha = None if alpha is None else _turn(alpha, orientation)
    return Picture(_turn(pixels, orientation), alpha, name, tuple(map(one_line, (*notes, *more))))


def _repair(data: bytes) -> tuple[bytes, tuple[str, ...]]:
    """A PNG file that Pillow opens, where there is a way."""
    repaired, notes = repair_png(data)
    try:
        open_picture(repaired).close()
    except (UnidentifiedImageError, ValueError):
        return repair_png(data, bare=True)[0], (*notes, "what the file says about itself is damaged and left out")
    return repaired, notes


def _note_frames(image: Image.Image) -> tuple[str, ...]:
    frames = getattr(image, "n_frames", 1)
    # An MPO file is a JPEG with a preview or the other eye's view behind it.
    return () if frames == 1 or image.format == "MPO" else (f"first of {frames} frames",)


def _turn(array: Pixels, orientation: int) -> Pixels:
    """The eight orientations of Exif 2.3: the number says where row 0 and column 0 lie on the upright picture."""
    if orientation in (5, 6, 7, 8):
        array = array.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        array = array[::-1]
    if orientation in (2, 3, 6, 7):
        array = array[:, ::-1]
    return np.ascontiguousarray(array)
