"""The thread that paints: one painting at a time, in chunks of steps, and between them does what the page asks for."""

import threading
import time
from typing import Any

import numpy as np

from jnst.errors import JnstError
from jnst.images.inputs import StylePicture, as_style, visible_pixels
from jnst.presets.resolve import Run
from jnst.studio.painter import Painter
from jnst.studio.painting import Painting, Start, Status
from jnst.studio.queue import PaintingQueue
from jnst.vgg.convolution import prepare_params

# A chunk of steps lasts about so long: a knob waits for this at most, and a step more.
CHUNK_SECONDS = 0.4


class Worker(threading.Thread):
    """Paints what is queued on the queue until the queue is closed."""

    def __init__(self, queue: PaintingQueue, run: Run) -> None:
        super().__init__(name="painter", daemon=True)
        self._queue, self._run = queue, run
        self._params: Any = None

    def run(self) -> None:
        """The thread's work."""
        while (painting := self._queue.next_queued()) is not None:
            try:
                status, message = self._paint(painting), painting.message
            except JnstError as error:
                status, message = "failed", str(error)
            except Exception as error:  # whatever went wrong with one painting, the studio goes on
                status, message = "failed", _explain(error)
            with self._queue.changed:
                painting.status, painting.message = status, message
                if painting.wanted is not None:
                    painting.steer(painting.wanted)
                painting.wanted = painting.back = None
                painting.remember()
                self._queue.tell()

    def _paint(self, painting: Painting) -> Status:
        """Paints scale after scale, from the present one to the full size or to whatever ends it before."""
        if self._params is None:
            self._params = prepare_params(self._run.weights.params)
        profile = painting.config.color_profile
        photo = painting.content.read(profile)
        content = visible_pixels(photo)
        with self._queue.changed:
            painting.alpha = photo.alpha
        styles = [as_style(style.read(profile)) for style in painting.styles]
        start = painting.start
        while True:
            scale = painting.scale
            painter = self._begin(painting, content, styles, start)
            ending = self._descend(painting, painter)
            if ending is not None:
                return ending
            with self._queue.changed:
                if painting.scale == scale:  # it has come to its end, and nobody went back to another one
                    painting.remember()
                    painting.scale += 1
                assert painting.picture is not None
                start = Start(painting.picture, 0, False, painting.knobs.colors)
                painting.status = "compiling"
                self._queue.tell()

    def _begin(
        self, painting: Painting, content: np.ndarray, styles: list[StylePicture], start: Start | None
    ) -> Painter:
        """Makes the targets of the present scale and compiles for its size."""
        begin, enlarged = time.monotonic(), painting.start is not None and painting.start.detail
        painter = Painter(
            self._params,
            content,
            styles,
            painting.config,
            painting.knobs,
            seed=painting.seed,
            initial=None if start is None else start.pixels,
            initial_colors=None if start is None else start.colors,
            size=painting.sizes[painting.scale],
            scale=max(painting.scale, int(enlarged)),
        )
        picture = painter.picture()
        with self._queue.changed:
            painting.canvas = painter.canvas
            painting.show(picture)
            self._queue.tell()
        painter.compile()
        with self._queue.changed:
            painting.seconds["compile"] += time.monotonic() - begin
        return painter

    def _descend(self, painting: Painting, painter: Painter) -> Status | None:
        """Paints at one scale. Returns how the painting ended, or None where another scale is next."""
        scale, pace = painting.scale, 0.0
        while True:
            ending = self._obey(painting, painter)
            if ending is not None or painting.scale != scale:
                return ending
            if len(painting.begins) > scale and painting.step >= painting.boundary:
                return None
            begin, steps = time.monotonic(), self._affordable(painting, pace)
            trace = painter.paint(steps)
            pace = (time.monotonic() - begin) / steps
            picture = painter.picture()
            with self._queue.changed:
                painting.record(trace)
                painting.show(picture)
                painting.seconds["run"] += time.monotonic() - begin
                every = max(1, painting.goal // 12)
                if not painting.moments or painting.step - painting.moments[-1].step >= every:
                    painting.remember()
                self._queue.tell()
            limit = painting.config.run.max_time
            if painter.stuck or not np.isfinite(trace["total"][-1]):
                painting.reason = "stuck"
                painting.message = "the loss was not finite or could not be lowered any further"
                return "stopped"
            if limit and sum(painting.seconds.values()) >= limit:
                painting.reason, painting.message = "time", f"{limit:g} seconds are over"
                return "stopped"

    def _affordable(self, painting: Painting, pace: float) -> int:
        """Steps for the next chunk: the first evaluates alone, later ones last `CHUNK_SECONDS` together."""
        left = painting.boundary + painting.scale + 1 - painting.entries
        return max(1, min(left, int(CHUNK_SECONDS / pace))) if pace else 1

    def _obey(self, painting: Painting, painter: Painter) -> Status | None:
        """Does what was asked for since the last chunk, waits while paused; returns how the painting ended, if so."""
        while True:
            with self._queue.changed:
                if self._queue.closed or painting.stop:
                    painting.reason = "callback"
                    return "stopped"
                back, painting.back = painting.back, None
                wanted, painting.wanted = painting.wanted, None
                if back is not None:
                    painting.return_to(back)
                picture = painting.picture
                if wanted is not None:
                    painting.remember()
                    painting.steer(wanted)
                knobs = painting.knobs
                if back is not None or wanted is not None:
                    self._queue.tell()
                elif painting.trace and painting.step >= painting.goal and len(painting.begins) == len(painting.sizes):
                    painting.reason = "steps"
                    return "done"
                else:
                    status: Status = "paused" if painting.pause else "painting"
                    if painting.status != status:
                        painting.status = status
                        self._queue.tell()
                    if not painting.pause:
                        return None
                    self._queue.changed.wait()
            if back is not None and painting.sizes[painting.scale] != painter.size:
                return None  # it goes on at another scale
            if back is not None and picture is not None:
                painter.go_back(picture)
            if back is not None or wanted is not None:
                painter.set_knobs(knobs)


def _explain(error: Exception) -> str:
    reason = str(error).partition("\n")[0] or type(error).__name__
    if isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in reason:
        return f"out of memory; a smaller size needs less ({reason})"
    return f"internal error: {reason}; please report it"
