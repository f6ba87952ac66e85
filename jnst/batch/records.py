"""What becomes of a picture, as it stands in the manifest and inside the picture."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from jnst.batch import folders
from jnst.batch.worklist import Entry
from jnst.errors import ImageError, JnstError, one_line
from jnst.transfer.result import Result

Record = dict[str, Any]


def recover(entry: Entry, output: str, weights_sha256: str) -> Record | None:
    """The record inside a picture that was finished by a run which was killed before it could tell; None if there is
    no such picture."""
    path = folders.join(output, entry.name)
    if entry.replace or not folders.exists(path):
        return None
    try:
        record = folders.read_picture_metadata(path)
    except ImageError:
        return None
    if not record or record.get("key") != entry.key(weights_sha256):
        return None
    # What a file says of itself counts for no more than the key, which only this entry has.
    own = {"kind": "item", "name": entry.name, "status": "done", "content": entry.content, "styles": [*entry.styles]}
    return {name: value for name, value in record.items() if name != "config"} | own


def make_success(
    entry: Entry,
    result: Result,
    seconds: float,
    *,
    weights_sha256: str,
    notes: Sequence[str],
    inputs: dict[str, Any],
) -> Record:
    """The manifest's line of a picture that was made.

    Args:
        entry: what was asked for.
        result: what came out.
        seconds: that the picture took, as its share of its batch.
        weights_sha256: hash of the network's weights.
        notes: on the inputs and on what was done to them.
        inputs: from `jnst.batch.input_changes.describe_inputs`.
    """
    totals = result.trace["total"]
    return {
        "kind": "item",
        "name": entry.name,
        "status": "done",
        "key": entry.key(weights_sha256),
        "content": entry.content,
        "styles": list(entry.styles),
        **({} if entry.regions is None else {"regions": dataclasses.asdict(entry.regions)}),
        "seed": entry.seed,
        "height": result.image.shape[0],
        "width": result.image.shape[1],
        "stopped": result.stopped,
        "best_step": result.best_step,
        "loss": [finite(totals[0]), finite(min(totals))],
        "seconds": round(seconds, 3),
        "notes": list(notes),
        "inputs": inputs,
    }


def make_failure(entry: Entry, error: BaseException) -> Record:
    """What is known of a picture that could not be made."""
    reason = one_line(str(error).partition("\n")[0]) or type(error).__name__
    if not isinstance(error, JnstError):
        reason = f"{type(error).__name__}: {reason}"
    return {
        "kind": "item",
        "name": entry.name,
        "status": "failed",
        "content": entry.content,
        "styles": list(entry.styles),
        "reason": reason,
    }


def finite(value: float) -> float | None:
    """The value as JSON can hold it."""
    return round(value, 6) if np.isfinite(value) else None
