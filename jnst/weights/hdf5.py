"""HDF5 files, read with suspicion: the only room that uses h5py.

A file from somewhere else may be cut short, may link to other files of the machine, or may declare arrays that it does
not hold. Whatever h5py says of such a file comes out as one WeightsError with the path in it.
The library itself trusts the sizes in a file's structure: a file made to do harm can still cost memory, not more.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from jnst.errors import WeightsError
from jnst.files import check_readable

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
    try:
        # Files appear by renaming and never change, so a lock protects nothing, and some network disks refuse it.
        with h5py.File(path, "r", locking=False) as file:
            yield file
    except WeightsError as error:
        raise WeightsError(f"{path}: {error}") from error
    except _BROKEN as error:
        raise WeightsError(f"{path} is damaged or truncated: {error}") from error


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
