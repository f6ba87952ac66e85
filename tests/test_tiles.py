"""Tiles: the numbers of the whole image, whatever the size, the tile, the network's quirks or the preset."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import material
import numpy as np
import pytest

from jnst.config import Config, LossConfig, NetworkConfig, OptimizerConfig
from jnst.descent import advance, current_picture, init_state
from jnst.errors import ConfigError
from jnst.objective import evaluate, make_targets
from jnst.preprocessing import encode
from jnst.presets import PRESETS
from jnst.tiles import Grid, evaluate_tiled, halo_size, layer_stride, make_grid, prepare_targets
from jnst.vgg import prepare_params

WIDTH = 1 / 16


@functools.cache
def params_of(architecture: str):
    return prepare_params(material.random_params(architecture, WIDTH, 0))


def narrow(config: Config, **changes) -> Config:
    return dataclasses.replace(config, network=dataclasses.replace(config.network, width=WIDTH, **changes))


def pictures(size: tuple[int, int]):
    """Content, style, and a noisy content to evaluate."""
    content = material.paint("shapes", *size)
    return content, material.paint("marble", 75, 90), material.with_noise(content, 1)


def compare(config: Config, size: tuple[int, int], tile: int) -> None:
    """Tiled against whole, with the whole image's targets."""
    params, tiled = params_of(config.network.architecture), dataclasses.replace(config, tile=tile)
    content, style, picture = pictures(size)
    picture = encode(jnp.asarray(picture), config.variable)

    @jax.jit
    def both(picture):
        targets = make_targets(params, content, style, config)
        return evaluate(params, picture, targets, config), evaluate_tiled(params, picture, targets, tiled)

    ((value, terms), gradient), ((tiled_value, tiled_terms), tiled_gradient) = both(picture)
    assert float(tiled_value) == pytest.approx(float(value), rel=1e-6)
    for term, tiled_term in zip(terms, tiled_terms, strict=True):
        assert float(tiled_term) == pytest.approx(float(term), rel=2e-6)
    assert np.abs(tiled_gradient - gradient).max() <= 1e-5 * np.abs(gradient).max()


@pytest.mark.parametrize("preset", PRESETS)
def test_tiles_give_the_whole_images_loss_and_gradient(preset):
    compare(narrow(PRESETS[preset]), (96, 128), 64)


@pytest.mark.parametrize("pooling", ["max", "average"])
@pytest.mark.parametrize("rounding", ["floor", "ceil"])
@pytest.mark.parametrize("padding", ["zero", "replicate"])
def test_odd_sizes_and_every_quirk_of_the_network(pooling, rounding, padding):
    loss = LossConfig(
        content_layers=(("conv2_2", 1.0), ("relu3_1", 0.5)),
        style_layers=(("relu1_1", 1.0), ("pool2", 1.0), ("conv3_1", 1.0)),
        tv_weight=0.1,
    )
    config = dataclasses.replace(PRESETS["gatys"], loss=loss)
    config = narrow(config, pooling=pooling, pool_rounding=rounding, first_padding=padding)
    compare(config, (67, 101), 32)
