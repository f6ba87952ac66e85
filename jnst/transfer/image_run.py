"""The run of one image: scales from coarse to fine, and in each as many calls of the compiled loop as it takes."""

import contextlib
import functools
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
import optax
from jax.sharding import Mesh

from jnst.argument_checks import asks_to_stop
from jnst.array_types import Params
from jnst.config import Config, RunConfig
from jnst.errors import JnstError
from jnst.images.inputs import StylePicture
from jnst.images.sizing import finish
from jnst.loss.targets import make_targets
from jnst.loss.term import RESERVED, Targets, Term
from jnst.progress.callbacks import DeferredImage, Snapshot
from jnst.progress.indicator import Indicator
from jnst.transfer.animation import Animation
from jnst.transfer.checkpoint import Checkpoint, restore_state
from jnst.transfer.color_mode import PUT_ON_AT_END, show_colors
from jnst.transfer.loop import CAPACITY, advance
from jnst.transfer.regions import RegionMasks
from jnst.transfer.regions_at_scale import guide
from jnst.transfer.result import Result, describe_end, has_fallen
from jnst.transfer.row_sharding import crop, over_devices, shard_state
from jnst.transfer.scale_run import ScaleRun
from jnst.transfer.scales import at_scale, content_at_scale, first_image, styles_at_scale
from jnst.transfer.state import TransferState, current_picture, init_state
from jnst.transfer.stopping import REASONS, stop_reason, stop_rule

Callback = Callable[[Snapshot], Any]
# Reasons that end the whole run, not one scale of it; the state is kept.
_EARLY = ("callback", "time", "interrupted")


def next_steps(run: RunConfig, done: int, seconds_per_step: float) -> int:
    """How many steps to ask for: about a second's worth, one while the pace is unknown (zero); never past the next
    multiple of chunk or save_every, nor past the end."""
    ends = [run.steps + 1, done + CAPACITY]
    # Step k + 1 leaves the image that enters step k + 1; boundaries are counted in steps, hence the offset of one.
    ends += [(max(done - 1, 0) // every + 1) * every + 1 for every in (run.chunk, run.save_every) if every]
    affordable = 1 if not seconds_per_step else max(1, int(1.0 / max(seconds_per_step, 1e-6)))
    return max(1, min(min(ends) - done, affordable))


def _reason_to_stop(scale: ScaleRun, state: TransferState) -> str:
    with np.errstate(invalid="ignore"):  # losses that are not finite
        code = stop_reason(
            stop_rule(scale.run),
            entries=scale.entries,
            best=np.asarray(state.best_value),
            mark=np.float32(scale.best_before_chunk()),
            rejected=np.asarray(state.rejected),
            value=np.asarray(state.evaluation.value),
            library=np,
        )
    word = REASONS[int(code)]
    return "time" if word == "running" and scale.out_of_time() else word


class ImageRun(NamedTuple):
    """What all scales of a run of one image share, and one scale's run."""

    params: Params
    config: Config
    full: np.ndarray
    canvas: np.ndarray
    styles: list[StylePicture]
    masks: RegionMasks | None
    style_weights: Sequence[float] | None
    initial: Any
    seed: int
    optimizer: optax.GradientTransformation | None
    extra_terms: Sequence[Term]
    mesh: Mesh | None
    callback: Callback | None
    checkpoint: Checkpoint | None
    indicator: Indicator
    animation: Animation | None = None

    def begin(self, scale: ScaleRun, before: np.ndarray | None) -> tuple[Targets, TransferState]:
        """Targets and a fresh state of one scale; `before` is the result of the coarser one."""
        size, config = scale.size, at_scale(self.config, scale.index)
        content = content_at_scale(self.canvas, size)
        styles = styles_at_scale(self.styles, self.config, self.full.shape[:2], size)
        guidance = guide(self.masks, size, styles, self.config, self.extra_terms)
        self.indicator.compiling(size)
        targets = make_targets(
            self.params,
            content,
            styles,
            self.config,
            style_weights=self.style_weights,
            extra_terms=self.extra_terms,
            mesh=self.mesh,
            guidance=guidance,
        )
        image = first_image(
            self.config,
            content,
            self.styles,
            before=before,
            initial=self.initial,
            seed=self.seed,
            style_weights=self.style_weights,
            masks=self.masks,
        )
        if self.mesh is not None:
            return targets, shard_state(image, config, self.mesh, extra_terms=self.extra_terms)
        return targets, init_state(image, config, optimizer=self.optimizer, extra_terms=self.extra_terms)

    def picture(self, state: TransferState, scale: ScaleRun) -> np.ndarray:
        """The picture to show or keep, without the rows that devices were filled up with."""
        picture = crop(current_picture(state, self.config, best=scale.run.keep == "best"), scale.size[0])
        if self.masks is None or self.masks.keep is None:
            return picture
        return self.masks.hold(picture, content_at_scale(self.canvas, scale.size))

    def shown(self, state: TransferState, scale: ScaleRun) -> np.ndarray:
        """The picture in the colours that the result will have, at the size of the scale."""
        return show_colors(self.picture(state, scale), self.full, self.config.run.colors)

    def frame(self, picture: np.ndarray) -> np.ndarray:
        """What a film is shown of `shown`: at full size where the photo's colours are put on, which are finer there."""
        colors = self.config.run.colors
        at_full_size = picture.shape == self.full.shape or colors not in PUT_ON_AT_END
        return picture if at_full_size else finish(picture, self.full, colors)

    def descend(
        self, targets: Targets, state: TransferState, scale: ScaleRun, clock: dict[str, float]
    ) -> tuple[TransferState, str]:
        """Runs one scale to its end. Returns the last state, and why it ended."""
        config = at_scale(self.config, scale.index)
        begin = time.monotonic()
        go_on = functools.partial(advance, self.params, targets, config=config, optimizer=self.optimizer, in_place=True)
        # No step at all: this compiles, and so keeps compilation out of the timing of steps.
        state, _ = go_on(state, num_steps=0)
        clock["compile"] += time.monotonic() - begin
        self.indicator.doing(f"painting {scale.size[1]}×{scale.size[0]}")
        if scale.entries > scale.run.steps:  # resumed with fewer steps than were made
            return state, "steps"
        pace = 0.0
        while True:
            steps = next_steps(scale.run, scale.entries, pace)
            if self.animation is not None:
                steps = min(steps, self.animation.steps_ahead)
            begin = time.monotonic()
            state, trace = go_on(state, num_steps=steps)
            scale.record(jax.block_until_ready(trace).columns())
            pace = (time.monotonic() - begin) / steps
            reason = "interrupted" if self.indicator.interrupted else _reason_to_stop(scale, state)
            image = DeferredImage(functools.partial(self.shown, state, scale))
            snapshot = Snapshot(scale.progress(float(state.best_value)), image)
            self.indicator(snapshot)
            if self.animation is not None:
                self.animation.add(self.frame(image()))
            if self.callback is not None and asks_to_stop(self.callback(snapshot)) and reason == "running":
                reason = "callback"
            image.close()
            checkpoint = self.checkpoint
            if checkpoint is not None and (checkpoint.due() if reason == "running" else reason in _EARLY):
                checkpoint.try_save(scale.index, state, scale.trace, clock)
            if reason != "running":
                return state, reason


def run_scales(one: ImageRun, sizes: Sequence[tuple[int, int]]) -> Result:
    """All scales, from the coarsest or from the stored one on."""
    # `start` counts the time before an interruption as well, `begun` this run's alone, which `max_time` is about.
    clock = {"start": time.monotonic(), "begun": time.monotonic(), "compile": 0.0, "evaluations": 0}
    picture, scale, state, reason, fallen = None, None, None, "steps", False
    stored = None if one.checkpoint is None else one.checkpoint.load()
    if stored is not None:
        if stored.scale >= len(sizes):
            raise JnstError(f"the stored state is of scale {stored.scale + 1}, but this run has {len(sizes)}")
        fallen = stored.scale > 0
        clock |= stored.clock | {"start": clock["start"] - stored.clock["elapsed"]}
    for index in range(0 if stored is None else stored.scale, len(sizes)):
        scale = ScaleRun(one.config.run, index, sizes, clock)
        begin = time.monotonic()
        # What is begun with is replaced by a stored state.
        before = picture if stored is None else np.zeros((*scale.size, 3), np.float32)
        targets, state = jax.block_until_ready(one.begin(scale, before))
        clock["compile"] += time.monotonic() - begin
        if stored is not None:
            kept, wanted = ({*names} - {*RESERVED} for names in (stored.trace, state.evaluation.terms))
            if kept != wanted:
                theirs, ours = (", ".join(sorted(names)) for names in (kept, wanted))
                raise JnstError(f"the stored state is of a run with the terms {theirs}; this one has {ours}")
            state, scale.trace, stored = restore_state(state, stored.leaves), stored.trace, None
            if int(state.step) != scale.entries:
                raise JnstError(
                    f"the stored state is of step {int(state.step)}, but losses of {scale.entries} steps "
                    "lie beside it; pass --overwrite in place of --resume to begin anew"
                )
        with contextlib.nullcontext() if one.mesh is None else over_devices(one.mesh):
            state, reason = one.descend(targets, state, scale, clock)
        picture = one.picture(state, scale)
        fallen = fallen or has_fallen(scale.trace["total"])
        clock["evaluations"] += int(state.evaluations)
        if reason in _EARLY:
            break
    assert picture is not None
    assert scale is not None
    assert state is not None
    elapsed = time.monotonic() - clock["start"]
    return Result(
        image=finish(picture, one.full, one.config.run.colors),
        trace=scale.trace,
        best_step=int(state.best_step),
        stopped=describe_end(reason, scale.trace["total"], fallen),
        seconds={"compile": clock["compile"], "run": elapsed - clock["compile"]},
        config=one.config,
    )
