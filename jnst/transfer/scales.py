"""The scales of a coarse-to-fine run."""

import dataclasses
from typing import Any

import numpy as np

from jnst.config import Config
from jnst.errors import ConfigError
from jnst.images.resizing import fit_style, resize, to_unit
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
            f"the {kind} image is {size[1]} × {size[0]} pixels at working size; {name} needs at least {smallest} a side"
        )


def style_at_scale(style: Any, config: Config, full: tuple[int, int], size: tuple[int, int]) -> np.ndarray:
    """The style image at working size, shrunk by the same factor as the content at a coarse scale."""
    unit = to_unit(fit_style(style, full, config.size))
    if size == full:
        return unit
    factor = size[0] / full[0]
    smallest = minimum_size(config.loss.layers, config.network)
    height, width = (max(smallest, round(side * factor)) for side in unit.shape[:2])
    return resize(unit, height, width, "pillow-lanczos")
