"""The Ray engine as far as it goes without Ray; `scripts/test_ray` runs `tests/ray/with_ray.py` on a real one."""

import sys

import pytest
from small import tiny_weights

from jnst.batch.options import Options
from jnst.batch.ray_engine import ray_engine
from jnst.errors import ConfigError
from jnst.presets.resolve import resolve_run


def test_without_ray_the_error_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ConfigError, match=r"pip install 'jnst\[ray\]'"):
        ray_engine(resolve_run("default", weights=tiny_weights()).weights, Options("out"))
