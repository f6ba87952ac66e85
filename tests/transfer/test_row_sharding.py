"""One image over four devices that the CPU simulates, in a process of its own: the number is fixed at JAX's start."""

import dataclasses

import jax
import material
import numpy as np
import optax
import pytest
from devices import run_on_four_devices
from jax.sharding import Mesh
from small import picture, shallow, small_params

from jnst.batch.api import stylize_batch
from jnst.config import Config
from jnst.devices import ROWS, check_mesh, image_mesh
from jnst.errors import ConfigError
from jnst.loss.targets import make_targets
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


DEVICE = jax.devices()[0]
PICTURE = np.asarray(picture("hills", 20, 18))


def mesh_of(*axes):
    return Mesh(np.array([DEVICE]).reshape([1] * len(axes)), axes)


@pytest.mark.parametrize("mesh", [mesh_of("images"), mesh_of("x"), mesh_of("rows", "columns")])
def test_a_mesh_over_anything_but_rows_is_refused(mesh):
    params, config = small_params(), shallow(steps=1)
    for call in (stylize, make_targets):
        with pytest.raises(ConfigError, match=r"expected a mesh with one axis, \"rows\", as jnst.row_mesh"):
            call(params, PICTURE, PICTURE, config, mesh=mesh)


@pytest.mark.parametrize("mesh", [row_mesh(), mesh_of("x"), mesh_of("images", "rows")])
def test_a_mesh_over_anything_but_images_is_refused(mesh):
    with pytest.raises(ConfigError, match=r"expected a mesh with one axis, \"images\", as jnst.image_mesh"):
        stylize_batch(small_params(), [PICTURE], PICTURE, shallow(steps=1), mesh=mesh)


@pytest.mark.parametrize("mesh", [[DEVICE], True, "rows"])
def test_what_is_no_mesh_is_refused(mesh):
    with pytest.raises(ConfigError, match='expected a mesh with one axis, "rows"'):
        check_mesh(mesh, ROWS)


def test_a_mesh_of_jax_is_as_good():
    config = shallow(steps=1)
    alone = stylize(small_params(), PICTURE, PICTURE, config)
    rows = stylize(small_params(), PICTURE, PICTURE, config, mesh=jax.make_mesh((1,), ("rows",)))
    (images,) = stylize_batch(small_params(), [PICTURE], PICTURE, config, mesh=jax.make_mesh((1,), ("images",)))
    for result in (rows, images):
        np.testing.assert_allclose(result.image, alone.image, atol=1e-4)


@pytest.mark.parametrize("devices", [[], 3, "ab", ["a", "b"], [DEVICE, DEVICE], {DEVICE}])
@pytest.mark.parametrize("make", [row_mesh, image_mesh])
def test_a_mesh_is_made_of_devices(make, devices):
    with pytest.raises(ConfigError, match="expected"):
        make(devices)
