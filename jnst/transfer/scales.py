"""The scales of a coarse-to-fine run: their sizes, settings and images, for one image as for many."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jnst.config import Config
from jnst.errors import ConfigError
from jnst.images.inputs import StylePicture
from jnst.images.masks import fit_mask
from jnst.images.resizing import resize, to_unit
from jnst.images.sizing import fit, fit_size, fit_style, halvings, scale_sizes
from jnst.loss.tiling import layer_stride
from jnst.transfer.initial import initial_image
from jnst.transfer.regions import RegionMasks
from jnst.vgg.layers import deepest, layer_names, minimum_size


def at_scale(config: Config, index: int) -> Config:
    """The config for scale `index`, counted from the coarsest.

    Later scales begin with an enlarged picture, whose low frequencies are right already: half the preconditioning
    leaves them alone and paints the missing detail sooner.
    """
    if index == 0:
        return config
    optimizer = config.optimizer
    half = dataclasses.replace(optimizer, frequency_exponent=optimizer.frequency_exponent / 2)
    return dataclasses.replace(config, optimizer=half)


def smallest_scale(config: Config) -> int:
    """Smallest side a coarse scale may have: room for the deepest layer to be more than a point."""
    return 4 * minimum_size(config.loss.layers, config.network)


def check_size(size: tuple[int, ...], config: Config, kind: str) -> None:
    """Raises ConfigError unless the deepest layer still has a pixel for an image of that height and width."""
    smallest = minimum_size(config.loss.layers, config.network)
    if min(size) < smallest:
        architecture = config.network.architecture
        name = layer_names(architecture)[deepest(config.loss.layers, architecture)]
        raise ConfigError(
            f"the {kind} image is {size[1]} × {size[0]} pixels at working size; {name} needs at "
            f"least {smallest} a side; choose a larger size, or earlier layers"
        )


def check_given_size(shape: tuple[int, ...], config: Config, kind: str) -> None:
    """Raises ConfigError for a picture of that shape, as it was read, with a side of one pixel that would be enlarged.

    Such files are spacers of web pages, and enlarged they are one plain colour, or stripes. Where pictures keep their
    size, `check_size` says what the layers need.
    """
    size = fit_size(shape[0], shape[1], config.size)
    if min(shape[:2]) == 1 and size != tuple(shape[:2]):
        smallest = minimum_size(config.loss.layers, config.network)
        raise ConfigError(
            f"the {kind} image is {shape[1]} × {shape[0]} pixels; a side of one pixel is not enlarged, as there is "
            f"nothing to see in it. Expected 2 pixels a side or more, and {smallest} at working size, which the "
            "layers need; choose another picture"
        )


def style_at_scale(style: Any, config: Config, full: tuple[int, int], size: tuple[int, int]) -> np.ndarray:
    """The style image at working size, halved as often as the content is at a coarse scale."""
    return halve_style(to_unit(fit_style(style, full, config.size)), halvings(full, size), config)


def halve_style(unit: np.ndarray, times: int, config: Config) -> np.ndarray:
    """A style image halved that many times, its sides never below what the layers need; float32 in [0, 1].

    The size follows from the style alone and not from how the content's was rounded, so that contents of every size
    share Gram matrices, those that were prepared beforehand among them.
    """
    if not times:
        return unit
    smallest = minimum_size(config.loss.layers, config.network)
    height, width = (max(smallest, round(side / 2**times)) for side in unit.shape[:2])
    return resize(unit, height, width, "pillow-lanczos").astype(np.float32)


def prepare_content(content: Any, config: Config) -> tuple[np.ndarray, tuple[tuple[int, int], ...]]:
    """The content image at working size, and the sizes of all scales, smallest first.

    Args:
        content: height × width × 3, RGB; uint8, uint16 or floating point in [0, 1].
        config: size rule, scales, layers.

    Returns:
        The image, float32 in [0, 1], and (height, width) of each scale; the last is the image's.

    Raises:
        ConfigError: where the image is too small, as given or for the deepest layer, or is to tile and cannot.
    """
    check_given_size(np.shape(content), config, "content")
    full = np.asarray(to_unit(fit(np.asarray(content), config.size)))
    sizes = scale_sizes(full.shape[0], full.shape[1], config.run.scales, minimum=smallest_scale(config))
    for size in sizes:
        check_size(size, config, "content")
    if config.network.padding == "circular":
        check_tileable((full.shape[0], full.shape[1]), config)
        unit = tileable_unit(config)
        sizes = [(round(height / unit) * unit, round(width / unit) * unit) for height, width in sizes]
    return full, tuple(sizes)


def tileable_unit(config: Config) -> int:
    """What the sides of an image that tiles are multiples of: every pool has to halve it without rest."""
    return max(layer_stride(layer, config.network) for layer in config.loss.layers)


def check_tileable(size: tuple[int, int], config: Config) -> None:
    """Raises ConfigError unless the pools of the network halve an image of that height and width without rest."""
    unit = tileable_unit(config)
    if any(side % unit for side in size):
        height, width = (max(1, round(side / unit)) * unit for side in size)
        raise ConfigError(
            f"a picture of {size[1]} × {size[0]} pixels cannot tile; expected sides that are multiples of {unit}, as "
            f"the network halves them, such as {width} × {height}"
        )


def enlarge(picture: np.ndarray, size: tuple[int, int], config: Config) -> np.ndarray:
    """The result of a coarser scale at the next one's height and width; across the border where the image tiles."""
    if config.network.padding == "zero":
        return to_unit(resize(picture, *size, "pillow-bicubic"))
    # Margins of as many pixels before and after as both sizes have multiples of the unit, cut off again.
    unit = tileable_unit(config)
    before, after = ([side // unit for side in sides] for sides in (picture.shape[:2], size))
    padded = np.pad(picture, [*((margin, margin) for margin in before), (0, 0)], mode="wrap")
    larger = resize(padded, size[0] + 2 * after[0], size[1] + 2 * after[1], "pillow-bicubic")
    return to_unit(larger[after[0] : after[0] + size[0], after[1] : after[1] + size[1]])


def content_at_scale(full: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The content image at one scale, float32 in [0, 1], from that at working size."""
    return full if size == full.shape[:2] else to_unit(resize(full, *size, "pillow-lanczos"))


def styles_at_scale(
    styles: Sequence[StylePicture], config: Config, full: tuple[int, int], size: tuple[int, int]
) -> list[StylePicture]:
    """`style_at_scale` of several style images, with their masks at the same size.

    Raises:
        ConfigError: where one is too small for the deepest layer.
    """
    shrunk = []
    for style in styles:
        image = style_at_scale(style.pixels, config, full, size)
        check_size(image.shape[:2], config, "style")
        mask = None if style.mask is None else fit_mask(style.mask, (image.shape[0], image.shape[1]))
        shrunk.append(StylePicture(image, mask))
    return shrunk


def first_image(
    config: Config,
    content: np.ndarray,
    styles: Sequence[StylePicture],
    *,
    before: np.ndarray | None,
    initial: Any,
    seed: int,
    style_weights: Sequence[float] | None = None,
    masks: RegionMasks | None = None,
) -> np.ndarray:
    """The image that a scale begins with: the coarser scale's enlarged, or one given, or what `config.init` says.

    Args:
        config: of the run.
        content: from `content_at_scale`.
        styles: the style images, as they were given. Of several that are blended, the one with the largest weight
            counts, the first of equal ones; where there are regions, each region begins with its own.
        before: the result of the coarser scale, if there is one.
        initial: an image of any size to begin the first scale with, or None.
        seed: of the random start.
        style_weights: of styles that are blended; equal by default.
        masks: of the regions. What none of them covers, or is kept, begins as the content.

    Returns:
        RGB, float32, of the content's size.
    """
    height, width = content.shape[:2]
    if before is not None:
        return before if before.shape[:2] == (height, width) else enlarge(before, (height, width), config)
    if initial is not None:
        return to_unit(resize(np.asarray(initial), height, width, config.size.kernel))
    if config.init == "content":
        return content
    if masks is None or masks.keeps_alone or config.init == "random":
        return _begin(config, content, styles[leading_style(style_weights)], seed, None)
    shares = np.asarray(masks.at_size((height, width)).masks)
    picture = np.clip(1 - shares.sum(2, keepdims=True), 0, 1) * content
    for style, share in zip(styles, np.moveaxis(shares, 2, 0), strict=True):
        if share.any():
            picture += share[..., None] * _begin(config, content, style, seed, share)
    return picture.astype(np.float32)


def leading_style(style_weights: Sequence[float] | None) -> int:
    """Which of several styles has the largest weight; the first of equal ones."""
    return 0 if style_weights is None else int(np.argmax(np.asarray(style_weights, np.float64)))


def _begin(config: Config, content: np.ndarray, style: StylePicture, seed: int, share: np.ndarray | None) -> np.ndarray:
    """The initial image that the config names, for the part of the content that `share` shows."""
    size = (content.shape[0], content.shape[1])
    image = initial_image(
        jax.random.key(seed),
        jnp.asarray(content),
        jnp.asarray(to_unit(resize(np.asarray(style.pixels), *size, config.size.kernel))),
        config.init,
        noise=config.noise,
        variable=config.variable,
        network_input=config.network_input,
        content_mask=share,
        style_mask=None if style.mask is None else fit_mask(style.mask, size),
    )
    return np.asarray(image)
