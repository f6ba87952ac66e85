"""From files to files: read, run, and write one stylised picture, its record, and what else was asked for."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax

from jnst.errors import ConfigError
from jnst.images.inputs import visible_pixels
from jnst.images.reading import Picture
from jnst.images.sizing import fit_size
from jnst.images.transparency import fit_alpha
from jnst.images.writing import check_writable
from jnst.jobs.frames import FrameWriter, make_film
from jnst.jobs.input_files import InputFiles
from jnst.jobs.job import Job
from jnst.jobs.outputs import write_outputs
from jnst.jobs.record import make_record
from jnst.jobs.region_files import read_regions
from jnst.jobs.resuming import RESUMABLE, make_checkpoint, state_path, with_stored_tiles
from jnst.progress.callbacks import Silent, Snapshot
from jnst.runtime import Interruptions
from jnst.transfer.driver import stylize
from jnst.transfer.result import Result
from jnst.transfer.row_sharding import row_mesh
from jnst.transfer.scales import check_given_size
from jnst.transfer.texture import blank
from jnst.vgg.convolution import prepare_params
from jnst.weights.network import Weights

# Paints a job elsewhere: (job, initial pixels, whether to end now, printer) -> the job as it was at the end, the
# result, and what else the record says.
Paint = Callable[[Job, Any, Callable[[], bool], Silent], tuple[Job, Result, dict[str, Any]]]


def run_job(job: Job, weights: Weights, printer: Silent, *, paint: Paint | None = None) -> tuple[dict[str, Any], int]:
    """Makes the picture and writes it with its record.

    Ctrl-C, SIGTERM and a closed terminal end the optimisation early; what is best so far is written and marked as
    interrupted.

    Args:
        job: what to do. Outputs are taken to be checked already (`check_outputs`).
        weights: from `read_weights`; their architecture and width are those of `job.config`.
        printer: shows the progress.
        paint: who paints; `stylize` by default.

    Returns:
        The record, and the number of the signal that ended the run early, or 0.

    Raises:
        ImageError: for a picture that cannot be read, or a result that cannot be written (then the message says where
            a copy of it was saved).
        ConfigError: for pictures too small for the layers.
    """
    printer.doing("reading the pictures")
    files = InputFiles()
    read = functools.partial(
        files.read,
        allow_large=job.allow_large,
        allow_damaged=job.allow_damaged,
        color_profile=job.config.color_profile,
    )
    content, styles = read_content(job, read), [read(style) for style in job.styles]
    initial = None if job.initial is None else read(job.initial)
    read_mask = functools.partial(files.read, allow_large=job.allow_large)
    regions, keep = read_regions(job.regions, styles, read_mask)
    for note in (*job.notices, *content.notes, *(note for style in styles for note in style.notes)):
        printer.note(note)
    check_given_size(content.pixels.shape, job.config, "content")
    size = fit_size(content.pixels.shape[0], content.pixels.shape[1], job.config.size)
    check_writable(job.output, overwrite=True, bits=job.bits, size=size)
    if job.resume and job.choose_tile:
        job = dataclasses.replace(job, config=with_stored_tiles(job))
    elif job.choose_tile:
        job = choose_tile(job, content.pixels.shape, printer)
    checkpoint = make_checkpoint(job, weights, printer.problem, files.describe)
    frames = FrameWriter(job, content, printer)
    animation = make_film(job)
    if animation is not None and job.resume and state_path(job.output).exists():
        printer.note("the film begins where this run goes on; what was before is not in the state")
    printer.doing("preparing the network")
    with Interruptions() as interruptions:

        def callback(snapshot: Snapshot) -> bool:
            frames(snapshot)
            return bool(interruptions.signal)

        more: dict[str, Any] = {}
        if paint is not None:
            pixels = None if initial is None else visible_pixels(initial, "initial")
            job, result, more = paint(job, pixels, lambda: bool(interruptions.signal), printer)
            result = result._replace(alpha=fit_alpha(content.alpha, *result.image.shape[:2]))
        else:
            result = stylize(
                prepare_params(weights.params, winograd=False if job.config.tile or job.split_rows else None),
                content,
                styles if regions is None else None,
                job.config,
                seed=job.seed,
                callback=callback,
                style_weights=job.style_weights,
                initial=initial,
                checkpoint=checkpoint,
                mesh=row_mesh() if job.split_rows else None,
                progress=printer,
                animate=animation,
                regions=regions,
                keep=keep,
            )
        printer.close()
        printer.doing(f"writing {job.output.name}")
        record = make_record(job, weights, result, interrupted=bool(interruptions.signal), describe=files.describe)
        record |= more
        if result.stopped == "stuck":
            printer.note("the loss was not finite or could not be lowered any further; the best picture so far is kept")
        write_outputs(job, result, record, content, styles, animation)
        if result.stopped not in RESUMABLE:
            checkpoint.remove()
    return record, interruptions.signal


def read_content(job: Job, read: Callable[[Any], Picture]) -> Picture:
    """The content picture by `read`; a blank one for a texture."""
    if job.canvas is not None:
        return Picture(blank(job.canvas), None, "none", ())
    return read(job.content)


def choose_tile(job: Job, shape: tuple[int, ...], printer: Silent) -> Job:
    """The job with tiles where the whole image would not fit into memory.

    Raises:
        ConfigError: where no tile fits either, with what would.
    """
    from jnst.transfer.memory import format_bytes
    from jnst.transfer.planning import plan_run

    devices = jax.local_device_count() if job.split_rows else 1
    size = fit_size(shape[0], shape[1], job.config.size)
    regions = 0 if job.regions is None else max(1, len(job.regions.masks))
    plan = plan_run(size, job.config, available=job.memory, devices=devices, regions=regions)
    if not plan.fits:
        raise ConfigError(
            f"{plan.size[1]} × {plan.size[0]} pixels need {format_bytes(plan.memory.total)} even in tiles, and "
            f"{format_bytes(plan.available)} may be used; these would fit: {'; '.join(plan.advice) or 'none'} "
            "(`--tile N` tries all the same)"
        )
    if plan.grid is None:
        return job
    down, across = plan.grid.counts
    where = f" on each of {devices} devices" if devices > 1 else ""
    printer.note(
        f"in {down * across} tiles of {plan.grid.tile[1]} × {plan.grid.tile[0]}{where}: the whole image would need "
        f"{format_bytes(plan.whole.total)}, tiles need {format_bytes(plan.memory.total)}"
    )
    return dataclasses.replace(job, config=plan.config)
