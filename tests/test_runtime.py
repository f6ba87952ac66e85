"""The process: compiled programs are dropped before the mappings of memory run out, wherever programs are made."""

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from small import shallow, small_params

import jnst
from jnst import runtime

PICTURE = np.full((32, 32, 3), 0.5, np.float32)
CALLS: dict[str, Callable[[Any], Any]] = {
    "stylize": lambda config: jnst.stylize(small_params(), PICTURE, PICTURE, config),
    "stylize_batch": lambda config: jnst.stylize_batch(small_params(), [PICTURE], PICTURE, config),
    "make_targets": lambda config: jnst.make_targets(small_params(), PICTURE, PICTURE, config),
    "init_state": lambda config: jnst.init_state(PICTURE, config),
    "features": lambda config: jnst.features(small_params(), PICTURE, ["relu1_1"], config),
    "inspect": lambda config: jnst.inspect(small_params(), PICTURE, config),
    "texture": lambda config: jnst.texture(small_params(), PICTURE, config, size=32),
    "reconstruct": lambda config: jnst.reconstruct(small_params(), PICTURE, config, layers=["relu1_1"]),
}


@pytest.fixture
def granted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file in which the system would say how many mappings a process may have."""
    monkeypatch.setattr(runtime, "_MOST", tmp_path / "max_map_count")
    return tmp_path / "max_map_count"


@pytest.mark.parametrize("name", CALLS)
def test_whatever_compiles_drops_programs_where_mappings_are_short(granted: Path, name: str) -> None:
    granted.write_text("2\n")
    before = jax.jit(lambda x: x + 1)
    before(1.0)
    assert before._cache_size() == 1  # pyright: ignore[reportFunctionMemberAccess]
    CALLS[name](shallow(steps=1))
    assert before._cache_size() == 0  # pyright: ignore[reportFunctionMemberAccess]


@pytest.mark.parametrize("text", ["65530", "none", None])
def test_programs_stay_where_there_are_mappings_enough_or_no_limit_is_known(granted: Path, text: str | None) -> None:
    if text is not None:
        granted.write_text(text)
    jax.clear_caches()
    before = jax.jit(lambda x: x + 2)
    before(1.0)
    runtime.limit_mappings()
    assert before._cache_size() == 1  # pyright: ignore[reportFunctionMemberAccess]


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="counts the mappings that Linux reports")
def test_mappings_do_not_grow_with_the_number_of_sizes(granted: Path) -> None:
    def taken() -> int:
        return Path("/proc/self/maps").read_bytes().count(b"\n")

    jax.clear_caches()
    granted.write_text(str(2 * taken() + 200))
    counts = []
    for width in range(32, 92):
        jnst.init_state(np.zeros((32, width, 3), np.float32), shallow())
        counts.append(taken())
    assert max(counts) < min(counts) + 150
    assert sum(later < earlier for earlier, later in itertools.pairwise(counts)) >= 2
