"""What `jnst stylize` writes of the way to its picture: single frames, and a film."""

import os
import re
from pathlib import Path

import numpy as np

from jnst.config import MOST_SCALES, RunConfig
from jnst.errors import ImageError
from jnst.images.inputs import visible_pixels
from jnst.images.reading import Picture
from jnst.images.sizing import finish
from jnst.images.transparency import fit_alpha
from jnst.images.writing import write_image
from jnst.jobs.job import Job
from jnst.progress.callbacks import Silent, Snapshot
from jnst.transfer.animation import Animation
from jnst.transfer.scales import prepare_content


def make_film(job: Job) -> Animation | None:
    """What records the film that is asked for, if one is.

    Raises:
        ConfigError, ImageError, JnstError: as `Animation`, and where the film would be one file with the picture or a
            frame.
    """
    if job.film is None:
        return None
    if job.film.path.resolve() == job.output.resolve():
        raise ImageError(f"the film would replace the picture {job.output}; choose another name for one of them")
    same_folder = job.film.path.parent.resolve() == job.output.parent.resolve()
    if job.config.run.save_every and same_folder and frame_names(job).fullmatch(job.film.path.name):
        raise ImageError(f"the film {job.film.path} has the name of a frame; choose another name for it")
    return Animation(job.film.path, seconds=job.film.seconds, size=job.film.size, overwrite=job.overwrite)


def frame_names(job: Job) -> re.Pattern[str]:
    """What the names of the run's frames look like, with the step as the group."""
    return re.compile(re.escape(f"{job.output.stem}-") + "([0-9]{5,})" + re.escape(job.output.suffix))


def standing_frames(job: Job) -> list[Path]:
    """What stands where the run would write its frames, in order; nothing where the folder cannot be listed."""
    run = job.config.run
    frame = frame_names(job)
    try:
        names = os.listdir(job.output.parent) if run.save_every else []
    except OSError:
        return []
    steps = sorted(int(found[1]) for name in names if (found := frame.fullmatch(name)))
    # They are counted on from scale to scale.
    steps = [step for step in steps if step <= MOST_SCALES * run.steps]
    paths = [_frame_path(job, step) for step in steps if _is_frame((step - 1) % run.steps + 1 if step else 0, run)]
    return [path for path in paths if os.path.lexists(path)]


def _frame_path(job: Job, step: int) -> Path:
    return job.output.with_name(f"{job.output.stem}-{step:05d}{job.output.suffix}")


def _is_frame(step: int, run: RunConfig) -> bool:
    """Whether a frame is written after that step of a scale."""
    return run.save_every > 0 and step % run.save_every == 0


class FrameWriter:
    """Writes OUT-00025.png and so on where frames are asked for: as the result would be, at all scales of its size."""

    def __init__(self, job: Job, content: Picture, printer: Silent) -> None:
        self.job, self.content, self.printer = job, content, printer
        self._full: np.ndarray | None = None

    def __call__(self, snapshot: Snapshot) -> None:
        progress, run = snapshot.progress, self.job.config.run
        here = progress.step - (progress.scale - 1) * run.steps
        if not _is_frame(here, run) or (here == 0 and progress.scale > 1):
            return
        path = _frame_path(self.job, progress.step)
        if self._full is None:
            self._full = prepare_content(visible_pixels(self.content), self.job.config)[0]
        try:
            image = snapshot.image()
            # Snapshots have the result's colours already; enlarged ones get the photo's at full size once more.
            frame = finish(image, self._full, "style" if image.shape == self._full.shape else run.colors)
            alpha = fit_alpha(self.content.alpha, frame.shape[0], frame.shape[1])
            write_image(path, frame, alpha=alpha, rounding=run.rounding, overwrite=True)
        except ImageError as error:
            # A failed frame must not end the run.
            self.printer.note(f"frame left out: {error}")
