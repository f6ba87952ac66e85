"""jnst against the original programs: values that PyTorch computed, made by `scripts/golden/make.py`."""

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles import fingerprint, load_golden, paint, random_params, sample_positions, with_noise

from jnst.config import NetworkConfig, OptimizerConfig, RunConfig
from jnst.images.pixel_space import encode
from jnst.loss.objective import loss_terms, weigh
from jnst.loss.targets import loss_weights, make_targets
from jnst.presets.presets import PRESETS
from jnst.transfer.driver import stylize
from jnst.vgg.convolution import prepare_params
from jnst.vgg.features import extract_features

FEATURES, RECIPES, TRACES, LBFGS = (load_golden(name) for name in ("features", "presets", "traces", "lbfgs"))
FEATURE_CASES = [key for key, value in FEATURES["about"].items() if key.startswith("vgg")]
REPRODUCED = [key for key in RECIPES["about"] if f"{key}/total" in RECIPES]
TERMS = ("content", "style", "total_variation")


def narrow(config, width):
    """The config on a narrow network, with pictures taken as they are."""
    return replace(
        config, network=replace(config.network, width=width), size=replace(config.size, rule="keep", style="own")
    )


def rebuild_params(golden, key, architecture, width, gain=1.0):
    """The weights that the golden values were made with; fails if the generator no longer makes them."""
    params = random_params(architecture, width, golden["about"]["seed"], gain=gain)
    np.testing.assert_allclose(fingerprint(params), golden[f"{key}/fingerprint"], rtol=1e-6)
    return prepare_params(jax.tree.map(jnp.asarray, params))


@pytest.mark.parametrize("case", FEATURE_CASES)
def test_features(case):
    about = FEATURES["about"][case]
    params = rebuild_params(FEATURES, case, about["architecture"], about["width"])
    network = NetworkConfig(
        architecture=about["architecture"],
        width=about["width"],
        pooling=about["pooling"],
        pool_rounding="ceil" if about["ceil"] else "floor",
        first_padding="replicate" if about["replicate"] else "zero",
    )
    picture = paint("shapes", about["height"], about["columns"])
    x = jnp.asarray(picture.astype(np.float64) * 255 - FEATURES["about"]["mean"], jnp.float32)
    features = extract_features(params, x, about["layers"], network)
    assert set(features) == set(about["layers"])
    for layer in about["layers"]:
        values = np.asarray(features[layer], np.float64)
        assert list(values.shape) == list(FEATURES[f"{case}/{layer}/shape"]), layer
        mean, std, largest, norm = FEATURES[f"{case}/{layer}/mean_std_max_norm"]
        np.testing.assert_allclose(
            values.ravel()[FEATURES[f"{case}/{layer}/positions"]],
            FEATURES[f"{case}/{layer}/values"],
            rtol=0,
            atol=1e-5 * largest,
            err_msg=layer,
        )
        summary = [values.mean(), values.std(), np.abs(values).max(), np.linalg.norm(values)]
        np.testing.assert_allclose(summary, [mean, std, largest, norm], rtol=1e-5, atol=1e-5 * largest, err_msg=layer)


def test_a_mirrored_feature_map_would_be_noticed():
    case, layer = "vgg19", "relu3_1"
    values = np.zeros(FEATURES[f"{case}/{layer}/shape"])
    positions, known = FEATURES[f"{case}/{layer}/positions"], FEATURES[f"{case}/{layer}/values"]
    np.testing.assert_array_equal(positions, sample_positions(values.shape, 100))
    rows, columns, channels = np.unravel_index(positions, values.shape)
    values[rows, columns, channels] = known
    for mirrored in (values[::-1], values[:, ::-1], values[..., ::-1]):
        assert np.abs(mirrored.ravel()[positions] - known).max() > 0.1 * known.max()


@partial(jax.jit, static_argnames="config")
def evaluate(params, image, targets, weights, config):
    """Total, unweighted terms, and the total's gradient."""

    def total(image):
        terms = loss_terms(params, image, targets, config)
        return weigh(terms, weights), terms

    return jax.value_and_grad(total, has_aux=True)(image)


@pytest.fixture(scope="module")
def evaluated():
    """Per preset: config, unweighted terms, weighted total, and the total's gradient, all at the golden picture."""
    content = paint("shapes", 45, 61)
    results = {}
    for name in REPRODUCED:
        config = narrow(PRESETS[name], RECIPES["about"]["width"])
        params = rebuild_params(RECIPES, name, config.network.architecture, config.network.width)
        style = paint("marble", 45, 61, 3) if name == "paper" else paint("marble", 52, 40, 3)
        # Presets that differ in a weight only, or in what no loss depends on, share one compilation.
        structure = replace(config, preset="", run=RunConfig(), loss=replace(config.loss, tv_weight=1.0))
        targets = make_targets(params, jnp.asarray(content), jnp.asarray(style), structure)
        image = encode(jnp.asarray(with_noise(content, 1)), config.variable)
        (total, terms), gradient = evaluate(params, image, targets, loss_weights(config), structure)
        results[name] = config, terms, total, gradient
    return results


@pytest.mark.parametrize("name", REPRODUCED)
def test_preset_sees_the_pixels_of_its_original(name, evaluated):
    config = evaluated[name][0]
    assert config.variable.scale == RECIPES["about"][name]["white"]
    np.testing.assert_allclose(config.variable.mean, RECIPES["about"][name]["mean"], atol=1e-4)
    assert config.variable.std == (1, 1, 1)


@pytest.mark.parametrize("name", REPRODUCED)
def test_preset_terms(name, evaluated):
    config, terms, total, _ = evaluated[name]
    weights = RECIPES["about"][name]["weights"]
    for term, theirs in zip(TERMS, weights, strict=True):
        # How a constant is split between a term and its weight is a matter of taste; their product is not.
        golden = float(RECIPES[f"{name}/{term}"])
        assert float(loss_weights(config)[term]) * float(terms[term]) == pytest.approx(theirs * golden, rel=1e-5), term
    assert float(total) == pytest.approx(float(RECIPES[f"{name}/total"]), rel=1e-5)
    assert float(terms["total_variation"]) == pytest.approx(float(RECIPES[f"{name}/total_variation"]), rel=1e-5)


@pytest.mark.parametrize("name", REPRODUCED)
def test_preset_gradient(name, evaluated):
    gradient = np.asarray(evaluated[name][3], np.float64)
    largest, norm = RECIPES[f"{name}/gradient max_norm"]
    np.testing.assert_allclose(
        gradient.ravel()[RECIPES[f"{name}/gradient positions"]],
        RECIPES[f"{name}/gradient"],
        rtol=0,
        atol=1e-5 * largest,
    )
    assert np.linalg.norm(gradient) == pytest.approx(norm, rel=1e-5)


def run_trace(name, config):
    golden = TRACES["about"]
    config = narrow(config, golden["width"])
    config = replace(config, run=replace(config.run, steps=golden["steps"], keep="last"))
    params = rebuild_params(TRACES, name, "vgg19", golden["width"], gain=golden["gains"][name])
    content, style = with_noise(paint("shapes", 45, 61), 1), paint("marble", 52, 40, 3)
    return stylize(params, content, style, config)


def check_trace(name, result):
    """Entry k is the loss of the image that enters step k; the last that of the result."""
    rows, steps = TRACES[f"{name}/trace"], TRACES["about"]["steps"]
    weights = TRACES["about"][name]["weights"]
    assert len(result.trace["total"]) == steps + 1
    np.testing.assert_allclose(result.trace["total"], rows[:, 0], rtol=1e-4)
    for column, term in enumerate(TERMS, start=1):
        # A term is held to a ten-thousandth of the total that it is a part of, and of itself within reason.
        ours, theirs = np.asarray(result.trace[term]), rows[:, column]
        weight = weights[column - 1]
        np.testing.assert_array_less(np.abs(ours - theirs) * weight, 1e-4 * rows[:, 0])
        np.testing.assert_allclose(ours, theirs, rtol=2e-3, atol=1e-9 * theirs.max(), err_msg=term)
    np.testing.assert_allclose(result.image, np.clip(TRACES[f"{name}/image"], 0, 1), atol=2e-3)


def test_gordic_takes_the_originals_adam_steps():
    preset = PRESETS["gordic"]
    content, style, variation = TRACES["about"]["gordic"]["weights"]
    config = replace(
        preset,
        loss=replace(preset.loss, content_weight=content, style_weight=style, tv_weight=variation),
        optimizer=OptimizerConfig(method="adam", learning_rate=10.0),
    )
    check_trace("gordic", run_trace("gordic", config))


def test_tf_tutorial_takes_the_originals_adam_steps():
    check_trace("tf-tutorial", run_trace("tf-tutorial", PRESETS["tf-tutorial"]))


@pytest.mark.parametrize("pair", LBFGS["about"]["pairs"])
def test_lbfgs_is_as_good_as_strong_wolfe(pair):
    """At equal numbers of evaluations our best loss is at most 5 % above that of PyTorch's line search."""
    (content, style), about = LBFGS["about"]["pairs"][pair], LBFGS["about"]
    config = narrow(PRESETS["gordic"], about["width"])
    assert config.optimizer.method == "lbfgs"
    config = replace(config, run=replace(config.run, steps=200))
    params = rebuild_params(LBFGS, "gordic", "vgg19", about["width"])
    trace = stylize(params, paint(*content), paint(*style), config).trace
    evaluation, total = np.asarray(trace["evaluation"]), np.asarray(trace["total"])
    theirs = np.minimum.accumulate(LBFGS[f"{pair}/loss float32"])
    assert total[0] == pytest.approx(theirs[0], rel=1e-4)
    for count in (50, 100, 200):
        best = total[evaluation - evaluation[0] < count].min()
        assert best <= 1.05 * theirs[count - 1], count
