"""Writing files so that nobody ever sees half of one: a temporary neighbour, flushed to the disk, then renamed."""

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from jnst.errors import ImageError


def write_atomically(path: str | os.PathLike[str], data: bytes) -> None:
    """Writes the file whole or not at all; its mode follows the umask, and a link is written through.

    Raises:
        OSError: as the system says it; the temporary file is gone by then, and what stood at `path` is untouched.
    """
    with replacing(path) as file:
        file.write(data)


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """A binary file to write piece by piece, which takes the place of `path` at the end of the block, or never.

    Raises:
        OSError: as the system says it; what stood at `path` is then untouched, as after any other error in the block.
    """
    target = Path(os.path.realpath(path))
    temporary, descriptor = _create_neighbour(target)
    try:
        os.close(descriptor)
        with temporary.open("r+b") as file:  # by name, which some libraries ask a file for
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
        ImageError: the folder is missing or cannot be written, `path` is a folder, or it exists and may not be
            overwritten.
    """
    target = Path(os.path.realpath(path))
    folder = target.parent
    try:
        if target.is_dir():
            raise ImageError(f"{path} is a folder; expected the name of a file to write")
        if not folder.is_dir():
            problem = "is not a folder" if folder.exists() else "does not exist; make it first"
            raise ImageError(f"cannot write {path}: {folder} {problem}")
        if target.exists() and not overwrite:
            raise ImageError(f"{path} exists already; choose another name or say --overwrite")
        temporary, descriptor = _create_neighbour(target)
        os.close(descriptor)
        temporary.unlink()
    except OSError as error:
        raise ImageError(f"cannot write {path}: {error.strerror or error}") from error


def _create_neighbour(target: Path) -> tuple[Path, int]:
    # Not tempfile.mkstemp: its files are readable by the owner alone, whatever the umask says.
    while True:
        temporary = target.with_name(f".jnst-{secrets.token_hex(6)}.part")
        with contextlib.suppress(FileExistsError):
            return temporary, os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
