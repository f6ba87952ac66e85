"""Style transfer of one image: the host's loop of scales and chunks around the compiled descent."""

import contextlib
import functools
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
import optax
from jax.sharding import Mesh

from jnst.arrays import Params
from jnst.config import Config, RunConfig
from jnst.errors import ConfigError, ImageError
from jnst.images.resizing import finish
from jnst.loss.targets import make_targets
from jnst.loss.term import Targets, Term
from jnst.transfer.callbacks import DeferredImage, Snapshot
from jnst.transfer.checkpoint import Checkpoint, restore_state
from jnst.transfer.loop import CAPACITY, TransferState, advance, current_picture, init_state
from jnst.transfer.row_sharding import crop, over_devices, spread_params, spread_state
from jnst.transfer.scale_run import ScaleRun
from jnst.transfer.scales import at_scale, content_at_scale, first_image, prepare_content, styles_at_scale
from jnst.transfer.stopping import REASONS, stop_reason, stop_rule


class Result(NamedTuple):
    """A finished run.

    image: RGB in [0, 1], clipped, height × width × 3, float32.
    trace: lists of equal length, as in `Trace`; of the full-size run where there were several scales.
    best_step: the step that `image` entered, where the best is kept.
    stopped: "steps", "tolerance", "time", "callback" or "stuck".
    seconds: "compile" and "run".
    """

    image: np.ndarray
    trace: dict[str, list[float]]
    best_step: int
    stopped: str
    seconds: dict[str, float]


Callback = Callable[[Snapshot], Any]


def next_turns(run: RunConfig, done: int, seconds_per_turn: float) -> int:
    """How many steps to ask for: about a second's worth, never past the next multiple of chunk or save_every, nor past
    the end."""
    ends = [run.steps + 1, done + CAPACITY]
    # Step k + 1 leaves the image that enters step k + 1; boundaries are counted in steps, hence the offset of one.
    ends += [(max(done - 1, 0) // every + 1) * every + 1 for every in (run.chunk, run.save_every) if every]
    affordable = 1 if done == 0 else max(1, int(1.0 / max(seconds_per_turn, 1e-6)))
    return max(1, min(min(ends) - done, affordable))


def _reason_to_stop(scale: ScaleRun, state: TransferState) -> str:
    code = stop_reason(
        stop_rule(scale.run),
        turns=scale.turns,
        best=state.best_value,
        mark=scale.best_before_chunk(),
        rejected=state.rejected,
        value=state.evaluation.value,
    )
    word = REASONS[int(code)]
    return "time" if word == "running" and scale.out_of_time() else word


class _Single(NamedTuple):
    """What all scales of a run of one image share."""

    params: Params
    config: Config
    full: np.ndarray
    styles: list[Any]
    style_weights: Sequence[float] | None
    initial: Any
    seed: int
    optimizer: optax.GradientTransformation | None
    extra_terms: Sequence[Term]
    mesh: Mesh | None
    callback: Callback | None
    checkpoint: Checkpoint | None

    def begin(self, scale: ScaleRun, before: np.ndarray | None) -> tuple[Targets, TransferState]:
        """Targets and a fresh state of one scale; `before` is the result of the coarser one."""
        size, config = scale.size, at_scale(self.config, scale.index)
        content = content_at_scale(self.full, size)
        styles = styles_at_scale(self.styles, self.config, self.full.shape[:2], size)
        targets = make_targets(
            self.params,
            content,
            styles,
            self.config,
            style_weights=self.style_weights,
            extra_terms=self.extra_terms,
            mesh=self.mesh,
        )
        image = first_image(self.config, content, self.styles[0], before=before, initial=self.initial, seed=self.seed)
        if self.mesh is not None:
            return targets, spread_state(image, config, self.mesh, extra_terms=self.extra_terms)
        return targets, init_state(image, config, optimizer=self.optimizer, extra_terms=self.extra_terms)

    def picture(self, state: TransferState, scale: ScaleRun) -> np.ndarray:
        """The picture to show or keep, without the rows that devices were filled up with."""
        return crop(current_picture(state, self.config, best=scale.run.keep == "best"), scale.size[0])

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
        pace = 0.0
        while True:
            turns = next_turns(scale.run, scale.turns, pace)
            begin = time.monotonic()
            state, trace = go_on(state, num_steps=turns)
            scale.record(jax.block_until_ready(trace).columns())
            pace = (time.monotonic() - begin) / turns
            reason = _reason_to_stop(scale, state)
            if self.callback is not None:
                image = DeferredImage(functools.partial(self.picture, state, scale))
                if self.callback(Snapshot(scale.progress(float(state.best_value)), image)) and reason == "running":
                    reason = "callback"
                image.close()
            checkpoint = self.checkpoint
            if checkpoint is not None and (checkpoint.due() if reason == "running" else reason in ("callback", "time")):
                checkpoint.save(scale.index, state, scale.trace, clock)
            if reason != "running":
                return state, reason


def stylize(
    params: Params,
    content: Any,
    style: Any,
    config: Config,
    *,
    seed: int = 0,
    callback: Callback | None = None,
    style_weights: Sequence[float] | None = None,
    initial: Any = None,
    optimizer: optax.GradientTransformation | None = None,
    checkpoint: Checkpoint | None = None,
    mesh: Mesh | None = None,
    extra_terms: Sequence[Term] = (),
) -> Result:
    """The content image repainted in the style of the style image (Gatys, Ecker, Bethge 2016).

    Args:
        params: from `prepare_params` or `load_params`.
        content: height × width × 3, RGB; uint8, uint16, or floating point in [0, 1]. Resized by `config.size`.
        style: the same, of any size; or a list of several, whose Gram matrices are averaged.
        config: a preset or a variant of one.
        seed: of the random initial image.
        callback: called with a `Snapshot` about once a second; the run stops when it returns something true.
        style_weights: one per style image where there are several.
        initial: an image to begin with, instead of what `config.init` says; brought to working size.
        optimizer: an optax gradient transformation in place of the config's optimiser.
        checkpoint: where the state is kept from time to time, and whether to go on from it.
        mesh: devices to divide the image's rows among (`jnst.transfer.row_sharding.row_mesh`), for one image larger
            than a device; without an optimiser of one's own.
        extra_terms: terms of the loss beside the package's own (`jnst.Term`); they appear in the trace and the
            progress under their names.

    Returns:
        The picture, the trace of the losses, and why the run ended.

    Raises:
        ConfigError: where an image is too small for the deepest layer, or weights and styles do not match.
        ImageError: where an image is not RGB, or holds numbers that are no colours.

    >>> import jnst, numpy as np
    >>> params, config = jnst.load_preset("pocket", weights="pocket", steps=2, size=32)
    >>> rng = np.random.default_rng(0)
    >>> content, style = rng.random((32, 48, 3)), rng.random((40, 40, 3))
    >>> jnst.stylize(params, content, style, config).image.shape
    (21, 32, 3)
    """
    styles = list(style) if isinstance(style, list | tuple) else [style]
    if mesh is not None:
        if optimizer is not None:
            raise ConfigError("an image divided among devices cannot be given an optimiser of its own")
        params = spread_params(params, mesh)
    for kind, image in (("content", content), *(("style", one) for one in styles), ("initial", initial)):
        if image is not None:
            _check_picture(np.asarray(image), kind)
    full, sizes = prepare_content(content, config)
    one = _Single(
        params, config, full, styles, style_weights, initial, seed, optimizer, extra_terms, mesh, callback, checkpoint
    )
    return _run(one, sizes)


def _run(one: _Single, sizes: Sequence[tuple[int, int]]) -> Result:
    """All scales, from the coarsest or from the stored one on."""
    clock = {"start": time.monotonic(), "compile": 0.0, "evaluations": 0}
    stored = None if one.checkpoint is None else one.checkpoint.load()
    if stored is not None:
        clock |= stored.clock | {"start": clock["start"] - stored.clock["elapsed"]}
    picture, scale, state, reason = None, None, None, "steps"
    for index in range(0 if stored is None else stored.scale, len(sizes)):
        scale = ScaleRun(one.config.run, index, sizes, clock)
        begin = time.monotonic()
        # What is begun with is replaced by a stored state.
        before = picture if stored is None else np.zeros((*scale.size, 3), np.float32)
        targets, state = jax.block_until_ready(one.begin(scale, before))
        clock["compile"] += time.monotonic() - begin
        if stored is not None:
            state, scale.trace, stored = restore_state(state, stored.leaves), stored.trace, None
        with contextlib.nullcontext() if one.mesh is None else over_devices(one.mesh):
            state, reason = one.descend(targets, state, scale, clock)
        picture = one.picture(state, scale)
        clock["evaluations"] += int(state.evaluations)
        if reason in ("callback", "time"):
            break
    assert picture is not None
    assert scale is not None
    assert state is not None
    elapsed = time.monotonic() - clock["start"]
    return Result(
        image=finish(picture, one.full, one.config.run.colors),
        trace=scale.trace,
        best_step=int(state.best_turn),
        stopped=reason,
        seconds={"compile": clock["compile"], "run": elapsed - clock["compile"]},
    )


def _check_picture(image: np.ndarray, kind: str) -> None:
    if image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
        raise ImageError(f"the {kind} image has shape {image.shape}; expected height × width × 3, RGB")
    if np.issubdtype(image.dtype, np.floating):
        low, high = image.min(), image.max()
        # Kernels overshoot a little; 255 or NaN is something else.
        if not (low >= -1 and high <= 2):
            raise ImageError(
                f"the {kind} image holds numbers from {low:g} to {high:g}; expected [0, 1] in floating point, or uint8"
            )
