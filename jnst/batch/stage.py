"""One scale of a batch, as the host sees it: what goes in, what has come out, why lanes stopped."""

import time
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from jnst.batch.lanes import REASONS, RUNNING, Lane, Problem, StopRule, lane_pictures
from jnst.batch.requests import Item, content_at_scale
from jnst.config import compile_key
from jnst.images.padding import bucket_size, pad_image
from jnst.images.resizing import finish
from jnst.loss.targets import loss_weights
from jnst.loss.term import RESERVED, Term
from jnst.transfer.callbacks import Progress
from jnst.transfer.driver import Result
from jnst.transfer.loop import Trace
from jnst.transfer.scales import at_scale
from jnst.vgg.valid_region import Extent


class Stage:
    """The host's view of one scale of a batch: what goes in, what has come out, why lanes stopped."""

    def __init__(self, items: list[Item], index: int, indices: list[int], clock: dict[str, float]) -> None:
        self.items, self.index, self.indices, self.clock = items, index, indices, clock
        config = at_scale(items[0].task.config, index)
        self.run, self.key = config.run, compile_key(config)
        self.sizes = [item.sizes[index] for item in items]
        self.bucket = bucket_size(*self.sizes[0])
        self.rule = StopRule(jnp.int32(self.run.steps + 1), jnp.int32(self.run.chunk), jnp.float32(self.run.tolerance))
        self.traces: list[dict[str, list[float]]] = [{"evaluation": [], "total": []} for _ in items]
        self.reasons = np.full(len(items), RUNNING)
        self.words = ["running"] * len(items)
        self.best_turns = [0] * len(items)
        self.best_values = [float("inf")] * len(items)

    def problems(
        self,
        starts: list[np.ndarray],
        grams: list[dict[str, np.ndarray]],
        lanes: int,
        *,
        extra_terms: Sequence[Term] = (),
    ) -> Problem:
        """The batch's input, stacked on the host; idle lanes repeat the first image."""
        exact = all(size == self.bucket for size in self.sizes)
        each = []
        for lane in range(lanes):
            used = lane < len(self.items)
            source = lane if used else 0
            item, size = self.items[source], np.array(self.sizes[source], np.int32)
            weights = jax.tree.map(np.asarray, loss_weights(item.task.config, extra_terms))
            extent = None if exact else Extent((np.int32(0), np.int32(0)), (size[0], size[1]))
            content = pad_image(content_at_scale(item, self.index), self.bucket)
            start = pad_image(starts[source], self.bucket)
            each.append(Problem(content, start, grams[source], weights, extent, np.bool_(used)))  # pyright: ignore
        return jax.tree.map(lambda *leaves: np.stack(leaves), *each)

    def record(self, trace: Trace, state: Lane) -> None:
        """Takes over the turns just made. A lane that stopped along the way has made fewer than the others."""
        host, turns = jax.device_get(trace), np.asarray(state.state.turn)
        for lane, entries in enumerate(self.traces):
            fresh = int(turns[lane]) - len(entries["total"])
            for name, values in host.columns().items():
                entries.setdefault(name, []).extend(values[lane, :fresh].tolist())
        self.reasons = np.asarray(state.reason)[: len(self.items)]
        self.words = [REASONS[reason] for reason in self.reasons]
        self.best_turns = np.asarray(state.state.best_turn).tolist()
        self.best_values = np.asarray(state.state.best_value).tolist()

    def stop(self, word: str) -> None:
        self.words = [word if known == "running" else known for known in self.words]

    def out_of_time(self) -> bool:
        late = bool(self.run.max_time) and time.monotonic() - self.clock["start"] >= self.run.max_time
        if late:
            self.stop("time")
        return late

    def progress(self, state: Lane) -> tuple[Progress, ...]:
        records, scales = [], len(self.items[0].sizes)
        for lane, (item, trace) in enumerate(zip(self.items, self.traces, strict=True)):
            pixels = [height * width for height, width in item.sizes]
            step = len(trace["total"]) - 1
            share = step / self.run.steps if self.run.steps else 1.0
            records.append(
                Progress(
                    step=self.index * self.run.steps + step,
                    steps=scales * self.run.steps,
                    evaluations=int(trace["evaluation"][-1]),
                    scale=self.index + 1,
                    scales=scales,
                    size=self.sizes[lane],
                    total=trace["total"][-1],
                    terms={name: values[-1] for name, values in trace.items() if name not in RESERVED},
                    best=self.best_values[lane],
                    seconds=time.monotonic() - self.clock["start"],
                    compile_seconds=self.clock["compile"],
                    work=(sum(pixels[: self.index]) + share * pixels[self.index]) / sum(pixels),
                )
            )
        return tuple(records)

    def pictures(self, state: Lane) -> list[np.ndarray]:
        """What the lanes stand for, each at its true size, on the host."""
        images = np.asarray(lane_pictures(state, config=self.key, best=self.run.keep == "best"))
        return [images[lane, :height, :width] for lane, (height, width) in enumerate(self.sizes)]

    def result(self, lane: int, picture: np.ndarray, seconds: dict[str, float]) -> Result:
        image = finish(picture, self.items[lane].full, self.items[lane].task.config.run.colors)
        return Result(image, self.traces[lane], int(self.best_turns[lane]), self.words[lane], dict(seconds))
