"""Regions of one image over four devices that the CPU simulates, in a process of its own."""

import pytest
from devices import run_on_four_devices


@pytest.fixture(scope="module")
def figures():
    return run_on_four_devices("four_devices_regions.py")


@pytest.mark.parametrize("form", ["whole", "tiles"])
def test_regions_over_devices_are_those_of_one(figures, form):
    assert figures[form]["losses"] <= 1e-4
    assert figures[form]["picture"] <= 5e-3
    assert figures[form]["kept"]
