"""One image at one scale, as the host sees it: what has come out, how far it is, whether its time is over."""

import time
from collections.abc import Mapping, Sequence

import numpy as np

from jnst.config import RunConfig
from jnst.loss.term import RESERVED
from jnst.progress.callbacks import Progress


class ScaleRun:
    """The host's record of one image at one scale; a single run has one at a time, a batch one for each image.

    Args:
        run: of the config.
        index: of the scale, from zero, the coarsest.
        sizes: height and width of every scale.
        clock: readings shared by all scales of a run: "start" (monotonic), "compile" (seconds), "evaluations" (of the
            scales before), and, where it counts the time before an interruption as well, "begun" (monotonic).
    """

    def __init__(
        self, run: RunConfig, index: int, sizes: Sequence[tuple[int, int]], clock: Mapping[str, float]
    ) -> None:
        self.run, self.index, self.sizes, self.clock = run, index, sizes, clock
        self.trace: dict[str, list[float]] = {"evaluation": [], "total": []}

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the image at this scale."""
        return self.sizes[self.index]

    @property
    def entries(self) -> int:
        """Entries of the trace: steps made, and one for the initial image."""
        return len(self.trace["total"])

    def record(self, columns: Mapping[str, np.ndarray]) -> None:
        """Takes over the newest entries of the trace (`Trace.columns`)."""
        for name, values in columns.items():
            self.trace.setdefault(name, []).extend(np.asarray(values).tolist())

    def best_before_chunk(self) -> float:
        """Lowest loss at the end of the chunk before the present one."""
        totals = self.trace["total"]
        return min(totals[: max(1, len(totals) - self.run.chunk)])

    def out_of_time(self) -> bool:
        """Whether the run has taken as long as it may, the time before an interruption left out."""
        begun = self.clock.get("begun", self.clock["start"])
        return bool(self.run.max_time) and time.monotonic() - begun >= self.run.max_time

    def progress(self, best: float) -> Progress:
        """The progress after a chunk; `best` is the lowest loss at this scale."""
        steps, step = self.run.steps, self.entries - 1
        pixels = [height * width for height, width in self.sizes]
        done = sum(pixels[: self.index]) + pixels[self.index] * (step / steps if steps else 1.0)
        last = {name: values[-1] for name, values in self.trace.items()}
        compiled = self.clock.get("compile", 0.0)
        return Progress(
            step=self.index * steps + step,
            steps=len(self.sizes) * steps,
            evaluations=int(last["evaluation"]) + int(self.clock.get("evaluations", 0)),
            scale=self.index + 1,
            scales=len(self.sizes),
            size=self.size,
            total=last["total"],
            terms={name: value for name, value in last.items() if name not in RESERVED},
            best=best,
            seconds=time.monotonic() - self.clock["start"],
            compile_seconds=compiled,
            # A scale to come takes about as long to compile as those before.
            compile_ahead=compiled / (self.index + 1) * (len(self.sizes) - self.index - 1),
            work=done / sum(pixels),
        )
