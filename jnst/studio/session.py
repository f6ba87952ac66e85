"""What the page shows and asks for: pictures, the choice for the next painting, and the paintings."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jnst.errors import ConfigError, quote
from jnst.images.reading import read_bytes
from jnst.presets.resolve import Run
from jnst.studio.draft import MAX_STYLES, Draft, enlarge
from jnst.studio.files import Kept, encode_png, file_name
from jnst.studio.knobs import change_knobs
from jnst.studio.library import MAX_BYTES, MAX_PIXELS, Library
from jnst.studio.painting import LIVE, Painting
from jnst.studio.queue import PaintingQueue
from jnst.studio.worker import Worker


class Studio:
    """Everything the page shows and does. All methods may be called from any thread.

    Args:
        run: preset and weights, from `resolve_run`.
        folder: where pictures are kept.
        seed: of random initial pictures.
        single: whether one painting alone is shown, that was begun from elsewhere.
    """

    def __init__(self, run: Run, folder: Path, *, seed: int = 0, single: bool = False) -> None:
        self.run, self.kept, self.seed, self.single = run, Kept(folder), seed, single
        self.library = Library(bundled=not single)
        self.farewell = "the studio has been closed"
        self._queue = PaintingQueue()
        self._draft = Draft(run.config.size.pixels, run.config.run.steps)
        self._worker = Worker(self._queue, run)
        self._worker.start()

    @property
    def version(self) -> int:
        """Counts the changes of what the page shows."""
        return self._queue.version

    @property
    def closed(self) -> bool:
        """Whether the studio has been closed."""
        return self._queue.closed

    def state(self) -> dict[str, Any]:
        """Everything the page shows but curves and pictures, as plain JSON types."""
        kept = self.kept.names()
        with self._queue.changed:
            pictures = [
                {"id": one.id, "name": one.name, "width": one.width, "height": one.height, "bundled": one.bundled}
                for one in self.library.entries()
            ]
            return {
                "version": self._queue.version,
                "weights": self.run.weights.info.name,
                "preset": self.run.config.preset,
                "single": self.single,
                "strength": self.run.config.loss.strength,
                "colors": self.run.config.run.colors,
                "notices": list(self.run.notices),
                "limits": {"bytes": MAX_BYTES, "pixels": MAX_PIXELS},
                "pictures": pictures,
                "draft": dataclasses.asdict(self._draft),
                "paintings": [painting.describe() for painting in self._queue.paintings],
                "kept": kept,
                "folder": str(self.kept.folder),
            }

    def add_picture(self, data: bytes, name: str, role: str) -> str:
        """Takes a picture in and into the draft, as its photo or as one more painting; returns its id."""
        if role not in ("content", "style"):
            raise ConfigError(f"role is {quote(role)}; expected content or style")
        with self._queue.changed:
            if role == "style" and len(self._draft.styles) >= MAX_STYLES:
                raise ConfigError(f"{MAX_STYLES} paintings are chosen already; remove one first")
        entry = self.library.add(data, name)
        with self._queue.changed:
            styles = [*self._draft.styles, entry.id][:MAX_STYLES]
            change = {"content": entry.id} if role == "content" else {"styles": styles}
            self._draft = self._draft.change(change, self.library)
            self._queue.tell()
        return entry.id

    def add_file(self, path: Path, role: str) -> str:
        """`add_picture` of a file on this machine."""
        return self.add_picture(read_bytes(path), path.name, role)

    def set_draft(self, changes: Mapping[str, Any]) -> None:
        """Changes the choice for the next painting (see `Draft.change`)."""
        with self._queue.changed:
            self._draft = self._draft.change(changes, self.library)
            self._queue.tell()

    def paint(self, knobs: Mapping[str, Any] | None = None) -> int:
        """Puts the draft into the queue and returns the painting's number.

        Raises:
            ConfigError: where a picture is missing, the queue is full, or the size does not fit into memory.
        """
        self._check_not_single()
        with self._queue.changed:
            draft = self._draft
        return self._queue.add(draft.compose(self.run.config, self.library, knobs or {}, seed=self.seed))

    def double(self, number: int) -> int:
        """Puts "the same, twice as large" into the queue (see `enlarge`) and returns its number."""
        self._check_not_single()
        with self._queue.changed:
            painting = enlarge(self._queue.find(number))
        return self._queue.add(painting)

    def begin(self, painting: Painting) -> int:
        """Puts a painting that was composed elsewhere into the queue and returns its number."""
        return self._queue.add(painting)

    def _check_not_single(self) -> None:
        if self.single:
            raise ConfigError("this page shows one run of `jnst stylize`; `jnst studio` paints others")

    def watch(self, number: int, seconds: float) -> Painting:
        """A painting as it is after the next change, or after so many seconds."""
        with self._queue.changed:
            self._queue.changed.wait(seconds)
        return self._frozen(number)

    def set_knobs(self, number: int, changes: Mapping[str, Any]) -> None:
        """Sets knobs of a painting, which acts at its next step; those of the photo at once.

        Raises:
            ConfigError: for a knob or value that does not exist.
        """
        with self._queue.changed:
            painting = self._queue.find(number)
            before = painting.wanted or painting.knobs
            wanted = change_knobs(before, changes)
            if painting.status in LIVE:
                painting.wanted = wanted
            else:
                painting.steer(wanted)
            painting.version += wanted.colors != before.colors
            self._queue.tell()

    def pause(self, number: int) -> None:
        """Stops after the present chunk, until `go_on`."""
        with self._queue.changed:
            self._queue.find(number).pause = True
            self._queue.tell()

    def go_on(self, number: int) -> None:
        """Ends a pause; or a painting that has ended goes back into the queue, for as many steps again if it was done.

        Raises:
            ConfigError: where it failed.
        """
        with self._queue.changed:
            painting = self._queue.find(number)
            painting.pause = False
            if painting.status in ("done", "stopped") and painting.picture is not None:
                if painting.step >= painting.goal:
                    painting.goal = painting.step + painting.config.run.steps
                painting.start = painting.as_start(detail=False)
                painting.status, painting.stop = "queued", False
            self._queue.tell()

    def stop(self, number: int) -> None:
        """Ends a painting after the present chunk, or takes it out of the queue; what is there stays."""
        with self._queue.changed:
            painting = self._queue.find(number)
            painting.stop, painting.pause = True, False
            if painting.status == "queued":
                painting.status = "stopped"
            self._queue.tell()

    def undo(self, number: int, step: int) -> None:
        """Goes back to an earlier moment. One that is painted goes on from there; another waits for `go_on`.

        Raises:
            ConfigError: where no such moment is kept.
        """
        with self._queue.changed:
            painting = self._queue.find(number)
            moment = painting.find_moment(step)
            if painting.status in LIVE:
                painting.back, painting.wanted = moment, None
            elif painting.status == "queued":
                raise ConfigError(f"painting {number} waits in the queue; go back when it is painted, or stop it first")
            else:
                painting.return_to(moment)
                painting.status = "stopped"
            self._queue.tell()

    def keep(self, number: int) -> str:
        """Writes the picture with its record into the folder; returns its name there."""
        name = self.kept.keep(self._frozen(number), self.run)
        with self._queue.changed:
            self._queue.tell()
        return name

    def download(self, number: int) -> tuple[str, bytes]:
        """A file name and the PNG file with the record inside."""
        painting = self._frozen(number)
        return file_name(painting), encode_png(painting, self.run)

    def look(self, number: int) -> np.ndarray:
        """The newest picture of a painting: RGB in [0, 1]."""
        return self._frozen(number).result()

    def look_back(self, number: int, step: int) -> np.ndarray:
        """The picture of an earlier moment."""
        with self._queue.changed:
            painting = self._queue.find(number)
            return painting.look_back(painting.find_moment(step))

    def curves(self, number: int) -> dict[str, list[float | None]]:
        """The curves of a painting."""
        with self._queue.changed:
            return self._queue.find(number).curves()

    def _frozen(self, number: int) -> Painting:
        """The painting as it is now, to be looked at without the lock."""
        with self._queue.changed:
            painting = self._queue.find(number)
            return dataclasses.replace(
                painting,
                trace={name: list(values) for name, values in painting.trace.items()},
                steering=[dict(change) for change in painting.steering],
                begins=list(painting.begins),
                seconds=dict(painting.seconds),
            )

    def leave(self) -> None:
        """Says farewell to the pages, and paints no more after the present chunk."""
        with self._queue.changed:
            self._queue.closed = True
            self._queue.tell()

    def close(self) -> None:
        """Ends the thread, after the present chunk at the latest, and removes what was handed in."""
        self.leave()
        self._worker.join(timeout=60)
        self.library.close()
