"""A network whose convolutions have channels of their own, as a pruned one has: config, files, features, memory."""

import json
from dataclasses import replace

import h5py
import jax
import numpy as np
import oracles
import pytest
from small import picture, relative

from jnst.cli.flags import parse_setting
from jnst.config import Config, NetworkConfig, compile_key
from jnst.config_json import from_dict, to_dict
from jnst.errors import ConfigError, WeightsError
from jnst.loss.objective import evaluate
from jnst.loss.targets import make_targets
from jnst.presets.presets import PRESETS
from jnst.presets.resolve import resolve_run
from jnst.presets.select import adapt_preset
from jnst.transfer.memory import kept_channels, params_bytes
from jnst.vgg.convolution import prepare_params
from jnst.vgg.features import extract_features
from jnst.vgg.layers import channel_counts, convolutions
from jnst.weights.network import describe_weights, random_weights
from jnst.weights.store import read_info, read_weights, write_weights

CHANNELS = (3, 5, 7, 4, 9, 6, 11, 8, 13, 10, 12)  # to conv5_1
NETWORK = NetworkConfig("vgg16", channels=CHANNELS)
INFO = describe_weights("pruned", "vgg16", 1.0, "caffe", channels=CHANNELS)


@pytest.fixture(scope="module")
def weights():
    made = random_weights("vgg16", 1.0, 5, CHANNELS)
    return {name: made[name] for name in list(made)[: len(CHANNELS)]}


@pytest.fixture
def path(tmp_path, weights):
    write_weights(tmp_path / "pruned.h5", weights, INFO)
    return tmp_path / "pruned.h5"


def test_channels_come_before_the_table():
    counts = channel_counts("vgg16", 0.5, (24, 40))
    assert list(counts) == list(convolutions("vgg16"))
    assert list(counts.values()) == [24, 40, 64, 64, 128, 128, 128, 256, 256, 256, 256, 256, 256]
    assert list(channel_counts("vgg16", 0.5).values())[:2] == [32, 32]


def test_features_are_the_oracles(weights):
    x = picture("shapes", 21, 19) * 255 - 120
    expected = oracles.extract_features(weights, np.asarray(x), "vgg16", layers=["relu3_2", "relu5_1"])
    found = extract_features(prepare_params(weights), x, ["relu3_2", "relu5_1"], NETWORK)
    for layer, values in expected.items():
        assert found[layer].shape == values.shape
        assert relative(found[layer], values) < 1e-5


def test_the_gradient_is_a_difference_quotients(weights):
    config = adapt_preset(
        PRESETS["default"],
        lineage="caffe",
        architecture="vgg16",
        width=1.0,
        network_input=INFO.space,
        channels=CHANNELS,
    )
    # Average pooling has no kinks of its own.
    config = replace(config, network=replace(config.network, pooling="average"))
    params, key = prepare_params(weights), compile_key(config)
    image, style = picture("shapes", 32, 32), picture("shapes", 32, 32, seed=1)
    targets = make_targets(params, image, style, config)
    compute = jax.jit(lambda x: evaluate(params, x, targets, key))
    start = 0.5 * image + 0.25
    (_, _), gradient = compute(start)
    direction = gradient / np.linalg.norm(gradient)
    step = 2e-3
    after, before = (float(compute(start + sign * step * direction)[0][0]) for sign in (1, -1))
    assert (after - before) / (2 * step) == pytest.approx(float(np.vdot(gradient, direction)), rel=2e-2)


def test_a_file_of_other_channels_is_refused_by_the_network(weights):
    with pytest.raises(WeightsError, match=r"kernel of conv1_2 has shape \(3, 3, 3, 5\); vgg16 with channels 3, 6 exp"):
        extract_features(
            prepare_params(weights), picture("shapes"), ["relu2_1"], NetworkConfig("vgg16", channels=(3, 6))
        )


def test_the_config_round_trips_and_is_hashable():
    config = Config(network=NETWORK)
    again = from_dict(json.loads(json.dumps(to_dict(config))))
    assert again == config
    assert hash(again) == hash(config)
    assert again.network.channels == CHANNELS
    # A config that was stored before there were channels.
    stored = to_dict(Config())
    del stored["network"]["channels"]
    assert from_dict(stored) == Config()


RANGE = "expected at most 16 whole numbers from 1 to 4096"


@pytest.mark.parametrize(
    ("channels", "message"),
    [
        ((0,), RANGE),
        ((64, -1), RANGE),
        ((64, 5000), RANGE),
        ((64.0,), r"channels\[0\] is 64\.0; expected a whole number"),
        ((True,), r"channels\[0\] is True; expected a whole number"),
        ((1,) * 17, RANGE),
    ],
)
def test_impossible_channels_are_refused(channels, message):
    with pytest.raises(ConfigError, match=message):
        NetworkConfig(channels=channels)
    with pytest.raises(WeightsError, match=RANGE):
        replace(INFO, channels=channels)


def test_channels_can_be_given_by_hand():
    assert parse_setting("network.channels", "24,40") == [24, 40]
    assert parse_setting("network_input.mean", "1,2.5,3") == [1.0, 2.5, 3.0]


def test_what_is_written_is_read_back(path, weights):
    params, info = read_weights(path)
    assert info.channels == CHANNELS
    assert info == read_info(path)
    assert hash(info) == hash(read_info(path))
    for name, layer in weights.items():
        np.testing.assert_array_equal(params[name]["kernel"], layer["kernel"])


def test_files_of_one_width_have_no_such_attribute(tmp_path):
    write_weights(
        tmp_path / "plain.h5", random_weights("vgg16", 1 / 64, 0), describe_weights("plain", "vgg16", 1 / 64, "caffe")
    )
    with h5py.File(tmp_path / "plain.h5") as file:
        assert "channels" not in file.attrs
    assert read_weights(tmp_path / "plain.h5").info.channels == ()


@pytest.mark.parametrize(
    ("channels", "message"),
    [
        (CHANNELS[:-1], "there are 11 convolutions, but channels names 10"),
        ((*CHANNELS, 4), "there are 11 convolutions, but channels names 12"),
        ((3, 6, *CHANNELS[2:]), r"kernel of conv1_2 has shape \(3, 3, 3, 5\); vgg16 with channels 3, 6, 7"),
    ],
)
def test_channels_that_are_not_the_arrays_are_refused(path, channels, message):
    with h5py.File(path, "r+") as file:
        file.attrs["channels"] = channels
    with pytest.raises(WeightsError, match=message):
        read_weights(path)


def test_a_preset_takes_the_files_channels(path):
    run = resolve_run("default", weights=path)
    assert run.config.network.channels == CHANNELS
    assert run.config.network.architecture == "vgg16"


def test_memory_counts_the_channels(weights):
    config = Config(network=NETWORK)
    params = prepare_params(weights, winograd=False)
    extra = ("columns", "columns_flipped")
    held = sum(array.nbytes for layer in params.values() for part, array in layer.items() if part not in extra)
    assert params_bytes(config) == held
    # Pixels, then each map and each pool: 3 + (3 + 5 + 5/4) + (7 + 4 + 4/4)/4 + (9 + 6 + 11 + 11/4)/16 + …
    kept = 3 + 9.25 + 12 / 4 + 28.75 / 16 + (8 + 13 + 10 + 10 / 4) / 64 + 12 / 256
    assert kept_channels(config) == (pytest.approx(kept), 5)
