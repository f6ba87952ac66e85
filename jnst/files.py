"""Files: written whole or not at all, one writer at a time, and where the cache is.

A file is written to a temporary neighbour, flushed to the disk, then renamed. A link is written through where it leads
to a file; one that leads nowhere counts as a file that is there, and is replaced itself.
Environment: JNST_CACHE is the cache directory.
"""

import collections
import contextlib
import errno
import os
import secrets
import shutil
import stat
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from jnst.errors import ImageError, WeightsError, quote

# Bytes of a list of work or a record.
LONGEST_TEXT = 1 << 30

# Blocks of `making_folder` that go on now, by folder.
_folders, _users = threading.Lock(), collections.Counter[Path]()


class NamedFile(os.PathLike[str]):
    """A file that messages call by the name that the user knows it by."""

    def __init__(self, path: Path, name: str) -> None:
        self._path, self._name = path, name

    def __fspath__(self) -> str:
        return str(self._path)

    def __str__(self) -> str:
        return self._name


def check_path_given(path: str | os.PathLike[str]) -> None:
    """Raises ImageError for what is no path: no text, with a NUL, or empty, which pathlib takes for the folder at hand.

    >>> check_path_given("")
    Traceback (most recent call last):
    ...
    jnst.errors.ImageError: the path is empty; expected the name of a file
    """
    try:
        name = os.fspath(path)
    except TypeError:
        name = path  # not even one of another kind
    if not isinstance(name, str):
        raise ImageError(f"the path is {quote(path)}; expected the name of a file, as text or as pathlib's Path")
    if not name:
        raise ImageError("the path is empty; expected the name of a file")
    if "\0" in name:
        raise ImageError(f"{quote(name)} holds a NUL character, which no path can")


def write_atomically(path: str | os.PathLike[str], data: bytes) -> None:
    """Writes the file whole or not at all; its mode follows the umask, and a link to a file is written through.

    Raises:
        OSError: as the system says it; the temporary file is gone by then, and what stood at `path` is untouched.
    """
    with replacing(path) as file:
        file.write(data)


def write_file(path: str | os.PathLike[str], data: bytes) -> None:
    """`write_atomically`; raises ImageError where the file cannot be written."""
    try:
        write_atomically(path, data)
    except OSError as error:
        raise ImageError(f"cannot write {path}: {error.strerror or error}") from error


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """A binary file to write piece by piece, which takes the place of `path` at the end of the block, or never.

    Raises:
        OSError: as the system says it; what stood at `path` is then untouched, as after any other error in the block.
    """
    target = _find_target(path)
    if kind := special_kind(target):
        raise OSError(errno.EEXIST, f"{kind} is there, which no file takes the place of")
    temporary, descriptor = _create_neighbour(target)
    try:
        # With a name, which some libraries ask a file for; not opened again, which the umask may forbid.
        with open(temporary, "r+b", opener=lambda *_: descriptor) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


def check_writable_file(path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
    """Finds out before the work starts whether `path` can be written, by trying with a temporary neighbour.

    Raises:
        ImageError: the folder is missing or cannot be written, `path` is a folder, a device or a pipe, or it exists (as
            a link that leads nowhere does) and may not be overwritten.
    """
    target = _find_target(path)
    folder = target.parent
    try:
        if target.is_dir():
            raise ImageError(f"{path} is a folder; expected the name of a file to write")
        if not folder.is_dir():
            problem = "is not a folder" if folder.exists() else "does not exist; make it first"
            raise ImageError(f"cannot write {path}: {folder} {problem}")
        if os.path.lexists(target) and not overwrite:
            what = "exists already" if target.exists() else f"is {describe_missing(target)}"
            raise ImageError(f"{path} {what}; choose another name or pass --overwrite")
        if kind := special_kind(target):
            raise ImageError(f"{path} is {kind}, not a file; choose another name, for not even --overwrite replaces it")
        temporary, descriptor = _create_neighbour(target)
        os.close(descriptor)
        temporary.unlink()
    except OSError as error:
        raise ImageError(f"cannot write {path}: {error.strerror or error}") from error


def _find_target(path: str | os.PathLike[str]) -> Path:
    """What is replaced when `path` is written."""
    if os.path.islink(path) and not os.path.exists(path):
        folder, name = os.path.split(path)
        return Path(os.path.realpath(folder), name)
    return Path(os.path.realpath(path))


@contextlib.contextmanager
def making_folder(path: str | os.PathLike[str]) -> Iterator[None]:
    """The folder, and those above it, within the block. Where the block fails, those that were made for it and are
    empty go again, unless another thread is in a block of the same folder.

    Raises:
        OSError: as the system says it, where the folder cannot be made.
    """
    place = Path(os.path.abspath(path))
    with _folders:
        made = [folder for folder in (place, *place.parents) if not folder.exists()]
        place.mkdir(parents=True, exist_ok=True)
        _users[place] += 1
    try:
        yield
    except BaseException:
        with _folders, contextlib.suppress(OSError):
            for folder in made if _users[place] == 1 else ():
                folder.rmdir()
        raise
    finally:
        with _folders:
            _users[place] -= 1


def describe_missing(path: str | os.PathLike[str]) -> str:
    """What a path that leads to no file is: nothing, or a link.

    >>> describe_missing("no/such/file")
    'not there'
    """
    if not os.path.islink(path):
        return "not there"
    try:
        target = os.readlink(path)
        os.stat(path)
    except OSError as error:
        return f"a link to {target}, which {'leads back to itself' if error.errno == errno.ELOOP else 'is not there'}"
    return "not there"


def check_length(path: str | os.PathLike[str], what: str) -> None:
    """Raises ImageError for a file that is far longer than text of that kind, before memory is taken for it."""
    try:
        size = os.stat(path).st_size
    except (OSError, ValueError):
        return  # whoever reads it says why it cannot be read
    if size > LONGEST_TEXT:
        raise ImageError(f"{path} has {size:,} bytes; expected {what} of at most {LONGEST_TEXT:,}")


def check_regular(path: str | os.PathLike[str], *, pipes: bool = False) -> None:
    """Raises ImageError for a device, which need not end, and unless `pipes` for a pipe, which is read only once."""
    kind = special_kind(path)
    if kind and not (pipes and kind == "a pipe"):
        raise ImageError(f"{path} is {kind}, not a file; save what comes out of it to a file first")


def special_kind(path: str | os.PathLike[str]) -> str | None:
    """What stands there where that is neither a file nor a folder; None also where it cannot be looked at."""
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError):
        return None  # whoever reads or writes it says why
    if stat.S_ISREG(mode) or stat.S_ISDIR(mode):
        return None
    return "a pipe" if stat.S_ISFIFO(mode) else "a socket" if stat.S_ISSOCK(mode) else "a device"


def check_keeps_inputs(outputs: Iterable[str | os.PathLike[str]], inputs: Iterable[str | os.PathLike[str]]) -> None:
    """Raises ImageError where an output is one of the inputs, by whatever name: `--overwrite` is for results alone."""
    known = {_identify(path): path for path in inputs}
    for path in outputs:
        if (given := known.get(_identify(path))) is not None:
            raise ImageError(
                f"{path} would replace {given}, which this run reads; choose another name, for not even --overwrite "
                "replaces an input"
            )


def _identify(path: str | os.PathLike[str]) -> tuple[int, int] | str:
    """The same for every name of a file, through links; for what does not exist, its place."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return os.path.realpath(path) if "\0" not in os.fspath(path) else os.fspath(path)
    return status.st_dev, status.st_ino


def _create_neighbour(target: Path) -> tuple[Path, int]:
    # Not tempfile.mkstemp: its files are readable by the owner alone, whatever the umask says.
    # The name cannot be guessed, and what is there already, a link included, is never opened.
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    while True:
        temporary = target.with_name(f".jnst-{secrets.token_hex(6)}.part")
        with contextlib.suppress(FileExistsError):
            return temporary, os.open(temporary, flags, 0o666)


def cache_directory() -> Path:
    """Where fetched files are kept: JNST_CACHE, else the platform's place for caches. Not created here."""
    from platformdirs import user_cache_path  # here and below, to keep `jnst --help` quick

    given = os.environ.get("JNST_CACHE")
    try:
        place = Path(given).expanduser() if given else user_cache_path("jnst", appauthor=False)
    except RuntimeError:
        place = Path("~")
    if place.parts[:1] == ("~",):
        raise WeightsError("there is no home directory to keep a cache in; set JNST_CACHE")
    return place


@contextlib.contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Whatever the disk refuses about `path` comes out as a WeightsError that says what to do."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise WeightsError(
                f"no space left for {path}; make room, or choose a larger disk (JNST_CACHE says where the cache is), "
                "and try again"
            ) from error
        raise WeightsError(f"{path} cannot be written: {error.strerror or error}") from error


def check_readable(path: Path) -> None:
    """Raises WeightsError unless there is a file that can be opened."""
    try:
        check_regular(path)
    except ImageError as error:
        raise WeightsError(f"weights file {error}") from error
    if not path.is_file():
        raise WeightsError(f"weights file {path} is {'a directory' if path.is_dir() else describe_missing(path)}")
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
    from filelock import FileLock, Timeout

    lock = FileLock(path.with_name(path.name + ".lock"))
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        while not lock.is_locked:
            try:
                lock.acquire(timeout=0.2, poll_interval=0.05)
            except Timeout:
                if waiting is not None:
                    waiting()
            except NotImplementedError:  # a disk without locks; two writers of one file are told apart by its hash
                break
    try:
        yield
        # Only after success, when those who wait find the file, and still locked: they notice that theirs is gone.
        with disk_errors(path), contextlib.suppress(PermissionError):  # Windows: a lock that is held stays
            Path(lock.lock_file).unlink(missing_ok=True)
    finally:
        lock.release()
