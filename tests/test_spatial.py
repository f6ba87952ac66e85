"""One image over four devices that the CPU simulates, in a process of its own: the number is fixed at JAX's start."""

import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from jnst.config import Config
from jnst.errors import ConfigError
from jnst.spatial import padded_height, row_mesh, spread_targets

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
