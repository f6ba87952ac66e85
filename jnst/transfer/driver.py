"""Style transfer of one image: the host's loop of scales and chunks around the compiled descent."""

import contextlib
import functools
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh

from jnst.arrays import Params
from jnst.config import Config
from jnst.errors import ConfigError, ImageError
from jnst.images.resizing import finish, fit, resize, scale_sizes, to_unit
from jnst.loss.targets import make_targets
from jnst.loss.term import RESERVED, Targets, Term
from jnst.transfer.callbacks import Glance, Progress, Snapshot
from jnst.transfer.checkpoint import Checkpoint, restore_state
from jnst.transfer.initial import initial_image
from jnst.transfer.loop import CAPACITY, Trace, TransferState, advance, current_picture, init_state
from jnst.transfer.row_sharding import crop, over_devices, spread_params, spread_state
from jnst.transfer.scales import at_scale, check_size, smallest_scale, style_at_scale

# After so many moves taken back in a row there is nowhere left to go.
_MAX_REJECTED = 10


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


class _Stage:
    """The host's view of one scale: it decides how many turns to ask for and when to stop."""

    def __init__(self, config: Config, index: int, sizes: Sequence[tuple[int, int]], clock: dict[str, float]):
        self.config, self.index, self.sizes, self.clock = config, index, sizes, clock
        self.trace: dict[str, list[float]] = {"evaluation": [], "total": []}

    def next_turns(self, done: int, seconds_per_turn: float) -> int:
        """About a second's worth, never past the next multiple of chunk or save_every, nor past the end."""
        run = self.config.run
        ends = [run.steps + 1, done + CAPACITY]
        # Turn k + 1 leaves the image that enters step k + 1; boundaries are counted in steps, hence the offset of one.
        ends += [(max(done - 1, 0) // every + 1) * every + 1 for every in (run.chunk, run.save_every) if every]
        affordable = 1 if done == 0 else max(1, int(1.0 / max(seconds_per_turn, 1e-6)))
        return max(1, min(min(ends) - done, affordable))

    def record(self, trace: Trace) -> None:
        for name, values in trace.columns().items():
            self.trace.setdefault(name, []).extend(np.asarray(values).tolist())

    def reason_to_stop(self, state: TransferState) -> str | None:
        run, totals = self.config.run, self.trace["total"]
        if len(totals) >= run.steps + 1:
            return "steps"
        if int(state.rejected) >= _MAX_REJECTED or not np.isfinite(totals[0]):
            return "stuck"
        if run.max_time and time.monotonic() - self.clock["start"] >= run.max_time:
            return "time"
        steps = len(totals) - 1
        if run.tolerance and steps >= run.chunk and steps % run.chunk == 0:
            before, now = min(totals[: steps - run.chunk + 1]), min(totals)
            if before - now < run.tolerance * abs(before):
                return "tolerance"
        return None

    def progress(self, state: TransferState) -> Progress:
        last = {name: values[-1] for name, values in self.trace.items()}
        steps, step = self.config.run.steps, len(self.trace["total"]) - 1
        pixels = [height * width for height, width in self.sizes]
        done = sum(pixels[: self.index]) + pixels[self.index] * (step / steps if steps else 1.0)
        return Progress(
            step=self.index * steps + step,
            steps=len(self.sizes) * steps,
            evaluations=int(last["evaluation"]) + int(self.clock["evaluations"]),
            scale=self.index + 1,
            scales=len(self.sizes),
            size=self.sizes[self.index],
            total=last["total"],
            terms={name: value for name, value in last.items() if name not in RESERVED},
            best=float(state.best_value),
            seconds=time.monotonic() - self.clock["start"],
            compile_seconds=self.clock["compile"],
            work=done / sum(pixels),
        )


Callback = Callable[[Snapshot], Any]


def _picture(state: TransferState, stage: _Stage) -> np.ndarray:
    """The picture to show or keep, without the rows that devices were filled up with."""
    return crop(current_picture(state, stage.config, best=stage.config.run.keep == "best"), stage.sizes[stage.index][0])


def _run_stage(
    params: Params,
    targets: Targets,
    state: TransferState,
    stage: _Stage,
    callback: Callback | None,
    optimizer: optax.GradientTransformation | None,
    checkpoint: Checkpoint | None,
) -> tuple[TransferState, str]:
    config = stage.config
    begin = time.monotonic()
    go_on = functools.partial(advance, params, targets, config=config, optimizer=optimizer, in_place=True)
    # No turn at all: this compiles, and so keeps compilation out of the timing of turns.
    state, _ = go_on(state, num_steps=0)
    stage.clock["compile"] += time.monotonic() - begin
    done, pace = len(stage.trace["total"]), 0.0
    while True:
        turns = stage.next_turns(done, pace)
        begin = time.monotonic()
        state, trace = go_on(state, num_steps=turns)
        stage.record(jax.block_until_ready(trace))
        pace, done = (time.monotonic() - begin) / turns, done + turns
        reason = stage.reason_to_stop(state)
        if callback is not None:
            glance = Glance(functools.partial(_picture, state, stage))
            if callback(Snapshot(stage.progress(state), glance)) and reason is None:
                reason = "callback"
            glance.close()
        if checkpoint is not None and (checkpoint.due() if reason is None else reason in ("callback", "time")):
            checkpoint.save(stage.index, state, stage.trace, stage.clock)
        if reason is not None:
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
    full = fit(np.asarray(content), config.size)
    height, width = full.shape[:2]
    sizes = scale_sizes(height, width, config.run.scales, minimum=smallest_scale(config))
    clock = {"start": time.monotonic(), "compile": 0.0, "evaluations": 0}
    picture, stage, state, reason = None, None, None, "steps"
    stored = None if checkpoint is None else checkpoint.load()
    if stored is not None:
        clock |= stored.clock | {"start": clock["start"] - stored.clock["elapsed"]}
    for index, size in enumerate(sizes):
        if stored is not None and index < stored.scale:
            continue
        shrunk = to_unit(full) if size == (height, width) else resize(to_unit(full), *size, "pillow-lanczos")
        painted = [style_at_scale(one, config, (height, width), size) for one in styles]
        check_size(size, config, "content")
        for one in painted:
            check_size(one.shape[:2], config, "style")
        begin = time.monotonic()
        targets = make_targets(
            params, shrunk, painted, config, style_weights=style_weights, extra_terms=extra_terms, mesh=mesh
        )
        jax.block_until_ready(targets)
        clock["compile"] += time.monotonic() - begin
        if stored is not None:
            picture = np.zeros((*size, 3), np.float32)  # replaced by the stored state
        elif picture is not None:
            picture = resize(picture, *size, "pillow-bicubic")
        elif initial is not None:
            picture = to_unit(resize(np.asarray(initial), *size, config.size.kernel))
        else:
            stretched = resize(np.asarray(styles[0]), *size, config.size.kernel)
            picture = initial_image(
                jax.random.key(seed),
                jnp.asarray(shrunk),
                jnp.asarray(to_unit(stretched)),
                config.init,
                noise=config.noise,
                variable=config.variable,
                network_input=config.network_input,
            )
        if mesh is None:
            state = init_state(
                jnp.asarray(picture), at_scale(config, index), optimizer=optimizer, extra_terms=extra_terms
            )
        else:
            state = spread_state(picture, at_scale(config, index), mesh, extra_terms=extra_terms)
        stage = _Stage(at_scale(config, index), index, sizes, clock)
        if stored is not None:
            state, stage.trace, stored = restore_state(state, stored.leaves), stored.trace, None
        with contextlib.nullcontext() if mesh is None else over_devices(mesh):
            state, reason = _run_stage(params, targets, state, stage, callback, optimizer, checkpoint)
        picture = _picture(state, stage)
        clock["evaluations"] += int(state.evaluations)
        if reason in ("callback", "time"):
            break
    assert picture is not None
    assert stage is not None
    assert state is not None
    elapsed = time.monotonic() - clock["start"]
    return Result(
        image=finish(picture, full, config.run.colors),
        trace=stage.trace,
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
