"""The record of a run: what was asked for and what came out, as JSON."""

import datetime
import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jnst.config import Config, from_dict, to_dict
from jnst.errors import JnstError
from jnst.images.writing import Bits
from jnst.runtime import versions
from jnst.transfer.driver import Result
from jnst.weights.store import Weights


@dataclass(frozen=True)
class Job:
    """One picture to make: which files, with what, and what to write beside the result."""

    content: Path
    styles: tuple[Path, ...]
    output: Path
    config: Config
    seed: int = 0
    style_weights: tuple[float, ...] | None = None
    weights_source: str = ""
    initial: Path | None = None
    overwrite: bool = False
    plot: bool = False
    sheet: bool = False
    bits: Bits = 8
    quality: int = 95
    allow_large: bool = False
    notices: tuple[str, ...] = field(default=(), compare=False)
    choose_tile: bool = False
    memory: int | None = None
    checkpoint_every: float = 0.0
    resume: bool = False
    split_rows: bool = False


def record_path(output: Path) -> Path:
    """Where the record of a picture goes: OUT.json beside OUT.png."""
    return output.with_suffix(".json")


def read_record(path: Path) -> dict[str, Any]:
    """The record of an earlier run, from its JSON file or from inside the picture.

    Raises:
        JnstError: where there is no such file or it holds no record.
    """
    from jnst.images.writing import read_metadata

    if path.suffix.lower() == ".json":
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
            raise JnstError(f"{path} cannot be read as the record of a run: {error}") from error
    else:
        record = read_metadata(path)
    if not isinstance(record, dict) or not isinstance(record.get("config"), dict):
        raise JnstError(f"{path} holds no record of a run; expected the OUT.json, or the picture, that a run wrote")
    return record


def record_config(record: dict[str, Any]) -> Config:
    """The config in a record."""
    return from_dict(record["config"])


def make_record(job: Job, weights: Weights, result: Result, *, interrupted: bool) -> dict[str, Any]:
    """What is needed to repeat the run, and what came of it, as plain JSON types."""
    device = jax.devices()[0]
    return {
        "config": to_dict(job.config),
        "inputs": {
            "content": describe_file(job.content),
            "styles": [describe_file(style) for style in job.styles],
            "style_weights": None if job.style_weights is None else list(job.style_weights),
            "initial": None if job.initial is None else describe_file(job.initial),
        },
        "weights": {"name": weights.info.name, "source": job.weights_source, "sha256": weights.info.sha256},
        "seed": job.seed,
        "size": {"height": result.image.shape[0], "width": result.image.shape[1]},
        "seconds": {name: round(value, 3) for name, value in result.seconds.items()},
        "stopped": "interrupted" if interrupted else result.stopped,
        "interrupted": interrupted,
        "best_step": result.best_step,
        "device": f"{device.platform}: {device.device_kind}",
        "versions": versions(),
        "written": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "trace": _finite(result.trace),
    }


def _finite(trace: dict[str, list[float]]) -> dict[str, list[float | None]]:
    """JSON has no NaN: what is not finite becomes null."""
    return {name: [value if np.isfinite(value) else None for value in values] for name, values in trace.items()}


def describe_file(path: Path) -> dict[str, str]:
    """Path and SHA-256 of an input."""
    return {"path": str(path), "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
