"""jnst on the bundled VGG16 against PyTorch on the same file: values made by `scripts/golden/make_vgg16.py`."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles import load_golden, paint, sample_positions, with_noise

from jnst.config import Config, OptimizerConfig
from jnst.images.pixel_space import encode
from jnst.loss.objective import evaluate
from jnst.loss.targets import loss_weights, make_targets
from jnst.presets.presets import CAFFE, PRESETS
from jnst.presets.select import adapt_preset
from jnst.transfer.driver import stylize
from jnst.vgg.convolution import prepare_params
from jnst.vgg.features import extract_features
from jnst.vgg.params import NetworkParams
from jnst.weights.registry import resolve_weights
from jnst.weights.store import read_weights

GOLDEN = load_golden("vgg16")
CONTENT = with_noise(paint("shapes", 48, 64), 1)
STYLE = paint("marble", 52, 40, 3)
RECIPES = sorted(name for name in GOLDEN["about"] if f"{name}/total" in GOLDEN)


@pytest.fixture(scope="module")
def params():
    return prepare_params(read_weights(resolve_weights("vgg16-caffe").path).params)


def on_vgg16(name: str) -> Config:
    """The preset on the bundled weights, pictures as they are."""
    config = adapt_preset(PRESETS[name], lineage="caffe", architecture="vgg16", width=1.0, network_input=CAFFE)
    return replace(config, size=replace(config.size, rule="keep", style="own"))


def test_features_of_every_layer(params):
    layers = [key.split("/")[1] for key in GOLDEN if key.startswith("features/") and not key.endswith("max_norm")]
    assert len([layer for layer in layers if layer.startswith("conv")]) == 13
    features = extract_features(params, encode(jnp.asarray(CONTENT), CAFFE), layers, on_vgg16("paper").network)
    maximum = extract_features(params, encode(jnp.asarray(CONTENT), CAFFE), layers, on_vgg16("gatys").network)
    assert not np.allclose(features["relu2_1"], maximum["relu2_1"])  # pooling is the preset's
    for layer in layers:
        values = np.asarray(maximum[layer], np.float64)
        largest, norm = GOLDEN[f"features/{layer} max_norm"]
        positions = sample_positions(values.shape, 60)
        np.testing.assert_allclose(
            values.ravel()[positions], GOLDEN[f"features/{layer}"], rtol=0, atol=1e-5 * largest, err_msg=layer
        )
        assert np.linalg.norm(values) == pytest.approx(norm, rel=1e-5)


@pytest.mark.parametrize("name", RECIPES)
def test_terms_and_gradient_at_the_start(name, params):
    config = on_vgg16(name)
    style = paint("marble", 48, 64, 3) if name == "paper" else STYLE
    targets = make_targets(params, jnp.asarray(CONTENT), jnp.asarray(style), config)
    image = encode(jnp.asarray(with_noise(CONTENT, 2)), config.variable)
    (total, terms), gradient = jax.jit(evaluate, static_argnames="config")(params, image, targets, config=config)
    assert float(total) == pytest.approx(float(GOLDEN[f"{name}/total"]), rel=1e-5)
    weights = loss_weights(config)
    theirs = GOLDEN["about"][name]["weights"]
    for term, weight in zip(("content", "style", "total_variation"), theirs, strict=True):
        ours = float(weights[term]) * float(terms[term])
        assert ours == pytest.approx(weight * float(GOLDEN[f"{name}/{term}"]), rel=1e-5), term
    gradient = np.asarray(gradient, np.float64)
    largest, norm = GOLDEN[f"{name}/gradient max_norm"]
    np.testing.assert_allclose(
        gradient.ravel()[sample_positions(gradient.shape, 200)],
        GOLDEN[f"{name}/gradient"],
        rtol=0,
        atol=1e-5 * largest,
    )
    assert np.linalg.norm(gradient) == pytest.approx(norm, rel=1e-5)


def adam_totals(name: str, params: NetworkParams) -> np.ndarray:
    """The total before each of the twenty steps of the program's Adam and after the last."""
    content, style, variation = GOLDEN["about"]["adam"][name]
    config = on_vgg16(name)
    optimizer = config.optimizer
    if optimizer.method != "adam":
        optimizer = OptimizerConfig(method="adam", learning_rate=10.0)
    config = replace(
        config,
        loss=replace(config.loss, content_weight=content, style_weight=style, tv_weight=variation),
        optimizer=optimizer,
        run=replace(config.run, steps=GOLDEN["about"]["steps"], keep="last"),
    )
    return np.asarray(stylize(params, CONTENT, STYLE, config).trace["total"], np.float64)


@pytest.mark.usefixtures("double_precision")
@pytest.mark.parametrize("name", sorted(GOLDEN["about"]["adam"]))
def test_twenty_steps_of_adam_are_pytorchs(name):
    params = prepare_params(read_weights(resolve_weights("vgg16-caffe").path).params, winograd=False)
    ours = adam_totals(name, jax.tree.map(lambda array: array.astype(jnp.float64), params))
    np.testing.assert_allclose(ours, GOLDEN[f"{name}/adam"], rtol=1e-12)


@pytest.mark.parametrize("name", sorted(GOLDEN["about"]["adam"]))
def test_the_first_steps_of_adam_are_pytorchs_in_single_precision(name, params):
    """Later ones amplify rounding: PyTorch's own float32 is up to 3e-3 off its float64 in these twenty steps."""
    ours, theirs = adam_totals(name, params), GOLDEN[f"{name}/adam"]
    np.testing.assert_allclose(ours[:5], theirs[:5], rtol=1e-6)
    np.testing.assert_allclose(ours, theirs, rtol=1e-2)


def test_lbfgs_is_as_good_as_n_s_ts_at_equal_evaluations(params):
    """N_S_T's VGG16 recipe; the original's search starts with its loss scaled, since float32 overflows otherwise."""
    theirs = np.minimum.accumulate(GOLDEN["gordic-vgg16/lbfgs"])
    config = on_vgg16("gordic-vgg16")
    config = replace(config, run=replace(config.run, steps=len(theirs) - 1))
    trace = stylize(params, CONTENT, STYLE, config).trace
    evaluation, total = np.asarray(trace["evaluation"]), np.asarray(trace["total"])
    assert total[0] == pytest.approx(theirs[0], rel=1e-4)
    for count in (50, 100):
        assert total[evaluation - evaluation[0] < count].min() <= 1.05 * theirs[count - 1], count
