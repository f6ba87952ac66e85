"""The picture files of a job: each is known by the bytes that were read, whatever becomes of the file afterwards."""

import hashlib
import os
from pathlib import Path
from typing import Any

from jnst.errors import ImageError
from jnst.files import NamedFile
from jnst.images.opening import read_bytes
from jnst.images.reading import Picture, read_picture_bytes


class InputFiles:
    """Reads pictures, and remembers what their files held: a file may be replaced or removed while a run goes on."""

    def __init__(self) -> None:
        self._sha256: dict[str, str] = {}

    def read(self, path: str | os.PathLike[str], **options: Any) -> Picture:
        """`jnst.read_image` of the file, with its options.

        Raises:
            ImageError: as there; or the file was read before, and holds something else now.
        """
        data = read_bytes(path)
        sha256 = hashlib.sha256(data).hexdigest()
        if self._sha256.setdefault(_place(path), sha256) != sha256:
            raise ImageError(f"{path} was replaced while it was being read; start again once it stays as it is")
        return read_picture_bytes(path, data, **options)

    def describe(self, path: Path | NamedFile) -> dict[str, str]:
        """Path and SHA-256 of an input as it was read; of one that was not, as it is.

        Raises:
            ImageError: it was not read before, and cannot be.
        """
        known = self._sha256.get(_place(path))
        return {"path": str(path), "sha256": known or describe_file(path)["sha256"]}


def describe_file(path: Path | NamedFile) -> dict[str, str]:
    """Path and SHA-256 of an input as it is now; of one that is kept elsewhere its name.

    Raises:
        ImageError: it cannot be read.
    """
    return {"path": str(path), "sha256": hashlib.sha256(read_bytes(path)).hexdigest()}


def _place(path: str | os.PathLike[str]) -> str:
    """The same for ./a.png and a.png."""
    return os.fspath(Path(path))
