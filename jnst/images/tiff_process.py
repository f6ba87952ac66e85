"""Compressed TIFF, and what is damaged, in a process of its own.

    python -m jnst.images.tiff_process PATH OPTIONS SECONDS        reads the file's bytes from stdin

libtiff writes to the terminal by itself, and no library promises to end for every file. The process has a time limit;
what it says on stderr tells which pages are damaged.
"""

import contextlib
import ctypes
import functools
import json
import mmap
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
from typing import Any, BinaryIO

import numpy as np

from jnst.errors import ImageError
from jnst.images.opening import DamagedError
from jnst.images.samples import Pixels

# Seconds of a processor for one picture, besides one for each two million pixels.
TIME_LIMIT = 30.0
_PATIENCE = 4  # times as long by the clock: other programs may be busy
_OUT_OF_TIME = -getattr(signal, "SIGXCPU", 0) or None  # how a process ends that has used up its processor time
_PIECE = 1 << 22  # bytes that are sent at a time
# How libtiff says that a line could not be decoded, or libjpeg a block; it is filled somehow, and they go on.
_DAMAGE = re.compile(r"^(\w*Decode\w*|JPEGLib): (?:Warning, )?(.*)", re.MULTILINE)


def decode_apart(
    path: str | os.PathLike[str], data: bytes, size: int, **options: Any
) -> tuple[Pixels, Pixels | None, str, tuple[str, ...]]:
    """The fields of the `Picture` in a TIFF file, decoded by another process.

    Args:
        path: for messages.
        data: the file's bytes.
        size: number of pixels that the file announces.
        options: as for `decode_picture`; or with `damaged` as for `decode_damaged`.

    Raises:
        ImageError: as `read_image` does, and when the decoder does not end in time or crashes.
    """
    limit = TIME_LIMIT + size / 2e6
    command = [sys.executable, "-P", "-m", "jnst.images.tiff_process"]
    command += [os.fspath(path), json.dumps(options), str(int(limit) + 1)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "OPENBLAS_NUM_THREADS": "1"}
    with tempfile.TemporaryFile() as complaints:
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=complaints, env=environment
        )
        late = threading.Event()
        timer = threading.Timer(_PATIENCE * limit, lambda: (late.set(), process.kill()))
        timer.start()
        try:
            # All of the one, then all of the other: that process writes nothing before it has read everything.
            with contextlib.suppress(BrokenPipeError), process.stdin as pipe:  # pyright: ignore[reportOptionalContextManager]
                pipe.write(data)
            answer = _receive(process.stdout)  # pyright: ignore[reportArgumentType]
            process.wait()
        finally:
            timer.cancel()
            process.kill()
            process.wait()
            process.stdout.close()  # pyright: ignore[reportOptionalMemberAccess]
        complaints.seek(0)
        said = _DAMAGE.findall(complaints.read(1 << 20).decode("utf-8", "replace"))
    if late.is_set() or process.returncode == _OUT_OF_TIME:
        raise ImageError(f"{path} is damaged: the TIFF library had not decoded it after {limit:.0f} seconds")
    if answer is None:
        raise ImageError(f"{path} is damaged: the TIFF library fails in it (exit code {process.returncode})")
    about, pixels, alpha = answer
    if "error" in about:
        raise (DamagedError if about["damaged"] else ImageError)(about["error"])
    what = ": ".join(said[0]).strip()[:120].rstrip(".") if said else ""
    damage = (f"it is damaged ({what}); what could be decoded is kept",) if said else ()
    return pixels, alpha, about["format"], (*about["notes"], *damage)


def _receive(pipe: BinaryIO) -> tuple[dict[str, Any], Any, Any] | None:
    """A line that describes the arrays, then the arrays; None where that is not what came."""
    try:
        about = json.loads(pipe.readline(1 << 20))
        arrays: list[Any] = [np.empty(shape, dtype) for shape, dtype in about["arrays"]]
    except (ValueError, TypeError, KeyError):
        return None
    for array in arrays:
        view, done = memoryview(array).cast("B"), 0
        while done < len(view):
            count = pipe.readinto(view[done:])  # pyright: ignore[reportAttributeAccessIssue]
            if not count:
                return None
            done += count
    pixels, alpha = [*arrays, None][:2] if arrays else (None, None)
    return about, pixels, alpha


def _send(array: Any) -> None:
    """Writes the array to stdout, and gives up its memory piece by piece, since the other process has it by then."""
    view = memoryview(array).cast("B")
    for start in range(0, len(view), _PIECE):
        piece = view[start : start + _PIECE]
        sys.stdout.buffer.write(piece)
        with contextlib.suppress(AttributeError, OSError, TypeError):  # systems without it
            first = -(-(array.ctypes.data + start) // mmap.PAGESIZE) * mmap.PAGESIZE
            last = (array.ctypes.data + start + len(piece)) // mmap.PAGESIZE * mmap.PAGESIZE
            forget = ctypes.CDLL(None).madvise
            forget(ctypes.c_void_p(first), ctypes.c_size_t(max(0, last - first)), mmap.MADV_DONTNEED)


def main(path: str, options: str, seconds: str) -> None:
    """Reads a file's bytes from stdin and writes its picture to stdout."""
    from jnst.images.damaged import decode_damaged
    from jnst.images.reading import decode_picture

    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        resource.setrlimit(resource.RLIMIT_CPU, (int(seconds), int(seconds) + 1))
    arrays: list[np.ndarray] = []
    settings = json.loads(options)
    decode = decode_damaged if settings.pop("damaged", False) else functools.partial(decode_picture, isolated=True)
    try:
        picture = decode(path, sys.stdin.buffer.read(), **settings)
    except ImageError as error:
        about = {"error": str(error), "damaged": isinstance(error, DamagedError), "arrays": []}
    else:
        arrays = [array for array in (picture.pixels, picture.alpha) if array is not None]
        about = {"format": picture.format, "notes": picture.notes}
        about["arrays"] = [[array.shape, str(array.dtype)] for array in arrays]
    sys.stdout.buffer.write(json.dumps(about).encode() + b"\n")
    for array in arrays:
        _send(array)


if __name__ == "__main__":
    main(*sys.argv[1:])
