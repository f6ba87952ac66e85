"""Images whose opposite sides are neighbours: oracles, no place preferred, tiles, and what is refused."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest
from small import WIDTH, picture, relative, small_params

from jnst.config import Config, LossConfig, NetworkConfig, OptimizerConfig
from jnst.errors import ConfigError
from jnst.loss.circular import border_reach
from jnst.loss.distances import total_variation
from jnst.loss.objective import evaluate
from jnst.loss.targets import make_targets, style_grams
from jnst.loss.tiled import evaluate_tiled
from jnst.optim.preconditioner import analyze, make_circular_basis, synthesize
from jnst.transfer.loop import advance
from jnst.transfer.state import init_state, to_picture
from jnst.transfer.style_targets import style_settings
from jnst.vgg.convolution import frozen_convolution, prepare_params
from jnst.vgg.extent import Extent
from jnst.vgg.features import extract_features

RNG = np.random.default_rng(3)
TORUS = NetworkConfig("vgg16", WIDTH, padding="circular")
LOSS = LossConfig(
    content_weight=1.0,
    style_weight=10.0,
    tv_weight=1.0,
    content_layers=(("relu2_2", 1.0),),
    style_layers=(("relu1_1", 0.5), ("relu3_1", 0.5)),
    content_normalization="target_variance",
    style_normalization="target_norm",
    tv_reduction="mean",
)
SHIFT = (8, -12)  # multiples of relu3_1's stride, four


def torus(**fields):
    return Config(network=dataclasses.replace(TORUS, **fields.pop("network", {})), loss=LOSS, **fields)


def shifted(image, factor=1):
    return jnp.roll(jnp.asarray(image), (SHIFT[0] // factor, SHIFT[1] // factor), (0, 1))


@functools.partial(jax.jit, static_argnames="config")
def evaluated(params, image, targets, config):
    return (evaluate_tiled if config.tile else evaluate)(params, image, targets, config)


@pytest.mark.parametrize(("pooling", "first"), [("max", "zero"), ("average", "replicate")])
def test_feature_maps_are_the_oracles(pooling, first):
    x, layers = np.asarray(picture("shapes", 24, 40)) * 255 - 120, ("conv1_1", "relu1_2", "conv3_1", "relu4_1")
    network = dataclasses.replace(TORUS, pooling=pooling, first_padding=first)
    found = extract_features(small_params("vgg16"), jnp.asarray(x), layers, network)
    expected = oracles.extract_features(
        oracles.random_params("vgg16", WIDTH, 0), x, "vgg16", layers=layers, pooling=pooling, padding="circular"
    )
    for layer in layers:
        assert relative(found[layer], expected[layer]) < 2e-5


@pytest.mark.parametrize("padding", [0, 1, 2])
@pytest.mark.parametrize(("inputs", "outputs", "precision"), [(64, 128, "float32"), (64, 64, "bfloat16")])
def test_fast_forms_at_every_padding(inputs, outputs, precision, padding):
    """Winograd's form and the products of bfloat16 serve wrapped maps, and their gradients, as well as padded ones."""
    kernel = RNG.normal(0, 0.05, (3, 3, inputs, outputs)).astype(np.float32)
    layer = prepare_params({"conv2_1": {"kernel": kernel, "bias": np.ones(outputs, np.float32)}}, winograd=True)
    x = jnp.asarray(RNG.normal(size=(6, 9, inputs)), jnp.float32)
    y, pull = jax.vjp(lambda x: frozen_convolution(x, layer["conv2_1"], padding, precision), x)
    padded = np.pad(np.asarray(x, np.float64), ((padding, padding), (padding, padding), (0, 0)))
    rows, columns = padded.shape[0] - 2, padded.shape[1] - 2
    windows = [(i, j, padded[i : i + rows, j : j + columns]) for i, j in np.ndindex(3, 3)]
    assert relative(y, 1 + sum(part @ kernel[i, j] for i, j, part in windows)) < (
        1e-5 if precision == "float32" else 0.02
    )
    gradient = RNG.normal(size=y.shape)
    back = np.zeros(padded.shape)
    for i, j in np.ndindex(3, 3):
        back[i : i + rows, j : j + columns] += gradient @ kernel[i, j].astype(np.float64).T
    back = back[padding : padding + 6, padding : padding + 9]
    tolerance = 1e-5 if precision == "float32" else 0.02
    assert relative(pull(jnp.asarray(gradient, y.dtype))[0], back) < tolerance


@pytest.mark.parametrize("norm", ["l1", "l2"])
@pytest.mark.parametrize("reduction", ["sum", "mean"])
@pytest.mark.parametrize("shape", [(5, 7), (1, 4), (2, 2)])
def test_total_variation_goes_round(norm, reduction, shape):
    image = RNG.normal(size=(*shape, 3)).astype(np.float32)
    steps = [np.abs(np.roll(image, 1, axis) - image) ** (1 if norm == "l1" else 2) for axis in (0, 1)]
    expected = sum(step.sum() if reduction == "sum" else step.mean() for step in steps)
    found = total_variation(jnp.asarray(image), norm=norm, reduction=reduction, circular=True)
    assert float(found) == pytest.approx(expected, rel=1e-5)
    turned = total_variation(jnp.roll(jnp.asarray(image), 1, 1), norm=norm, reduction=reduction, circular=True)
    assert float(turned) == pytest.approx(float(found), rel=1e-5)


def test_a_ramp_has_a_step_where_it_meets_itself():
    ramp = jnp.broadcast_to(jnp.arange(4.0)[None, :, None], (3, 4, 1))
    assert total_variation(ramp, norm="l1", reduction="sum", circular=True).item() == 3 * (3 + 3)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_loss_and_gradient_prefer_no_place(precision):
    config = torus(precision=precision)
    params, style = small_params("vgg16"), picture("weave", 40, 36)
    image, content = picture("shapes", 32, 48, 1), picture("hills", 32, 48)
    here = make_targets(params, content, style, config)
    there = make_targets(params, shifted(content), style, config)
    assert relative(there.content["relu2_2"], shifted(here.content["relu2_2"], 2)) < 1e-5
    (value, _), gradient = evaluated(params, image, here, config)
    (other, _), other_gradient = evaluated(params, shifted(image), there, config)
    tolerance = 1e-5 if precision == "float32" else 2e-2
    assert float(other) == pytest.approx(float(value), rel=tolerance)
    assert relative(other_gradient, shifted(gradient)) < tolerance
    # With a border the same is not true.
    bordered = dataclasses.replace(config, network=dataclasses.replace(config.network, padding="zero"))
    edged = [
        float(evaluated(params, one, make_targets(params, content, style, bordered), bordered)[0][0])
        for one in (image, shifted(image))
    ]
    assert abs(edged[1] / edged[0] - 1) > 1e-3


@pytest.mark.parametrize("content", ["keep", "recompute"])
@pytest.mark.parametrize("size", [(48, 80), (16, 32)])
def test_tiles_go_round_too(size, content):
    """Tiles of unequal number, a last one that reaches beyond the image, and an image smaller than the halo."""
    whole = torus(tiled_content=content)
    tiled = dataclasses.replace(whole, tile=32)
    params, style = small_params("vgg16"), picture("weave", 40, 36)
    image, photo = picture("shapes", *size, 1), picture("hills", *size)
    (value, terms), gradient = evaluated(params, image, make_targets(params, photo, style, whole), whole)
    (other, others), tiled_gradient = evaluated(params, image, make_targets(params, photo, style, tiled), tiled)
    assert float(other) == pytest.approx(float(value), rel=1e-5)
    for name, term in terms.items():
        assert float(others[name]) == pytest.approx(float(term), rel=2e-5)
    assert relative(tiled_gradient, gradient) < 2e-5


@pytest.mark.parametrize("padded_to", [None, (64, 80)])
def test_style_statistics_are_those_of_the_middle_which_sees_no_border(padded_to):
    """The same for every padding of the first convolution, and for a picture with rows and columns of no account."""
    style, params, reach = (
        picture("weave", 48, 64),
        oracles.random_params("vgg16", WIDTH, 0),
        {"relu1_1": 1, "relu3_1": 3},
    )
    expected, extent, padded = {}, None, style
    for layer, margin in reach.items():
        map_ = oracles.extract_features(params, np.asarray(style), "vgg16", layers=[layer])[layer]
        expected[layer] = oracles.gram_matrix(map_[margin:-margin, margin:-margin], divisor="pixels")
    if padded_to is not None:
        padded = jnp.zeros((*padded_to, 3)).at[:48, :64].set(style)
        extent = Extent((0, 0), (48, 64))
    for first in ("zero", "replicate"):
        config = torus(network={"first_padding": first}, tile=32)
        found = style_grams(small_params("vgg16"), padded, extent, config=config)
        for layer, gram in found.items():
            assert relative(gram, expected[layer]) < 1e-4


def test_positions_that_see_no_border_are_those_that_the_padding_does_not_change():
    x, layers = picture("shapes", 96, 112) * 255 - 120, ("relu1_2", "pool2", "relu4_1", "relu5_1")
    network = dataclasses.replace(TORUS, padding="zero")
    zero = extract_features(small_params("vgg16"), x, layers, network)
    wrapped = extract_features(small_params("vgg16"), x, layers, TORUS)
    for layer in layers:
        reach = border_reach(layer, network)
        same = np.all(np.abs(zero[layer] - wrapped[layer]) < 1e-4 * np.abs(zero[layer]).max(), axis=2)
        assert same[reach:-reach, reach:-reach].all()
        assert not same[reach - 1].all() or not same[:, reach - 1].all()


def test_prepared_styles_know_whether_they_have_a_border():
    plain = dataclasses.replace(torus(), network=dataclasses.replace(TORUS, padding="zero"))
    assert "padding" not in style_settings(plain)["network"]
    assert style_settings(torus())["network"]["padding"] == "circular"


@pytest.mark.parametrize("shape", [(8, 12), (7, 5), (1, 4)])
def test_circular_basis_is_orthonormal_and_prefers_no_place(shape):
    basis = make_circular_basis(shape, 0.65)
    assert float(jnp.mean(jnp.square(basis.weights))) == pytest.approx(1, rel=1e-5)
    x, z = (jnp.asarray(RNG.normal(size=(*shape, 3)), jnp.float32) for _ in range(2))
    assert float(jnp.sum(synthesize(z, basis) * x)) == pytest.approx(float(jnp.sum(z * analyze(x, basis))), rel=1e-4)
    flat = basis._replace(weights=jnp.ones(shape))
    np.testing.assert_allclose(synthesize(synthesize(z, flat), flat), z, atol=1e-5)
    # What a gradient becomes for the picture: the weight's square in the frequency domain, a convolution.
    frequency = np.hypot(*np.meshgrid(*map(np.fft.fftfreq, shape), indexing="ij"))
    weights = np.maximum(frequency, 1 / 16) ** -0.65
    weights /= np.sqrt(np.mean(weights**2))
    expected = np.fft.ifft2(weights[..., None] ** 2 * np.fft.fft2(x, axes=(0, 1)), axes=(0, 1)).real
    np.testing.assert_allclose(synthesize(analyze(x, basis), basis), expected, atol=2e-5)


@pytest.mark.parametrize("exponent", [0.0, 0.65])
def test_a_run_that_begins_elsewhere_ends_elsewhere_with_the_same_picture(exponent):
    config = torus(optimizer=OptimizerConfig(frequency_exponent=exponent))
    params, style, canvas = small_params("vgg16"), picture("weave", 40, 36), picture("hills", 32, 48)
    results = []
    for move in (lambda x: x, shifted):
        targets = make_targets(params, move(canvas), style, config)
        state, _ = advance(params, targets, init_state(move(picture("shapes", 32, 48)), config), config, num_steps=6)
        results.append(to_picture(state.point, state.start, state.basis, variable=config.variable))
    assert np.abs(results[1] - shifted(results[0])).max() < 2e-3
    assert np.abs(results[0] - picture("shapes", 32, 48)).max() > 0.02


def test_a_padded_image_has_no_opposite_side():
    x = jnp.zeros((32, 32, 3))
    with pytest.raises(ConfigError, match="no opposite side"):
        extract_features(small_params("vgg16"), x, ["relu1_1"], TORUS, extent=Extent((0, 0), (30, 30)))
