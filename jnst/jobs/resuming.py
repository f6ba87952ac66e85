"""What makes two runs the same one: then a state may be gone on from, and an interrupted picture replaced."""

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax

from jnst.config import Config
from jnst.config_json import to_dict
from jnst.errors import JnstError
from jnst.images.writing import read_metadata
from jnst.jobs.input_files import describe_file
from jnst.jobs.job import Job
from jnst.jobs.record import read_record, record_path
from jnst.jobs.region_files import describe_regions
from jnst.runtime import versions
from jnst.transfer.checkpoint import Checkpoint
from jnst.transfer.color_mode import PREPARED
from jnst.transfer.state_file import read_about
from jnst.weights.network import Weights

# `Result.stopped` of runs whose state is kept.
RESUMABLE = ("callback", "time", "no step")
# The same in records, which say whether it was a signal.
_UNFINISHED = ("interrupted", "time", "no step")


def state_path(output: Path) -> Path:
    """Where the state of an unfinished run is kept: OUT.state beside OUT.png."""
    return output.with_suffix(".state")


def make_checkpoint(
    job: Job, weights: Weights, report: Callable[[str], Any], describe: Callable[[Any], dict[str, str]] = describe_file
) -> Checkpoint:
    """The place of the job's state, with all that its result depends on.

    Args:
        job: what was asked for.
        weights: of the network.
        report: called with the reason where a state could not be written.
        describe: tells path and SHA-256 of an input file, as it was read.
    """
    identity = {
        **_identity(job, weights, describe),
        **({} if job.canvas is None else {"canvas": list(job.canvas)}),
        "device": jax.devices()[0].device_kind,
        "devices": jax.local_device_count() if job.split_rows else 1,
        "versions": {name: value for name, value in versions().items() if name in ("jnst", "jax", "jaxlib", "jaxopt")},
    }
    return Checkpoint(state_path(job.output), job.checkpoint_every, identity, job.resume, report)


def _identity(job: Job, weights: Weights, describe: Callable[[Any], dict[str, str]] = describe_file) -> dict[str, Any]:
    return {
        "config": _lasting_settings(to_dict(job.config)),
        "content": describe(job.content)["sha256"],
        "styles": [describe(style)["sha256"] for style in job.styles],
        "style_weights": None if job.style_weights is None else list(job.style_weights),
        "initial": None if job.initial is None else describe(job.initial)["sha256"],
        "regions": _without_paths(describe_regions(job.regions, describe)),
        "weights": weights.info.sha256,
        "seed": job.seed,
    }


def _without_paths(regions: Any) -> Any:
    """What is told of regions, by what is in the files alone."""
    if isinstance(regions, dict):
        return {name: _without_paths(value) for name, value in regions.items() if name != "path" and value is not None}
    return [_without_paths(one) for one in regions] if isinstance(regions, list) else regions


def _lasting_settings(config: dict[str, Any]) -> dict[str, Any]:
    """The settings that a state belongs to: steps, stopping rules and what is done at the end may change."""
    run = {"scales": config["run"]["scales"]}
    if config["run"].get("colors") in PREPARED:
        run["colors"] = config["run"]["colors"]
    return config | {"run": run}


def with_stored_tiles(job: Job) -> Config:
    """The job's config with the tiles of the state that it goes on from, whatever memory is free today."""
    stored = read_about(state_path(job.output))["identity"].get("config")
    if not isinstance(stored, dict):
        return job.config
    tiles = {name: stored[name] for name in ("tile", "tiled_content") if name in stored}
    return dataclasses.replace(job.config, **tiles)


def begin_or_go_on(job: Job, weights: Weights) -> Job:
    """A job that is to be resumed, with its state looked at before the work.

    Returns:
        The job; one that begins anew, and says so, where neither a state nor a result is there yet, so that the first
        call of a run needs no other command than the calls that go on with it.

    Raises:
        JnstError: the state is damaged, or of another run; the message names every setting that differs.
    """
    place = state_path(job.output)
    if os.path.lexists(place):
        stored = dataclasses.replace(job, config=with_stored_tiles(job)) if job.choose_tile else job
        make_checkpoint(stored, weights, lambda _: None).check()
    elif not any(map(os.path.lexists, (job.output, record_path(job.output)))):
        notice = f"there is no state at {place} and no {job.output.name} yet: the run begins anew"
        return dataclasses.replace(job, resume=False, notices=(*job.notices, notice))
    return job


def may_replace(job: Job, weights: Weights) -> bool:
    """Whether what lies at the job's output was written by this very run when it was interrupted.

    A file that is not there yet is no hindrance. Picture and record are asked what run they are of; loss curves and
    sheets lie beside them under names of their own.
    """
    if not job.resume or not state_path(job.output).exists():
        return False
    for path, read in ((job.output, read_metadata), (record_path(job.output), read_record)):
        if not path.exists():
            continue
        try:
            record = read(path)
        except JnstError:
            return False
        if record is None or not _is_unfinished(record, job, weights):
            return False
    return job.output.exists() or record_path(job.output).exists()


def is_finished(job: Job, weights: Weights) -> bool:
    """Whether the picture at the job's output is the whole result of this very run, killed late if at all."""
    if not job.output.exists():
        return False
    try:
        record = read_metadata(job.output) or read_record(record_path(job.output))
    except JnstError:
        return False
    return record.get("stopped") not in _UNFINISHED and _is_same(record, job, weights)


def _is_unfinished(record: dict[str, Any], job: Job, weights: Weights) -> bool:
    return record.get("stopped") in _UNFINISHED and _is_same(record, job, weights)


def _is_same(record: dict[str, Any], job: Job, weights: Weights) -> bool:
    mine = _identity(job, weights)
    try:
        inputs = record["inputs"]
        theirs = {
            "config": _lasting_settings(record["config"]),
            "content": inputs["content"]["sha256"],
            "styles": [style["sha256"] for style in inputs["styles"]],
            "style_weights": inputs["style_weights"],
            "initial": None if inputs["initial"] is None else inputs["initial"]["sha256"],
            "regions": _without_paths(inputs.get("regions")),
            "weights": record["weights"]["sha256"],
            "seed": record["seed"],
        }
        for identity in (mine, theirs):  # the tiles are chosen again each time
            identity["config"] = identity["config"] | {"tile": 0, "tiled_content": ""}
    except (KeyError, TypeError):
        return False
    return mine == theirs
