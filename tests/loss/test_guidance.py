"""Guided Gram matrices against float64 oracles: whole, padded, batched, in tiles; and what must not depend on them."""

import dataclasses
import functools
from dataclasses import replace
from typing import get_args

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest
from small import WIDTH, picture, relative, shallow, small_params

from jnst import config as settings
from jnst.config import LossConfig, NetworkConfig, compile_key
from jnst.errors import ConfigError, ImageError
from jnst.images.pixel_space import encode
from jnst.images.reading import Picture
from jnst.images.transparency import fill_hidden
from jnst.loss.guidance import Guidance, carry_masks
from jnst.loss.objective import evaluate
from jnst.loss.targets import content_targets, make_targets, style_grams
from jnst.loss.tiled import evaluate_tiled
from jnst.vgg.extent import Extent

HEIGHT, WIDE = 21, 31
CONTENT, IMAGE = picture("shapes", HEIGHT, WIDE), picture("weave", HEIGHT, WIDE)
STYLES = picture("marble", 27, 18, 3), picture("hills", 19, 30)
LAYERS = ("relu1_1", "pool1", "relu2_1", "relu3_1")
# Three pools deep in all, of unequal weight, on sides that are odd before each of them.
LOSS = LossConfig(
    content_weight=2.0,
    style_weight=3.0,
    content_layers=(("relu2_1", 1.0),),
    style_layers=tuple(zip(LAYERS, (0.1, 0.2, 0.3, 0.4), strict=True)),
    gram_divisor="pixels",
)


def soft_masks(height: int = HEIGHT, width: int = WIDE, seed: int = 0) -> np.ndarray:
    """Two regions that overlap softly and leave a corner free, height × width × 2."""
    rng = np.random.default_rng(seed)
    first = np.clip(1.3 - np.linspace(0, 2, width)[None] + 0.2 * rng.random((height, width)), 0, 1)
    second = (1 - first) * rng.random((height, width))
    second[-4:, -6:] = 0
    return np.stack([first, second], 2).astype(np.float32)


MASKS, STYLE_MASK = soft_masks(), np.linspace(0, 1, 27 * 18).reshape(27, 18, 1).astype(np.float32)
GUIDANCE, STYLE_MASKS = Guidance(MASKS, np.array([1.0, 2.5])), (STYLE_MASK, None)


def oracle_style(image: np.ndarray, config) -> float:
    """Σ_r λ_r Σ_l w_l |G^r − A^r|², from an image in the network's own space."""
    space, loss, rounding = config.network_input, config.loss, config.network.pool_rounding

    def features(x):
        return oracles.extract_features(
            oracles.random_params("vgg19", WIDTH, 0), x, "vgg19", layers=LAYERS, rounding=rounding
        )

    def compared(maps, mask, layer):
        carried = oracles.carry_mask(mask, "vgg19", layer, rounding=rounding)
        if loss.style_statistics == "covariance":
            return oracles.channel_moments(maps[layer], carried)
        return (oracles.guided_gram(maps[layer], carried, divisor=loss.gram_divisor),)

    ours, total = features(image), 0.0
    for index, (style, weight) in enumerate(zip(STYLES, (1.0, 2.5), strict=True)):
        painted = features(space.scale * np.asarray(style, np.float64) - space.mean)
        seen = STYLE_MASK[..., 0] if index == 0 else np.ones(style.shape[:2])
        mask, value = MASKS[..., index], 0.0
        for layer, share in loss.style_layers:
            for one, wanted in zip(compared(ours, mask, layer), compared(painted, seen, layer), strict=True):
                size = oracles.style_loss(wanted, 0 * wanted, reduction=loss.style_reduction)
                scale = 1 / size if loss.style_normalization == "target_norm" else 1
                value += share * scale * oracles.style_loss(one, wanted, reduction=loss.style_reduction)
        total += weight * float(mask.mean()) * value
    return total


@functools.partial(jax.jit, static_argnames=("config", "computing"))
def evaluated(image, config, computing=evaluate, content=CONTENT, guidance=GUIDANCE):
    """((total, terms), gradient) of an RGB image."""
    targets = make_targets(small_params(), content, list(STYLES), config, guidance=guidance, style_masks=STYLE_MASKS)
    return computing(small_params(), encode(image, config.variable), targets, config)


@pytest.mark.parametrize("divisor", get_args(settings.GramDivisor))
@pytest.mark.parametrize("rounding", get_args(settings.PoolRounding))
def test_the_style_term_is_the_oracles(divisor, rounding):
    normalization = "target_norm" if divisor == "none" else "none"
    loss = replace(LOSS, gram_divisor=divisor, style_normalization=normalization)
    config = shallow(loss=loss)
    config = replace(config, network=replace(config.network, pool_rounding=rounding))
    (_, terms), _ = evaluated(IMAGE, config)
    space = config.network_input
    expected = oracle_style(space.scale * np.asarray(IMAGE, np.float64) - space.mean, config)
    assert float(terms["style"]) == pytest.approx(expected, rel=2e-5)


@pytest.mark.parametrize("normalization", get_args(settings.StyleNormalization))
def test_covariance_matrices_and_means_are_the_oracles(normalization):
    loss = replace(LOSS, style_statistics="covariance", style_normalization=normalization)
    config = shallow(loss=loss)
    (_, terms), _ = evaluated(IMAGE, config)
    space = config.network_input
    expected = oracle_style(space.scale * np.asarray(IMAGE, np.float64) - space.mean, config)
    assert float(terms["style"]) == pytest.approx(expected, rel=2e-5)


def test_the_gradient_is_the_oracles_slope():
    config = shallow(loss=replace(LOSS, content_weight=0.0, style_weight=1.0, gram_divisor="pixels_channels"))
    config = replace(config, loss=replace(config.loss, tv_weight=0.0))
    space = config.network_input
    # Without ties between neighbours, where the maximum of a pooling window has no slope.
    image = np.clip(IMAGE + 0.05 * np.random.default_rng(0).standard_normal(IMAGE.shape), 0, 1).astype(np.float32)
    gradient = np.asarray(evaluated(image, config)[1], np.float64)
    point = np.asarray(image, np.float64)
    slope = oracles.directional_derivative(
        lambda x: oracle_style(space.scale * x - space.mean, config),
        point,
        gradient,
        step=1e-7 / np.abs(gradient).max(),
    )
    assert slope == pytest.approx(np.sum(gradient**2), rel=1e-3)


def test_a_region_that_is_everything_is_no_region():
    config = shallow(loss=LOSS)
    everything = Guidance(np.ones((HEIGHT, WIDE, 1), np.float32), np.ones(1))
    (plain, whole) = (
        evaluate(small_params(), IMAGE, make_targets(small_params(), CONTENT, STYLES[0], config, guidance=one), config)
        for one in (None, everything)
    )
    assert float(whole[0][0]) == pytest.approx(float(plain[0][0]), rel=1e-6)
    assert relative(whole[1], plain[1]) < 1e-5


def test_a_region_is_moved_by_its_own_style_alone():
    """The second style changes nothing further from its region than the deepest layer looks."""
    config = shallow(loss=replace(LOSS, content_weight=0.0, style_layers=(("relu1_1", 0.5), ("relu1_2", 0.5))))
    masks = np.zeros((HEIGHT, WIDE, 2), np.float32)
    masks[:, :12, 0] = masks[:, 12:, 1] = 1
    _, gradient = evaluated(IMAGE, config, guidance=Guidance(masks, np.array([0.0, 1.0])))
    moved = np.abs(np.asarray(gradient)).max((0, 2))
    assert (moved[12:] > 0).all()
    assert (moved[:10] == 0).all()  # two 3×3 convolutions look two pixels far


def pad(array, size=(32, 48)):
    return np.pad(array, ((0, size[0] - array.shape[0]), (0, size[1] - array.shape[1]), (0, 0)), constant_values=0.7)


def padded_values(config, image, content, guidance, extent):
    grams = tuple(
        style_grams(small_params(), style, None, mask, config=config)
        for style, mask in zip(STYLES, STYLE_MASKS, strict=True)
    )
    targets = content_targets(small_params(), content, grams, extent, guidance, config=config)
    return evaluate(small_params(), image, targets, config)


@pytest.mark.parametrize("rounding", get_args(settings.PoolRounding))
def test_padding_and_batches_change_nothing(rounding):
    config = shallow(loss=LOSS)
    config = replace(config, network=replace(config.network, pool_rounding=rounding))
    small = soft_masks(18, 27, 1)
    pictures = [(IMAGE, CONTENT, MASKS), (picture("weave", 18, 27), picture("shapes", 18, 27), small)]
    both = []
    for image, content, masks in pictures:
        size = tuple(np.int32(side) for side in image.shape[:2])
        extent = Extent((np.int32(0), np.int32(0)), size)
        guidance = Guidance(pad(masks), np.array([1.0, 2.5], np.float32))
        both.append((pad(image), pad(content), guidance, extent))
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *both)
    run = jax.jit(jax.vmap(lambda one: padded_values(config, *one)))
    (totals, _), gradients = run(stacked)
    for index, (image, content, masks) in enumerate(pictures):
        guidance = Guidance(masks, np.array([1.0, 2.5], np.float32))
        (total, _), gradient = evaluated(image, config, content=content, guidance=guidance)
        height, width = image.shape[:2]
        assert float(totals[index]) == pytest.approx(float(total), rel=1e-5)
        assert relative(gradients[index, :height, :width], gradient) < 1e-5
        assert not np.asarray(gradients[index, height:]).any()


@pytest.mark.parametrize("rounding", get_args(settings.PoolRounding))
@pytest.mark.parametrize("tile", [16, 32])
def test_tiles_change_nothing(rounding, tile):
    size = (53, 75)
    config = compile_key(shallow(loss=replace(LOSS, style_normalization="target_norm")))
    config = replace(config, network=NetworkConfig("vgg19", WIDTH, pool_rounding=rounding))
    guidance = Guidance(soft_masks(*size), np.array([1.0, 2.5], np.float32))
    content, image = picture("shapes", *size), picture("weave", *size)
    (total, terms), gradient = evaluated(image, config, content=content, guidance=guidance)
    tiled = dataclasses.replace(config, tile=tile)
    (value, tiled_terms), pulled = evaluated(image, tiled, evaluate_tiled, content, guidance)
    assert float(value) == pytest.approx(float(total), rel=2e-6)
    assert float(tiled_terms["style"]) == pytest.approx(float(terms["style"]), rel=2e-6)
    assert relative(pulled, gradient) < 1e-5


def test_what_is_transparent_in_a_style_is_left_out_of_its_gram_matrices():
    """Opacity is a style mask: as the oracle weighs positions, and times a mask that is given as well."""
    config = shallow(loss=LOSS)
    pixels = np.rint(255 * np.asarray(STYLES[0])).astype(np.uint8)
    alpha = np.full((27, 18), 255, np.uint8)
    alpha[:, 10:] = 0
    alpha[:9, 6:10] = 100
    hidden = np.where((alpha == 0)[..., None], 255 - pixels, pixels)
    params = small_params()

    def grams(style, mask=None):
        return make_targets(params, CONTENT, style, config, style_masks=None if mask is None else [mask]).grams

    found, other = (grams(Picture(one, alpha, "PNG", ())) for one in (pixels, hidden))
    both = grams(Picture(pixels, alpha, "PNG", ()), STYLE_MASK)
    opaque, plain = grams(Picture(pixels, np.full_like(alpha, 255), "PNG", ())), grams(pixels)
    space, filled = config.network_input, fill_hidden(pixels, alpha) / 255
    maps = oracles.extract_features(
        oracles.random_params("vgg19", WIDTH, 0), space.scale * filled - space.mean, "vgg19", layers=LAYERS
    )
    for layer in LAYERS:
        for gram, mask in ((found, alpha / 255), (both, alpha / 255 * STYLE_MASK[..., 0])):
            carried = oracles.carry_mask(mask, "vgg19", layer, rounding=config.network.pool_rounding)
            expected = oracles.guided_gram(maps[layer], carried, divisor=LOSS.gram_divisor)
            assert relative(gram[layer], expected) < 2e-5
        np.testing.assert_array_equal(found[layer], other[layer])
        np.testing.assert_array_equal(opaque[layer], plain[layer])
        assert relative(found[layer], plain[layer]) > 1e-3


def test_masks_are_carried_as_the_oracle_carries_them():
    for rounding in get_args(settings.PoolRounding):
        network = NetworkConfig("vgg19", WIDTH, pool_rounding=rounding)
        carried = carry_masks(MASKS, LAYERS, network)
        for layer in LAYERS:
            expected = oracles.carry_mask(MASKS[..., 1], "vgg19", layer, rounding=rounding)
            np.testing.assert_allclose(carried[layer][..., 1], expected, atol=1e-6)


def test_regions_that_do_not_fit_the_styles_are_refused():
    with pytest.raises(ConfigError, match="2 regions and 1 styles"):
        make_targets(small_params(), CONTENT, STYLES[0], shallow(), guidance=GUIDANCE)


@pytest.mark.parametrize(
    ("masks", "message"),
    [
        ([STYLE_MASK[:9], None], r"style mask 1 has shape \(9, 18, 1\); expected its picture's, \(27, 18, 1\)"),
        ([None, np.full((19, 30), np.nan)], "style mask 2 holds numbers from nan to nan"),
        ([STYLE_MASK[..., 0, 0], None], "style mask 1 has shape"),
        ([STYLE_MASK], "1 style masks and 2 styles"),
        (["all", None], "style mask 1 has shape"),
    ],
)
def test_style_masks_that_do_not_fit_are_refused(masks, message):
    with pytest.raises((ConfigError, ImageError), match=message):
        make_targets(small_params(), CONTENT, list(STYLES), shallow(loss=LOSS), style_masks=masks)


@pytest.mark.parametrize(
    ("guidance", "message"),
    [
        (Guidance(MASKS[:9], np.ones(2)), r"have shape \(9, 31, 2\); expected \(21, 31\)"),
        (Guidance(MASKS[..., 0], np.ones(2)), "the masks of the regions have shape"),
        (Guidance(MASKS, np.ones(2), MASKS), "the mask of what to keep has shape"),
    ],
)
def test_guidance_that_does_not_fit_is_refused(guidance, message):
    with pytest.raises(ConfigError, match=message):
        make_targets(small_params(), CONTENT, list(STYLES), shallow(loss=LOSS), guidance=guidance)
