"""Reading the file of an unfinished run. Nothing that it claims is taken over before it was checked."""

import json
import math
import os
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jnst.errors import JnstError, quote
from jnst.files import check_regular
from jnst.loss.registry import TERMS
from jnst.loss.term import RESERVED

FORMAT = 2
_MOST_SCALES, _LONGEST_ABOUT = 8, 2**30
_CLOCK = ("elapsed", "compile", "evaluations")


class Stored(NamedTuple):
    """A state as read: number of the scale from zero, the leaves in order, the trace so far, readings of the clock."""

    scale: int
    leaves: list[np.ndarray]
    trace: dict[str, list[float]]
    clock: dict[str, float]


def read_about(path: str | os.PathLike[str]) -> dict[str, Any]:
    """What a state file says of itself: the identity of its run, how far it was.

    Raises:
        JnstError: where there is no such file, or it is damaged or of another version.
    """
    if not os.path.exists(path):
        raise JnstError(f"there is no state at {path} to resume from; leave out --resume to start again")
    check_regular(path)
    with _reading(path) as parts:
        size = parts.getinfo("about.json").file_size
        if size > min(_LONGEST_ABOUT, Path(path).stat().st_size):
            raise ValueError(f"about.json claims {size} bytes")
        about = json.loads(parts.read("about.json"))
    problem = _problem(about)
    if problem:
        raise JnstError(f"{path} is damaged: {problem}; pass --overwrite in place of --resume to begin anew")
    return about


def read_state(path: str | os.PathLike[str], about: dict[str, Any]) -> Stored:
    """The state that `about`, from `read_about`, belongs to.

    Raises:
        JnstError: where it is damaged.
    """
    with _reading(path) as parts:
        names = [f"{number}.npy" for number in range(len(parts.namelist()) - 1)]
        if {*parts.namelist()} != {"about.json", *names}:
            raise ValueError("it holds other parts than a state does")
        size = Path(path).stat().st_size
        leaves = [_read_leaf(parts, name, size) for name in names]
    return Stored(about["index"], leaves, about["trace"], about["clock"])


def _read_leaf(parts: zipfile.ZipFile, name: str, file_size: int) -> np.ndarray:
    """One array, whose announced size is compared with what is there before memory is taken for it."""
    info = parts.getinfo(name)
    if info.compress_type != zipfile.ZIP_STORED or info.file_size > file_size:
        raise ValueError(f"{name} claims {info.file_size} bytes in a file of {file_size}")
    with parts.open(name) as part:
        version = np.lib.format.read_magic(part)
        if version != (1, 0):
            raise ValueError(f"{name} is of version {version}")
        shape, _, dtype = np.lib.format.read_array_header_1_0(part)
        needed = part.tell() + math.prod(shape) * dtype.itemsize
    if dtype.hasobject or min(shape, default=1) < 0 or needed != info.file_size:
        raise ValueError(f"{name} announces {quote(shape)} numbers of type {dtype}, which is not what it holds")
    with parts.open(name) as part:
        return np.lib.format.read_array(part, allow_pickle=False)


def _problem(about: Any) -> str:
    """What is wrong with a state's own description, or nothing."""
    if not isinstance(about, dict) or about.get("format") != FORMAT:
        found = about.get("format") if isinstance(about, dict) else about
        return f"its format is {quote(found)}, and this version reads {FORMAT}"
    index, identity, trace, clock = (about.get(name) for name in ("index", "identity", "trace", "clock"))
    if not isinstance(index, int) or isinstance(index, bool) or not 0 <= index < _MOST_SCALES:
        return f"index is {quote(index)}; expected the number of a scale"
    if not isinstance(identity, dict):
        return f"identity is {quote(identity)}; expected an object"
    names = (*RESERVED, *(term.name for term in TERMS))
    if not isinstance(trace, dict) or not {*names} <= {*trace}:
        return f"trace is {quote(trace)}; expected {', '.join(names)}"
    lengths = {len(values) if isinstance(values, list) else -1 for values in trace.values()}
    if len(lengths) != 1 or lengths <= {-1, 0} or not all(_is_number(item) for row in trace.values() for item in row):
        return "trace does not hold lists of numbers, all of one length"
    if not isinstance(clock, dict) or not all(_is_finite(clock.get(name)) for name in _CLOCK):
        return f"clock is {quote(clock)}; expected the seconds {', '.join(_CLOCK)}"
    about["clock"] = {name: clock[name] for name in _CLOCK}
    return ""


def _is_number(value: Any) -> bool:
    return isinstance(value, float) or (isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63)


def _is_finite(value: Any) -> bool:
    return _is_number(value) and math.isfinite(value) and 0 <= value < 1e12


class _reading:
    """A state file open for reading; whatever is wrong with it is said as a `JnstError`."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = path

    def __enter__(self) -> zipfile.ZipFile:
        try:
            self.parts = zipfile.ZipFile(self.path)
        except Exception as error:  # a damaged directory makes zipfile raise all kinds
            reason = getattr(error, "strerror", None) or error
            raise JnstError(f"{self.path} cannot be read as the state of a run: {quote(str(reason), 200)}") from error
        return self.parts

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        self.parts.close()
        if isinstance(error, Exception) and not isinstance(error, JnstError):
            reason = str(error) or type(error).__name__
            raise JnstError(
                f"{self.path} is damaged: {quote(reason, 200)}; pass --overwrite in place of --resume to begin anew"
            ) from error
