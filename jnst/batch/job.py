"""A job of many pictures that can be killed at any time: what is left to do, doing it, and the summary at the end."""

import dataclasses
import functools
import os
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from jnst.batch import folders
from jnst.batch.gallery import write_contact_sheet
from jnst.batch.input_changes import Comparison
from jnst.batch.job_progress import Interrupted, JobProgress, now
from jnst.batch.manifest import Manifest, latest, read_records
from jnst.batch.options import Options
from jnst.batch.pipeline import Deliver, Pipeline
from jnst.batch.records import Record, recover
from jnst.batch.remaining_work import RemainingWork
from jnst.batch.scheduler import Plan
from jnst.batch.shards import Share
from jnst.batch.summary import Summary
from jnst.batch.worklist import Entry
from jnst.config_json import to_dict
from jnst.errors import ConfigError, ImageError, JnstError
from jnst.files import check_keeps_inputs
from jnst.progress.callbacks import BatchSnapshot, Silent
from jnst.runtime import Interruptions, versions
from jnst.weights.network import Weights


@dataclass(frozen=True)
class FolderJob:
    """What is asked for.

    resume: go on with what an earlier run left undone. Failures of that run are kept unless `retry_failed`.
    share: this process's part of the entries.
    bad_rows: rows of lists that no picture can be made of, in words; each counts as a failure.
    """

    entries: tuple[Entry, ...]
    options: Options
    share: Share = Share()
    resume: bool = False
    retry_failed: bool = False
    bad_rows: tuple[str, ...] = ()


# How often the page is written at most: while other shards are at work, each writes it at its own end.
_PAGES = 8

# Does the work of some entries: (entries, deliver, callback) -> None. `Pipeline.work` does it here.
Engine = Callable[[Sequence[Entry], Deliver, Callable[[Any], Any] | None], None]


def run_folder(job: FolderJob, weights: Weights, printer: Silent, *, engine: Engine | None = None) -> Summary:
    """Makes the pictures of this share that are not there yet, and writes manifest, pictures and contact sheet.

    Ctrl-C, SIGTERM and a closed terminal give up the batch at hand; everything finished is kept.

    Args:
        job: what to do.
        weights: from `read_weights`.
        printer: shows the progress.
        engine: who does the work; a `Pipeline` in this process by default.

    Raises:
        ConfigError: the output folder holds another job, or this one and `resume` was not asked for.
        ImageError: the output folder cannot be written.
    """
    with folders.making_folder(job.options.output):
        return _run(job, weights, printer, engine)


def _run(job: FolderJob, weights: Weights, printer: Silent, engine: Engine | None) -> Summary:
    begin = time.monotonic()
    output = job.options.output
    check_inputs_stay(job)
    mine = [entry for entry in job.entries if job.share.owns(entry.name)]
    bad_rows = [row for row in job.bad_rows if job.share.owns(row)]
    with Manifest(output, job.share, overwrite=job.options.overwrite) as manifest, Interruptions() as interruptions:
        before = latest(read_records(output))
        todo, done_before, failed_before = _left_over(job, mine, before, weights.info.sha256, manifest, printer)
        total = len(mine) + len(bad_rows)
        manifest.append(_describe_job(job, weights, total, len(todo)))
        remaining = RemainingWork(len(todo), printer)
        progress = JobProgress(manifest, printer, remaining, total=total, finished=done_before + failed_before)
        for row in bad_rows:
            progress.refuse(row)
        if todo:
            if engine is None:
                engine = functools.partial(_work_here, weights, job.options, printer, remaining)
            try:
                engine(todo, progress.deliver, functools.partial(progress.watch, interruptions))
            except Interrupted:
                printer.note("interrupted; what is finished is kept")
            except ImageError as error:
                raise ImageError(f"{error}; {progress.describe_kept(output)}") from error
        printer.close()
        summary = Summary(
            total,
            progress.by_status["done"],
            progress.by_status["failed"],
            done_before,
            failed_before,
            time.monotonic() - begin,
            interruptions.signal,
            tuple(progress.failures),
        )
        _write_page(job, summary, printer)
        summary = dataclasses.replace(summary, signal=interruptions.signal)  # it may have come in the meantime
    return summary


def _write_page(job: FolderJob, summary: Summary, printer: Silent) -> None:
    """The page is not worth the job: where it cannot be written, that is said, and everything else is there.

    Where another shard has written lines in the meantime, and may have ended and written its page before this one, the
    page is written again.
    """
    output, total = job.options.output, len(job.entries) + len(job.bad_rows)
    try:
        records = latest(read_records(output))
        for _ in range(_PAGES):
            write_contact_sheet(output, list(records.values()), str(summary), total=total, bad_rows=job.bad_rows)
            written, records = records, latest(read_records(output))
            if records == written:
                break
    except (JnstError, OSError, ValueError) as error:
        printer.problem(f"the page of the job is left out: {error}")


def check_inputs_stay(job: FolderJob) -> None:
    """Raises ImageError where a picture of the job would replace one that it reads."""
    inputs = {path for entry in job.entries for path in entry.inputs}
    outputs = [folders.join(job.options.output, entry.name) for entry in job.entries]
    if folders.is_remote(job.options.output):
        check_keeps_inputs([path for path in outputs if path in inputs], inputs)
    else:
        # Only what is there can be replaced.
        check_keeps_inputs([path for path in outputs if os.path.exists(path)], inputs)


def _work_here(
    weights: Weights,
    options: Options,
    printer: Silent,
    remaining: RemainingWork,
    entries: Sequence[Entry],
    deliver: Deliver,
    callback: Callable[[BatchSnapshot], Any] | None,
) -> None:
    def report(plan: Plan) -> None:
        printer.note(describe_plan(plan))

    Pipeline(weights, options, report=report, remaining=remaining).work(entries, deliver, callback=callback)


def describe_plan(plan: Plan) -> str:
    """A batch's size and memory as one line."""
    height, width = plan.size
    devices = f" on {plan.devices} devices" if plan.devices > 1 else ""
    compiled = "" if plan.compiled is None else f" ({plan.compiled / 1e9:.2g} GB says the compiler)"
    return (
        f"batches of {plan.batch_size} at {width} × {height}{devices}: about {plan.predicted / 1e9:.2g} GB{compiled} "
        f"of {plan.available / 1e9:.2g} GB"
    )


def _left_over(
    job: FolderJob,
    mine: Sequence[Entry],
    before: dict[str, Record],
    sha256: str,
    manifest: Manifest,
    printer: Silent,
) -> tuple[list[Entry], int, int]:
    """The entries still to be made, and how many were done and had failed before."""
    comparison = Comparison()
    states = [(entry, *find_state(job, entry, before, sha256, comparison)) for entry in mine]
    known = [entry for entry in mine if entry.name in before]
    if known and not job.resume and not job.options.overwrite:
        raise ConfigError(
            f"{job.options.output} holds {len(known)} of these {len(mine)} pictures from an earlier run; pass --resume "
            "to go on with it, or --overwrite to begin again"
        )
    taken = next((entry for entry, state, _ in states if state == "taken"), None)
    if taken is not None:
        raise ConfigError(
            f"{folders.join(job.options.output, taken.name)} is there already, and was made with other settings, "
            "styles or weights; choose another folder, or pass --overwrite to make it again"
        )
    for _, _, recovered in states:
        if recovered is not None:
            manifest.append(recovered | {"time": now(), "recovered": True})
    counts = Counter(state for _, state, _ in states)
    if job.resume and mine and not before and counts["new"] == len(mine):
        printer.note(f"there is nothing of this job in {job.options.output} yet: it begins anew")
    if counts["changed"]:
        printer.note(f"{counts['changed']} are painted again, since their content or style has changed")
    todo = [
        dataclasses.replace(entry, replace=state == "changed")
        for entry, state, _ in states
        if state in ("new", "changed")
    ]
    return todo, counts["done"], counts["failed"]


def find_state(
    job: FolderJob, entry: Entry, before: dict[str, Record], sha256: str, comparison: Comparison
) -> tuple[Literal["new", "done", "failed", "changed", "taken"], Record | None]:
    """What is known of an entry before the work: "taken" where another picture is in its place, which may not go,
    "changed" where its own is made of files that have changed since.

    Also the record of a picture that was finished by a run which was killed before it could tell.
    """
    output = job.options.output
    path = folders.join(output, entry.name)
    record, there = before.get(entry.name, {}), folders.exists(path)
    if job.resume:
        if record.get("status") == "failed" and not job.retry_failed:
            return "failed", None
        if there and record.get("status") == "done" and record.get("key") == entry.key(sha256):
            changed = comparison.has_changed(record, entry.content, entry.styles, entry.masks)
            return "changed" if changed else "done", None
        if there and (recovered := recover(entry, output, sha256)) is not None:
            changed = comparison.has_changed(recovered, entry.content, entry.styles, entry.masks)
            return ("changed", None) if changed else ("done", recovered)
    return ("taken" if folders.is_taken(path) and not job.options.overwrite else "new"), None


def _describe_job(job: FolderJob, weights: Weights, total: int, left: int) -> Record:
    return {
        "kind": "job",
        "shard": str(job.share),
        "entries": len(job.entries),
        "share": total,
        "left": left,
        "config": to_dict(job.entries[0].config) if job.entries else None,
        "weights": {"name": weights.info.name, "sha256": weights.info.sha256},
        "batch_size": job.options.batch_size or "auto",
        "versions": versions(),
        "time": now(),
    }
