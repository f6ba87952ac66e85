"""A run begun from the shell, painted by the studio: its page shows and steers it, and the caller gets the result."""

import dataclasses
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from jnst.errors import ConfigError, JnstError
from jnst.images.sizing import fit_size, scale_sizes
from jnst.jobs.job import Job
from jnst.progress.callbacks import Progress, Silent
from jnst.studio.files import describe_steering
from jnst.studio.knobs import change_knobs, first_knobs, turned
from jnst.studio.painting import LIVE, Painting, Start
from jnst.studio.session import Studio
from jnst.transfer.result import Result, describe_end, has_fallen
from jnst.transfer.scales import smallest_scale

_LOOK_EVERY = 0.2  # seconds between two looks at the painting


class Painted(NamedTuple):
    """What came out: the job with the knobs as they stood at the end, the result, and what else its record says."""

    job: Job
    result: Result
    record: dict[str, Any]


def check_job(job: Job) -> None:
    """Raises ConfigError for what the studio does not do."""
    run = job.config.run
    asked = {
        "--tolerance": run.tolerance > 0,
        "--save-every": run.save_every > 0,
        "--animate": job.film is not None,
        "a mask": job.regions is not None,
        "--resume": job.resume,
        "--split-rows": job.split_rows,
    }
    for flag in (flag for flag, given in asked.items() if given):
        raise ConfigError(f"--live cannot be combined with {flag}; leave one of them out")


def paint_live(
    studio: Studio, job: Job, initial: np.ndarray | None, interrupted: Callable[[], bool], printer: Silent
) -> Painted:
    """Paints a job on the studio's page.

    Args:
        studio: that shows a single painting.
        job: checked by `check_job`.
        initial: pixels of the picture to begin with, if there is one.
        interrupted: whether to end with what is there.
        printer: shows the progress.

    Raises:
        JnstError: it failed, or ended before its first step.
        KeyboardInterrupt: it was interrupted before its first step.
    """
    painting = _compose(studio, job, initial)
    painting.number = number = studio.begin(painting)
    follower = _Follower(printer)
    while (seen := studio.watch(number, _LOOK_EVERY)).status in (*LIVE, "queued"):
        if interrupted():
            studio.stop(number)
        follower(seen)
    if seen.status == "failed":
        raise JnstError(seen.message)
    if not seen.trace:
        if interrupted():
            raise KeyboardInterrupt
        raise JnstError("stopped on the page before the first step; nothing was written")
    follower(seen)
    knobs = seen.knobs
    blend = knobs.blend if len(knobs.blend) > 1 and (job.style_weights or len(set(knobs.blend)) > 1) else None
    job = dataclasses.replace(job, config=turned(job.config, knobs), style_weights=blend)
    return Painted(job, _result(seen, job), {"studio": describe_steering(seen)} if seen.steering else {})


def _compose(studio: Studio, job: Job, initial: np.ndarray | None) -> Painting:
    content, *styles = (studio.library.refer(path) for path in (job.content, *job.styles))
    config = job.config
    knobs = first_knobs(config, len(styles))
    if job.style_weights is not None:
        knobs = change_knobs(knobs, {"blend": list(job.style_weights)})
    size = fit_size(content.height, content.width, config.size)
    sizes = tuple(scale_sizes(*size, config.run.scales, minimum=smallest_scale(config)))
    start = None if initial is None else Start(initial, 0, False)
    goal = config.run.steps * len(sizes)
    return Painting(0, content, tuple(styles), config, knobs, job.seed, start, sizes, goal=goal)


def _result(painting: Painting, job: Job) -> Result:
    """The result as `stylize` returns it: the trace is that of the last scale."""
    trace, best = painting.last_scale()
    fallen = has_fallen(painting.trace["total"])
    return Result(
        image=painting.result(),
        trace=trace,
        best_step=best,
        stopped=describe_end(painting.reason, trace["total"], fallen),
        seconds=dict(painting.seconds),
        config=job.config,
    )


class _Follower:
    """Tells a printer of a painting what it would be told of any other run."""

    def __init__(self, printer: Silent) -> None:
        self._printer, self._begin = printer, time.monotonic()
        self._told: tuple[Any, ...] = ()

    def __call__(self, painting: Painting) -> None:
        now = (painting.status, painting.scale, painting.entries)
        if now == self._told:
            return
        before, self._told = self._told, now
        if painting.status in ("queued", "compiling"):
            if before[:2] != now[:2]:
                self._printer.compiling(painting.sizes[painting.scale])
        elif painting.trace and before[2:] != now[2:]:
            self._printer(self._progress(painting))
        if painting.status == "paused":
            self._printer.doing("paused on the page")

    def _progress(self, painting: Painting) -> Progress:
        last = {name: values[-1] for name, values in painting.trace.items()}
        pixels, scale = [height * width for height, width in painting.sizes], len(painting.begins) - 1
        share = (painting.step - scale * painting.config.run.steps) / max(1, painting.goal // len(pixels))
        compiled, scales = painting.seconds["compile"], len(pixels)
        totals = painting.trace["total"][painting.begins[-1] :]
        return Progress(
            step=painting.step,
            steps=painting.goal,
            evaluations=int(last["evaluation"]),
            scale=scale + 1,
            scales=scales,
            size=painting.sizes[scale],
            total=last["total"],
            terms={name: value for name, value in last.items() if name not in ("evaluation", "total")},
            best=min(totals),
            seconds=time.monotonic() - self._begin,
            compile_seconds=compiled,
            compile_ahead=compiled / (scale + 1) * (scales - scale - 1),
            work=(sum(pixels[:scale]) + pixels[scale] * min(share, 1.0)) / sum(pixels),
        )
