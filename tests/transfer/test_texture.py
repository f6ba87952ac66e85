"""Textures from noise and reconstructions: what is met is what was asked for, at every size, and without a seam."""

from dataclasses import replace

import numpy as np
import pytest
from small import SHALLOW, picture, shallow, small_params

import jnst
from jnst.config import SizeConfig
from jnst.errors import ConfigError
from jnst.images.reading import Picture
from jnst.images.sizing import fit_style
from jnst.images.transparency import fill_hidden
from jnst.loss.features import features
from jnst.loss.targets import style_grams
from jnst.transfer.scales import enlarge, prepare_content
from jnst.transfer.texture import blank, check_canvas, reconstruction_config, texture_config

STYLE = np.asarray(picture("weave", 40, 36))
CONFIG = shallow(steps=25)


def style_distance(image, config=CONFIG):
    """Relative distance of Gram matrices, summed over layers."""
    ours, theirs = (style_grams(small_params(), np.asarray(one, np.float32), config=config) for one in (image, STYLE))
    return sum(float(np.square(ours[name] - gram).sum() / np.square(gram).sum()) for name, gram in theirs.items())


@pytest.mark.parametrize("options", [{}, {"seamless": True}, {"scales": 2}, {"seamless": True, "scales": 2}])
def test_a_texture_comes_near_the_styles_statistics_at_any_size(options):
    result = jnst.texture(small_params(), STYLE, CONFIG, size=(32, 52), **options)
    assert result.image.shape == (32, 52, 3)
    first = jnst.texture(small_params(), STYLE, replace(CONFIG, run=replace(CONFIG.run, steps=0)), size=(32, 52))
    assert style_distance(result.image) < 0.1 * style_distance(first.image)
    assert max(result.trace["content"]) == 0


def test_the_seed_is_that_of_the_noise():
    config = replace(CONFIG, run=replace(CONFIG.run, steps=2))
    one, same, other = (jnst.texture(small_params(), STYLE, config, size=32, seed=seed).image for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert np.abs(one - other).mean() > 0.01


def test_a_seamless_texture_begun_elsewhere_is_the_same_elsewhere():
    noise = np.random.default_rng(0).random((32, 48, 3), np.float32)
    config = replace(CONFIG, run=replace(CONFIG.run, steps=5))

    def made(initial, **options):
        return jnst.texture(small_params(), STYLE, config, size=(32, 48), scales=1, initial=initial, **options).image

    moved = np.roll(noise, (10, -18), (0, 1))
    assert np.abs(np.roll(made(noise, seamless=True), (10, -18), (0, 1)) - made(moved, seamless=True)).max() < 2e-3
    assert np.abs(np.roll(made(noise), (10, -18), (0, 1)) - made(moved)).max() > 0.02


def test_tiles_and_a_batch_make_the_same_seamless_texture():
    config = replace(CONFIG, run=replace(CONFIG.run, steps=3))
    whole = jnst.texture(small_params(), STYLE, config, size=(32, 80), seamless=True)
    tiled = jnst.texture(small_params(), STYLE, replace(config, tile=32), size=(32, 80), seamless=True)
    assert np.abs(whole.image - tiled.image).max() < 5e-3
    recipe = texture_config(config, (32, 80), seamless=True)
    batched = jnst.stylize_batch(small_params(), [blank((32, 80))] * 2, [STYLE] * 2, recipe, seeds=[0, 0])
    assert np.abs(whole.image - batched[1].image).max() < 5e-3


def test_a_seamless_texture_is_of_what_a_style_mask_shows():
    """By a mask or by transparency, and neither of a border nor of the hidden half: that of the visible one alone."""
    pixels, alpha = np.rint(255 * np.asarray(STYLE)).astype(np.uint8), np.full((40, 36), 255, np.uint8)
    alpha[:, 18:] = 0
    config = texture_config(replace(CONFIG, run=replace(CONFIG.run, steps=3)), (32, 48), seamless=True, scales=1)
    noise = np.random.default_rng(0).random((32, 48, 3), np.float32)
    filled = fill_hidden(pixels, alpha)
    masked = jnst.stylize(
        small_params(), blank((32, 48)), None, config, regions=[jnst.Region("all", filled, alpha / 255)], initial=noise
    )
    seen = jnst.texture(
        small_params(), Picture(pixels, alpha, "PNG", ()), config, size=(32, 48), seamless=True, scales=1, initial=noise
    )
    whole = jnst.texture(small_params(), pixels, config, size=(32, 48), seamless=True, scales=1, initial=noise)
    assert seen.trace["style"] == pytest.approx(masked.trace["style"], rel=1e-4)
    np.testing.assert_allclose(seen.image, masked.image, atol=2e-3)
    assert np.abs(seen.image - whole.image).max() > 0.01
    # The Gram matrix at the first layer by plain NumPy: positions off the border, in the visible half.
    unit, mask = filled / np.float32(255), alpha[..., None] / np.float32(255)
    found = style_grams(small_params(), unit, None, mask, config=config)
    maps = np.asarray(features(small_params(), filled, ["relu1_1"], config)["relu1_1"], np.float64)
    rows = maps[1:-1, 1:18].reshape(-1, maps.shape[2])
    divisor = {"none": 38 * 34 / len(rows), "pixels": 1 / len(rows), "pixels_channels": 1 / rows.size}
    expected = rows.T @ rows * divisor[config.loss.gram_divisor]
    np.testing.assert_allclose(found["relu1_1"], expected, rtol=1e-4, atol=1e-4 * expected.max())


@pytest.mark.parametrize("sizes", [((32, 48), (64, 96)), ((32, 48), (80, 112)), ((16, 16), (16, 16))])
def test_a_coarse_scale_is_enlarged_across_the_border(sizes):
    small, large = sizes
    config = texture_config(CONFIG, large, seamless=True)
    image = np.random.default_rng(1).random((*small, 3), np.float32)
    larger = enlarge(image, large, config)
    assert larger.shape == (*large, 3)
    # Moved by half of it, which is a whole number of pixels at both sizes.
    half = [(side // 2, other // 2) for side, other in zip(small, large, strict=True)]
    moved = enlarge(np.roll(image, [step for step, _ in half], (0, 1)), large, config)
    np.testing.assert_allclose(moved, np.roll(larger, [step for _, step in half], (0, 1)), atol=1e-5)


def test_the_scales_of_a_seamless_texture_all_tile():
    config = texture_config(
        replace(CONFIG, loss=replace(SHALLOW, style_layers=(("relu4_1", 1.0),))), (136, 200), seamless=True, scales=3
    )
    assert prepare_content(blank((136, 200)), config)[1] == ((32, 48), (64, 96), (136, 200))


def test_a_style_is_shrunk_to_the_presets_size_and_not_enlarged():
    config = texture_config(replace(CONFIG, size=SizeConfig(rule="long", pixels=50)), (300, 300))
    assert config.size == SizeConfig(rule="keep", style_pixels=50)
    assert texture_config(config, (300, 300)) == config
    for shape, expected in (((100, 80, 3), (50, 40)), ((30, 20, 3), (30, 20))):
        assert fit_style(np.zeros(shape, np.uint8), (300, 300), config.size).shape[:2] == expected


@pytest.mark.parametrize("size", [0, (3,), (0, 5), (32, 70_000), "32", None, True, (1.5, 2), (1, 2, 3)])
def test_a_size_that_is_none_is_refused(size):
    with pytest.raises(ConfigError, match=r"size is .*; expected pixels from 1 to 65535"):
        check_canvas(size)


def test_sizes_and_configs_that_cannot_be():
    assert check_canvas(np.int64(7)) == (7, 7)
    with pytest.raises(
        ConfigError, match=r"51 × 33 pixels cannot tile; expected sides that are multiples of 2, .* 52 × 32"
    ):
        jnst.texture(small_params(), STYLE, CONFIG, size=(33, 51), seamless=True)
    with pytest.raises(ConfigError, match="made of style layers, and the config has none"):
        jnst.texture(small_params(), STYLE, reconstruction_config(CONFIG, ["relu1_1"]), size=32)
    with pytest.raises(ConfigError, match="no layer to reconstruct from"):
        jnst.reconstruct(small_params(), STYLE, CONFIG, layers=[])
    with pytest.raises(ConfigError, match="unknown layer of vgg19 'relu9_1'"):
        jnst.reconstruct(small_params(), STYLE, CONFIG, layers=["relu9_1"])
    recipe = texture_config(CONFIG, (32, 32), seamless=True)
    with pytest.raises(ConfigError, match="divided among devices cannot tile"):
        jnst.stylize(small_params(), blank((32, 32)), STYLE, recipe, mesh=jnst.row_mesh())


def test_a_reconstruction_meets_the_feature_maps_and_from_a_shallow_layer_the_picture():
    photo = np.asarray(picture("hills", 32, 48))
    config = replace(CONFIG, run=replace(CONFIG.run, steps=150))
    result = jnst.reconstruct(small_params(), photo, config, layers=["conv1_1"])
    assert result.trace["content"][-1] < 1e-3 * result.trace["content"][0]
    assert max(result.trace["style"]) == 0
    maps, wanted = (features(small_params(), one, ["conv1_1"], config)["conv1_1"] for one in (result.image, photo))
    assert np.square(maps - wanted).mean() < 2e-3 * np.var(np.asarray(wanted))
    assert np.abs(result.image - photo).mean() < 0.05


def test_one_name_is_a_list_of_one_and_several_weigh_alike():
    assert reconstruction_config(CONFIG, "relu2_1") == reconstruction_config(CONFIG, ["relu2_1"])
    assert reconstruction_config(CONFIG, ["relu1_1", "relu2_1"]).loss.content_layers == (
        ("relu1_1", 0.5),
        ("relu2_1", 0.5),
    )
