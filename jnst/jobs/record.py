"""The record of a run: what was asked for and what came out, as JSON."""

import datetime
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jnst.argument_checks import check_seed
from jnst.config import Config
from jnst.config_json import from_dict, to_dict
from jnst.errors import ConfigError, JnstError, quote
from jnst.files import check_length, check_regular
from jnst.jobs.input_files import describe_file
from jnst.jobs.job import Job
from jnst.jobs.region_files import checked_regions, describe_regions
from jnst.runtime import versions
from jnst.transfer.result import Result
from jnst.weights.network import Weights

_MOST_STYLES = 1000


def record_path(output: Path) -> Path:
    """Where the record of a picture goes: OUT.json beside OUT.png."""
    return output.with_suffix(".json")


def read_record(path: Path) -> dict[str, Any]:
    """The record of an earlier run, from its JSON file or from inside the picture, with every field that is used.

    Raises:
        JnstError: where there is no such file or it holds no record, or a field is not what a run writes; the message
            names the field.
    """
    from jnst.images.writing import read_metadata

    check_regular(path)
    if path.suffix.lower() == ".json":
        check_length(path, "the record of a run")
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            reason = "it is nested too deeply" if isinstance(error, RecursionError) else error
            raise JnstError(f"{path} cannot be read as the record of a run: {reason}") from error
    else:
        record = read_metadata(path)
    if not isinstance(record, dict) or not isinstance(record.get("config"), dict):
        raise JnstError(f"{path} holds no record of a run; expected the OUT.json, or the picture, that a run wrote")
    try:
        return _checked(record)
    except ConfigError as error:
        raise JnstError(f"the record in {path} is damaged: {error}") from error


def record_config(record: dict[str, Any]) -> Config:
    """The config in a record."""
    return from_dict(record["config"])


def find_input(described: dict[str, str | None], record_file: Path) -> tuple[Path, str]:
    """The file that a record names: where it says, or else beside the record; and a notice where it has changed.

    Raises:
        JnstError: it is in neither place.
    """
    named = Path(str(described["path"]))
    places = [named, record_file.parent / named, record_file.parent / named.name]
    found = next((place for place in places if os.path.isfile(place)), None)
    if found is None:
        raise JnstError(
            f"{record_file} is the record of a run on {quote(str(named))}, which is neither there nor beside the record"
        )
    changed = described["sha256"] not in (None, describe_file(found)["sha256"])
    return found, f"{found} has changed since that run; the result will differ" if changed else ""


def _checked(record: dict[str, Any]) -> dict[str, Any]:
    """The fields of a record that are read later, each of its type. Raises ConfigError, which names the field."""
    from_dict(record["config"])
    inputs, weights = _object(record, "inputs"), _object(record, "weights")
    styles, blend = inputs.get("styles", []), inputs.get("style_weights")
    if not isinstance(styles, list) or len(styles) > _MOST_STYLES:
        raise ConfigError(f"inputs.styles is {quote(styles)}; expected a list of files")
    if None in styles:
        raise ConfigError(f"inputs.styles[{styles.index(None)}] is None; expected an object with the path of a file")
    numbers = isinstance(blend, list) and all(
        isinstance(weight, int | float) and not isinstance(weight, bool) and 0 <= weight < 1e300 for weight in blend
    )
    if blend is not None and not (numbers and len(blend) == len(styles)):
        raise ConfigError(f"inputs.style_weights is {quote(blend)}; expected a number for each style")
    stopped, written = record.get("stopped"), record.get("written")
    return record | {
        "inputs": {
            "content": _file(inputs.get("content"), "inputs.content"),
            "styles": [_file(style, f"inputs.styles[{index}]") for index, style in enumerate(styles)],
            "style_weights": blend,
            "initial": _file(inputs.get("initial"), "inputs.initial"),
            "regions": checked_regions(inputs.get("regions"), _file),
        },
        "weights": {name: _text(weights.get(name), f"weights.{name}") for name in ("name", "source", "sha256")},
        "seed": check_seed(record.get("seed", 0)),
        "stopped": stopped if isinstance(stopped, str) else None,
        "written": written if isinstance(written, str) else None,
    }


def _object(record: dict[str, Any], name: str) -> dict[str, Any]:
    value = record.get(name, {})
    if not isinstance(value, dict):
        raise ConfigError(f"{name} is {quote(value)}; expected an object with named fields")
    return value


def _file(value: Any, name: str) -> dict[str, str | None] | None:
    if value is None:
        return None
    if not isinstance(value, dict) or value.get("path") is None:
        raise ConfigError(f"{name} is {quote(value)}; expected an object with the path and sha256 of a file")
    return {key: _text(value.get(key), f"{name}.{key}") for key in ("path", "sha256")}


def _text(value: Any, name: str) -> str | None:
    if value is not None and (not isinstance(value, str) or "\0" in value or not 0 < len(value) < 4096):
        raise ConfigError(f"{name} is {quote(value)}; expected text without NUL characters, such as a path")
    return value


def make_record(
    job: Job,
    weights: Weights,
    result: Result,
    *,
    interrupted: bool,
    describe: Callable[[Any], dict[str, str]] = describe_file,
) -> dict[str, Any]:
    """What is needed to repeat the run, and what came of it, as plain JSON types.

    Args:
        job: what was asked for.
        weights: of the network.
        result: what came out.
        interrupted: whether a signal ended the run.
        describe: tells path and SHA-256 of an input file, as it was read: by now it may be another, or gone.
    """
    device = jax.devices()[0]
    return {
        "config": to_dict(job.config),
        "inputs": {
            "content": describe(job.content),
            "styles": [describe(style) for style in job.styles],
            "style_weights": None if job.style_weights is None else list(job.style_weights),
            "initial": None if job.initial is None else describe(job.initial),
            "regions": describe_regions(job.regions, describe),
        },
        "weights": {"name": weights.info.name, "source": job.weights_source, "sha256": weights.info.sha256},
        "seed": job.seed,
        **({} if job.canvas is None else {"canvas": list(job.canvas)}),
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
