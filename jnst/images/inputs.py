"""Pictures as people have them, each turned into a `Picture`: a path, Pillow's image, a `Picture`, or an array.

What comes out of a path and of Pillow's image of the same file is the same. An array is taken as sRGB.
"""

import os
from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from PIL import Image, ImageFile

from jnst.config import ColorProfile
from jnst.errors import ConfigError, ImageError
from jnst.images.masks import Mask
from jnst.images.opening import DamagedError, decoding
from jnst.images.reading import Picture, finish_picture, read_image
from jnst.images.resizing import to_unit
from jnst.images.samples import decode_samples, scale_hidden_grey
from jnst.images.samples_16bit import read_orientation
from jnst.images.transparency import fill_hidden
from jnst.images.validate import validate_image

# What a picture may be besides an array.
PictureForm: TypeAlias = str | os.PathLike[str] | Image.Image | Picture


class StylePicture(NamedTuple):
    """A style image, and which part of it is looked at.

    pixels: height × width × 3, with what is hidden filled from what is visible.
    mask: height × width, float32 in [0, 1]; None where all of it is looked at.
    """

    pixels: Any
    mask: Mask | None = None


def as_picture(image: Any, kind: str = "content", *, color_profile: ColorProfile = "apply") -> Picture:
    """Any picture as a `Picture`; arrays, of NumPy, JAX or another library, are not copied.

    Args:
        image: a path (text or path-like), Pillow's image of any mode that `read_image` reads, what `read_image`
            returned, or an array: height × width × 3, RGB, uint8, uint16, or floating point in [0, 1].
        kind: what the picture is to the caller, such as "content"; for messages.
        color_profile: whether the profile in a file, or in Pillow's image, is applied. An array has none.

    Raises:
        ImageError: it is none of these, or cannot be read; the message says of which picture.
    """
    if isinstance(image, Picture):
        return image
    if isinstance(image, str | os.PathLike):
        try:
            return read_image(image, color_profile=color_profile)
        except ImageError as error:
            raise ImageError(f"the {kind} image cannot be used: {error}{_advice(image)}") from error
    if isinstance(image, Image.Image):
        return _from_pillow(image, kind, color_profile)
    validate_image(image, kind)
    return Picture(image if hasattr(image, "shape") else np.asarray(image), None, "array", ())


def visible_pixels(picture: Picture, kind: str = "content") -> Any:
    """The picture's pixels with what is hidden filled from what is visible (`fill_hidden`).

    Raises:
        ImageError: every pixel is transparent.
    """
    if picture.alpha is None:
        return picture.pixels
    try:
        return fill_hidden(picture.pixels, picture.alpha)
    except ImageError as error:
        raise ImageError(f"the {kind} image cannot be used: {error}") from error


def as_pixels(image: Any, kind: str = "content", *, color_profile: ColorProfile = "apply") -> Any:
    """`visible_pixels` of `as_picture`: what a run is given."""
    return visible_pixels(as_picture(image, kind, color_profile=color_profile), kind)


def as_list(images: Any) -> list[Any]:
    """One picture, or each of a list or tuple of them; a `Picture` or `StylePicture`, which is a tuple, is one."""
    several = isinstance(images, list | tuple) and not isinstance(images, Picture | StylePicture)
    return list(images) if several else [images]


def as_style(style: Any, kind: str = "style", *, color_profile: ColorProfile = "apply") -> StylePicture:
    """Any picture as a style image: what is transparent is not looked at, and a pixel counts as much as it is visible.

    Raises:
        ImageError: as `as_picture`; or every pixel is transparent.
    """
    if isinstance(style, StylePicture):
        return style
    picture = as_picture(style, kind, color_profile=color_profile)
    pixels, alpha = visible_pixels(picture, kind), picture.alpha
    if alpha is None or alpha.min() == np.iinfo(alpha.dtype).max:
        return StylePicture(pixels)
    return StylePicture(pixels, to_unit(alpha))


def as_styles(styles: Any, *, color_profile: ColorProfile = "apply") -> list[StylePicture]:
    """`as_style` of one style image or of each of several. Raises ConfigError where there is none."""
    several: Sequence[Any] = as_list(styles)
    if not several:
        raise ConfigError("there are 0 styles; expected one or more style images")
    return [as_style(style, color_profile=color_profile) for style in several]


def _from_pillow(image: Image.Image, kind: str, color_profile: ColorProfile) -> Picture:
    name = f"the {kind} image"
    if image.width * image.height == 0:
        raise ImageError(f"{name} is {image.width} × {image.height} pixels; expected one or more each way")
    in_file = isinstance(image, ImageFile.ImageFile) and image.fp is not None
    try:
        return _decode_pillow(name, image, color_profile)
    except DamagedError as error:
        if in_file:
            raise
        raise ImageError(f"{name}, Pillow's of mode {image.mode}, cannot be read ({error.__cause__})") from error


def _decode_pillow(name: str, image: Image.Image, color_profile: ColorProfile) -> Picture:
    with decoding(name, b""):
        scale_hidden_grey(image)  # before anything that loads the samples
        orientation = read_orientation(image)
        image.load()
        # Pillow turns TIFF files itself while loading, and then takes the tag away.
        if isinstance(image, ImageFile.ImageFile) and image.format == "TIFF":
            orientation = 1
        return finish_picture(
            decode_samples(name, image, b"", color_profile), orientation, image.format or "Pillow's image", ()
        )


def _advice(image: Any) -> str:
    return "; a URL is read by `jnst stylize` and `jnst batch` alone" if "://" in str(image) else ""
