"""What a job writes: whether it can be written, and the picture with its record, curves and sheet."""

import dataclasses
import functools
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jnst.errors import ImageError, JnstError
from jnst.files import check_keeps_inputs, check_writable_file, special_kind, write_file
from jnst.images.montage import montage
from jnst.images.reading import Picture
from jnst.images.transparency import lay_on_white
from jnst.images.writing import check_format, check_writable, write_image
from jnst.jobs.frames import frame_names, make_film, standing_frames
from jnst.jobs.job import Job
from jnst.jobs.plots import check_matplotlib, plot_losses
from jnst.jobs.record import record_path
from jnst.jobs.resuming import begin_or_go_on, is_finished, may_replace, state_path
from jnst.transfer.animation import Animation
from jnst.transfer.result import Result
from jnst.weights.network import Weights


def check_outputs(job: Job, weights: Weights) -> Job:
    """Finds out before any work whether everything can be written at its end.

    Returns:
        The job, which overwrites where it goes on with the run that wrote what is there, and begins anew where there
        is nothing to go on with.

    Raises:
        ImageError: for a file that could not be written, with the reason.
        JnstError: the state to go on from is of another run, or damaged; or curves are asked for, and matplotlib is
            not installed.
    """
    check_format(job.output, job.bits)
    _check_inputs_stay(job)
    if job.plot:
        check_matplotlib()
    make_film(job)
    if job.resume and not job.overwrite and is_finished(job, weights):
        raise ImageError(f"{job.output} is finished: there is nothing to resume; --overwrite makes it again")
    resumed = job.resume  # then frames are those of a run that was killed
    if job.resume:
        job = begin_or_go_on(job, weights)
    if may_replace(job, weights):
        job = dataclasses.replace(job, overwrite=True)
    check_writable(job.output, overwrite=job.overwrite, bits=job.bits)
    for path in _companions(job):
        check_writable_file(path, overwrite=job.overwrite)
    if not resumed:
        _check_state_stays(job)
        for path in standing_frames(job):
            check_writable_file(path, overwrite=job.overwrite)
    return job


def _check_inputs_stay(job: Job) -> None:
    """Raises ImageError where something that the job writes would replace a file that it reads."""
    inputs = [Path(path) for path in (job.content, *job.styles, job.initial, job.weights_source) if path]
    inputs += [] if job.regions is None else map(Path, job.regions.paths())
    outputs = [job.output, *_companions(job), state_path(job.output), *([] if job.film is None else [job.film.path])]
    outputs += [job.output.with_name(path.name) for path in inputs if frame_names(job).fullmatch(path.name)]
    check_keeps_inputs(outputs, inputs)


def _check_state_stays(job: Job) -> None:
    """Raises ImageError where the run would replace a state, or another file of that name, and was not told to.

    A folder costs nothing but the state.
    """
    place = state_path(job.output)
    if not os.path.lexists(place) or place.is_dir():
        return
    if not job.overwrite and not special_kind(place):
        raise ImageError(
            f"{place} exists already, where this run would keep its state; --resume goes on with a run that was "
            "stopped, --overwrite begins anew and replaces the file"
        )
    check_writable_file(place, overwrite=True)


def _companions(job: Job) -> list[Path]:
    stem = job.output.with_suffix("")
    extra = [Path(f"{stem}-losses.png")] * job.plot + [Path(f"{stem}-sheet.png")] * job.sheet
    return [record_path(job.output), *extra]


def write_outputs(
    job: Job,
    result: Result,
    record: dict[str, Any],
    content: Picture,
    styles: list[Picture],
    animation: Animation | None,
) -> None:
    """Writes the picture, then its record, curves, sheet and film, each whatever became of the others.

    Raises:
        ImageError: the message says where a copy of the picture was saved, or that the picture itself was written and
            what could not be.
    """
    metadata = {name: value for name, value in record.items() if name != "trace"}
    write = functools.partial(
        write_image, image=result.image, alpha=result.alpha, metadata=metadata, rounding=job.config.run.rounding
    )
    try:
        write(job.output, overwrite=job.overwrite, quality=job.quality, bits=job.bits)
    except ImageError as error:
        raise ImageError(f"{error}; {_rescue(job.output, write)}") from error
    companions = [functools.partial(_write_record, job, record)]
    companions += [functools.partial(_write_plot, job, result)] * job.plot
    companions += [functools.partial(_write_sheet, job, result, content, styles)] * job.sheet
    companions += [] if animation is None else [animation.write]
    problems = []
    for write_companion in companions:
        try:
            write_companion()
        except (JnstError, OSError) as error:
            problems.append(str(error if isinstance(error, JnstError) else error.strerror or error))
    if problems:
        raise ImageError(
            f"the picture was written to {job.output}, but not all that belongs to it: {'; '.join(problems)}"
        )


def _rescue(output: Path, write: Callable[..., None]) -> str:
    """Writes the picture where it was not asked for, and says where, or why not.

    The folder's name cannot be guessed and is its owner's alone: in a shared folder for temporary files, a link that
    somebody else put there would be followed.
    """
    try:
        folder = Path(tempfile.mkdtemp(prefix="jnst-rescued-"))
    except OSError as error:
        return f"nor could it be saved in the folder for temporary files ({error.strerror or error})"
    path = folder / f"{output.stem}.png"
    try:
        write(path)
    except ImageError as error:
        shutil.rmtree(folder, ignore_errors=True)
        return f"nor could it be saved elsewhere ({error})"
    return f"the picture was saved as {path} instead"


def _write_record(job: Job, record: dict[str, Any]) -> None:
    write_file(record_path(job.output), json.dumps(record, indent=1).encode())


def _write_plot(job: Job, result: Result) -> None:
    plot_losses(result.trace, _companions(job)[1], overwrite=True)


def _write_sheet(job: Job, result: Result, content: Picture, styles: list[Picture]) -> None:
    pictures = [*(lay_on_white(one.pixels, one.alpha) for one in (content, *styles))]
    pictures.append(lay_on_white(result.image, result.alpha))
    labels = ["content", *["style"] * len(styles), "result"]
    write_image(_companions(job)[-1], montage(pictures, labels=labels), overwrite=True)
