"""Targets, terms, their weighted sum and its gradient, against float64 oracles; and what padding must not change."""

import functools
import itertools
import math
from dataclasses import replace
from typing import get_args

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest
from small import SHALLOW, WIDTH, picture, relative, shallow, small_params

from jnst import config as settings
from jnst.config import LossConfig, NetworkConfig, OptimizerConfig, PixelSpace, RunConfig, SizeConfig, compile_key
from jnst.errors import ConfigError
from jnst.images.pixel_space import encode
from jnst.loss.objective import compute_terms, evaluate, loss_terms, weigh
from jnst.loss.region_targets import blend_grams
from jnst.loss.targets import content_targets, loss_weights, make_targets, style_grams
from jnst.presets.presets import PRESETS
from jnst.vgg.extent import Extent

CONTENT, STYLE, IMAGE = picture("shapes", 21, 31), picture("marble", 27, 18, 3), picture("weave", 21, 31)
# Two content layers and three style layers of unequal weight, an odd size, a variable that is not the network's input.
TWO_LAYERS = LossConfig(
    content_weight=2.0,
    style_weight=3.0,
    tv_weight=0.5,
    content_layers=(("relu1_2", 0.3), ("conv2_1", 0.7)),
    style_layers=(("relu1_1", 0.2), ("pool1", 0.3), ("relu2_1", 0.5)),
)
GORDIC = PRESETS["gordic"].variable


def oracle_terms(image, config, content=CONTENT, style=STYLE):
    """The three terms from the oracles, in float64."""
    params = oracles.random_params("vgg19", WIDTH, 0)
    loss = config.loss

    def to_variable(rgb):
        space = config.variable
        return (space.scale * np.asarray(rgb, np.float64) - space.mean) / space.std

    def features(variable, layers):
        rgb = (variable * config.variable.std + np.asarray(config.variable.mean)) / config.variable.scale
        space = config.network_input
        x = (space.scale * rgb - space.mean) / space.std
        x = x[..., ::-1] if space.order == "bgr" else x
        return oracles.extract_features(
            params,
            x,
            "vgg19",
            layers=layers,
            pooling=config.network.pooling,
            rounding=config.network.pool_rounding,
            first_padding=config.network.first_padding,
        )

    content_layers, style_layers = dict(loss.content_layers), dict(loss.style_layers)
    now = features(image, {**content_layers, **style_layers})
    wanted, painted = features(to_variable(content), content_layers), features(to_variable(style), style_layers)
    content_term = style_value = 0.0
    for layer, weight in content_layers.items():
        scale = 1 / wanted[layer].var() if loss.content_normalization == "target_variance" else 1
        distance = oracles.content_loss(now[layer], wanted[layer], reduction=loss.content_reduction)
        content_term += weight * scale * distance
    for layer, weight in style_layers.items():
        compared = [(oracles.gram_matrix(maps[layer], divisor=loss.gram_divisor),) for maps in (now, painted)]
        if loss.style_statistics == "covariance":
            compared = [oracles.channel_moments(maps[layer]) for maps in (now, painted)]
        for ours, target in zip(*compared, strict=True):
            size = oracles.style_loss(target, 0 * target, reduction=loss.style_reduction)
            scale = 1 / size if loss.style_normalization == "target_norm" else 1
            style_value += weight * scale * oracles.style_loss(ours, target, reduction=loss.style_reduction)
    variation = oracles.total_variation(image, norm=loss.tv_norm, reduction=loss.tv_reduction)
    return {"content": content_term, "style": style_value, "total_variation": variation}


@functools.partial(jax.jit, static_argnames="config")
def evaluated(image, content, style, config):
    """((total, terms), gradient) for RGB images, the targets made on the way."""
    grams = style_grams(small_params(), style, config=config)
    targets = content_targets(small_params(), content, grams, config=config)
    return evaluate(small_params(), encode(image, config.variable), targets, config)


OPTIONS = [
    *({"content_reduction": value} for value in get_args(settings.ContentReduction)),
    *({"gram_divisor": value} for value in get_args(settings.GramDivisor)),
    *({"style_reduction": value} for value in get_args(settings.StyleReduction)),
    {"content_normalization": "target_variance", "style_normalization": "target_norm"},
    {"style_statistics": "covariance", "style_reduction": "sum"},
    {"style_statistics": "covariance", "style_normalization": "target_norm"},
    *(
        {"tv_norm": norm, "tv_reduction": reduction}
        for norm, reduction in itertools.product(
            get_args(settings.VariationNorm), get_args(settings.VariationReduction)
        )
    ),
]


@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: "-".join(map(str, options.values())))
def test_terms_are_the_oracles(options):
    config = shallow(loss=replace(TWO_LAYERS, **options), variable=GORDIC)
    (total, terms), _ = evaluated(IMAGE, CONTENT, STYLE, config)
    expected = oracle_terms(np.asarray(IMAGE, np.float64) * 255 - GORDIC.mean, config)
    assert set(terms) == set(expected)
    for name, theirs in expected.items():
        assert float(terms[name]) == pytest.approx(theirs, rel=2e-5), name
    assert float(total) == pytest.approx(np.dot((2.0, 3.0, 0.5), [*expected.values()]), rel=2e-5)


def test_gradient_is_the_oracles_slope():
    config = shallow(loss=replace(TWO_LAYERS, content_normalization="target_variance"), variable=GORDIC)
    _, gradient = evaluated(IMAGE, CONTENT, STYLE, config)
    point = np.asarray(IMAGE, np.float64) * 255 - GORDIC.mean
    gradient = np.asarray(gradient, np.float64)
    slope = oracles.directional_derivative(
        lambda x: np.dot((2.0, 3.0, 0.5), [*oracle_terms(x, config).values()]),
        point,
        gradient,
        step=1e-7 / np.abs(gradient).max(),
    )
    assert slope == pytest.approx(np.sum(gradient**2), rel=1e-3)


def test_an_image_is_at_no_distance_from_its_own_targets():
    targets = make_targets(small_params(), CONTENT, CONTENT, shallow())
    terms = loss_terms(small_params(), CONTENT, targets, shallow())
    assert terms["content"] < 1e-10
    assert terms["style"] < 1e-10


def test_normalised_terms_are_one_where_the_gram_matrix_is_twice_its_target_or_none():
    config = shallow()
    targets = make_targets(small_params(), CONTENT, STYLE, config)
    for factor in (0.0, 2.0):
        grams = {layer: factor * gram for layer, gram in targets.grams.items()}
        found = compute_terms("grams", grams, targets.grams, targets, config, size=CONTENT.shape[:2])
        assert float(found["style"]) == pytest.approx(1.0, rel=1e-5)
    variance = np.var(np.asarray(targets.content["relu2_1"], np.float64))
    assert float(targets.content_scale["relu2_1"]) == pytest.approx(1 / variance, rel=1e-4)


def test_weighted_sum_by_hand():
    terms = {"content": jnp.float32(2), "style": jnp.float32(3), "total_variation": jnp.float32(5)}
    assert weigh(terms, {"style": 11.0, "content": 7.0, "total_variation": 13.0}).item() == 14 + 33 + 65
    weights = {name: float(weight) for name, weight in loss_weights(shallow()).items()}
    assert weights == {"content": 1.0, "style": 10.0, "total_variation": 1.0}


def test_a_term_without_a_weight_is_named():
    with pytest.raises(ConfigError, match="terms without a weight: glow; weights are given for content"):
        weigh({"content": jnp.float32(2), "glow": jnp.float32(3)}, {"content": 1.0})


@pytest.mark.parametrize(("strength", "factor"), [(0.0, 1 / 32), (0.2, 1 / 8), (0.5, 1.0), (0.8, 8.0), (1.0, 32.0)])
def test_the_strength_doubles_the_style_weight_each_tenth(strength: float, factor: float):
    config = shallow(loss=replace(SHALLOW, strength=strength))
    expected = {"content": 1.0, "style": 10.0 * factor, "total_variation": 1.0}
    for weights in (loss_weights(config), make_targets(small_params(), CONTENT, STYLE, config).weights):
        assert {name: float(weight) for name, weight in weights.items()} == pytest.approx(expected, rel=1e-6)


def test_a_files_bytes_are_as_good_as_floats():
    contents, styles = (np.round(np.asarray(image) * 255).astype(np.uint8) for image in (CONTENT, STYLE))
    ours, theirs = (make_targets(small_params(), *pair, shallow()) for pair in ((contents, styles), (CONTENT, STYLE)))
    for one, other in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        assert relative(one, other) < 1e-6


def test_no_content_or_no_style_layer():
    for name in ("content_layers", "style_layers"):
        config = shallow(loss=replace(SHALLOW, **{name: ()}))
        targets = make_targets(small_params(), CONTENT, STYLE, config)
        terms = loss_terms(small_params(), IMAGE, targets, config)
        empty, other = ("content", "style") if name == "content_layers" else ("style", "content")
        assert float(terms[empty]) == 0
        assert float(terms[other]) > 0


# --- transformations ---


def test_the_same_under_jit_and_vmap():
    """Elements of a batch may differ in content, style and weights; each gets what it gets alone."""
    config, params = shallow(), small_params()
    images = jnp.stack([IMAGE, 1 - IMAGE])
    contents, styles = jnp.stack([CONTENT, CONTENT[::-1]]), jnp.stack([STYLE, STYLE[::-1]])
    weights = {
        "content": jnp.array([1.0, 2.0]),
        "style": jnp.array([10.0, 0.0]),
        "total_variation": jnp.array([1.0, 0.5]),
    }

    def one(image, content, style, weights):
        grams = style_grams(params, style, config=config)
        targets = content_targets(params, content, grams, config=config)
        return evaluate(params, image, targets._replace(weights=weights), config)

    alone = jax.jit(one)
    elements = jax.jit(jax.vmap(one))(images, contents, styles, weights)
    for element in range(2):
        arguments = jax.tree.map(lambda x, element=element: x[element], (images, contents, styles, weights))
        for ours, theirs in zip(jax.tree.leaves(elements), jax.tree.leaves(alone(*arguments)), strict=True):
            assert relative(ours[element], theirs) < 1e-5
    targets = make_targets(params, CONTENT, STYLE, config)
    terms = loss_terms(params, IMAGE, targets, config)
    for ours, theirs in zip(
        jax.tree.leaves(alone(IMAGE, CONTENT, STYLE, targets.weights)[0][1]), jax.tree.leaves(terms), strict=True
    ):
        assert relative(ours, theirs) < 1e-5


def test_part_of_a_foreign_program():
    """The picture as a function of someone else's parameters: three factors of colour, optimised by hand."""
    config, params = shallow(), small_params()
    targets = make_targets(params, CONTENT, STYLE, config)

    @jax.jit
    def loss_and_slope(colour):
        def loss(colour):
            return weigh(loss_terms(params, CONTENT * colour[None, None], targets, config), targets.weights)

        return jax.value_and_grad(loss)(colour)

    colour, losses = jnp.ones(3), []
    for _ in range(4):
        value, slope = loss_and_slope(colour)
        losses.append(float(value))
        colour -= 0.02 * slope / jnp.linalg.norm(slope)
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < losses[0]


# --- several styles ---


def test_several_styles_are_the_mean_of_their_gram_matrices():
    config, params, other = shallow(), small_params(), picture("hills", 20, 25)
    one, two = (make_targets(params, CONTENT, style, config).grams for style in (STYLE, other))
    both = make_targets(params, CONTENT, [STYLE, other], config).grams
    weighted = make_targets(params, CONTENT, [STYLE, other], config, style_weights=[3, 1]).grams
    for layer in both:
        np.testing.assert_allclose(both[layer], 0.5 * one[layer] + 0.5 * two[layer], rtol=1e-5)
        np.testing.assert_allclose(weighted[layer], 0.75 * one[layer] + 0.25 * two[layer], rtol=1e-5)
    again = make_targets(params, CONTENT, [STYLE, other], config, style_weights=[0, 5]).grams
    assert all(relative(again[layer], two[layer]) < 1e-6 for layer in again)


@pytest.mark.parametrize(
    ("count", "weights"),
    [(2, [1.0]), (1, [1.0, 1.0]), (2, [0, 0]), (2, [-1, 2]), (0, None), (2, [1, math.nan]), (2, [1e308, 1e308])],
)
def test_style_weights_that_do_not_fit_are_refused(count, weights):
    with pytest.raises(ConfigError, match=rf"{count} styles with weights .*; expected one finite weight of zero or"):
        blend_grams([{"relu1_1": jnp.ones((2, 2))}] * count, weights)


# --- a padded image ---

PADDED = [
    (pooling, rounding, first, variable)
    for (pooling, rounding), (first, variable) in itertools.product(
        [("max", "floor"), ("average", "ceil")], [("zero", GORDIC), ("replicate", PixelSpace())]
    )
]


@pytest.mark.parametrize(("pooling", "rounding", "first", "variable"), PADDED)
def test_padding_changes_neither_terms_nor_gradient(pooling, rounding, first, variable):
    loss = replace(TWO_LAYERS, content_normalization="target_variance", style_normalization="target_norm")
    config = replace(
        shallow(loss=replace(loss, tv_reduction="mean"), variable=variable),
        network=NetworkConfig("vgg19", WIDTH, pooling, rounding, first),
    )
    (total, terms), gradient = evaluated(IMAGE, CONTENT, STYLE, config)

    @jax.jit
    def padded(image, content, style, extent, style_extent):
        grams = style_grams(small_params(), style, style_extent, config=config)
        targets = content_targets(small_params(), content, grams, extent, config=config)
        return evaluate(small_params(), encode(image, config.variable), targets, config)

    def pad(image, shape):
        noise = np.random.default_rng(1).random((*shape, 3)).astype(np.float32)
        noise[: image.shape[0], : image.shape[1]] = image
        return noise

    extent, style_extent = (
        Extent((jnp.int32(0), jnp.int32(0)), (jnp.int32(height), jnp.int32(width)))
        for height, width in (CONTENT.shape[:2], STYLE.shape[:2])
    )
    (wide_total, wide_terms), wide_gradient = padded(
        pad(IMAGE, (32, 48)), pad(CONTENT, (32, 48)), pad(STYLE, (32, 32)), extent, style_extent
    )
    assert float(wide_total) == pytest.approx(float(total), rel=1e-5)
    for name, ours in wide_terms.items():
        assert float(ours) == pytest.approx(float(terms[name]), rel=1e-5)
    assert relative(wide_gradient[:21, :31], gradient) < 1e-5
    assert jnp.count_nonzero(wide_gradient[21:]) + jnp.count_nonzero(wide_gradient[:, 31:]) == 0


# --- hard pictures ---

BLACK, GREY = jnp.zeros((21, 31, 3)), jnp.full((21, 31, 3), 0.5)
HARD = {
    "black content": (IMAGE, BLACK, STYLE),
    "black style": (IMAGE, CONTENT, BLACK),
    "black image": (BLACK, CONTENT, STYLE),
    "all black": (BLACK, BLACK, BLACK),
    "all grey": (GREY, GREY, GREY),
    "all white": (BLACK + 1, BLACK + 1, BLACK + 1),
    "one channel": (IMAGE * jnp.asarray([[[1.0, 0, 0]]]), CONTENT * jnp.asarray([[[0, 1.0, 0]]]), STYLE),
    "far out of range": (IMAGE * 1e3, CONTENT, STYLE),
}
# Without biases a black image has no features at all, and every normalisation divides by nothing.
BARE = {
    name: {**layer, "bias": jnp.zeros_like(layer["bias"])}
    for name, layer in small_params().items()
    if name in ("conv1_1", "conv1_2", "conv2_1")
}


@jax.jit
def evaluated_without_biases(image, content, style):
    config = shallow(network_input=PixelSpace(scale=255.0))
    targets = content_targets(BARE, content, style_grams(BARE, style, config=config), config=config)
    return evaluate(BARE, image, targets, config)


@pytest.mark.parametrize("case", HARD)
def test_hard_pictures_give_finite_numbers(case):
    (total, terms), gradient = evaluated_without_biases(*HARD[case])
    assert jnp.isfinite(total)
    assert all(jnp.isfinite(term) for term in terms.values())
    assert jnp.all(jnp.isfinite(gradient))
    if case in ("all black", "all grey", "all white"):
        assert float(total) < 1e-6
        assert float(jnp.abs(gradient).max()) < 1e-3


def test_a_single_pixel_is_enough_for_the_first_layers():
    pixel = jnp.full((1, 1, 3), 0.25)
    config = shallow(loss=replace(SHALLOW, content_layers=(("relu1_2", 1.0),), style_layers=(("relu1_1", 1.0),)))
    (total, _), gradient = evaluated(pixel, pixel, STYLE, config)
    assert jnp.isfinite(total)
    assert jnp.all(jnp.isfinite(gradient))


def test_half_precision_gives_nearly_the_same_loss_and_direction():
    exact, half = (shallow(precision=precision, variable=GORDIC) for precision in ("float32", "bfloat16"))
    (total, _), gradient = evaluated(IMAGE, CONTENT, STYLE, exact)
    (near, _), slope = evaluated(IMAGE, CONTENT, STYLE, half)
    assert near.dtype == slope.dtype == jnp.float32
    assert float(near) == pytest.approx(float(total), rel=0.03)
    assert float(jnp.vdot(slope, gradient) / jnp.linalg.norm(slope) / jnp.linalg.norm(gradient)) > 0.98


# --- what is compiled anew ---


def test_what_does_not_change_the_computation_shares_its_key():
    config = PRESETS["default"]
    for same in (
        replace(config, preset="mine", lineage="caffe", init="random", noise=3.0),
        replace(config, size=SizeConfig(pixels=99)),
        replace(config, run=RunConfig(steps=1, chunk=7, keep="last", scales=3, tolerance=0.5, rounding="truncate")),
        replace(config, loss=replace(config.loss, content_weight=5.0, style_weight=6.0, tv_weight=7.0)),
        replace(config, loss=replace(config.loss, strength=0.9)),
    ):
        assert compile_key(same) == compile_key(config)
    for other in (
        replace(config, precision="bfloat16"),
        replace(config, network=NetworkConfig(pooling="average")),
        replace(config, variable=GORDIC),
        replace(config, loss=replace(config.loss, tv_norm="l2")),
        replace(config, optimizer=OptimizerConfig(history=3)),
    ):
        assert compile_key(other) != compile_key(config)


# --- bad input ---


def test_unknown_layers_and_small_images_are_refused():
    config = shallow(loss=replace(SHALLOW, style_layers=(("relu4_9", 1.0),)))
    with pytest.raises(ConfigError, match="unknown layer of vgg19 'relu4_9'; did you mean 'relu4_"):
        make_targets(small_params(), CONTENT, STYLE, config)
    deep = shallow(loss=replace(SHALLOW, content_layers=(("relu5_1", 1.0),)))
    with pytest.raises(ConfigError, match=r"image of shape \(8, 31, 3\).*at least 16 pixels"):
        make_targets(small_params(), CONTENT[:8], STYLE, deep)
    with pytest.raises(ConfigError, match="0 styles"):
        make_targets(small_params(), CONTENT, [], shallow())


def test_targets_of_another_size_are_refused_not_broadcast():
    targets = make_targets(small_params(), CONTENT, STYLE, shallow())
    with pytest.raises(ValueError, match=r"feature map has shape .* and its target"):
        loss_terms(small_params(), CONTENT[:16], targets, shallow())
