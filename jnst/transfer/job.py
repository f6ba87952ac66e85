"""From files to files: read, run, and write one stylised picture, its record, and what else was asked for."""

import dataclasses
import functools
import json
import re
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax

from jnst.errors import ConfigError, ImageError, JnstError
from jnst.files import check_keeps_inputs, check_writable_file, write_atomically
from jnst.images.inputs import visible_pixels
from jnst.images.montage import montage
from jnst.images.reading import Picture, read_image
from jnst.images.resizing import fit_size
from jnst.images.transparency import fit_alpha, lay_on_white
from jnst.images.writing import check_format, check_writable, write_image
from jnst.runtime import Interruptions
from jnst.transfer.animation import Animation
from jnst.transfer.callbacks import Silent, Snapshot
from jnst.transfer.driver import Result, stylize
from jnst.transfer.frames import FrameWriter, make_film
from jnst.transfer.plots import check_matplotlib, plot_losses
from jnst.transfer.record import Job, make_record, record_path
from jnst.transfer.region_files import read_regions
from jnst.transfer.resuming import RESUMABLE, make_checkpoint, may_replace, state_path, with_stored_tiles
from jnst.transfer.row_sharding import row_mesh
from jnst.transfer.texture import blank
from jnst.vgg.convolution import prepare_params
from jnst.weights.store import Weights


def check_outputs(job: Job, weights: Weights) -> Job:
    """Finds out before any work whether everything can be written at its end.

    Returns:
        The job, which overwrites where it goes on with the run that wrote what is there.

    Raises:
        ImageError: for a file that could not be written, with the reason.
        JnstError: curves are asked for, and matplotlib is not installed.
    """
    check_format(job.output, job.bits)
    _check_inputs_stay(job)
    if job.plot:
        check_matplotlib()
    make_film(job)
    if may_replace(job, weights):
        job = dataclasses.replace(job, overwrite=True)
    check_writable(job.output, overwrite=job.overwrite, bits=job.bits)
    for path in _companions(job):
        check_writable_file(path, overwrite=job.overwrite)
    return job


def _check_inputs_stay(job: Job) -> None:
    """Raises ImageError where something that the job writes would replace a file that it reads."""
    inputs = [Path(path) for path in (job.content, *job.styles, job.initial, job.weights_source) if path]
    inputs += [] if job.regions is None else map(Path, job.regions.paths())
    outputs = [job.output, *_companions(job), state_path(job.output), *([] if job.film is None else [job.film.path])]
    frame = re.compile(re.escape(f"{job.output.stem}-") + r"\d{5,}" + re.escape(job.output.suffix))
    outputs += [job.output.with_name(path.name) for path in inputs if frame.fullmatch(path.name)]
    check_keeps_inputs(outputs, inputs)


def _companions(job: Job) -> list[Path]:
    stem = job.output.with_suffix("")
    extra = [Path(f"{stem}-losses.png")] * job.plot + [Path(f"{stem}-sheet.png")] * job.sheet
    return [record_path(job.output), *extra]


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
    read = functools.partial(
        read_image,
        allow_large=job.allow_large,
        allow_damaged=job.allow_damaged,
        color_profile=job.config.color_profile,
    )
    content, styles = read_content(job, read), [read(style) for style in job.styles]
    initial = None if job.initial is None else read(job.initial)
    read_mask = functools.partial(read_image, allow_large=job.allow_large)
    regions, keep = read_regions(job.regions, styles, read_mask)
    for note in (*job.notices, *content.notes, *(note for style in styles for note in style.notes)):
        printer.note(note)
    size = fit_size(content.pixels.shape[0], content.pixels.shape[1], job.config.size)
    check_writable(job.output, overwrite=True, bits=job.bits, size=size)
    if job.resume and job.choose_tile:
        job = dataclasses.replace(job, config=with_stored_tiles(job))
    elif job.choose_tile:
        job = choose_tile(job, content.pixels.shape, printer)
    checkpoint = make_checkpoint(job, weights, printer.problem)
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
        record = make_record(job, weights, result, interrupted=bool(interruptions.signal)) | more
        if result.stopped == "stuck":
            printer.note("the loss was not finite or could not be lowered any further; the best picture so far is kept")
        _write_outputs(job, result, record, content, styles, animation)
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


def _write_outputs(
    job: Job,
    result: Result,
    record: dict[str, Any],
    content: Picture,
    styles: list[Picture],
    animation: Animation | None,
) -> None:
    metadata = {name: value for name, value in record.items() if name != "trace"}
    write = functools.partial(
        write_image, image=result.image, alpha=result.alpha, metadata=metadata, rounding=job.config.run.rounding
    )
    try:
        write(job.output, overwrite=job.overwrite, quality=job.quality, bits=job.bits)
    except ImageError as error:
        raise ImageError(f"{error}; {_rescue(job.output, write)}") from error
    try:
        _write_companions(job, result, record, content, styles)
        if animation is not None:
            animation.write()
    except (JnstError, OSError) as error:
        reason = error if isinstance(error, JnstError) else error.strerror or error
        raise ImageError(
            f"the picture was written to {job.output}, but not all that belongs to it: {reason}"
        ) from error


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


def _write_companions(
    job: Job, result: Result, record: dict[str, Any], content: Picture, styles: list[Picture]
) -> None:
    path = record_path(job.output)
    try:
        write_atomically(path, json.dumps(record, indent=1).encode())
    except OSError as error:
        raise ImageError(f"cannot write {path}: {error.strerror or error}") from error
    if job.plot:
        plot_losses(result.trace, _companions(job)[1], overwrite=True)
    if job.sheet:
        pictures = [*(lay_on_white(one.pixels, one.alpha) for one in (content, *styles))]
        pictures.append(lay_on_white(result.image, result.alpha))
        labels = ["content", *["style"] * len(styles), "result"]
        write_image(_companions(job)[-1], montage(pictures, labels=labels), overwrite=True)
