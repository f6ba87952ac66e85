"""Strict by configuration: shapes are checked, ranks are never promoted silently, nothing is left behind."""

import gc
import importlib.util
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from jaxtyping import config, install_import_hook

# Four fifths of the suite's time would go into XLA's and LLVM's optimisations of programs that run once. The programs
# compute the same; the other scripts of the gate run them as users do. Child processes take these over.
os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "1"
# In one part, since dividing a program among threads costs more than unoptimised LLVM: a sixth of the suite's loops.
os.environ["XLA_FLAGS"] = " ".join(
    [os.environ.get("XLA_FLAGS", ""), "--xla_cpu_use_fusion_emitters=false", "--xla_cpu_parallel_codegen_split_count=1"]
).strip()
# Places in the source beside every operation, and looking for garbage among a million live objects of JAX at every
# seventh hundred new ones, cost an eighth of the time and change no number.
os.environ["JAX_TRACEBACK_IN_LOCATIONS_LIMIT"] = "0"
gc.set_threshold(100_000, 50, 100)
# A shell that starts the suite in the background has it ignore Ctrl-C, and every child process of the tests with it.
signal.signal(signal.SIGINT, signal.default_int_handler)

# The modules whose annotations state shapes; they are checked at every call, at the price of nothing once compiled.
CHECKED = (
    "vgg.features",
    "loss.distances",
    "loss.objective",
    "loss.targets",
    "images.pixel_space",
    "optim.preconditioner",
    "optim.optimizer",
    "optim.adam",
    "optim.from_optax",
    "optim.lbfgs",
    "transfer.initial",
    "transfer.state",
    "transfer.loop",
    "transfer.image_run",
    "transfer.driver",
)
install_import_hook([f"jnst.{module}" for module in CHECKED], "typechecking.check")

ROOT = Path(__file__).parents[1]
# They run in environments of their own: scripts/test_browser, test_notebooks, test_ray, test_tpu.
ELSEWHERE = (
    ("browser/with_browser.py", "playwright"),
    ("notebooks/with_nbclient.py", "nbclient"),
    ("tpu/with_libtpu.py", "libtpu"),
)
collect_ignore = [path for path, library in ELSEWHERE if importlib.util.find_spec(library) is None]
PASSING = {
    ".git",
    ".venv",
    ".venv-ray",
    ".venv-tpu",
    ".pytest_cache",
    ".ruff_cache",
    "__pycache__",
    "out",
    "dist",
    "build",
}


@pytest.fixture(scope="session", autouse=True)
def strict_ranks() -> None:
    import jax

    jax.config.update("jax_numpy_rank_promotion", "raise")


def _files() -> set[Path]:
    """Everything in the repository but caches and program text."""
    found = set()
    for folder, folders, files in os.walk(ROOT):
        folders[:] = [name for name in folders if name not in PASSING and not name.startswith(".")]
        found |= {Path(folder, name) for name in files if not name.endswith((".py", ".pyc", ".md", ".toml"))}
    return found


@pytest.fixture(scope="session", autouse=True)
def nothing_left_behind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No test leaves a file in the repository or touches the user's cache."""
    before = _files()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JNST_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield
    left = sorted(str(path.relative_to(ROOT)) for path in _files() - before)
    assert not left, f"tests left files in the repository: {', '.join(left)}"


@pytest.fixture(scope="module", autouse=True)
def few_compiled_programs() -> Iterator[None]:
    """Forgets the compiled programs before a process has as many mappings of memory as Linux grants it (65,530).

    XLA maps every kernel of a program on its own; the next program after the last mapping is a crash.
    """
    yield
    maps = Path("/proc/self/maps")
    if maps.exists() and len(maps.read_bytes().splitlines()) > 25_000:
        import jax

        jax.clear_caches()


@pytest.fixture
def unchecked_shapes() -> Iterator[None]:
    """As users run it: annotations are not checked, and our own messages are what they see."""
    config.update("jaxtyping_disable", True)
    yield
    config.update("jaxtyping_disable", False)


@pytest.fixture
def double_precision(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """float32 means float64 here, so that rounding hides nothing and no bound depends on the machine's kernels."""
    import jax
    import jax.numpy as jnp

    with jax.enable_x64(True):
        monkeypatch.setattr(jnp, "float32", jnp.float64)
        yield
