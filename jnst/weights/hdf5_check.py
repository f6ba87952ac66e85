"""Reads all of an HDF5 file that jnst might read, in a process of its own: `python hdf5_check.py FILE SECONDS`.

libhdf5 loops for ever in some damaged files, where not even Ctrl-C ends it, and crashes in others. Whoever wants to
read a file of unknown origin starts this first, with a time limit. It imports nothing of jnst, so it starts quickly.
Exit code 0: the same calls will do no harm in another process. 3: the file is damaged, and the reason is on stdout.
"""

import contextlib
import sys
from typing import Any

MEMORY = 2 << 30  # bytes of address space; h5py and NumPy themselves take less than half a gigabyte
LARGEST = 1 << 29  # bytes of one chunked array; the largest kernel of a VGG has ten million


def limit_process(seconds: int) -> None:
    """Where the system has such limits, this process ends by itself and does not fill the memory."""
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))


def read_all(path: str) -> None:
    """Attributes, names and links of all objects, and the values of all chunked arrays, whose index could loop."""
    import h5py

    def read(item: Any) -> None:
        dict(item.attrs)
        if isinstance(item, h5py.Group):
            for name in item:
                item.get(name, getlink=True)
        elif isinstance(item, h5py.Dataset):
            shape, nbytes = item.shape, item.nbytes
            plain = not (item.is_virtual or item.external) and item.dtype.kind in "fiub"
            item.id.get_storage_size()
            # A plain array is one run of bytes: nothing in it can loop.
            if plain and item.chunks and shape and nbytes <= LARGEST:
                item[()]

    with h5py.File(path, "r", locking=False) as file:
        read(file)
        file.visititems(lambda name, item: read(item))


if __name__ == "__main__":
    limit_process(int(sys.argv[2]))
    try:
        read_all(sys.argv[1])
    except Exception as error:  # h5py raises all kinds
        print(str(error).partition("\n")[0] or type(error).__name__)
        sys.exit(3)
