"""The process: how JAX is set up, what Ctrl-C does, which versions run."""

import importlib.metadata
import platform
import signal
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import jax
from jax.experimental.compilation_cache import compilation_cache

from jnst.files import cache_directory


def configure_jax() -> str | None:
    """Keeps compiled programs in the user's cache directory, so that a second run of a size starts at once.

    Returns:
        A line that says why they are not kept, where the directory cannot be written; JAX would warn each time.
    """
    folder = cache_directory() / "compiled"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        jax.config.update("jax_compilation_cache_dir", None)
        return f"compiled programs are not kept: {folder} cannot be written ({error.strerror}); set JNST_CACHE"
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", 0)
    return None


def cache_compiled() -> None:
    """`configure_jax`, unless there is a cache already: the user's own, or ours."""
    if jax.config.jax_compilation_cache_dir is None:  # pyright: ignore[reportAttributeAccessIssue]
        configure_jax()
        # JAX looks for a cache at its first compilation and then never again, unless it is reset.
        compilation_cache.reset_cache()


# Linux grants a process so many mappings of memory unless the system says otherwise.
_MAPPINGS_GRANTED = 65_530
_MAPS = Path("/proc/self/maps")
_MOST = Path("/proc/sys/vm/max_map_count")


def limit_mappings() -> None:
    """Drops the compiled programs of this process where they have taken half of the mappings that Linux grants it.

    On CPU, XLA maps each kernel of a program three times, some 1,700 mappings for a new image size; where none is left,
    the next compilation ends the process with a segmentation fault. Programs that are needed again come from the cache
    on disk. Other systems have no such limit.
    """
    try:
        granted = int(_MOST.read_text())
    except (OSError, ValueError):
        granted = _MAPPINGS_GRANTED
    try:
        taken = _MAPS.read_bytes().count(b"\n")
    except OSError:
        return
    if taken > granted // 2:
        jax.clear_caches()


class Interruptions:
    """While open, the first of these signals is remembered in `signal` and the second one stops at once."""

    def __init__(self, numbers: Iterable[int] = (signal.SIGINT, signal.SIGTERM)) -> None:
        self.signal = 0
        self._numbers = tuple(numbers)
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "Interruptions":
        for number in self._numbers:
            self._before[number] = signal.signal(number, self._remember)
        return self

    def __exit__(self, *reason: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _remember(self, number: int, frame: object) -> None:
        if self.signal:
            raise KeyboardInterrupt
        self.signal = number


def versions() -> dict[str, str]:
    """What the result depends on, by name."""
    names = ("jnst", "jax", "jaxlib", "flax", "optax", "jaxopt", "numpy", "pillow")
    found = {"python": platform.python_version()}
    for name in names:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "unknown"
    return found
