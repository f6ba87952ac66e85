"""Groups of images become batches: how many elements, on which devices, half as many where memory runs out.

A lane is one element of a batch (see `jnst.batch.lanes`).
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from jnst.arrays import Params
from jnst.batch.lanes import Lane, advance_lanes, begin_lanes
from jnst.batch.requests import Item, first_picture, padded_size
from jnst.batch.stage import BatchScale
from jnst.config import compile_key
from jnst.devices import count_devices, image_mesh, place
from jnst.errors import ConfigError
from jnst.loss.builtin import TERMS
from jnst.loss.region_targets import region_grams
from jnst.loss.targets import compiled_terms
from jnst.loss.term import Term, check_extra_terms
from jnst.transfer.callbacks import BatchSnapshot, DeferredImage, Snapshot
from jnst.transfer.driver import stylize
from jnst.transfer.guiding import guide
from jnst.transfer.loop import CAPACITY
from jnst.transfer.memory import available_bytes, compiled_bytes, lane_bytes, lanes_that_fit, params_bytes
from jnst.transfer.result import Result
from jnst.transfer.scales import styles_at_scale
from jnst.transfer.stopping import RUNNING
from jnst.transfer.style_targets import StyleTargets, check_style_targets, pick_grams, picture_grams

_REMEMBERED_STYLES = 256


class Plan(NamedTuple):
    """A batch about to run: its size in pixels (height, width), its lanes, and what it needs, in bytes per device."""

    size: tuple[int, int]
    lanes: int
    devices: int
    predicted: int
    compiled: int | None
    available: int


Callback = Callable[[BatchSnapshot], Any]


class BatchScheduler:
    """Runs batches, and keeps from one to the next what they share: parameters on the devices, prepared styles, and the
    number of images that fits.

    Args:
        params: from `prepare_params`.
        mesh: devices to divide each batch among; this process's by default.
        lanes: images per batch. Given, every batch is run with exactly so many lanes, idle ones included, and results
            are the same to the bit whatever shares the batch. None takes what fits, in powers of two.
        report: is told of every new batch size.
        doing: is told what begins and may take long, in words.
        weights_sha256: to recognise prepared styles that were made with other weights.
        extra_terms: terms of the loss beside the package's own, for all images.
    """

    def __init__(
        self,
        params: Params,
        *,
        mesh: Mesh | None = None,
        lanes: int | None = None,
        report: Callable[[Plan], Any] | None = None,
        doing: Callable[[str], Any] | None = None,
        weights_sha256: str = "",
        extra_terms: Sequence[Term] = (),
    ) -> None:
        if lanes is not None and lanes < 1:
            raise ConfigError(f"batch size is {lanes}; expected one or more images")
        self.mesh = image_mesh() if mesh is None else mesh
        self.params = place(params, self.mesh, shared=True)
        self.lanes, self.report, self.weights_sha256 = lanes, report, weights_sha256
        self.doing = doing or (lambda _: None)
        self.extra_terms, self._compiled_terms = tuple(extra_terms), compiled_terms(extra_terms)
        self._limits: dict[Hashable, int] = {}
        self._reported: set[Hashable] = set()
        self._styles: OrderedDict[Hashable, Any] = OrderedDict()

    def limit(self, item: Item) -> int:
        """Most lanes in a batch of this item's kind."""
        devices = count_devices(self.mesh)
        if item.task.config.tile:
            return 1
        if item.group not in self._limits:
            if self.lanes is not None:
                self._limits[item.group] = -(-self.lanes // devices) * devices
            else:
                self._limits[item.group] = devices * lanes_that_fit(
                    item.task.config,
                    *padded_size(item.sizes[-1], item.task.config),
                    available=available_bytes(self._device()),
                    platform=self._device().platform,
                    regions=item.regions,
                )
        return self._limits[item.group]

    def paint(self, items: Sequence[Item], *, callback: Callback | None = None) -> list[Result]:
        """One result per item, in their order.

        Raises:
            ConfigError: for a style too small for the deepest layer, or an extra term that cannot be used.
        """
        for item in items:
            check_extra_terms(self.extra_terms, TERMS, item.task.config, divided=bool(item.task.config.tile))
        results: list[Result | None] = [None] * len(items)
        groups: dict[Hashable, list[int]] = {}
        for index, item in enumerate(items):
            groups.setdefault(item.group, []).append(index)
        for waiting in groups.values():
            while waiting:
                lanes = self._choose_lanes(items[waiting[0]], len(waiting))
                chosen = waiting[:lanes]
                try:
                    painted = self._paint_batch([items[index] for index in chosen], chosen, lanes, callback)
                except Exception as error:
                    self._halve_or_raise(items[chosen[0]], lanes, error)
                    continue
                for index, result in zip(chosen, painted, strict=True):
                    results[index] = result
                del waiting[: len(chosen)]
        return [result for result in results if result is not None]

    def _device(self) -> Any:
        return jax.local_devices()[0] if self.mesh is None else self.mesh.devices.flat[0]

    def _choose_lanes(self, item: Item, waiting: int) -> int:
        """All lanes while there is enough for them, then powers of two, so that few sizes are compiled."""
        limit, devices = self.limit(item), count_devices(self.mesh)
        if self.lanes is not None or waiting >= limit:
            return limit
        per_device = max(1, waiting // devices)
        return devices * (1 << (per_device.bit_length() - 1))

    def _halve_or_raise(self, item: Item, lanes: int, error: Exception) -> None:
        """Out of memory, half as many lanes are tried next; everything else is passed on."""
        if "RESOURCE_EXHAUSTED" not in str(error) and not isinstance(error, MemoryError):
            raise error
        devices = count_devices(self.mesh)
        if lanes <= devices:
            height, width = item.sizes[-1]
            need = lane_bytes(item.task.config, height, width, item.regions) + params_bytes(item.task.config)
            raise ConfigError(
                f"out of memory for a single image of {width} × {height} pixels, which needs about "
                f"{need / 1e9:.1f} GB; choose a smaller size, or tiles (--set tile=512)"
            ) from error
        self._limits[item.group] = max(devices, lanes // devices // 2 * devices)

    def _paint_batch(
        self, items: list[Item], indices: list[int], lanes: int, callback: Callback | None
    ) -> list[Result]:
        if items[0].task.config.tile:
            return [self._paint_alone(items[0], indices[0], callback)]
        clock = {"start": time.monotonic(), "compile": 0.0}
        pictures: list[np.ndarray | None] = [None] * len(items)
        stage = BatchScale(items, 0, indices, clock)
        for index in range(len(items[0].sizes)):
            begin = time.monotonic()
            stage = BatchScale(items, index, indices, clock)
            self.doing(_describe_compiling(stage.bucket, lanes))
            starts = [first_picture(item, index, picture) for item, picture in zip(items, pictures, strict=True)]
            grams = [self._grams(item, index) for item in items]
            problems = place(stage.problems(starts, grams, lanes, extra_terms=self.extra_terms), self.mesh)
            targets, state = begin_lanes(
                self.params, problems, config=stage.key, extra_terms=self._compiled_terms, mesh=self.mesh
            )
            self._check_plan(stage, targets, state, lanes)
            clock["compile"] += time.monotonic() - begin
            self.doing("painting the first step")
            pictures, ended = self._descend(stage, targets, state, callback)
            if ended:
                break
        elapsed = time.monotonic() - clock["start"]
        seconds = {"compile": clock["compile"], "run": elapsed - clock["compile"]}
        return [stage.result(lane, picture, seconds) for lane, picture in enumerate(pictures) if picture is not None]

    def _paint_alone(self, item: Item, index: int, callback: Callback | None) -> Result:
        """A tiled image is large: it fills the device by itself."""
        task = item.task
        if isinstance(task.styles, StyleTargets):
            raise ConfigError("a prepared style cannot be used with tiles; give the style picture instead")

        def one(snapshot: Snapshot) -> Any:
            assert callback is not None
            return callback(BatchSnapshot((index,), (snapshot.progress,), lambda _: snapshot.image()))

        return stylize(
            self.params,
            item.full,
            list(task.styles) if task.regions is None else None,
            task.config,
            seed=task.seed,
            style_weights=task.style_weights,
            initial=task.initial,
            extra_terms=self.extra_terms,
            callback=None if callback is None else one,
            progress=False,
            regions=task.regions,
            keep=task.keep,
        )

    def _check_plan(self, stage: BatchScale, targets: Any, state: Lane, lanes: int) -> None:
        """Compiles, and compares what the compiler asks for with what there is before anything is run."""
        compiled = advance_lanes.lower(
            self.params, stage.rule, jnp.int32(0), targets, state, config=stage.key, mesh=self.mesh
        ).compile()
        identity = (stage.key, stage.bucket, lanes, stage.items[0].regions)
        if identity in self._reported:
            return
        self._reported.add(identity)
        devices, config = count_devices(self.mesh), stage.items[0].task.config
        predicted = params_bytes(config) + lanes // devices * lane_bytes(config, *stage.bucket, stage.items[0].regions)
        needed, available = compiled_bytes(compiled), available_bytes(self._device())
        if self.report is not None:
            self.report(Plan(stage.bucket, lanes, devices, predicted, needed, available))
        if self.lanes is None and lanes > devices and (needed or predicted) > available:
            raise MemoryError(f"a batch of {lanes} needs {(needed or predicted) / 1e9:.1f} GB on each device")

    def _descend(
        self, stage: BatchScale, targets: Any, state: Lane, callback: Callback | None
    ) -> tuple[list[np.ndarray | None], bool]:
        """Runs one stage. Returns the pictures, and whether the run ends here: out of time, or by the callback."""
        turns, ended = 1, False
        while True:
            begin = time.monotonic()
            state, trace = advance_lanes(
                self.params, stage.rule, jnp.int32(turns), targets, state, config=stage.key, mesh=self.mesh
            )
            stage.record(trace, state)
            pace = (time.monotonic() - begin) / turns
            # About a second between two looks, so that nobody waits long for progress or for Ctrl-C.
            turns = max(1, min(CAPACITY, int(1.0 / max(pace, 1e-6))))
            ended = stage.out_of_time()
            if callback is not None:
                image = DeferredImage(lambda lane, state=state: stage.shown(state, lane))
                if callback(BatchSnapshot(tuple(stage.indices), stage.progress(), image)):
                    stage.stop("callback")
                    ended = True
                image.close()
            if ended or not (stage.reasons == RUNNING).any():
                return [*stage.pictures(state)], ended

    def _grams(self, item: Item, index: int) -> Any:
        """Gram matrices of the item's style at one scale, for each region where there are some; remembered where the
        task says under which name."""
        task, config = item.task, item.task.config
        if isinstance(task.styles, StyleTargets):
            check_style_targets(task.styles, config, weights_sha256=self.weights_sha256)
            prepared = pick_grams(task.styles, config, len(item.sizes) - 1 - index, extra_terms=self._compiled_terms)
            return prepared if item.masks is None else (prepared,)
        full, size = item.sizes[-1], item.sizes[index]
        # Only the ratio of the sizes matters to a style that is not stretched to the content's size.
        scaling = (full, size) if config.size.style == "content" else (size[0] / full[0], size == full)
        name = (task.style_key, task.style_weights, compile_key(config), config.size, scaling, item.masks is None)
        if task.style_key is not None and name in self._styles:
            self._styles.move_to_end(name)
            return self._styles[name]
        pictures = styles_at_scale(task.styles, config, full, size)
        guidance = guide(item.masks, size, pictures, config, self.extra_terms)
        parts = [
            picture_grams(self.params, pixels, config, extra_terms=self._compiled_terms, mask=mask)
            for pixels, mask in pictures
        ]
        grams = jax.tree.map(np.asarray, region_grams(parts, task.style_weights, guidance))
        if task.style_key is not None:
            self._styles[name] = grams
            if len(self._styles) > _REMEMBERED_STYLES:
                self._styles.popitem(last=False)
        return grams


def _describe_compiling(bucket: tuple[int, int], lanes: int) -> str:
    several = f" for {lanes} pictures at once" if lanes > 1 else ""
    return f"compiling {bucket[1]}×{bucket[0]}{several} (once per size)"
