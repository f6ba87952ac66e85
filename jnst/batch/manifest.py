"""The manifest of a job: one line per picture, appended and flushed to the disk before the next one counts.

Each shard keeps a manifest of its own and reads those of all the others. Lines are JSON objects: `kind` "job" says with
what settings a run began, `kind` "item" what became of a picture: `status` "done" or "failed", and why.
"""

import contextlib
import errno
import glob
import json
import os
import threading
from collections.abc import Iterable, Iterator
from typing import Any

from jnst.batch import folders
from jnst.batch.shards import Share
from jnst.errors import ConfigError, ImageError
from jnst.files import describe_missing, special_kind

try:
    import fcntl
except ImportError:  # Windows has no such locks
    fcntl = None

_PREFIX = "jnst-manifest"
_LINES_PER_PART = 256
# What the system says where there is no room: on the disk, for the user, in a file.
_FULL = {errno.ENOSPC, errno.EFBIG, errno.EDQUOT}


def manifest_name(share: Share) -> str:
    """File name of a shard's manifest, in the output folder."""
    return f"{_PREFIX}.jsonl" if share.count == 1 else f"{_PREFIX}-{share.index + 1}-of-{share.count}.jsonl"


def read_records(folder: str) -> list[dict[str, Any]]:
    """All lines of all shards' manifests.

    A line that was cut off, by a kill or a full disk, is left out: its picture is recognised by what it carries inside,
    or made again.
    """
    records = []
    for path in _books(folder):
        for line in folders.read_bytes(path).decode("utf-8", "replace").splitlines():
            with contextlib.suppress(ValueError, RecursionError):
                record = json.loads(line)
                if isinstance(record, dict):
                    records.append(record)
    return records


def _books(folder: str) -> list[str]:
    if folders.is_remote(folder):
        filesystem, inner = folders.open_filesystem(folder)
        with folders.storage_errors(folder):
            if not filesystem.exists(inner):
                return []
            return sorted(filesystem.unstrip_protocol(path) for path in filesystem.glob(f"{inner}/{_PREFIX}*.jsonl"))
    return sorted(glob.glob(os.path.join(glob.escape(folder), f"{_PREFIX}*.jsonl")))


def latest(records: Iterable[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The last line of each picture, by its name; a line that is not what a run writes is left out as a torn one is.

    The last one by its time: of a folder that was first one job and then shards, or other shards, the manifests do not
    follow one another in the order of their names.
    """
    found: dict[str, dict[str, Any]] = {}
    for record in records:
        item = _checked_item(record) if record.get("kind") == "item" else None
        if item is not None and _moment(item) >= _moment(found.get(item["name"], {})):
            found[item["name"]] = item
    return found


def _moment(record: dict[str, Any]) -> str:
    """When a line was written, as text that sorts by time; empty where it does not say."""
    moment = record.get("time")
    return moment if isinstance(moment, str) else ""


def _checked_item(record: dict[str, Any]) -> dict[str, Any] | None:
    """The line with every field that is read later, each of its type; None where what it says of cannot be told."""
    name, status, content, styles = (record.get(key) for key in ("name", "status", "content", "styles"))
    if not isinstance(name, str) or status not in ("done", "failed") or not isinstance(content, str):
        return None
    if not isinstance(styles, list) or not all(isinstance(style, str) for style in styles):
        return None
    loss, seconds, reason = (record.get(key) for key in ("loss", "seconds", "reason"))
    if not isinstance(loss, list) or len(loss) != 2 or not all(item is None or _is_number(item) for item in loss):
        loss = [None, None]
    return record | {
        "loss": loss,
        "seconds": seconds if _is_number(seconds) else None,
        "reason": reason if isinstance(reason, str) else "no reason given",
    }


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300


class Manifest:
    """A shard's manifest, open for appending; only one process at a time may hold it. One without a line goes again.

    On object stores, which cannot append, it is a series of parts; the last one is written again for each line.
    """

    def __init__(self, folder: str, share: Share, *, overwrite: bool = False) -> None:
        self.path, self._overwrite = folders.join(folder, manifest_name(share)), overwrite
        self._lock = threading.Lock()
        self._part: list[str] = []
        self._number = 0
        self._descriptor = None if folders.is_remote(folder) else self._open()
        if self._descriptor is None:
            while folders.exists(self._part_path()):
                self._number += 1

    def _open(self) -> int:
        if kind := special_kind(self.path):
            raise ImageError(f"{self.path} is {kind}, not a file; remove it, or choose another folder")
        with self._disk_errors():
            descriptor = self._open_for_appending()
        self._hold(descriptor)
        with self._disk_errors():
            if not os.fstat(descriptor).st_nlink:  # another run ended in the meantime, without a line
                os.close(descriptor)
                return self._open()
            size = os.fstat(descriptor).st_size
            if size and _read_from(descriptor, size - 1) != b"\n":
                os.write(descriptor, b"\n")  # an earlier run was killed in the middle of a line
        return descriptor

    def _open_for_appending(self) -> int:
        flags = os.O_RDWR | os.O_APPEND | getattr(os, "O_BINARY", 0)
        while True:
            with contextlib.suppress(FileNotFoundError):
                return os.open(self.path, flags)
            if os.path.islink(self.path):
                if not self._overwrite:
                    raise ImageError(f"{self.path} is {describe_missing(self.path)}; remove it or pass --overwrite")
                os.unlink(self.path)
            with contextlib.suppress(FileExistsError):  # nothing is made through a link
                return os.open(self.path, flags | os.O_CREAT | os.O_EXCL, 0o666)

    def _hold(self, descriptor: int) -> None:
        if fcntl is None:
            return
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise ConfigError(
                f"another run is writing {self.path}; give each run a --shard of its own, or wait for it"
            ) from None
        except OSError:  # a network disk without locks
            pass

    @contextlib.contextmanager
    def _disk_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            full = "; finished pictures stay: make room, and the same command with --resume goes on"
            remedy = full if error.errno in _FULL else ""
            raise ImageError(f"cannot write {self.path}: {error.strerror or error}{remedy}") from error

    def append(self, record: dict[str, Any]) -> None:
        """Adds a line; when this returns, it is on the disk. Safe from several threads."""
        line = json.dumps(record, allow_nan=False) + "\n"
        with self._lock:
            if self._descriptor is None:
                self._part.append(line)
                folders.write_bytes(self._part_path(), "".join(self._part).encode())
                if len(self._part) >= _LINES_PER_PART:
                    self._part, self._number = [], self._number + 1
                return
            with self._disk_errors():
                self._descriptor = self._where_pictures_go(self._descriptor)
                _write_whole(self._descriptor, line.encode())

    def _where_pictures_go(self, descriptor: int) -> int:
        """The manifest, or where its folder was removed or renamed under the run, a new one with the lines so far."""
        held = os.fstat(descriptor)
        try:
            if os.path.samestat(os.stat(self.path), held):
                return descriptor
        except FileNotFoundError:
            os.makedirs(os.path.dirname(self.path) or ".", exist_ok=True)
        lines = _read_from(descriptor, 0)
        fresh = self._open()
        _write_whole(fresh, lines)
        os.close(descriptor)
        return fresh

    def _part_path(self) -> str:
        return f"{self.path.removesuffix('.jsonl')}-{self._number:05d}.jsonl"

    def close(self) -> None:
        if self._descriptor is not None:
            with contextlib.suppress(OSError):
                if not os.fstat(self._descriptor).st_size:
                    os.unlink(self.path)
            os.close(self._descriptor)
            self._descriptor = None

    def __enter__(self) -> "Manifest":
        return self

    def __exit__(self, *reason: object) -> None:
        self.close()


def _read_from(descriptor: int, start: int) -> bytes:
    """The bytes from there to the end; what is written goes behind the end wherever one has read."""
    os.lseek(descriptor, start, os.SEEK_SET)
    with os.fdopen(os.dup(descriptor), "rb") as file:
        return file.read()


def _write_whole(descriptor: int, data: bytes) -> None:
    """All of the bytes behind the end, on the disk, or none of them."""
    size = os.fstat(descriptor).st_size
    try:
        while data:
            data = data[os.write(descriptor, data) :]
        os.fsync(descriptor)
    except OSError:
        with contextlib.suppress(OSError):
            os.ftruncate(descriptor, size)
        raise
