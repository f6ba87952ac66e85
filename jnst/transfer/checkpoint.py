"""The state of a long run on disk, so that a run that was killed goes on where it was, to the same result.

One file holds the optimisation's whole state and what the run was made of. It is replaced atomically: after a crash
there is the old state or the new one, never half of one.
"""

import json
import math
import numbers
import os
import re
import time
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jnst.argument_checks import check_kind, check_switch
from jnst.errors import ConfigError, JnstError, quote
from jnst.files import NamedFile, check_path_given, replacing
from jnst.transfer.state import TransferState
from jnst.transfer.state_file import FORMAT, Stored, read_about, read_state

# Differences between two runs that a message names.
_MOST_DIFFERENCES = 12


@dataclass
class Checkpoint:
    """Where the state of one run is kept.

    path: the file; one without a folder is in the folder at hand when this is made.
    every: seconds between two writes; zero writes only when `save` is called.
    identity: what the result depends on, as JSON types; a state is resumed by a run with the same identity alone.
    resume: whether the run goes on from what is there.
    report: called with the reason where a state could not be written.

    Raises:
        ConfigError: one of them is of another type, or an identity that no file can hold.
        ImageError: the path is empty or holds a NUL character.
    """

    path: str | os.PathLike[str]
    every: float
    identity: Mapping[str, Any] = field(default_factory=dict)
    resume: bool = False
    report: Callable[[str], Any] = field(default=lambda _: None, repr=False)
    _last: float = field(default_factory=time.monotonic, repr=False)

    def __post_init__(self) -> None:
        check_kind("path", self.path, (str, os.PathLike), "the name of a file")
        check_path_given(self.path)
        if not (isinstance(self.every, numbers.Real) and 0 <= self.every < math.inf):
            raise ConfigError(f"every is {quote(self.every)}; expected seconds, zero or more")
        self.identity = _as_stored(self.identity)
        self.resume = check_switch("resume", self.resume)
        if not callable(self.report):
            raise ConfigError(f"report is {type(self.report).__name__}; expected a function")
        self._place = NamedFile(Path(os.path.abspath(self.path)), str(self.path))

    def due(self) -> bool:
        """Whether the time has come to write again."""
        return self.every > 0 and time.monotonic() - self._last >= self.every

    def save(self, index: int, state: TransferState, trace: dict[str, list[float]], clock: dict[str, float]) -> None:
        """Writes the state.

        Raises:
            JnstError: where the disk is full or the folder cannot be written.
        """
        # The basis is made again from the size: it is large, and the same every time.
        leaves = jax.tree.leaves(state._replace(basis=None))
        clock = clock | {"elapsed": time.monotonic() - clock["start"]}
        about = {"format": FORMAT, "identity": self.identity, "index": index, "trace": trace, "clock": clock}
        try:
            with (
                replacing(self._place) as file,
                zipfile.ZipFile(file, "w", zipfile.ZIP_STORED, allowZip64=True) as parts,
            ):
                parts.writestr("about.json", json.dumps(about))
                for number, leaf in enumerate(leaves):
                    with parts.open(f"{number}.npy", "w", force_zip64=True) as part:
                        np.lib.format.write_array(part, np.asarray(leaf), allow_pickle=False)
        except OSError as error:
            raise JnstError(f"cannot write the state to {self.path}: {error.strerror or error}") from error
        finally:
            self._last = time.monotonic()

    def try_save(
        self, index: int, state: TransferState, trace: dict[str, list[float]], clock: dict[str, float]
    ) -> None:
        """`save`, but a state that cannot be written is reported and does not end the run."""
        try:
            self.save(index, state, trace, clock)
        except (JnstError, OSError, ValueError, MemoryError) as error:
            self.report(
                f"{str(error) or 'no memory for the state'}; the run goes on, but --resume will not find it here"
            )

    def load(self) -> Stored | None:
        """The stored state, or None where the run is to start again.

        Raises:
            JnstError: where there is none, it is damaged, or it is of another run; the message says what differs.
        """
        return read_state(self._place, self.check()) if self.resume else None

    def check(self) -> dict[str, Any]:
        """What the stored state says of itself, where this very run may go on from it.

        Raises:
            JnstError: as `load`.
        """
        about = read_about(self._place)
        differing = _differences(about["identity"], self.identity)
        if differing:
            more = [f"and {len(differing) - _MOST_DIFFERENCES} more"] * (len(differing) > _MOST_DIFFERENCES)
            raise JnstError(
                f"the state in {self.path} is of another run: {'; '.join([*differing[:_MOST_DIFFERENCES], *more])}; "
                "give what the state has to go on with it, or pass --overwrite in place of --resume to begin anew"
            )
        return about

    def remove(self) -> None:
        """The run is done."""
        try:
            Path(self._place).unlink(missing_ok=True)
        except OSError as error:
            self.report(f"cannot remove {self.path}: {error.strerror or error}")


def _as_stored(identity: Any) -> dict[str, Any]:
    """The identity as it comes out of the file again: then what is wrong with it is said before the run.

    Raises:
        ConfigError: it is no mapping, cannot be written as JSON, or is never equal to itself, as NaN.
    """
    check_kind("identity", identity, Mapping, "what the result depends on, by name")
    try:
        text = json.dumps(dict(identity))
        stored, again = (json.loads(text, parse_constant=float) for _ in range(2))
    except (TypeError, ValueError, RecursionError) as error:
        raise ConfigError(
            f"identity is {quote(identity)} ({str(error).partition(chr(10))[0]}); expected JSON types: text, numbers, "
            "true, false, None, and lists and dictionaries of them"
        ) from error
    if stored != again:
        raise ConfigError(f"identity is {quote(identity)}; expected no NaN, which is never equal to itself")
    return stored


def restore_state(template: TransferState, leaves: list[np.ndarray]) -> TransferState:
    """The stored leaves in the place of a fresh state's, whose basis is kept.

    Raises:
        JnstError: where they do not fit.
    """
    bare = template._replace(basis=None)
    expected, structure = jax.tree.flatten(bare)
    found = [(leaf.shape, leaf.dtype) for leaf in leaves]
    if found != [(leaf.shape, leaf.dtype) for leaf in expected]:
        raise JnstError(
            "the stored state is of another size or optimiser; pass --overwrite in place of --resume to begin anew"
        )
    # Where the image is divided among devices, each part goes back to its own. Not an alias: it is advanced in place.
    placed = [jax.device_put(leaf, like.sharding, may_alias=False) for leaf, like in zip(leaves, expected, strict=True)]
    return jax.tree.unflatten(structure, placed)._replace(basis=template.basis)


def _differences(stored: Any, wanted: Any, path: str = "") -> list[str]:
    """Sentences for what differs between two trees of JSON types. Settings are called by their path in the config."""
    if isinstance(stored, dict) and isinstance(wanted, Mapping):
        names = sorted({*stored, *wanted})
        return [
            sentence
            for name in names
            for sentence in _differences(
                stored.get(name), wanted.get(name), f"{path}.{name}" if path not in ("", "config") else name
            )
        ]
    if stored == wanted:
        return []
    shown, now = (f"the file with the SHA-256 {one[:12]}…" if _is_hash(one) else quote(one) for one in (stored, wanted))
    return [f"{quote(path)[1:-1]} was {shown} and is now {now}"]


def _is_hash(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch("[0-9a-f]{64}", value) is not None
