"""Plans for chips that are not here; `scripts/test_tpu` holds the memory to what the compiler for them says."""

import dataclasses

import pytest
from material import paint

from jnst.cli.main import main
from jnst.config import Config, LossConfig, NetworkConfig, OptimizerConfig
from jnst.errors import ConfigError
from jnst.images.writing import write_image
from jnst.presets.presets import PRESETS
from jnst.transfer.chip_plan import describe_estimate, estimate_on_chip, step_operations, step_traffic
from jnst.transfer.chips import CHIPS, find_chip
from jnst.transfer.memory import estimate_memory, kept_channels, params_bytes
from jnst.transfer.planning import plan_run

V5E = find_chip("v5e")
ADAM = OptimizerConfig(method="adam")
SHALLOW = Config(
    network=NetworkConfig(width=1 / 16),
    loss=LossConfig(content_layers=(("relu2_1", 1.0),), style_layers=(("relu1_1", 0.5), ("relu2_1", 0.5))),
    optimizer=ADAM,
    precision="bfloat16",
)


def test_operations_are_counted_product_by_product():
    """Three convolutions and two Gram matrices of a 6 × 4 image, forward and back, each product with its sum."""
    products = 24 * 9 * (3 * 4 + 4 * 4) + 6 * 9 * 4 * 8  # conv1_1, conv1_2, conv2_1
    products += 24 * 4 * 4 + 6 * 8 * 8
    assert step_operations((6, 4), SHALLOW) == 4 * products


def test_float32_takes_six_products_for_one():
    exact = dataclasses.replace(SHALLOW, precision="float32")
    assert step_operations((6, 4), exact) == 6 * step_operations((6, 4), SHALLOW)


def test_maps_of_64_channels_fill_128_lanes():
    config = dataclasses.replace(PRESETS["default"], loss=dataclasses.replace(SHALLOW.loss))
    kept, largest = kept_channels(config)
    stored, largest_stored = kept_channels(config, V5E)
    assert (largest, largest_stored) == (64, 128)
    assert stored - kept == 64 + 64 + 16  # conv1_1, conv1_2, and pool1 at a quarter of the pixels


def test_kernels_are_counted_as_a_chip_stores_them_and_those_for_a_cpu_are_not():
    # conv1_1, conv1_2, conv2_1 and each turned round, inputs filled up to 8 and outputs to 128.
    numbers = 9 * (8 * 128 + 64 * 128 + 2 * 64 * 128 + 64 * 128 + 128 * 128)
    config = dataclasses.replace(SHALLOW, network=NetworkConfig("vgg16"))
    assert params_bytes(config, V5E) == 4 * (numbers + 64 + 64 + 128)


def test_nothing_of_the_host_is_counted_on_a_chip():
    assert estimate_memory((512, 512), SHALLOW, chip=V5E).pictures == 0


def test_a_batch_fills_most_of_the_chip_and_never_more():
    small = estimate_on_chip((256, 256), PRESETS["default"], V5E)
    large = estimate_on_chip((1024, 1024), PRESETS["default"], V5E)
    assert small.pictures > large.pictures >= 1
    assert small.pictures & (small.pictures - 1) == 0
    assert max(small.memory.total, large.memory.total) <= 0.75 * V5E.memory


@pytest.mark.parametrize("name", CHIPS)
def test_time_is_arithmetic_and_traffic_one_after_the_other(name):
    config, chip = dataclasses.replace(PRESETS["default"], precision="bfloat16"), find_chip(name)
    estimate = estimate_on_chip((512, 512), config, chip)
    arithmetic = step_operations((512, 512), config) / chip.operations
    traffic = step_traffic((512, 512), config, chip) / chip.bandwidth
    assert estimate.seconds == pytest.approx(arithmetic + traffic)
    (line,) = [line for line in describe_estimate(estimate, config, [(512, 512)]) if line.startswith("time")]
    assert "estimate" in line
    assert "nothing was run" in line


def test_a_plan_for_a_chip_asks_for_tiles_where_the_chip_is_too_small():
    config = dataclasses.replace(PRESETS["default"], optimizer=ADAM)
    plans = {name: plan_run((4000, 4000), config, chip=find_chip(name)) for name in ("v5e", "v5p")}
    assert plans["v5e"].available == 12 * 10**9
    assert plans["v5e"].config.tile
    assert not plans["v5p"].config.tile


def test_an_unknown_chip_is_refused_with_the_nearest_name(tmp_path, capsys):
    with pytest.raises(ConfigError, match=r"unknown chip 'v5'; did you mean 'v5[pe]'"):
        find_chip("v5")
    write_image(tmp_path / "photo.png", paint("shapes", 32, 32))
    assert main(["plan", str(tmp_path / "photo.png"), "--chip", "v6"]) == 2
    assert "did you mean 'v6e'?" in capsys.readouterr().err
    assert main(["plan", str(tmp_path / "photo.png"), "--chip", "v6e", "--split-rows"]) == 2


def test_the_command_says_what_is_published_and_what_is_estimated(tmp_path, capsys):
    write_image(tmp_path / "photo.png", paint("shapes", 64, 64))
    options = ["--chip", "v5e", "--precision", "bfloat16", "--size", "64"]
    assert main(["plan", str(tmp_path / "photo.png"), *options]) == 0
    out = capsys.readouterr().out
    assert "chip: TPU v5e, not here" in out
    assert "batch: 64 pictures on each chip" in out
    assert "estimate" in out
    assert "probe" not in out
