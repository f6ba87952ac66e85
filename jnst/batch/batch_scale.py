"""One scale of a batch, as the host sees it: what goes in, what has come out, why images stopped."""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from jnst.batch.loop import Element, Problem, batch_pictures
from jnst.batch.requests import Item
from jnst.config import compile_key
from jnst.images.padding import pad_image
from jnst.images.sizing import finish
from jnst.loss.guidance import Guidance
from jnst.loss.targets import loss_weights
from jnst.loss.term import Term
from jnst.progress.callbacks import Progress
from jnst.runtime import limit_mappings
from jnst.transfer.color_mode import show_colors
from jnst.transfer.result import Result, describe_end, has_fallen
from jnst.transfer.scale_run import ScaleRun
from jnst.transfer.scales import at_scale, content_at_scale
from jnst.transfer.state import Trace
from jnst.transfer.stopping import REASONS, RUNNING, stop_rule
from jnst.vgg.extent import Extent


class BatchScale:
    """One scale of a batch: a `ScaleRun` for each image, and what all of them share.

    Args:
        items: the images.
        index: of the scale, from zero, the coarsest.
        indices: positions of the images in the whole job.
        clock: "start" (monotonic) and "compile" (seconds).
    """

    def __init__(self, items: list[Item], index: int, indices: list[int], clock: dict[str, float]) -> None:
        self.items, self.index, self.indices = items, index, indices
        limit_mappings()
        config = at_scale(items[0].task.config, index)
        self.run, self.key = config.run, compile_key(config)
        self.runs = [ScaleRun(self.run, index, item.sizes, clock) for item in items]
        self.padded_size, self.exact = items[0].padding[index]
        self.rule = stop_rule(self.run)
        self.reasons = np.full(len(items), RUNNING)
        self.words = ["running"] * len(items)
        self.best_steps = [0] * len(items)
        self.best_values = [float("inf")] * len(items)

    def problems(
        self,
        starts: list[np.ndarray],
        grams: list[Any],
        batch_size: int,
        *,
        extra_terms: Sequence[Term] = (),
    ) -> Problem:
        """The batch's input, stacked on the host; idle elements repeat the first image."""
        each = []
        for element in range(batch_size):
            used = element < len(self.items)
            source = element if used else 0
            item, size = self.items[source], np.array(self.runs[source].size, np.int32)
            weights = jax.tree.map(np.asarray, loss_weights(item.task.config, extra_terms))
            extent = None if self.exact else Extent((np.int32(0), np.int32(0)), (size[0], size[1]))
            content = pad_image(content_at_scale(item.canvas, self.runs[source].size), self.padded_size)
            start = pad_image(starts[source], self.padded_size)
            problem = Problem(content, start, grams[source], weights, extent, np.bool_(used))  # pyright: ignore
            each.append(problem._replace(guidance=self._guidance(source)))
        return jax.tree.map(lambda *leaves: np.stack(leaves), *each)

    def _guidance(self, element: int) -> Guidance | None:
        """The regions of one image, padded as it is."""
        masks = self.items[element].masks
        if masks is None:
            return None
        guidance = masks.at_size(self.runs[element].size)
        keep = None if guidance.keep is None else pad_image(np.asarray(guidance.keep), self.padded_size)
        padded = pad_image(np.asarray(guidance.masks), self.padded_size)
        return Guidance(padded, guidance.weights, keep)  # pyright: ignore[reportArgumentType]

    def record(self, trace: Trace, state: Element) -> None:
        """Takes over the steps just made. An image that stopped along the way has made fewer than the others."""
        columns, steps = jax.device_get(trace).columns(), np.asarray(state.state.step)
        for element, run in enumerate(self.runs):
            fresh = int(steps[element]) - run.entries
            run.record({name: values[element, :fresh] for name, values in columns.items()})
        self.reasons = np.asarray(state.reason)[: len(self.items)]
        self.words = [REASONS[reason] for reason in self.reasons]
        self.best_steps = np.asarray(state.state.best_step).tolist()
        self.best_values = np.asarray(state.state.best_value).tolist()

    def stop(self, word: str) -> None:
        """Whatever is still running has ended for that reason."""
        self.words = [word if known == "running" else known for known in self.words]

    def out_of_time(self) -> bool:
        """Whether the run has taken as long as it may; what is still running has then ended."""
        late = self.runs[0].out_of_time()
        if late:
            self.stop("time")
        return late

    def progress(self) -> tuple[Progress, ...]:
        """How far each image is."""
        return tuple(run.progress(best) for run, best in zip(self.runs, self.best_values, strict=False))

    def pictures(self, state: Element) -> list[np.ndarray]:
        """What the batch elements stand for, each at its true size, on the host."""
        images = np.asarray(batch_pictures(state, config=self.key, best=self.run.keep == "best"))
        found = []
        for image, item, run in zip(images, self.items, self.runs, strict=False):
            picture = image[: run.size[0], : run.size[1]]
            if item.masks is not None and item.masks.keep is not None:
                picture = item.masks.hold(picture, content_at_scale(item.canvas, run.size))
            found.append(picture)
        return found

    def shown(self, state: Element, element: int) -> np.ndarray:
        """One of `pictures`, in the colours that its result will have."""
        item = self.items[element]
        return show_colors(self.pictures(state)[element], item.full, item.task.config.run.colors)

    def result(self, element: int, picture: np.ndarray, seconds: dict[str, float]) -> Result:
        """The finished run of one image."""
        image = finish(picture, self.items[element].full, self.items[element].task.config.run.colors)
        trace = self.runs[element].trace
        # Where there was a scale before this one, the picture is better than the first already.
        stopped = describe_end(self.words[element], trace["total"], self.index > 0 or has_fallen(trace["total"]))
        alpha = self.items[element].alpha
        return Result(image, trace, int(self.best_steps[element]), stopped, dict(seconds), alpha=alpha)
