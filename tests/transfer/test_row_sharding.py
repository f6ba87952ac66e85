"""One image over four devices that the CPU simulates, in a process of its own: the number is fixed at JAX's start."""

import dataclasses

import jax
import material
import numpy as np
import optax
import pytest
from devices import run_on_four_devices
from small import shallow, small_params

from jnst.config import Config
from jnst.errors import ConfigError
from jnst.loss.tiling import band_height
from jnst.transfer.driver import stylize
from jnst.transfer.row_sharding import row_mesh

CASES = ["lbfgs", "compact lbfgs over frequencies"]
TILED = ["tiles, max pooling, content keep", "tiles, average pooling, content recompute"]


@pytest.fixture(scope="module")
def figures():
    return run_on_four_devices("four_devices.py")


@pytest.mark.parametrize("case", CASES)
def test_a_device_needs_a_third_of_the_memory(figures, case):
    assert figures[case]["share"] <= 0.35


@pytest.mark.parametrize("case", CASES)
def test_no_device_ever_gathers_the_image(figures, case):
    assert "all-gather" not in figures[case]["collectives"]
    assert figures[case]["collectives"]["collective-permute"] > 0  # rows across the borders of bands
    assert figures[case]["memory stays in bands"]


@pytest.mark.parametrize("case", CASES)
def test_the_result_is_that_of_one_device(figures, case):
    assert figures[case]["loss"] <= 1e-5
    assert figures[case]["picture"] <= 1e-5


def test_heights_are_padded_to_equal_bands():
    assert [band_height(height, Config(), 1) for height in (1, 16, 250)] == [16, 16, 256]


@pytest.mark.parametrize("case", TILED)
def test_tiles_of_bands_give_the_whole_images_loss_and_gradient(figures, case):
    assert figures[case]["rows"] > 203  # each band is a whole number of tiles
    assert figures[case]["loss"] <= 1e-6
    assert figures[case]["gradient"] <= 1e-5
    assert figures[case]["beyond the picture"] == 0


@pytest.mark.parametrize("case", TILED)
def test_tiles_of_bands_exchange_rows_and_sums_alone(figures, case):
    assert set(figures[case]["collectives"]) == {"collective-permute", "all-reduce"}


def test_bands_are_whole_tiles_and_no_lower_than_the_halo():
    config = Config(tile=64)  # relu5_1 looks 80 pixels around
    assert [band_height(height, config, 4) for height in (100, 400, 1000)] == [96, 128, 256]
    assert [band_height(height, Config(), 4) for height in (100, 400, 1000)] == [32, 112, 256]


def test_a_picture_is_painted_in_tiles_on_four_devices_and_resumed(figures):
    assert figures["painting"]["shape"] == [150, 40, 3]
    assert figures["painting"]["difference"] <= 1e-5
    assert figures["painting"]["resumed to the same bits"]


def test_one_device_is_a_mesh_as_well():
    """The whole way through `stylize`, with a height that needs padding and two scales."""
    config = shallow(steps=2)
    config = dataclasses.replace(config, run=dataclasses.replace(config.run, scales=2))
    content, style = material.paint("shapes", 37, 30), material.paint("marble", 25, 32)
    params, mesh = small_params(), row_mesh(jax.devices()[:1])
    expected = stylize(params, content, style, config)
    found = stylize(params, content, style, config, mesh=mesh)
    assert found.image.shape == (37, 30, 3)
    np.testing.assert_allclose(found.image, expected.image, atol=1e-5)
    with pytest.raises(ConfigError, match="optimiser of its own"):
        stylize(params, content, style, config, mesh=mesh, optimizer=optax.sgd(1.0))
