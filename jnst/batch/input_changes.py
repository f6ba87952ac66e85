"""Whether the pictures that a result was made of have changed since: by hash, and quickly by what the system says."""

import functools
import hashlib
import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from jnst.batch import folders
from jnst.errors import ImageError


class FileVersion(NamedTuple):
    """What is known of a file that was read.

    sha256: of the bytes that were read.
    stamp: what the system said of it before: of a file that is replaced meanwhile, a later stamp would belong to bytes
        that were never read.
    """

    sha256: str
    stamp: str | None


def describe_inputs(
    content: str, styles: Sequence[str], versions: Mapping[str, FileVersion], masks: Sequence[str] = ()
) -> dict[str, Any]:
    """What the manifest keeps of a picture's inputs.

    Args:
        content, styles, masks: paths.
        versions: of each file, by path.
    """

    def describe(path: str) -> dict[str, Any]:
        return versions[path]._asdict()

    inputs = {"content": describe(content), "styles": [describe(style) for style in styles]}
    return inputs | ({"masks": [describe(mask) for mask in masks]} if masks else {})


def without_stamps(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """The same for a picture, which leaves this machine."""
    return {
        name: {"sha256": kept["sha256"]} if name == "content" else [{"sha256": one["sha256"]} for one in kept]
        for name, kept in inputs.items()
    }


def hash_bytes(data: bytes) -> str:
    """SHA-256, as it stands in records and manifests."""
    return hashlib.sha256(data).hexdigest()


def stamp(path: str) -> str | None:
    """What the system says of a file, which differs when it has been written since; None where it says nothing.

    That it differs does not mean that the content does: a copy of a folder has other times.
    """
    try:
        if folders.is_remote(path):
            filesystem, inner = folders.open_filesystem(path)
            with folders.storage_errors(path):
                return str(filesystem.ukey(inner))
        status = os.stat(path)
    except (OSError, ValueError, ImageError, NotImplementedError):
        return None
    return f"{status.st_size}-{status.st_mtime_ns}-{status.st_ctime_ns}-{status.st_ino}"


class Comparison:
    """Compares files with what a manifest says of them; each file is looked at once."""

    def __init__(self) -> None:
        self._stamp = functools.cache(stamp)
        self._hash = functools.cache(_hash_file)

    def has_changed(
        self, record: Mapping[str, Any], content: str, styles: Sequence[str], masks: Sequence[str] = ()
    ) -> bool:
        """Whether one of the files is another one now than when the record was written.

        A file that is not there any more counts as unchanged, and so does one that the record does not tell about.
        """
        inputs = record.get("inputs")
        if not isinstance(inputs, dict):
            return False
        pairs = [(content, inputs.get("content"))]
        for paths, kept in ((styles, inputs.get("styles")), (masks, inputs.get("masks"))):
            if isinstance(kept, list) and len(kept) == len(paths):
                pairs += zip(paths, kept, strict=True)
        return any(self._differs(path, known) for path, known in pairs)

    def _differs(self, path: str, known: Any) -> bool:
        if not isinstance(known, dict) or not isinstance(known.get("sha256"), str):
            return False
        now = self._stamp(path)
        if now is None or now == known.get("stamp"):
            return False
        found = self._hash(path)
        return found is not None and found != known["sha256"]


def _hash_file(path: str) -> str | None:
    try:
        if folders.is_remote(path):
            return hash_bytes(folders.read_bytes(path))
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except (OSError, ValueError, ImageError):
        return None
