"""What is known of one painting: what was asked for, how far it is, and its earlier moments."""

import dataclasses
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import numpy as np

from jnst.config import Colors, Config
from jnst.errors import ConfigError
from jnst.images.resizing import to_unit
from jnst.images.sizing import finish
from jnst.images.writing import quantize
from jnst.studio.knobs import Knobs
from jnst.studio.library import Entry
from jnst.studio.painter import CURVES
from jnst.transfer.color_mode import carry_over

Status = Literal["queued", "compiling", "painting", "paused", "done", "stopped", "failed"]
# A painting in one of these is being worked on.
LIVE: tuple[Status, ...] = ("compiling", "painting", "paused")
# Earlier moments of one painting: how many, and how much memory all their pixels may take.
MAX_MOMENTS, MAX_MOMENT_BYTES = 16, 200 * 2**20


class Moment(NamedTuple):
    """The picture after so many steps, as it was worked on, at 16 bits, and the knobs and the scale at that time."""

    step: int
    pixels: np.ndarray
    knobs: Knobs
    scale: int


class Start(NamedTuple):
    """A picture to begin with.

    of: the painting it comes from, 0 for a file. detail: whether it was enlarged. colors: the way with colours that it
        was painted in, or None for a file.
    """

    pixels: np.ndarray
    of: int
    detail: bool
    colors: Colors | None = None


@dataclass(eq=False)
class Painting:
    """One run. Every field is read and written under the studio's lock.

    sizes: heights and widths from the coarsest scale to the full size; scale: number of the present one.
    goal: steps, over all scales, at which it is done. trace: as `read_trace`; each scale begins with an entry of the
        picture that enters it. begins: the index of that entry, for each scale so far.
    steering: what was changed, at which step. reason: why it ended, in the words of `Result.stopped`.
    canvas: the photo at full size. alpha: of the photo as read, or None.
    picture: newest, as it is worked on in the colours of `knobs`; `version` counts its changes.
    wanted: knobs asked for and not yet taken over; back: the moment to go back to; pause, stop: asked for.
    """

    number: int
    content: Entry
    styles: tuple[Entry, ...]
    config: Config
    knobs: Knobs
    seed: int = 0
    start: Start | None = None
    sizes: tuple[tuple[int, int], ...] = ()
    scale: int = 0
    status: Status = "queued"
    message: str = ""
    goal: int = 0
    reason: str = ""
    trace: dict[str, list[float]] = field(default_factory=dict)
    begins: list[int] = field(default_factory=list)
    steering: list[dict[str, Any]] = field(default_factory=list)
    moments: list[Moment] = field(default_factory=list)
    canvas: np.ndarray | None = None
    alpha: np.ndarray | None = None
    picture: np.ndarray | None = None
    version: int = 0
    seconds: dict[str, float] = field(default_factory=lambda: {"compile": 0.0, "run": 0.0})
    wanted: Knobs | None = None
    back: Moment | None = None
    pause: bool = False
    stop: bool = False

    @property
    def step(self) -> int:
        """Steps done; the first entry of each scale is no step."""
        return self.entries - len(self.begins)

    @property
    def entries(self) -> int:
        """Entries of the trace."""
        return len(self.trace.get("total", ()))

    @property
    def boundary(self) -> int:
        """The step at which the present scale ends."""
        last = self.scale + 1 >= len(self.sizes)
        return self.goal if last else self.config.run.steps * (self.scale + 1)

    def result(self) -> np.ndarray:
        """The newest picture as it is to be seen: RGB in [0, 1], at full size at every scale.

        Raises:
            ConfigError: where nothing has been painted yet.
        """
        if self.picture is None or self.canvas is None:
            raise ConfigError(f"painting {self.number} has no picture yet; wait until it has been compiled")
        colors = (self.wanted or self.knobs).colors
        return finish(carry_over(self.picture, self.canvas, self.knobs.colors, colors), self.canvas, colors)

    def look_back(self, moment: Moment) -> np.ndarray:
        """The picture of an earlier moment as it is to be seen, at the size of its scale."""
        if self.canvas is None or moment.knobs.colors != "luminance":
            return moment.pixels
        return quantize(carry_over(to_unit(moment.pixels), self.canvas, "luminance", "style"), bits=16)

    def as_start(self, *, detail: bool) -> Start:
        """The newest picture as one to begin with."""
        assert self.picture is not None
        return Start(quantize(self.picture, bits=16), self.number, detail, self.knobs.colors)

    def record(self, trace: dict[str, list[float]]) -> None:
        """Adds entries of the present scale to the trace."""
        if len(self.begins) <= self.scale:
            self.begins.append(self.entries)
        for name, values in trace.items():
            self.trace.setdefault(name, []).extend(values)

    def show(self, picture: np.ndarray) -> None:
        """Makes a picture the newest."""
        self.picture, self.version = picture, self.version + 1

    def remember(self) -> None:
        """Keeps the newest picture as a moment, and leaves out others where there are too many."""
        if self.picture is None or (self.moments and self.moments[-1].step >= self.step):
            return
        self.moments.append(Moment(self.step, quantize(self.picture, bits=16), self.knobs, self.scale))
        size = self.moments[-1].pixels.nbytes
        most = max(3, min(MAX_MOMENTS, MAX_MOMENT_BYTES // size))
        if len(self.moments) > most:
            # Every other one between the first and the newest two goes, so that they stay evenly spread.
            first, *between = self.moments[:-2]
            self.moments = [first, *between[1::2], *self.moments[-2:]]

    def find_moment(self, step: int) -> Moment:
        """Raises ConfigError where no moment of that step is kept."""
        for moment in self.moments:
            if moment.step == step:
                return moment
        known = ", ".join(str(moment.step) for moment in self.moments) or "none"
        raise ConfigError(f"painting {self.number} has no moment at step {step}; kept are: {known}")

    def return_to(self, moment: Moment) -> None:
        """The moment's picture becomes the newest, and what came after it is forgotten; its knobs are taken over."""
        entries = moment.step + moment.scale + 1
        self.trace = {name: values[:entries] for name, values in self.trace.items()}
        self.begins = self.begins[: moment.scale + 1]
        self.moments = [one for one in self.moments if one.step <= moment.step]
        self.steering = [change for change in self.steering if change["step"] <= moment.step]
        colors, self.scale = self.knobs.colors, moment.scale
        self.knobs = moment.knobs
        self.show(to_unit(moment.pixels))
        self._recolor(colors)
        self.knobs = dataclasses.replace(moment.knobs, colors=colors)

    def steer(self, knobs: Knobs) -> None:
        """Takes over knobs, and notes what changed and when."""
        changed = {
            name: value for name, value in dataclasses.asdict(knobs).items() if value != getattr(self.knobs, name)
        }
        if changed and self.trace:
            last = self.steering[-1] if self.steering else {"step": -1}
            if last["step"] == self.step:  # a slider that was dragged: one change
                last |= changed
            else:
                self.steering.append({"step": self.step, **changed})
        self._recolor(knobs.colors)
        self.knobs = knobs

    def _recolor(self, colors: Colors) -> None:
        """Makes the newest picture one to work on in those colours."""
        if self.picture is not None and self.canvas is not None:
            self.picture = carry_over(self.picture, self.canvas, self.knobs.colors, colors)

    def curves(self) -> dict[str, list[float | None]]:
        """The curves to draw, with null for what is not finite."""
        shown = {name: self.trace.get(name, []) for name in CURVES}
        return {
            name: [float(f"{value:.5g}") if np.isfinite(value) else None for value in values]
            for name, values in shown.items()
        }

    def last_scale(self) -> tuple[dict[str, list[float]], int]:
        """The trace of the present scale, and its entry with the lowest loss since a knob was last moved."""
        begin = self.begins[-1] if self.begins else 0
        trace = {name: values[begin:] for name, values in self.trace.items()}
        moved = self.steering[-1]["step"] + len(self.begins) - begin if self.steering else 0
        totals = [value if np.isfinite(value) else np.inf for value in trace.get("total", [])]
        first = min(max(moved, 0), max(len(totals) - 1, 0))
        return trace, first + int(np.argmin(totals[first:])) if totals else 0

    def describe(self) -> dict[str, Any]:
        """What the page shows of it, as plain JSON types."""
        shown = self.canvas.shape[:2] if self.canvas is not None else (0, 0)
        return {
            "number": self.number,
            "status": self.status,
            "message": self.message,
            "step": self.step,
            "goal": self.goal,
            "scale": self.scale + 1,
            "scales": len(self.sizes),
            "height": shown[0],
            "width": shown[1],
            "content": self.content.id,
            "styles": [style.id for style in self.styles],
            "knobs": dataclasses.asdict(self.wanted or self.knobs),
            "steering": self.steering,
            "moments": [moment.step for moment in self.moments],
            "version": self.version,
            "seconds": {name: round(value, 1) for name, value in self.seconds.items()},
            "enlarged": self.start.of if self.start is not None and self.start.detail else None,
        }
