"""Validated reading of untrusted HDF5 files; here and in `hdf5_check` h5py enters.

A file from somewhere else may be cut short, may link to other files of the machine, or may declare arrays that it does
not hold. Whatever h5py says of such a file comes out as one WeightsError with the path in it.
The library itself loops for ever in some damaged files. So a file is read by a child process under a time limit
first, unless it has the hash of one that comes with jnst, was written by jnst on this machine, or has passed this check
before: whether it has is remembered in the cache, by what the system says of the file.
"""

import hashlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from jnst.errors import JnstError, WeightsError
from jnst.files import cache_directory, check_readable
from jnst.weights.registry import CATALOGUE

# Seconds of a processor that a child may take to read a file of unknown origin, besides one for each 20 MB of it.
TIME_LIMIT = 30.0
_PATIENCE = 4  # times as long by the clock: other programs may be busy
_OUT_OF_TIME = -getattr(signal, "SIGXCPU", 0) or None  # how a process ends that has used up its processor time
_MOST_MARKS = 1000
_LARGEST_RATIO = 16  # of an array's bytes to those that the file holds; half-precision kernels shrink to 0.86
_SMALL = 4096  # bytes below which an array is stored plainly
_BROKEN = (OSError, KeyError, ValueError, TypeError, AttributeError, RuntimeError, OverflowError, MemoryError)


def is_hdf5(path: Path) -> bool:
    """Whether a file begins as HDF5 files do."""
    return bool(h5py.is_hdf5(path))


@contextmanager
def open_hdf5(path: Path) -> Iterator[h5py.File]:
    """An HDF5 file for reading.

    Raises:
        WeightsError: when it is missing or no HDF5 file; and, with the path, for what goes wrong while it is open.
    """
    check_readable(path)
    if not is_hdf5(path):
        raise WeightsError(f"{path} is not a weights file of jnst, or its beginning is damaged")
    if not is_known(path):
        check_in_child(path)
        remember(path)
    try:
        # Files appear by renaming and never change, so a lock protects nothing, and some network disks refuse it.
        with h5py.File(path, "r", locking=False) as file:
            yield file
    except WeightsError as error:
        raise WeightsError(f"{path}: {error}") from error
    except _BROKEN as error:
        raise WeightsError(f"{path} is damaged or truncated: {error}") from error


def is_known(path: Path) -> bool:
    """Whether the file was written by jnst, or has been checked, and has not been touched since, or comes with jnst."""
    with suppress(OSError, JnstError):
        if _mark(path).exists():
            return True
    expected = {entry.bundled: entry.bundled_sha256 for entry in CATALOGUE.values() if entry.bundled}.get(path.name)
    if expected is None:
        return False
    with suppress(OSError), path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == expected
    return False


def remember(path: Path) -> None:
    """Says of a file that is safe to read that it is; where the cache cannot be written, it is checked each time."""
    with suppress(OSError, JnstError):
        mark = _mark(path)
        mark.parent.mkdir(parents=True, exist_ok=True)
        marks = list(mark.parent.iterdir())
        for old in marks if len(marks) >= _MOST_MARKS else ():  # of files that are gone, mostly
            old.unlink(missing_ok=True)
        mark.touch()


def _mark(path: Path) -> Path:
    # The time of change (ctime) cannot be set by whoever replaces the content.
    stat = path.stat()
    identity = (stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, h5py.version.hdf5_version)
    return cache_directory() / "checked" / hashlib.sha256(repr(identity).encode()).hexdigest()[:32]


def check_in_child(path: Path) -> None:
    """Reads the whole file in a process of its own.

    Raises:
        WeightsError: when the reading does not end in time, crashes, needs gigabytes, or fails.
    """
    limit = TIME_LIMIT + path.stat().st_size / 20e6
    script = Path(__file__).with_name("hdf5_check.py")
    # -P: not to take the modules beside the script for others of the same name.
    command = [sys.executable, "-P", str(script), os.path.abspath(path), str(int(limit) + 1)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "OPENBLAS_NUM_THREADS": "1"}
    try:
        done = subprocess.run(
            command, capture_output=True, timeout=_PATIENCE * limit, env=environment, stdin=subprocess.DEVNULL
        )
        late = done.returncode == _OUT_OF_TIME
    except subprocess.TimeoutExpired:
        done, late = None, True
    except OSError as error:
        raise WeightsError(f"{path} cannot be checked before it is read: {error}") from error
    if done is None or late:
        raise WeightsError(f"{path} is damaged: the HDF5 library had not read it after {limit:.0f} seconds")
    if done.returncode == 3:
        reason = done.stdout.decode("utf-8", "replace").strip()
        raise WeightsError(f"{path} is damaged or truncated: {reason}")
    if done.returncode:
        raise WeightsError(f"{path} is damaged: the HDF5 library fails in it (exit code {done.returncode})")


def member(group: Any, name: str) -> Any:
    """A group's member that lies in this very file: a link could name any other file of the machine."""
    path = f"{group.name.rstrip('/')}/{name}"
    if not isinstance(group, h5py.Group) or not isinstance(group.get(name, getlink=True), h5py.HardLink):
        raise WeightsError(f"{path} is missing or only a link")
    return group[name]


def array_shape(dataset: Any) -> tuple[int, ...]:
    """Shape of an array of floats that lies in the file, plain or deflated.

    Raises:
        WeightsError: for an array of something else, in another file, incomplete, or larger than `_LARGEST_RATIO` times
            the bytes that hold it, which no trained kernel is.
    """
    if not isinstance(dataset, h5py.Dataset) or dataset.dtype.kind != "f" or dataset.dtype.itemsize > 8:
        raise WeightsError(f"{dataset.name} is not an array of floating-point numbers")
    stored, plain = dataset.id.get_storage_size(), dataset.id.get_create_plist().get_nfilters() == 0
    if dataset.is_virtual or dataset.external or (plain and stored != dataset.nbytes):
        raise WeightsError(f"{dataset.name} is incomplete or kept in another file")
    if not plain and not _is_deflated(dataset):
        raise WeightsError(f"{dataset.name} is compressed by another filter than gzip")
    if dataset.nbytes > _LARGEST_RATIO * stored:
        raise WeightsError(f"{dataset.name} declares {dataset.nbytes} bytes, but the file holds {stored} for it")
    return dataset.shape


def _is_deflated(dataset: h5py.Dataset) -> bool:
    """Whether gzip, with or without shuffled bytes, is all that was done to it, in chunks no larger than the array."""
    filters = dataset.id.get_create_plist()
    known = {h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE}
    chunks = dataset.chunks or ()
    return {filters.get_filter(index)[0] for index in range(filters.get_nfilters())} <= known and all(
        chunk <= length for chunk, length in zip(chunks, dataset.shape, strict=True)
    )


def read_array(dataset: Any) -> np.ndarray:
    """The values as float32; check the shape first."""
    return dataset[()].astype(np.float32, copy=False)


def find_arrays(group: h5py.Group) -> dict[str, h5py.Dataset]:
    """All arrays below a group by their path; links are not followed."""
    found = {}

    def visit(path: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            found[path] = item

    group.visititems(visit)
    return found


def hdf5_bytes(
    groups: Mapping[str, Mapping[str, np.ndarray]],
    attributes: Mapping[str, Mapping[str, Any]],
    *,
    compress: bool = False,
) -> bytes:
    """A whole file made in memory: arrays by group and name; attributes by group, those of the file under "/".

    With `compress`, arrays of more than `_SMALL` bytes are shuffled and deflated, each in one chunk.
    """
    size = sum(array.nbytes for arrays in groups.values() for array in arrays.values())
    # This version of the format has a checksum on all its structure, which the older one does not.
    options = {"driver": "core", "backing_store": False, "block_size": size + (1 << 16), "libver": ("v110", "v110")}
    with h5py.File("memory", "w", **options) as file:
        for name, arrays in groups.items():
            group = file.create_group(name)
            for key, values in arrays.items():
                packed = compress and values.nbytes > _SMALL
                how = {"chunks": values.shape, "compression": "gzip", "shuffle": True} if packed else {}
                group.create_dataset(key, data=values, **how)
        for name, items in attributes.items():
            for key, value in items.items():
                file[name].attrs[key] = value
        file.flush()
        return file.id.get_file_image()
