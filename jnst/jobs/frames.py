"""What `jnst stylize` writes of the way to its picture: single frames, and a film."""

import numpy as np

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
        ConfigError, ImageError, JnstError: as `Animation`, and where picture and film would be the same file.
    """
    if job.film is None:
        return None
    if job.film.path.resolve() == job.output.resolve():
        raise ImageError(f"the film would replace the picture {job.output}; choose another name for one of them")
    return Animation(job.film.path, seconds=job.film.seconds, size=job.film.size, overwrite=job.overwrite)


class FrameWriter:
    """Writes OUT-00025.png and so on where frames are asked for: as the result would be, at all scales of its size."""

    def __init__(self, job: Job, content: Picture, printer: Silent) -> None:
        self.job, self.content, self.printer = job, content, printer
        self._full: np.ndarray | None = None

    def __call__(self, snapshot: Snapshot) -> None:
        progress, run = snapshot.progress, self.job.config.run
        here = progress.step - (progress.scale - 1) * run.steps
        if not run.save_every or here % run.save_every or (here == 0 and progress.scale > 1):
            return
        path = self.job.output.with_name(f"{self.job.output.stem}-{progress.step:05d}{self.job.output.suffix}")
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
