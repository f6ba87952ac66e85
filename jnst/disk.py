"""Files that jnst keeps for itself: where the cache is, one writer at a time, and what a full disk says.

Environment: JNST_CACHE is the cache directory.
"""

import contextlib
import errno
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from jnst.errors import WeightsError

try:
    import fcntl
except ImportError:  # Windows has no such locks; two writers of one file are then told apart by its hash only
    fcntl = None


def cache_directory() -> Path:
    """Where fetched files are kept: JNST_CACHE, else the platform's place for caches. Not created here."""
    given = os.environ.get("JNST_CACHE")
    try:
        if given:
            return Path(given).expanduser()
        if sys.platform == "darwin":
            return Path.home() / "Library" / "Caches" / "jnst"
        if sys.platform == "win32":
            return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "jnst" / "Cache"
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "jnst"
    except RuntimeError as error:
        raise WeightsError("there is no home directory to keep a cache in; set JNST_CACHE") from error


@contextlib.contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Whatever the disk refuses about `path` comes out as a WeightsError that says what to do."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise WeightsError(
                f"no space left for {path}; make room, or set JNST_CACHE to a directory on a larger disk, and try again"
            ) from error
        raise WeightsError(f"{path} cannot be written: {error.strerror or error}") from error


def check_readable(path: Path) -> None:
    """Raises WeightsError unless there is a file that can be opened."""
    if not path.is_file():
        raise WeightsError(f"weights file {path} is {'a directory' if path.is_dir() else 'not there'}")
    try:
        path.open("rb").close()
    except OSError as error:
        raise WeightsError(f"weights file {path} cannot be read: {error.strerror or error}") from error


def check_space(directory: Path, needed: int) -> None:
    """Raises WeightsError unless the disk has that many bytes free."""
    free = shutil.disk_usage(directory).free
    if needed > free:
        raise WeightsError(
            f"no space left in {directory}: {needed / 1e6:.0f} MB needed, {free / 1e6:.0f} MB free; make room, or set "
            "JNST_CACHE to a directory on a larger disk, and try again"
        )


@contextlib.contextmanager
def exclusive(path: Path, waiting: Callable[[], None] | None = None) -> Iterator[None]:
    """One process at a time gets inside for the same path; the others wait, calling `waiting` five times a second."""
    lock = path.with_name(path.name + ".lock")
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = lock.open("ab")
    with handle:
        while fcntl is not None:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if waiting is not None:
                    waiting()
                time.sleep(0.2)
            except OSError:  # a network disk without locks; as on Windows
                break
        yield
        # Only after success, when those who wait find the file: removing a lock that is still needed would split it.
        with disk_errors(lock):
            lock.unlink(missing_ok=True)
