"""One half of the loss alone, from noise: the style gives a texture, the content a reconstruction of a feature map."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from jnst.argument_checks import check_config, check_names, check_switch
from jnst.array_types import Params
from jnst.config import MOST_SCALES, Config, SizeConfig
from jnst.config_fields import require
from jnst.errors import ConfigError, quote
from jnst.transfer.driver import stylize
from jnst.transfer.result import Result
from jnst.transfer.scales import check_size, check_tileable

# The coarsest scale of a texture has at least so many pixels on its shorter side.
COARSEST = 128


def texture(
    params: Params,
    style: Any,
    config: Config,
    *,
    size: int | tuple[int, int],
    seamless: bool = False,
    scales: int | None = None,
    **options: Any,
) -> Result:
    """A picture from noise with the style's Gram matrices and nothing else (Gatys, Ecker, Bethge 2015,
    arXiv 1505.07376).

    Args:
        params: from `prepare_params` or `load_params`.
        style: height × width × 3, RGB; uint8, uint16 or floating point in [0, 1]; or a list of several, whose Gram
            matrices are averaged. Shrunk to the longer side `config.size.pixels` where it is larger.
        config: a preset or a variant of one; its content term is left out.
        size: height and width of the texture in pixels, or one number for both.
        seamless: whether copies side by side show no seam; the sides are then multiples of 16 for the default layers.
        scales: sizes of the coarse-to-fine run; by default as many as leave 128 pixels to the shorter side.
        options: as in `stylize`: seed, callback, style_weights, initial, optimizer, checkpoint, extra_terms, progress,
            animate.

    Returns:
        The picture, the trace of the losses, and why the run ended, as `stylize`.

    Raises:
        ConfigError: for a size below one pixel or too small for the deepest layer, a seamless one that cannot tile,
            `seamless` neither true nor false, or a config without style layers.

    >>> import jnst
    >>> params, config = jnst.load_preset("default", weights="vgg16-small", steps=2)
    >>> style = np.random.default_rng(0).random((40, 40, 3))
    >>> jnst.texture(params, style, config, size=(32, 48), seamless=True).image.shape
    (32, 48, 3)
    """
    check_config(config)
    canvas, seamless = check_canvas(size), check_switch("seamless", seamless)
    config = texture_config(config, canvas, seamless=seamless, scales=scales)
    return stylize(params, blank(canvas), style, config, **options)


def check_canvas(size: Any) -> tuple[int, int]:
    """Height and width from a size.

    Raises:
        ConfigError: it is no whole number, or pair of them, from 1 to 65535.
    """
    sides = (size, size) if isinstance(size, int | np.integer) else size
    whole = (
        isinstance(sides, list | tuple)
        and len(sides) == 2
        and all(isinstance(side, int | np.integer) for side in sides)
    )
    if isinstance(size, bool) or not whole or not all(1 <= side <= 65_535 for side in sides):
        raise ConfigError(f"size is {quote(size)}; expected pixels from 1 to 65535: one number, or height and width")
    return int(sides[0]), int(sides[1])


def blank(size: tuple[int, int]) -> np.ndarray:
    """What stands in for a content image where there is none: grey, height × width × 3."""
    return np.full((*size, 3), 128, np.uint8)


def texture_config(
    config: Config, size: tuple[int, int], *, seamless: bool = False, scales: int | None = None
) -> Config:
    """The config with which `stylize` makes a texture out of a blank picture of that height and width.

    Raises:
        ConfigError: there is no style layer, the picture is too small for the deepest one, or a seamless picture of
            that size cannot tile.
    """
    require(bool(config.loss.style_layers), "a texture is made of style layers, and the config has none")
    pixels = config.size.pixels if config.size.rule != "keep" else config.size.style_pixels
    plain = SizeConfig(rule="keep", kernel=config.size.kernel, style_scale=config.size.style_scale, style_pixels=pixels)
    config = dataclasses.replace(
        config,
        init="random",
        size=plain,
        loss=dataclasses.replace(config.loss, content_layers=()),
        optimizer=dataclasses.replace(config.optimizer, content_lead=1.0),
        run=dataclasses.replace(config.run, colors="style", scales=scales or texture_scales(size)),
    )
    if seamless:
        config = dataclasses.replace(config, network=dataclasses.replace(config.network, padding="circular"))
    check_size(size, config, "texture")
    if config.network.padding == "circular":
        check_tileable(size, config)
    return config


def texture_scales(size: tuple[int, int]) -> int:
    """How many sizes a texture of that height and width goes through, each half the next.

    The network sees a hundred pixels or so at once; larger structure comes from coarser scales.

    >>> texture_scales((255, 512)), texture_scales((256, 512)), texture_scales((2048, 2048))
    (1, 2, 5)
    """
    return min(MOST_SCALES, max(1, (min(size) // COARSEST).bit_length()))


def reconstruct(
    params: Params, picture: Any, config: Config, *, layers: Sequence[str] = ("relu4_2",), **options: Any
) -> Result:
    """A picture from noise with the feature maps of another at some layers and nothing else: what those layers keep
    of it (Mahendran and Vedaldi 2015, arXiv 1412.0035; Gatys et al. 2015, arXiv 1508.06576, figure 1).

    Args:
        params: from `prepare_params` or `load_params`.
        picture: height × width × 3, RGB; uint8, uint16 or floating point in [0, 1]. Resized by `config.size`.
        config: a preset or a variant of one; its style term is left out.
        layers: names from `layer_names`; their terms weigh alike.
        options: as in `stylize`: seed, callback, initial, optimizer, checkpoint, mesh, extra_terms, progress, animate.

    Returns:
        The picture, the trace of the losses, and why the run ended, as `stylize`.

    Raises:
        ConfigError: for an unknown layer, or a picture too small for it.

    >>> import jnst
    >>> params, config = jnst.load_preset("default", weights="vgg16-small", steps=2, size=32)
    >>> photo = np.random.default_rng(0).random((32, 48, 3))
    >>> jnst.reconstruct(params, photo, config, layers=["relu2_1"]).image.shape
    (21, 32, 3)
    """
    return stylize(params, picture, picture, reconstruction_config(config, layers), **options)


def reconstruction_config(config: Config, layers: Sequence[str], *, variation: float = 0.0) -> Config:
    """The config with which `stylize` reconstructs a picture from feature maps.

    Args:
        config: a preset or a variant of one.
        layers: names of the layers, weighed alike.
        variation: weight of the total variation term; zero shows what the layers know and nothing else.

    Raises:
        ConfigError: there is no layer, or one twice.
    """
    check_config(config)
    names = check_names("layers", (layers,) if isinstance(layers, str) else layers)
    require(bool(names), "no layer to reconstruct from; expected one or more, such as relu4_2")
    loss = dataclasses.replace(
        config.loss,
        content_weight=1.0,
        content_layers=tuple((name, 1.0 / len(names)) for name in names),
        style_layers=(),
        tv_weight=variation,
    )
    return dataclasses.replace(
        config,
        init="random",
        loss=loss,
        size=dataclasses.replace(config.size, style="own"),
        optimizer=dataclasses.replace(config.optimizer, content_lead=1.0),
        run=dataclasses.replace(config.run, colors="style"),
    )
