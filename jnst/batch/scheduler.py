"""Groups of images become batches: how many at once, on which devices, half as many where memory runs out."""

import time
from collections.abc import Callable, Hashable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from jnst.argument_checks import asks_to_stop, check_count
from jnst.array_types import Params
from jnst.batch.batch_scale import BatchScale
from jnst.batch.loop import Element, advance_batch, begin_batch
from jnst.batch.padded_sizes import PaddedSizes, choose_batch_size, compile_cost
from jnst.batch.requests import Item, first_picture
from jnst.batch.style_cache import StyleCache
from jnst.devices import AXIS, check_mesh, count_devices, image_mesh, place
from jnst.errors import ConfigError
from jnst.loss.registry import TERMS
from jnst.loss.targets import compiled_terms
from jnst.loss.term import Term, check_extra_terms
from jnst.progress.callbacks import BatchSnapshot, DeferredImage, Silent, Snapshot
from jnst.progress.indicator import Indicator
from jnst.transfer.free_memory import available_bytes
from jnst.transfer.image_run import ImageRun, run_scales
from jnst.transfer.loop import CAPACITY
from jnst.transfer.memory import batch_size_that_fits, compiled_bytes, element_bytes, params_bytes
from jnst.transfer.result import Result
from jnst.transfer.stopping import RUNNING
from jnst.transfer.style_targets import StyleTargets

# Bytes per pixel of point, gradient and best picture of one image, in float32; a batch holds more than these.
_PICTURES = 36


class Plan(NamedTuple):
    """A batch about to run: height and width in pixels, the number of its images, and bytes needed on each device."""

    size: tuple[int, int]
    batch_size: int
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
        batch_size: images per batch. Given, every batch is run with exactly so many elements, idle ones included, and
            results are the same to the bit whatever shares the batch. None takes what fits, in powers of two.
        report: called with the `Plan` of every new batch size.
        doing: called with words for what begins and may take long.
        weights_sha256: to recognise prepared styles that were made with other weights.
        extra_terms: terms of the loss beside the package's own, for all images.
    """

    def __init__(
        self,
        params: Params,
        *,
        mesh: Mesh | None = None,
        batch_size: int | None = None,
        report: Callable[[Plan], Any] | None = None,
        doing: Callable[[str], Any] | None = None,
        weights_sha256: str = "",
        extra_terms: Sequence[Term] = (),
    ) -> None:
        if batch_size is not None:
            batch_size = check_count("batch size", batch_size, 1)
        self.mesh = image_mesh() if mesh is None else check_mesh(mesh, AXIS)
        self.params = place(params, self.mesh, shared=True)
        self.batch_size, self.report = batch_size, report
        self.doing = doing or (lambda _: None)
        self.extra_terms, self._compiled_terms = tuple(extra_terms), compiled_terms(extra_terms)
        self.padded_sizes = PaddedSizes(self._device().platform, own=batch_size is not None)
        self._limits: dict[Hashable, int] = {}
        self._sizes_run: dict[Hashable, set[int]] = {}  # of batches, by what their images have in common
        self._reported: set[Hashable] = set()
        self._grams = StyleCache(self.params, weights_sha256, extra_terms).grams

    def limit(self, item: Item) -> int:
        """The largest batch of this item's kind."""
        devices = count_devices(self.mesh)
        if item.task.config.tile:
            return 1
        if item.group not in self._limits:
            if self.batch_size is not None:
                self._limits[item.group] = -(-self.batch_size // devices) * devices
                self._check_pictures(item, self._limits[item.group] // devices)
            else:
                self._limits[item.group] = devices * batch_size_that_fits(
                    item.task.config,
                    *item.padding[-1].size,
                    available=available_bytes(self._device()),
                    platform=self._device().platform,
                    regions=item.regions,
                )
        return self._limits[item.group]

    def _check_pictures(self, item: Item, count: int) -> None:
        """Raises ConfigError where not even the pictures of such a batch fit: one that is not full holds copies."""
        (height, width), available = item.padding[-1].size, available_bytes(self._device())
        needed = count * height * width * _PICTURES
        if needed > available:
            raise ConfigError(
                f"batch size is {self.batch_size}, whose pictures alone need {needed / 1e9:.3g} GB of the "
                f"{available / 1e9:.3g} GB that are free; choose a smaller one, or leave it out to take what fits"
            )

    def run(self, items: Sequence[Item], *, callback: Callback | None = None) -> list[Result]:
        """One result per item, in their order. What they are padded to has been chosen.

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
                batch_size = self._choose_batch_size(items[waiting[0]], len(waiting))
                chosen = waiting[:batch_size]
                try:
                    done = self._run_batch([items[index] for index in chosen], chosen, batch_size, callback)
                except Exception as error:
                    self._halve_or_raise(items[chosen[0]], batch_size, error)
                    continue
                for index, result in zip(chosen, done, strict=True):
                    results[index] = result
                del waiting[: len(chosen)]
        return [result for result in results if result is not None]

    def _device(self) -> Any:
        return jax.local_devices()[0] if self.mesh is None else self.mesh.devices.flat[0]

    def _choose_batch_size(self, item: Item, waiting: int) -> int:
        """As many as asked for, or `choose_batch_size` of what fits."""
        limit = self.limit(item)
        if self.batch_size is not None or item.task.config.tile:
            return limit
        compiled = self._sizes_run.setdefault(item.group, set())
        cost = compile_cost(item, self._device().platform)
        chosen = choose_batch_size(waiting, limit, devices=count_devices(self.mesh), compiled=compiled, cost=cost)
        compiled.add(chosen)
        return chosen

    def _halve_or_raise(self, item: Item, batch_size: int, error: Exception) -> None:
        """Out of memory, half as many images are tried next; everything else is passed on."""
        if "RESOURCE_EXHAUSTED" not in str(error) and not isinstance(error, MemoryError):
            raise error
        devices = count_devices(self.mesh)
        if batch_size <= devices:
            height, width = item.sizes[-1]
            need = element_bytes(item.task.config, height, width, item.regions) + params_bytes(item.task.config)
            raise ConfigError(
                f"out of memory for a single image of {width} × {height} pixels, which needs about "
                f"{need / 1e9:.1f} GB; choose a smaller size, or tiles (--set tile=512)"
            ) from error
        self._limits[item.group] = max(devices, batch_size // devices // 2 * devices)

    def _run_batch(
        self, items: list[Item], indices: list[int], batch_size: int, callback: Callback | None
    ) -> list[Result]:
        if items[0].task.config.tile:
            return [self._run_alone(items[0], indices[0], callback)]
        clock = {"start": time.monotonic(), "compile": 0.0}
        pictures: list[np.ndarray | None] = [None] * len(items)
        scale = BatchScale(items, 0, indices, clock)
        for index in range(len(items[0].sizes)):
            begin = time.monotonic()
            scale = BatchScale(items, index, indices, clock)
            self.doing(_describe_compiling(scale.padded_size, batch_size))
            starts = [first_picture(item, index, picture) for item, picture in zip(items, pictures, strict=True)]
            grams = [self._grams(item, index) for item in items]
            problems = place(scale.problems(starts, grams, batch_size, extra_terms=self.extra_terms), self.mesh)
            targets, state = begin_batch(
                self.params, problems, config=scale.key, extra_terms=self._compiled_terms, mesh=self.mesh
            )
            self._check_plan(scale, targets, state, batch_size)
            clock["compile"] += time.monotonic() - begin
            self.doing("painting the first step")
            pictures, ended = self._descend(scale, targets, state, callback)
            if ended:
                break
        elapsed = time.monotonic() - clock["start"]
        seconds = {"compile": clock["compile"], "run": elapsed - clock["compile"]}
        return [
            scale.result(element, picture, seconds) for element, picture in enumerate(pictures) if picture is not None
        ]

    def _run_alone(self, item: Item, index: int, callback: Callback | None) -> Result:
        """A tiled image is large: it fills the device by itself."""
        task = item.task
        if isinstance(task.styles, StyleTargets):
            raise ConfigError("a prepared style cannot be used with tiles; give the style picture instead")

        def one(snapshot: Snapshot) -> Any:
            assert callback is not None
            return callback(BatchSnapshot((index,), (snapshot.progress,), lambda _: snapshot.image()))

        # All is prepared with the item: colours are matched once, and masks go with the picture as it was given.
        run = ImageRun(
            self.params,
            task.config,
            item.full,
            item.canvas,
            list(task.styles),
            item.masks,
            task.style_weights,
            task.initial,
            task.seed,
            optimizer=None,
            extra_terms=self.extra_terms,
            mesh=None,
            callback=None if callback is None else one,
            checkpoint=None,
            indicator=Indicator(Silent()),
        )
        return run_scales(run, item.sizes)._replace(alpha=item.alpha)

    def _check_plan(self, scale: BatchScale, targets: Any, state: Element, batch_size: int) -> None:
        """Compiles, and compares what the compiler asks for with what there is before anything is run."""
        compiled = advance_batch.compile(
            self.params, scale.rule, jnp.int32(0), targets, state, config=scale.key, mesh=self.mesh
        )
        identity = (scale.key, scale.padded_size, batch_size, scale.items[0].regions)
        if identity in self._reported:
            return
        self._reported.add(identity)
        devices, config = count_devices(self.mesh), scale.items[0].task.config
        predicted = params_bytes(config) + batch_size // devices * element_bytes(
            config, *scale.padded_size, scale.items[0].regions
        )
        needed, available = compiled_bytes(compiled), available_bytes(self._device())
        if self.report is not None:
            self.report(Plan(scale.padded_size, batch_size, devices, predicted, needed, available))
        if self.batch_size is None and batch_size > devices and (needed or predicted) > available:
            raise MemoryError(f"a batch of {batch_size} needs {(needed or predicted) / 1e9:.1f} GB on each device")

    def _descend(
        self, scale: BatchScale, targets: Any, state: Element, callback: Callback | None
    ) -> tuple[list[np.ndarray | None], bool]:
        """Runs one scale. Returns the pictures, and whether the run ends here: out of time, or by the callback."""
        steps, ended = 1, False
        while True:
            begin = time.monotonic()
            state, trace = advance_batch(
                self.params, scale.rule, jnp.int32(steps), targets, state, config=scale.key, mesh=self.mesh
            )
            scale.record(trace, state)
            pace = (time.monotonic() - begin) / steps
            # About a second between two calls, so that progress and Ctrl-C take effect soon.
            steps = max(1, min(CAPACITY, int(1.0 / max(pace, 1e-6))))
            ended = scale.out_of_time()
            if callback is not None:
                image = DeferredImage(lambda element, state=state: scale.shown(state, element))
                if asks_to_stop(callback(BatchSnapshot(tuple(scale.indices), scale.progress(), image))):
                    scale.stop("callback")
                    ended = True
                image.close()
            if ended or not (scale.reasons == RUNNING).any():
                return [*scale.pictures(state)], ended


def _describe_compiling(size: tuple[int, int], batch_size: int) -> str:
    several = f" for {batch_size} pictures at once" if batch_size > 1 else ""
    return f"compiling {size[1]}×{size[0]}{several} (once per size)"
