"""Which size a picture is brought to, and bringing it there."""

import math

import numpy as np
import numpy.typing as npt

from jnst.config import MOST_SCALES, Colors, ResizeKernel, SizeConfig
from jnst.images.resizing import LUMINANCE, Array, resize, to_unit

# Longer side, in pixels, that the first of as many scales as the size asks for has at most.
FIRST_SCALE = 384


def fit_size(height: int, width: int, size: SizeConfig) -> tuple[int, int]:
    """The (height, width) that the size rule makes of a picture; the aspect ratio is kept, but for rounding.

    - height: width = ⌊width · (pixels / height)⌋ in float64, as Gordić's program does.
    - long: with the tensorflow kernel both sides times pixels / longer side in float32, truncated, as the TensorFlow
      tutorial does (in float32 the longer side may come out a pixel short); else the shorter side is rounded.
    - short: longer side = ⌊pixels · longer / shorter⌋, as the torchvision of Gatys's notebook does.
    - keep: as it is. With `enlarge` off, so is a picture whose side in question is not above `pixels`.

    >>> fit_size(734, 979, SizeConfig(rule="height", pixels=400))
    (400, 533)
    """
    side = {"height": height, "long": max(height, width), "short": min(height, width)}.get(size.rule, 0)
    if size.rule == "keep" or (side <= size.pixels and not size.enlarge):
        return height, width
    pixels = size.pixels
    if size.rule == "height":
        return pixels, max(1, int(width * (pixels / height)))
    if size.rule == "short":
        return (pixels, pixels * width // height) if height <= width else (pixels * height // width, pixels)
    if size.kernel == "tensorflow-bilinear":
        scale = np.float32(pixels) / np.float32(side)
        return max(1, int(np.float32(height) * scale)), max(1, int(np.float32(width) * scale))
    shorter = max(1, (2 * pixels * min(height, width) + side) // (2 * side))
    return (shorter, pixels) if height <= width else (pixels, shorter)


def fit(image: npt.ArrayLike, size: SizeConfig) -> Array:
    """The picture brought to working size by the rule and kernel of `size`."""
    array = np.asarray(image)
    return _resize_if_needed(array, fit_size(array.shape[0], array.shape[1], size), size.kernel)


def fit_style(image: npt.ArrayLike, content_size: tuple[int, int], size: SizeConfig) -> Array:
    """The style picture at working size: by the same rule, or stretched to the content's; at most `style_pixels` long;
    times `style_scale`.
    """
    array = np.asarray(image)
    target = content_size if size.style == "content" else fit_size(array.shape[0], array.shape[1], size)
    if size.style_pixels:
        target = fit_size(*target, SizeConfig(rule="long", pixels=size.style_pixels, enlarge=False))
    if size.style_scale != 1:
        target = (max(1, round(target[0] * size.style_scale)), max(1, round(target[1] * size.style_scale)))
    return _resize_if_needed(array, target, size.kernel)


def finish(picture: npt.ArrayLike, content: npt.ArrayLike, colors: Colors) -> npt.NDArray[np.float32]:
    """A run's picture as its result: at the content's size, clipped to [0, 1], and in the content's colours if asked.

    The content's colours are kept by taking over the luminance (Rec. 601) alone (Gatys et al. 2017, arXiv 1611.07865,
    section 5.2): out = content + Y(picture) − Y(content) in all three channels leaves both differences of colour alone.
    That is also the end of a run on luminance alone, whose picture is grey.

    Args:
        picture: RGB, floating point, height × width × 3.
        content: the content picture at working size, of any type that `to_unit` takes.
        colors: as in the config; match is a matter of the style image and changes nothing here.
    """
    target = to_unit(content)
    size = (target.shape[0], target.shape[1])
    result = np.clip(
        np.asarray(_resize_if_needed(np.asarray(picture, np.float32), size, "pillow-bicubic"), np.float32), 0, 1
    )
    if colors in ("content", "luminance"):
        result = np.clip(target + ((result - target) @ LUMINANCE)[..., None], 0, 1)
    return result.astype(np.float32)


def scale_count(longer: int, scales: int) -> int:
    """How many sizes `scales` stands for where the longer side is that many pixels.

    Zero stands for at least two, and for as many as bring the first one to `FIRST_SCALE` pixels or less, so that the
    painting's motifs do not become small beside a large picture.

    >>> [scale_count(longer, 0) for longer in (256, 512, 768, 769, 1024, 2048, 4096)]
    [2, 2, 2, 3, 3, 4, 5]
    >>> scale_count(4096, 2)
    2
    """
    return scales or min(MOST_SCALES, max(2, 1 + math.ceil(math.log2(max(longer, 1) / FIRST_SCALE))))


def scale_sizes(height: int, width: int, scales: int, *, minimum: int = 64) -> list[tuple[int, int]]:
    """The sizes of a coarse-to-fine run, smallest first, each half the next, none with a side below `minimum`.

    >>> scale_sizes(300, 401, 3)
    [(75, 100), (150, 200), (300, 401)]
    >>> scale_sizes(768, 1024, 0)
    [(192, 256), (384, 512), (768, 1024)]
    """
    sizes = [(height, width)]
    for power in range(1, scale_count(max(height, width), scales)):
        smaller = (max(1, round(height / 2**power)), max(1, round(width / 2**power)))
        if min(smaller) < minimum:
            break
        sizes.insert(0, smaller)
    return sizes


def halvings(full: tuple[int, ...], size: tuple[int, ...]) -> int:
    """How often the longer side of one scale was halved from full size, rounded as it may have been.

    >>> [halvings((301, 400), size) for size in scale_sizes(301, 400, 3)]
    [2, 1, 0]
    """
    return round(math.log2(max(full) / max(size)))


def _resize_if_needed(array: Array, target: tuple[int, int], kernel: ResizeKernel) -> Array:
    if kernel == "tensorflow-bilinear" or array.shape[:2] != target:
        return resize(array, *target, kernel)
    return array
