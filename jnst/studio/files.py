"""Paintings as files: PNG with the record inside, to be downloaded or kept in a folder."""

import contextlib
import dataclasses
import tempfile
from pathlib import Path
from typing import Any

from jnst.errors import ImageError, quote
from jnst.files import making_folder, write_atomically
from jnst.images.display import jpeg_bytes
from jnst.images.reading import read_image
from jnst.images.transparency import fit_alpha, lay_on_white
from jnst.images.writing import write_image
from jnst.jobs.job import Job
from jnst.jobs.record import make_record
from jnst.presets.resolve import Run
from jnst.studio.knobs import turned
from jnst.studio.library import NamedFile, shrink
from jnst.studio.painting import Painting
from jnst.transfer.result import Result

# How many kept pictures are shown, the newest first.
SHOWN = 60


def describe_painting(painting: Painting, run: Run) -> dict[str, Any]:
    """The record of a painting as it stands: settings, inputs by name and hash, what was steered, the trace."""
    knobs = painting.knobs
    job = Job(
        content=painting.content.path,
        styles=tuple(style.path for style in painting.styles),
        output=Path("studio.png"),
        config=turned(painting.config, knobs),
        seed=painting.seed,
        style_weights=knobs.blend if len(knobs.blend) > 1 else None,
        weights_source=run.source,
    )
    _, best = painting.last_scale()
    result = Result(
        image=painting.result(),
        trace=painting.trace,
        best_step=best + (painting.begins[-1] if painting.begins else 0),
        stopped="steps" if painting.status == "done" else painting.reason or "callback",
        seconds=painting.seconds,
    )
    # The files lie in a folder that is gone tomorrow; their names and hashes say which they were.
    told = {one.path: {"path": one.name, "sha256": one.sha256} for one in (painting.content, *painting.styles)}
    record = make_record(job, run.weights, result, interrupted=False, describe=lambda path: dict(told[path]))
    record["studio"] = describe_steering(painting)
    return record


def describe_steering(painting: Painting) -> dict[str, Any]:
    """What a record says of the knobs: where they stand, when they were moved, and which painting it began with."""
    start = painting.start
    return {
        "steps": painting.step,
        "knobs": dataclasses.asdict(painting.knobs),
        "steering": painting.steering,
        "started_from": None if start is None or not start.of else {"painting": start.of},
    }


def encode_png(painting: Painting, run: Run) -> bytes:
    """The painting as a PNG file that `read_metadata` finds the record in."""
    with tempfile.TemporaryDirectory(prefix="jnst-studio-") as folder:
        path = Path(folder) / "picture.png"
        record = {name: value for name, value in describe_painting(painting, run).items() if name != "trace"}
        image = painting.result()
        alpha = fit_alpha(painting.alpha, image.shape[0], image.shape[1])
        write_image(path, image, alpha=alpha, metadata=record, rounding=painting.config.run.rounding)
        return path.read_bytes()


def file_name(painting: Painting) -> str:
    """A name that says what was painted how: PHOTO-PAINTING-STEP.png, of letters that every disk takes."""
    stems = [Path(painting.content.name).stem, *(Path(style.name).stem for style in painting.styles)]
    plain = "-".join("".join(letter if letter.isalnum() else "_" for letter in stem)[:24] for stem in stems)
    return f"{plain}-{painting.step:04d}.png"


def _fill(path: Path, data: bytes) -> None:
    """Writes a file that was just made and is empty; one that cannot be written whole goes."""
    try:
        write_atomically(path, data)
    except BaseException:
        path.unlink(missing_ok=True)
        raise


class Kept:
    """The folder of pictures to keep; it is made when the first one is."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._thumbnails: dict[tuple[str, float], bytes] = {}

    def keep(self, painting: Painting, run: Run) -> str:
        """Writes the painting there, under a name that is free, and returns the name.

        Raises:
            ImageError: where it cannot be written.
        """
        data, name = encode_png(painting, run), file_name(painting)
        try:
            with making_folder(self.folder):
                for attempt in range(1000):
                    path = self.folder / (name if attempt == 0 else f"{Path(name).stem}-{attempt}.png")
                    with contextlib.suppress(FileExistsError):
                        path.open("xb").close()  # the name is taken now, whoever else writes here
                        _fill(path, data)
                        return path.name
        except OSError as error:
            raise ImageError(f"cannot write to {self.folder}: {error.strerror or error}") from error
        raise ImageError(f"{self.folder} holds a thousand pictures called {name}; move some away")

    def names(self) -> list[str]:
        """The PNG pictures there, the newest first. What is no file, or has a name that is no text, is left out."""
        found = []
        with contextlib.suppress(OSError):
            for path in self.folder.glob("*.png"):
                with contextlib.suppress(OSError, UnicodeEncodeError):
                    path.name.encode()
                    if path.is_file():
                        found.append((path.stat().st_mtime, path.name))
        return [name for _, name in sorted(found, reverse=True)[:SHOWN]]

    def find(self, name: str) -> Path:
        """Raises ImageError unless that is the name of one of the pictures."""
        if name not in self.names():
            raise ImageError(f"there is no kept picture {quote(name)}")
        return self.folder / name

    def thumbnail(self, name: str) -> bytes:
        """A small JPEG of it."""
        path = self.find(name)
        key = (name, path.stat().st_mtime)
        if key not in self._thumbnails:
            picture = read_image(NamedFile(path, name))
            self._thumbnails[key] = jpeg_bytes(shrink(lay_on_white(picture.pixels, picture.alpha)))
        return self._thumbnails[key]
