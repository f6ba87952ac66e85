"""The process: how JAX is set up, what Ctrl-C does, which versions run."""

import contextlib
import gc
import glob
import importlib.metadata
import os
import platform
import re
import signal
import sys
import tempfile
import warnings
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import jax
from jax.experimental.compilation_cache import compilation_cache

from jnst.errors import JnstError, one_line
from jnst.files import cache_directory
from jnst.programs.program import forget, keep_programs

# JAX starts on a machine with two cores.
_LEAST_ADDRESS_SPACE = 2_000_000_000


def configure_jax(*, command: bool = True) -> str | None:
    """Keeps compiled programs in the user's cache directory, so that a second run of a size starts at once.

    Args:
        command: whether this process is a command of jnst, which keeps what JAX lowered as well.

    Returns:
        A line that says why they are not kept, where the directory cannot be written; JAX would warn each time.

    Raises:
        JnstError: for a limit on memory under which JAX cannot start.
    """
    _check_address_space()
    folder = cache_directory() / "compiled"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        jax.config.update("jax_compilation_cache_dir", None)
        return f"compiled programs are not kept: {folder} cannot be written ({error.strerror}); set JNST_CACHE"
    jax.config.update("jax_compilation_cache_dir", os.path.abspath(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", 0)
    if command:
        keep_programs()
    if not isinstance(warnings.showwarning, _CacheWarnings):
        warnings.showwarning = _CacheWarnings(warnings.showwarning)
    return None


def _check_address_space() -> None:
    """Where its threads find no room, JAX ends the process, with a trace of its stacks."""
    with contextlib.suppress(ImportError, AttributeError, OSError):  # systems without such limits
        import resource

        limit, _ = resource.getrlimit(resource.RLIMIT_AS)
        if 0 <= limit < _LEAST_ADDRESS_SPACE:
            raise JnstError(
                f"this process may take {limit / 1e9:.2g} GB of address space (ulimit -v), too little for JAX to "
                f"start; raise the limit to {_LEAST_ADDRESS_SPACE / 1e9:.2g} GB or more"
            )


class _CacheWarnings:
    """Removes programs of which half was written when a process was killed: JAX would never replace them.

    JAX writes its files in place, and warns of each that cannot be read, or written.
    """

    _ABOUT = re.compile(r"Error (reading|writing) persistent compilation cache entry for '(.+?)': (.*)", re.DOTALL)

    def __init__(self, others: Callable[..., Any]) -> None:
        self._others, self._told = others, False

    def __call__(self, message: Warning | str, *arguments: Any, **options: Any) -> None:
        found = self._ABOUT.match(str(message))
        if found is None:
            self._others(message, *arguments, **options)
            return
        folder = jax.config.jax_compilation_cache_dir  # pyright: ignore[reportAttributeAccessIssue]
        for path in Path(folder or ".").glob(f"{glob.escape(found[2])}-*-cache") if folder else ():
            with contextlib.suppress(OSError):
                if not _is_whole(path.read_bytes()):
                    path.unlink()
        if found[1] == "writing" and not self._told and sys.stderr is not None:
            self._told = True
            with contextlib.suppress(OSError, ValueError):
                print(f"compiled programs are not kept: {one_line(found[3])}", file=sys.stderr)


def _is_whole(program: bytes) -> bool:
    """Whether that is all of a program compressed by zlib; of one by Zstandard, which JAX could not read, no."""
    with contextlib.suppress(zlib.error):
        zlib.decompress(program)
        return True
    return False


def cache_compiled() -> None:
    """`configure_jax`, unless there is a cache already: the user's own, or ours."""
    if jax.config.jax_compilation_cache_dir is None:  # pyright: ignore[reportAttributeAccessIssue]
        configure_jax(command=False)
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
        forget()
        jax.clear_caches()
        gc.collect()  # a program is in reference cycles


def ending_signals() -> tuple[int, ...]:
    """The signals that ask a run to end: Ctrl-C, SIGTERM, and of a closed terminal SIGHUP, unless nohup ignores it."""
    numbers = [signal.SIGINT, signal.SIGTERM]
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        numbers.append(signal.SIGHUP)
    return tuple(numbers)


class Interruptions:
    """While open, the first of these signals is remembered in `signal` and the second one stops at once.

    Except SIGHUP, which the system and the shell both send for one terminal: it never counts as the second.

    Args:
        numbers: the signals; `ending_signals` by default.
    """

    def __init__(self, numbers: Iterable[int] | None = None) -> None:
        self.signal = 0
        self._numbers = ending_signals() if numbers is None else tuple(numbers)
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "Interruptions":
        for number in self._numbers:
            self._before[number] = signal.signal(number, self._remember)
        return self

    def __exit__(self, *reason: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _remember(self, number: int, frame: object) -> None:
        if self.signal and number != getattr(signal, "SIGHUP", None):
            raise KeyboardInterrupt(number)
        self.signal = self.signal or number


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
