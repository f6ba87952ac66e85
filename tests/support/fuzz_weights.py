"""Reads damaged weights files: `python fuzz_weights.py FORMAT SOURCE FIRST STOP`, each mutation made from its number.

Run as a program so that what crashes or hangs is a process of its own. It prints the number of the mutation before it
reads it, and at the end how many were refused. Any error but `WeightsError` ends it.
"""

import random
import resource
import signal
import struct
import sys
from pathlib import Path

from jnst.errors import WeightsError
from jnst.weights import hdf5
from jnst.weights.foreign_files import read_pytorch, read_safetensors
from jnst.weights.store import read_weights

SECONDS = 1  # for one file of a few kilobytes
NUMBERS = (0, 1, 2, 4, 8, 255, 0x7FFF, 0xFFFF, 1 << 31, (1 << 31) - 1, 1 << 32, 1 << 48, 1 << 62, (1 << 64) - 1)


def mutate(data: bytes, number: int) -> bytes:
    """One to three changes: bytes, whole numbers, runs that are cut out, doubled or moved, another end."""
    chance, changed = random.Random(number), bytearray(data)
    for _ in range(chance.randint(1, 3)):
        place, length = chance.randrange(len(changed)), chance.choice((1, 2, 4, 8, 16))
        run = bytes(changed[chance.randrange(len(changed)) :][:length])
        kind = chance.randrange(8)
        if kind == 0:
            changed[place] ^= 1 << chance.randrange(8)
        elif kind == 1:
            changed[place : place + length] = chance.randbytes(length)
        elif kind == 2:
            form, size = chance.choice((("<Q", 8), (">Q", 8), ("<I", 4), ("<H", 2)))
            changed[place : place + size] = struct.pack(form, chance.choice(NUMBERS) & ((1 << 8 * size) - 1))
        elif kind == 3:  # digits, which text headers are made of
            changed[place : place + 1] = chance.choice((b"0", b"9", b"-", b"99999999", b'"', b"]"))
        elif kind == 4:
            changed[place : place + length] = run
        elif kind == 5:
            changed[place:place] = run * chance.choice((1, 1, 100))
        elif kind == 6:
            del changed[place : place + length]
        elif chance.random() < 0.2:
            del changed[place:]
        changed = changed or bytearray(1)
    return bytes(changed)


def read_all(form: str, path: Path) -> int:
    """Reads every value as `jnst` would, HDF5 in this process; returns the bytes of the arrays."""
    if form in ("legacy", "zip"):
        return sum(tensor.read().nbytes for tensor in read_pytorch(path).values())
    if form == "safetensors":
        return sum(tensor.read().nbytes for tensor in read_safetensors(path).values())
    if form == "ours":
        return sum(part.nbytes for layer in read_weights(path).params.values() for part in layer.values())
    with hdf5.open_hdf5(path) as file:
        arrays = [array for array in hdf5.find_arrays(file).values() if max(hdf5.array_shape(array), default=0) <= 512]
        return sum(hdf5.read_array(array).nbytes for array in arrays)


def main(form: str, source: str, first: str, stop: str) -> None:
    """Reads the mutations from `first` up to `stop`."""
    data, path, refused = Path(source).read_bytes(), Path(f"{source}.changed"), 0
    hdf5.is_known = lambda path: True
    resource.setrlimit(resource.RLIMIT_AS, (3 << 30, 3 << 30))
    for number in range(int(first), int(stop)):
        print(number, flush=True)
        path.write_bytes(mutate(data, number))
        signal.alarm(SECONDS)  # nothing handles it, so that it ends a loop outside Python too
        try:
            size = read_all(form, path)
        except WeightsError:
            refused += 1
        else:
            # Values are widened to four bytes at most, from one.
            assert size <= 8 * path.stat().st_size, (number, size)
    signal.alarm(0)
    # Of this program alone: `ru_maxrss` remembers the parent that it was started from.
    peak = int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
    print(f"refused {refused} peak {peak}")


if __name__ == "__main__":
    main(*sys.argv[1:])
