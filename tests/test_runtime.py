"""The process: compiled programs are dropped before the mappings of memory run out, wherever programs are made."""

import itertools
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from small import shallow, small_params

import jnst
from jnst import runtime
from jnst.errors import JnstError

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

    granted.write_text("2\n")
    for width in (30, 31):  # drops what other tests left, and what hangs on that
        jnst.init_state(np.zeros((32, width, 3), np.float32), shallow())
    granted.write_text(str(2 * taken() + 200))
    counts = []
    for width in range(32, 92):
        jnst.init_state(np.zeros((32, width, 3), np.float32), shallow())
        counts.append(taken())
    assert max(counts) < min(counts) + 150
    assert sum(later < earlier for earlier, later in itertools.pairwise(counts)) >= 2


def test_a_program_of_which_half_was_written_is_replaced_without_a_word(tmp_path: Path) -> None:
    """As a kill leaves it. A whole one of the same name stays."""
    program = "import jax, jnst.runtime; jnst.runtime.configure_jax()\n"
    program += "jax.config.update('jax_persistent_cache_min_compile_time_secs', 0)\n"
    program += "@jax.jit\ndef odd_name(x): return x + 1\nprint(odd_name(1), odd_name(1.0))"
    words, environment = [sys.executable, "-c", program], {**os.environ, "JNST_CACHE": str(tmp_path)}
    subprocess.run(words, env=environment, check=True, capture_output=True)
    first, second = (tmp_path / "compiled").glob("jit_odd_name-*-cache")
    whole = first.read_bytes(), second.read_bytes()
    first.write_bytes(whole[0][:100])
    done = subprocess.run(words, env=environment, check=True, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("2 2.0\n", "")
    assert len(first.read_bytes()) > 100
    assert second.read_bytes() == whole[1]


def test_programs_that_cannot_be_kept_are_one_line_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    others: list[object] = []
    show = runtime._CacheWarnings(lambda *words: others.append(words))
    for _ in range(2):
        show("Error writing persistent compilation cache entry for 'jit_f': OSError: full\n", UserWarning, "a", 1)
    show("something else", UserWarning, "a", 1)
    assert capsys.readouterr().err == "compiled programs are not kept: OSError: full\\n\n"
    assert others == [("something else", UserWarning, "a", 1)]


def test_too_little_memory_for_jax_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else its threads, for which there is no room, end the process with a trace of their stacks."""
    resource = pytest.importorskip("resource")
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (1_500_000_000, -1))
    with pytest.raises(JnstError, match=r"this process may take 1\.5 GB of address space \(ulimit -v\), too little"):
        runtime.configure_jax()


FORKED = """
import multiprocessing, warnings
warnings.simplefilter("ignore")
import numpy as np
import jnst
from small import shallow, small_params

image, config = np.full((16, 16, 3), 0.5, np.float32), shallow(steps=1)
params = small_params()


def attempt(queue):
    for call in (
        lambda: jnst.stylize(params, image, image, config),
        lambda: jnst.stylize_batch(params, [image], image, config),
        lambda: jnst.make_targets(params, image, image, config),
        lambda: jnst.prepare_style(params, image, config),
        lambda: jnst.features(params, image, ["relu1_1"], config),
        lambda: jnst.init_state(image, config),
        lambda: jnst.prepare_params({}),
        jnst.row_mesh,
        lambda: jnst.encode(image, config.variable),
        lambda: jnst.decode(image, config.variable),
        lambda: jnst.gram_matrix(image, divisor="pixels"),
        lambda: jnst.content_loss(image, image, reduction="mean"),
        lambda: jnst.style_loss(image[0, :3], image[0, :3], reduction="mean"),
        lambda: jnst.total_variation(image, norm="l1", reduction="sum"),
        lambda: jnst.weigh({"style": 1.0}, {"style": 2.0}),
    ):
        try:
            queue.put(repr(call()))
        except jnst.JnstError as error:
            queue.put(str(error))
    queue.put(str(jnst.match_colors(image, image).shape))  # needs no JAX


fork = multiprocessing.get_context("fork")
queue = fork.Queue()
child = fork.Process(target=attempt, args=(queue,))
child.start()
for _ in range(16):
    print(queue.get(timeout=60))
child.join(60)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
def test_a_process_that_was_forked_too_late_is_told_so():
    support = str(Path(__file__).parent / "support")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([*sys.path, support])}
    done = subprocess.run([sys.executable, "-c", FORKED], capture_output=True, text=True, timeout=300, env=environment)
    *refused, last = done.stdout.splitlines()
    assert len(refused) == 15, done.stdout + done.stderr
    assert all("was forked" in line and "spawn" in line for line in refused), refused
    assert last == "(16, 16, 3)"
