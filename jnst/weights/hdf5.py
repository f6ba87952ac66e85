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
    """Shape of an array of floats whose bytes all lie plainly in the file, so that it is no larger than the file."""
    if not isinstance(dataset, h5py.Dataset) or dataset.dtype.kind != "f" or dataset.dtype.itemsize > 8:
        raise WeightsError(f"{dataset.name} is not an array of floating-point numbers")
    if dataset.is_virtual or dataset.external or dataset.id.get_storage_size() != dataset.nbytes:
        raise WeightsError(f"{dataset.name} is compressed, incomplete, or kept in another file")
    return dataset.shape


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


def hdf5_bytes(groups: Mapping[str, Mapping[str, np.ndarray]], attributes: Mapping[str, Mapping[str, Any]]) -> bytes:
    """A whole file made in memory: arrays by group and name; attributes by group, those of the file under "/"."""
    size = sum(array.nbytes for arrays in groups.values() for array in arrays.values())
    # This version of the format has a checksum on all its structure, which the older one does not.
    options = {"driver": "core", "backing_store": False, "block_size": size + (1 << 16), "libver": ("v110", "v110")}
    with h5py.File("memory", "w", **options) as file:
        for name, arrays in groups.items():
            group = file.create_group(name)
            for key, values in arrays.items():
                group.create_dataset(key, data=values)
        for name, items in attributes.items():
            for key, value in items.items():
                file[name].attrs[key] = value
        file.flush()
        return file.id.get_file_image()
