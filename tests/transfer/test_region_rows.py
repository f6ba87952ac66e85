"""Regions of one image over four devices that the CPU simulates, in a process of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def figures():
    root = Path(__file__).parents[2]
    environment = os.environ | {
        "XLA_FLAGS": "--xla_force_host_platform_device_count=4",
        "JAX_PLATFORMS": "cpu",
        "PYTHONPATH": f"{root}{os.pathsep}{root / 'tests' / 'support'}",
    }
    done = subprocess.run(
        [sys.executable, str(root / "tests" / "support" / "four_devices_regions.py")],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


@pytest.mark.parametrize("form", ["whole", "tiles"])
def test_regions_over_devices_are_those_of_one(figures, form):
    assert figures[form]["losses"] <= 1e-4
    assert figures[form]["picture"] <= 5e-3
    assert figures[form]["kept"]
