"""One image over four devices that the CPU simulates, in a process of its own: the number is fixed at JAX's start."""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import material
import numpy as np
import pytest
from small import shallow, small_params

from jnst.config import Config
from jnst.errors import ConfigError
from jnst.resume import Checkpoint
from jnst.spatial import padded_height, row_mesh, spread_targets
from jnst.transfer import stylize

CASES = ["lbfgs", "compact lbfgs over frequencies"]


@pytest.fixture(scope="module")
def figures():
    tests = Path(__file__).parent
    environment = os.environ | {
        "XLA_FLAGS": "--xla_force_host_platform_device_count=4",
        "JAX_PLATFORMS": "cpu",
        "PYTHONPATH": f"{tests.parent}{os.pathsep}{tests}",
    }
    done = subprocess.run(
        [sys.executable, str(tests / "spatial_probe.py")], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


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
    mesh = row_mesh(jax.devices()[:1])
    assert [padded_height(height, Config(), mesh) for height in (1, 16, 250)] == [16, 16, 256]


def test_tiles_are_refused():
    picture = np.zeros((32, 32, 3))
    with pytest.raises(ConfigError, match="use tile 0"):
        spread_targets({}, picture, [picture], Config(tile=16), row_mesh(jax.devices()[:1]))


def test_one_device_is_a_mesh_as_well(tmp_path):
    """The whole way through `stylize`, with a height that needs padding and two scales."""
    config = shallow(steps=2)
    config = dataclasses.replace(config, run=dataclasses.replace(config.run, scales=2))
    content, style = material.paint("shapes", 37, 30), material.paint("marble", 25, 32)
    params, mesh = small_params(), row_mesh(jax.devices()[:1])
    expected = stylize(params, content, style, config)
    found = stylize(params, content, style, config, mesh=mesh)
    assert found.image.shape == (37, 30, 3)
    np.testing.assert_allclose(found.image, expected.image, atol=1e-5)
    with pytest.raises(ConfigError, match="neither resumed"):
        stylize(params, content, style, config, mesh=mesh, checkpoint=Checkpoint(tmp_path / "state", 0))
