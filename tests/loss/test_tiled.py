"""Tiles: the numbers of the whole image, whatever the size, the tile, the network's quirks or the preset."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import material
import numpy as np
import pytest

from jnst.config import Config, LossConfig, NetworkConfig, OptimizerConfig, compile_key
from jnst.errors import ConfigError
from jnst.images.pixel_space import encode
from jnst.loss.objective import evaluate
from jnst.loss.targets import loss_weights, make_targets
from jnst.loss.tiled import evaluate_tiled
from jnst.loss.tiling import Grid, halo_size, layer_stride, make_grid
from jnst.presets.presets import PRESETS
from jnst.transfer.loop import advance
from jnst.transfer.state import current_picture, init_state
from jnst.vgg.convolution import prepare_params
from jnst.vgg.features import extract_features

pytestmark = pytest.mark.usefixtures("double_precision")

WIDTH = 1 / 16


@functools.cache
def params_of(architecture: str):
    """In double precision, as the pictures below."""
    params = prepare_params(material.random_params(architecture, WIDTH, 0))
    return jax.tree.map(lambda array: array.astype(jnp.float64), params)


def narrow(config: Config, **changes) -> Config:
    return dataclasses.replace(config, network=dataclasses.replace(config.network, width=WIDTH, **changes))


def pictures(size: tuple[int, int]):
    """Content, style, and a noisy content to evaluate."""
    content = material.paint("shapes", *size)
    painted = content, material.paint("marble", 75, 90), material.with_noise(content, 1)
    return tuple(jnp.asarray(one, jnp.float64) for one in painted)


@functools.partial(jax.jit, static_argnames=("config", "tiled"))
def evaluate_both(params, content, style, picture, weights, *, config: Config, tiled: Config):
    targets = make_targets(params, content, style, config)._replace(weights=weights)
    return evaluate(params, picture, targets, config), evaluate_tiled(params, picture, targets, tiled)


def compare(config: Config, size: tuple[int, int], tile: int) -> None:
    """Tiled against whole, with the whole image's targets."""
    params, tiled = params_of(config.network.architecture), dataclasses.replace(config, tile=tile)
    content, style, picture = pictures(size)
    picture = encode(picture, config.variable)

    ((value, terms), gradient), ((tiled_value, tiled_terms), tiled_gradient) = evaluate_both(
        params, content, style, picture, loss_weights(config), config=compile_key(config), tiled=compile_key(tiled)
    )
    assert float(tiled_value) == pytest.approx(float(value), rel=1e-12)
    assert set(terms) == set(tiled_terms)
    for name, term in terms.items():
        assert float(tiled_terms[name]) == pytest.approx(float(term), rel=1e-12)
    assert np.abs(tiled_gradient - gradient).max() <= 1e-11 * np.abs(gradient).max()


@pytest.mark.parametrize("preset", PRESETS)
def test_tiles_give_the_whole_images_loss_and_gradient(preset):
    compare(narrow(PRESETS[preset]), (96, 128), 64)


@pytest.mark.parametrize(
    ("pooling", "rounding", "padding"),
    [
        ("max", "floor", "replicate"),
        ("max", "ceil", "zero"),
        ("average", "floor", "zero"),
        ("average", "ceil", "replicate"),
    ],
)
def test_odd_sizes_and_every_quirk_of_the_network(pooling, rounding, padding):
    loss = LossConfig(
        content_layers=(("conv2_2", 1.0), ("relu3_1", 0.5)),
        style_layers=(("relu1_1", 1.0), ("pool2", 1.0), ("conv3_1", 1.0)),
        tv_weight=0.1,
    )
    config = dataclasses.replace(PRESETS["gatys"], loss=loss)
    config = narrow(config, pooling=pooling, pool_rounding=rounding, first_padding=padding)
    compare(config, (67, 101), 32)


SHALLOW = LossConfig(
    content_layers=(("relu2_2", 1.0),),
    style_layers=(("relu1_1", 1.0), ("relu2_2", 1.0)),
    content_normalization="target_variance",
    style_normalization="target_norm",
)


@pytest.mark.parametrize(("content", "statistics"), [("keep", "gram"), ("recompute", "gram"), ("keep", "covariance")])
def test_targets_made_in_tiles_are_the_whole_images(content, statistics):
    loss = dataclasses.replace(SHALLOW, style_statistics=statistics)
    config = narrow(Config(loss=loss, tile=32, tiled_content=content))
    params, (picture, style, noisy) = params_of("vgg19"), pictures((67, 50))
    whole, tiled = (
        make_targets(params, picture, [style, picture], one, style_weights=[2, 1])
        for one in (dataclasses.replace(config, tile=0), config)
    )
    for name in whole.grams:
        np.testing.assert_allclose(tiled.grams[name], whole.grams[name], rtol=1e-12, atol=1e-12)
        assert float(tiled.style_scale[name]) == pytest.approx(float(whole.style_scale[name]), rel=1e-12)
    for name, scale in whole.content_scale.items():
        assert float(tiled.content_scale[name]) == pytest.approx(float(scale), rel=1e-12)
    if content == "keep":
        height, width = whole.content["relu2_2"].shape[:2]
        np.testing.assert_allclose(
            tiled.content["relu2_2"][:height, :width], whole.content["relu2_2"], rtol=1e-12, atol=1e-12
        )
        assert not np.any(tiled.content["relu2_2"][height:])
    else:
        assert tiled.content == {}
    (value, _), gradient = jax.jit(evaluate, static_argnames="config")(params, noisy, whole, config=config)
    (tiled_value, _), tiled_gradient = jax.jit(evaluate_tiled, static_argnames="config")(
        params, noisy, tiled, config=config
    )
    assert float(tiled_value) == pytest.approx(float(value), rel=1e-12)
    assert np.abs(tiled_gradient - gradient).max() <= 1e-11 * np.abs(gradient).max()


def test_twenty_adam_steps_lead_to_the_same_picture():
    config = narrow(Config(loss=SHALLOW, optimizer=OptimizerConfig(method="adam")), pooling="average")
    params, (content, style, _) = params_of("vgg19"), pictures((67, 50))
    results = []
    for tile in (0, 32):
        one = dataclasses.replace(config, tile=tile)
        targets = make_targets(params, content, style, one)
        state, _ = advance(params, targets, init_state(content, one), one, num_steps=21, in_place=True)
        results.append(current_picture(state, one, best=False))
    difference = np.abs(results[1] - results[0])
    assert np.abs(results[0] - content).max() > 10 / 255  # something was painted
    assert difference.max() < 1e-12


@pytest.mark.parametrize(
    ("layers", "reach"),
    # Sums in the head: two 3×3 convolutions reach 2 pixels; after a pool, 2 each; and so on, rounded up to 16 (32).
    [(["relu1_1"], 16), (["relu3_1"], 16), (["relu4_2"], 48), (["relu5_1"], 80), (["pool5"], 128)],
)
def test_the_halo_comes_from_the_layer_table(layers, reach):
    assert halo_size(layers, NetworkConfig()) == reach


def test_the_halo_is_enough_and_not_more_than_needed():
    """The true reach of relu4_2 is 2·1 + 2·2 + 4·4 + 2·8 = 38 pixels and the pools' alignment."""
    network, params = NetworkConfig(width=WIDTH, pooling="average"), params_of("vgg19")
    noise = jnp.asarray(np.random.default_rng(0).random((160, 16, 3), np.float32))

    def middle(x):
        return jnp.sum(extract_features(params, x, ["conv4_2"], network)["conv4_2"][10])  # rows 80 to 88

    rows = np.flatnonzero(np.abs(np.asarray(jax.jit(jax.grad(middle))(noise))).sum((1, 2)))
    assert (80 - rows.min(), rows.max() - 87) == (38, 38)


def test_grids_are_even_aligned_and_cover_the_image():
    network = NetworkConfig()
    assert make_grid((4096, 4096), 512, ["relu5_1"], network) == Grid((512, 512), 80, (8, 8))
    assert make_grid((100, 30), 512, ["relu5_1"], network) == Grid((112, 32), 80, (1, 1))
    for height in range(1, 400, 7):
        grid = make_grid((height, 33), 48, ["pool5"], network)
        assert grid.padded[0] >= height > grid.tile[0] * (grid.counts[0] - 1)
        assert grid.tile[0] % 32 == 0
        assert grid.tile[0] <= 48
    assert [layer_stride(layer, network) for layer in ("relu1_2", "pool1", "relu4_2", "pool5")] == [1, 2, 8, 32]


@pytest.mark.parametrize("tile", [-16, 100])
def test_tiles_that_are_not_multiples_of_sixteen_are_refused(tile):
    with pytest.raises(ConfigError, match=f"tile is {tile} pixels; expected a multiple of 16"):
        Config(tile=tile)
