"""The state of a long run on disk, so that a run that was killed goes on where it was, to the same result.

One file holds the optimisation's whole state and what the run was made of. It is replaced atomically: after a crash
there is the old state or the new one, never half of one.
"""

import json
import os
import time
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from jnst.errors import JnstError
from jnst.files import replacing
from jnst.transfer.loop import TransferState

_FORMAT = 2


class Stored(NamedTuple):
    """A state as read: number of the scale from zero, the leaves in order, the trace so far, readings of the clock."""

    scale: int
    leaves: list[np.ndarray]
    trace: dict[str, list[float]]
    clock: dict[str, float]


@dataclass
class Checkpoint:
    """Where the state of one run is kept.

    path: the file.
    every: seconds between two writes; zero only writes when told to.
    identity: what the result depends on, as JSON types; a state is resumed by a run with the same identity alone.
    resume: whether the run goes on from what is there.
    """

    path: Path
    every: float
    identity: Mapping[str, Any] = field(default_factory=dict)
    resume: bool = False
    _last: float = field(default_factory=time.monotonic, repr=False)

    def due(self) -> bool:
        """Whether the time has come to write again."""
        return self.every > 0 and time.monotonic() - self._last >= self.every

    def save(self, index: int, state: TransferState, trace: dict[str, list[float]], clock: dict[str, float]) -> None:
        """Writes the state.

        Raises:
            JnstError: where the disk is full or the folder cannot be written.
        """
        # The basis is made anew from the size: it is large, and the same every time.
        leaves = jax.tree.leaves(state._replace(basis=None))
        clock = clock | {"elapsed": time.monotonic() - clock["start"]}
        about = {"format": _FORMAT, "identity": self.identity, "index": index, "trace": trace, "clock": clock}
        try:
            with replacing(self.path) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED, allowZip64=True) as parts:
                parts.writestr("about.json", json.dumps(about))
                for number, leaf in enumerate(leaves):
                    with parts.open(f"{number}.npy", "w", force_zip64=True) as part:
                        np.lib.format.write_array(part, np.asarray(leaf), allow_pickle=False)
        except OSError as error:
            raise JnstError(f"cannot write the state to {self.path}: {error.strerror or error}") from error
        self._last = time.monotonic()

    def load(self) -> Stored | None:
        """The stored state, or None where the run is to begin anew.

        Raises:
            JnstError: where there is none, it is damaged, or it is of another run; the message says what differs.
        """
        if not self.resume:
            return None
        about = read_about(self.path)
        differing = _differences(about["identity"], self.identity)
        if differing:
            raise JnstError(
                f"the state in {self.path} is of another run: {'; '.join(differing[:3])}; give the same settings, or "
                "leave out --resume to begin anew"
            )
        with _reading(self.path) as parts:
            count = len(parts.namelist()) - 1
            leaves = []
            for number in range(count):
                with parts.open(f"{number}.npy") as part:
                    leaves.append(np.lib.format.read_array(part, allow_pickle=False))
        return Stored(about["index"], leaves, about["trace"], about["clock"])

    def remove(self) -> None:
        """The run is done."""
        self.path.unlink(missing_ok=True)


def read_about(path: str | os.PathLike[str]) -> dict[str, Any]:
    """What a state file says of itself: the identity of its run, how far it was.

    Raises:
        JnstError: where there is no such file, or it is damaged or of another version.
    """
    if not Path(path).exists():
        raise JnstError(f"there is no state at {path} to resume from; leave out --resume to begin anew")
    with _reading(path) as parts:
        about = json.loads(parts.read("about.json"))
    if about.get("format") != _FORMAT:
        raise JnstError(f"{path} is a state of format {about.get('format')}; this version reads {_FORMAT}")
    return about


def restore_state(template: TransferState, leaves: list[np.ndarray]) -> TransferState:
    """The stored leaves in the place of a fresh state's, whose basis is kept.

    Raises:
        JnstError: where they do not fit.
    """
    bare = template._replace(basis=None)
    expected, structure = jax.tree.flatten(bare)
    found = [(leaf.shape, leaf.dtype) for leaf in leaves]
    if found != [(leaf.shape, leaf.dtype) for leaf in expected]:
        raise JnstError("the stored state is of another size or optimiser; leave out --resume to begin anew")
    # Where the image is divided among devices, each part goes back to its own. Not an alias: it is advanced in place.
    placed = [jax.device_put(leaf, like.sharding, may_alias=False) for leaf, like in zip(leaves, expected, strict=True)]
    return jax.tree.unflatten(structure, placed)._replace(basis=template.basis)


class _reading:
    """A state file open for reading; whatever is wrong with it is said as a `JnstError`."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = path

    def __enter__(self) -> zipfile.ZipFile:
        try:
            self.parts = zipfile.ZipFile(self.path)
        except (OSError, zipfile.BadZipFile) as error:
            raise JnstError(f"{self.path} cannot be read as the state of a run: {error}") from error
        return self.parts

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        self.parts.close()
        if isinstance(error, OSError | zipfile.BadZipFile | ValueError | KeyError | EOFError):
            raise JnstError(f"{self.path} is damaged: {error}") from error


def _differences(stored: Any, wanted: Any, path: str = "") -> list[str]:
    """Sentences for what differs between two trees of JSON types."""
    if isinstance(stored, dict) and isinstance(wanted, Mapping):
        names = sorted({*stored, *wanted})
        return [
            sentence
            for name in names
            for sentence in _differences(stored.get(name), wanted.get(name), f"{path}.{name}" if path else name)
        ]
    return [] if stored == wanted else [f"{path} was {stored!r} and is now {wanted!r}"]
