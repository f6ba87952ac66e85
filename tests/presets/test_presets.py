"""The presets: what they say, that they run, and how they adapt to networks, optimisers and weights."""

from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
from small import WIDTH, narrow, picture, small_params

from jnst.config import Config, Init, Lineage, NetworkConfig, PixelSpace
from jnst.errors import ConfigError
from jnst.presets.presets import CAFFE, NOTES, PRESETS, TORCHVISION
from jnst.presets.select import adapt_preset, find_preset
from jnst.transfer.driver import stylize
from jnst.vgg.layers import deepest, layer_names


def test_the_list():
    assert {
        "default",
        "gordic",
        "gordic-vgg16",
        "gordic-vgg16-experimental",
        "tf-tutorial",
        "tf-tutorial-tv",
        "gatys",
        "paper",
    } <= set(PRESETS)


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_is_described_and_sound(name):
    config, notes = PRESETS[name], NOTES[name]
    assert config.preset == name
    assert notes.summary.endswith(".")
    assert notes.reference
    assert isinstance(config, Config)
    layers = [layer for layer, _ in (*config.loss.content_layers, *config.loss.style_layers)]
    assert deepest(layers, config.network.architecture) > 0
    assert config.lineage in get_args(Lineage)
    # A step of Adam, for whoever asks for it, moves a pixel by a thousandth to a tenth of the way to white.
    spread = config.variable.scale / np.mean(config.variable.std)
    assert 0.001 < config.optimizer.learning_rate / spread < 0.1


def test_notes_are_of_presets():
    assert set(NOTES) == set(PRESETS)


@pytest.mark.parametrize("name", PRESETS)
def test_two_steps(name):
    config = narrow(name, steps=2)
    result = stylize(small_params(config.network.architecture), picture("shapes"), picture("marble", 40, 36, 3), config)
    total = result.trace["total"]
    assert len(total) == 3
    assert np.all(np.isfinite(total))
    assert total[2] != total[1] != total[0]
    if config.optimizer.method == "lbfgs":
        assert total[2] < total[0]
    assert result.image.shape == (32, 48, 3)
    assert np.all(np.isfinite(result.image))


# --- N_S_T's own variants ---


@pytest.mark.parametrize(
    ("method", "init", "weights"),
    [
        ("lbfgs", "content", (1e5, 3e4, 1e0)),
        ("lbfgs", "style", (1e5, 1e1, 1e-1)),
        ("lbfgs", "random", (1e5, 1e3, 1e0)),
        ("adam", "content", (1e5, 1e5, 1e-1)),
        ("adam", "style", (1e5, 1e2, 1e-1)),
        ("adam", "random", (1e5, 1e2, 1e-1)),
    ],
)
@pytest.mark.parametrize("network", ["vgg19", "vgg16", "vgg16-experimental"])
def test_the_authors_table_of_weights(network, method, init, weights):
    config = find_preset("gordic", network=network, optimizer=method, init=init)
    assert (config.loss.content_weight, config.loss.style_weight, config.loss.tv_weight) == weights
    assert (config.optimizer.method, config.init) == (method, init)
    assert config.optimizer.learning_rate == 10
    assert config.run.steps == (3000 if method == "adam" else 999)
    assert config.noise == 90


def test_the_authors_layers():
    """Style layers share the weight one; content is tapped after its ReLU."""
    expected = {
        "vgg19": ("relu4_2", ["relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1"]),
        "vgg16": ("relu2_2", ["relu1_2", "relu2_2", "relu3_3", "relu4_3"]),
        "vgg16-experimental": (
            "relu3_2",
            ["relu1_1", "relu2_1", "relu2_2", "relu3_1", "relu3_2", "relu4_1", "relu4_3", "relu5_1"],
        ),
    }
    for network, (content, style) in expected.items():
        config = find_preset("gordic", network=network)
        assert config.network.architecture == network[:5]
        assert config.loss.content_layers == ((content, 1.0),)
        assert [layer for layer, _ in config.loss.style_layers] == style
        assert all(weight == pytest.approx(1 / len(style)) for _, weight in config.loss.style_layers)
        assert (config.loss.gram_divisor, config.loss.style_reduction) == ("pixels_channels", "sum")


def test_an_initial_image_that_the_author_does_not_know_keeps_the_weights():
    assert find_preset("gordic", init="recolored").loss == PRESETS["gordic"].loss


# --- other presets, networks, optimisers ---


def test_presets_without_changes_are_themselves():
    assert all(find_preset(name) == config for name, config in PRESETS.items())


@pytest.mark.parametrize("name", ["default", "tf-tutorial", "gatys", "paper"])
def test_another_network_optimizer_and_start(name):
    config = find_preset(name, network="vgg16", optimizer="adam", init="random")
    assert config == replace(
        PRESETS[name],
        init="random",
        network=replace(PRESETS[name].network, architecture="vgg16"),
        optimizer=replace(PRESETS[name].optimizer, method="adam", history_precision="float32"),
    )
    for layer, _ in (*config.loss.content_layers, *config.loss.style_layers):
        assert layer in layer_names("vgg16")


def test_unknown_names_are_refused():
    with pytest.raises(ConfigError, match="unknown preset 'gordick'; did you mean 'gordic'"):
        find_preset("gordick")
    with pytest.raises(ConfigError, match="unknown network of preset gordic 'vgg13'; did you mean 'vgg1"):
        find_preset("gordic", network="vgg13")
    with pytest.raises(ConfigError, match="unknown network of preset paper 'vgg16-experimental'"):
        find_preset("paper", network="vgg16-experimental")
    with pytest.raises(ConfigError, match="unknown optimizer 'sgd'"):
        find_preset("paper", optimizer="sgd")
    assert set(get_args(Init)) == {"content", "style", "random", "recolored"}


# --- weights at hand ---


def adapt(config, lineage, architecture="vgg19", width=1.0, space=CAFFE, fixed=False):
    spaces = {"width": width, "network_input": space, "fixed": fixed}
    return adapt_preset(config, lineage=lineage, architecture=architecture, **spaces)


def test_a_recipe_keeps_its_numbers_for_the_weights_that_it_was_made_for():
    assert adapt(PRESETS["gordic"], "torchvision", space=TORCHVISION) == PRESETS["gordic"]
    assert adapt(PRESETS["tf-tutorial"], "caffe") == PRESETS["tf-tutorial"]


def test_other_weights_are_fed_what_they_were_trained_on():
    config = adapt(PRESETS["gordic"], "caffe")
    assert config == replace(PRESETS["gordic"], network_input=CAFFE)
    assert config.variable == PRESETS["gordic"].variable
    ours = PixelSpace(mean=(0.5, 0.5, 0.5))
    config = adapt(PRESETS["tf-tutorial"], "torchvision", width=0.25, space=ours)
    assert (config.network_input, config.network.width) == (ours, 0.25)


def test_the_default_takes_any_weights():
    config = adapt(PRESETS["default"], "caffe", architecture="vgg16", width=0.5)
    assert config.network == NetworkConfig(architecture="vgg16", width=0.5, first_padding="replicate")
    assert config.network_input == CAFFE


def test_another_depth_is_taken_where_it_has_the_layers():
    assert adapt(PRESETS["gordic"], "caffe", architecture="vgg16").network.architecture == "vgg16"
    deep = replace(PRESETS["gordic"], loss=replace(PRESETS["gordic"].loss, content_layers=(("relu3_4", 1.0),)))
    with pytest.raises(ConfigError, match=r"asks for vgg19, but the weights are of vgg16 and have no relu3_4;"):
        adapt(deep, "torchvision", architecture="vgg16")


def test_weights_of_another_architecture_than_was_asked_for_are_refused():
    with pytest.raises(ConfigError, match="preset gordic asks for vgg19, but the weights are of vgg16"):
        adapt(PRESETS["gordic"], "torchvision", architecture="vgg16", fixed=True)
    assert WIDTH == 1 / 16
