"""Style transfer of one image: the host's loop of scales and chunks around the compiled descent."""

import contextlib
import functools
import math
import os
import time
import warnings
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
import optax
from jax.sharding import Mesh

from jnst.arguments import check_callback, check_config, check_mapping
from jnst.arrays import Params
from jnst.config import Config, RunConfig, check_seed, to_dict
from jnst.errors import ConfigError, JnstError
from jnst.images.display import show, to_pil
from jnst.images.inputs import StylePicture, as_picture, as_pixels, as_styles, visible_pixels
from jnst.images.resizing import finish
from jnst.images.transparency import fit_alpha
from jnst.images.writing import write_image
from jnst.loss.targets import make_targets
from jnst.loss.term import Targets, Term
from jnst.runtime import cache_compiled
from jnst.transfer.animation import Animation, make_animation
from jnst.transfer.callbacks import DeferredImage, Silent, Snapshot
from jnst.transfer.checkpoint import Checkpoint, restore_state
from jnst.transfer.colors import canvas_of, prepare_styles
from jnst.transfer.display import card, outcome_line, settings_line
from jnst.transfer.guiding import check_regions, guide
from jnst.transfer.indicator import Indicator, make_indicator
from jnst.transfer.loop import CAPACITY, TransferState, advance, current_picture, init_state
from jnst.transfer.regions import Region, RegionMasks, choose_styles, mask_styles, prepare_regions
from jnst.transfer.row_sharding import crop, over_devices, spread_params, spread_state
from jnst.transfer.scale_run import ScaleRun
from jnst.transfer.scales import at_scale, content_at_scale, first_image, prepare_content, styles_at_scale
from jnst.transfer.stopping import REASONS, stop_reason, stop_rule


class Result(NamedTuple):
    """A finished run.

    image: RGB in [0, 1], clipped, height × width × 3, float32.
    trace: lists of equal length, as in `Trace`; of the full-size run where there were several scales.
    best_step: the step that `image` entered, where the best is kept.
    stopped: "steps", "tolerance", "time", "callback", "interrupted" or "stuck"; "no step" where the time ran out before
        the first step, "no descent" where the loss never fell below that of the initial picture.
    seconds: "compile" and "run".
    config: what it was made with, where that is known.
    alpha: opacity in [0, 1], height × width, float32; None where the content picture has none.
    """

    image: np.ndarray
    trace: dict[str, list[float]]
    best_step: int
    stopped: str
    seconds: dict[str, float]
    config: Config | None = None
    alpha: np.ndarray | None = None

    def __repr__(self) -> str:
        return f"Result({outcome_line(self.image, self.trace, self.stopped, self.seconds)})"

    def _repr_html_(self) -> str:
        settings = [] if self.config is None else [settings_line(self.config)]
        lines = [*settings, outcome_line(self.image, self.trace, self.stopped, self.seconds)]
        return card(self.image, lines, self.trace.get("total", ()))

    def to_pil(self) -> Any:
        """The picture as Pillow's image, 8 bits a channel."""
        return to_pil(self.image)

    def show(self) -> None:
        """Shows the picture: below the cell of a notebook, else in the system's viewer."""
        show(self.image)

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Writes the picture by the path's suffix, with config and outcome inside (`jnst stylize --config` reads it).

        Raises:
            ImageError: for an unknown suffix, a file that exists without `overwrite`, or a place that is not writable.
        """
        record = {"stopped": self.stopped, "best_step": self.best_step, "seconds": self.seconds}
        if self.config is not None:
            record["config"] = to_dict(self.config)
        rounding = "round" if self.config is None else self.config.run.rounding
        write_image(path, self.image, alpha=self.alpha, metadata=record, rounding=rounding, overwrite=overwrite)


Callback = Callable[[Snapshot], Any]
# Reasons that end the whole run, not one scale of it; the state is kept.
_EARLY = ("callback", "time", "interrupted")


def next_turns(run: RunConfig, done: int, seconds_per_turn: float) -> int:
    """How many steps to ask for: about a second's worth, one while the pace is unknown (zero); never past the next
    multiple of chunk or save_every, nor past the end."""
    ends = [run.steps + 1, done + CAPACITY]
    # Step k + 1 leaves the image that enters step k + 1; boundaries are counted in steps, hence the offset of one.
    ends += [(max(done - 1, 0) // every + 1) * every + 1 for every in (run.chunk, run.save_every) if every]
    affordable = 1 if not seconds_per_turn else max(1, int(1.0 / max(seconds_per_turn, 1e-6)))
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
            self.config, content, self.styles[0].pixels, before=before, initial=self.initial, seed=self.seed
        )
        if self.mesh is not None:
            return targets, spread_state(image, config, self.mesh, extra_terms=self.extra_terms)
        return targets, init_state(image, config, optimizer=self.optimizer, extra_terms=self.extra_terms)

    def picture(self, state: TransferState, scale: ScaleRun) -> np.ndarray:
        """The picture to show or keep, without the rows that devices were filled up with."""
        picture = crop(current_picture(state, self.config, best=scale.run.keep == "best"), scale.size[0])
        if self.masks is None or self.masks.keep is None:
            return picture
        return self.masks.hold(picture, content_at_scale(self.canvas, scale.size))

    def coloured(self, picture: np.ndarray) -> np.ndarray:
        """The picture in the colours that the result will have; of any size where those are the picture's own."""
        colors = self.config.run.colors
        return picture if colors in ("style", "match") else finish(picture, self.full, colors)

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
        if scale.turns > scale.run.steps:  # resumed with fewer steps than were made
            return state, "steps"
        pace = 0.0
        while True:
            turns = next_turns(scale.run, scale.turns, pace)
            if self.animation is not None:
                turns = min(turns, self.animation.steps_ahead)
            begin = time.monotonic()
            state, trace = go_on(state, num_steps=turns)
            scale.record(jax.block_until_ready(trace).columns())
            pace = (time.monotonic() - begin) / turns
            reason = "interrupted" if self.indicator.interrupted else _reason_to_stop(scale, state)
            image = DeferredImage(functools.partial(self.picture, state, scale))
            snapshot = Snapshot(scale.progress(float(state.best_value)), image)
            self.indicator(snapshot)
            if self.animation is not None:
                self.animation.add(self.coloured(image()))
            if self.callback is not None and self.callback(snapshot) and reason == "running":
                reason = "callback"
            image.close()
            checkpoint = self.checkpoint
            if checkpoint is not None and (checkpoint.due() if reason == "running" else reason in _EARLY):
                checkpoint.try_save(scale.index, state, scale.trace, clock)
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
    progress: bool | Silent | None = None,
    animate: str | os.PathLike[str] | Animation | None = None,
    regions: Sequence[Region] | None = None,
    keep: Any = None,
) -> Result:
    """The content image repainted in the style of the style image (Gatys, Ecker, Bethge 2016).

    Args:
        params: from `prepare_params` or `load_params`.
        content: height × width × 3, RGB; uint8, uint16, or floating point in [0, 1]. Resized by `config.size`. Or a
            path, Pillow's image, or what `read_image` returned; of these `config.color_profile` says whether the colour
            profile is applied, and hidden pixels are replaced by what is visible around them.
        style: the same, of any size; or a list of several, whose Gram matrices are averaged; None where there are
            regions, which bring their own. What is hidden in one is left out of its Gram matrices.
        config: a preset or a variant of one.
        seed: of the random initial image.
        callback: called with a `Snapshot` about once a second; the run stops when it returns something true.
        style_weights: one per style image where there are several.
        initial: an image to begin with, instead of what `config.init` says; brought to working size.
        optimizer: an optax gradient transformation in place of the config's optimiser.
        checkpoint: where the state is kept from time to time, and whether to go on from it.
        mesh: devices to divide the image's rows among (`jnst.row_mesh`), for one image larger
            than a device; without an optimiser of one's own.
        extra_terms: terms of the loss beside the package's own (`jnst.Term`); they appear in the trace and the
            progress under their names.
        progress: whether to show a bar, and in a notebook the picture as it grows; by default in notebooks and
            terminals. Or a printer of records of one's own.
        animate: a film of the run: a path that ends in .mp4, .gif or .webp, written at the end; or a
            `jnst.Animation`, which is then there to be written. The callback is called more often then.
        regions: parts of the content image, each with a style of its own (`jnst.Region`); what none of them covers is
            moved by the content term alone.
        keep: mask of what stays the content image, height × width, white where it does.

    Ctrl-C, or a notebook's stop button, ends the run with the best picture so far; a second one raises
    KeyboardInterrupt at once. Compiled programs are kept on disk from run to run, unless JAX has been given another
    place for them (`jax_compilation_cache_dir`) or was told to keep none (`jax_enable_compilation_cache`).

    Returns:
        The picture, the trace of the losses, and why the run ended.

    Raises:
        ConfigError: where an image is too small for the deepest layer, or weights and styles do not match.
            Regions and a style, or a region that covers nothing at a layer.
        ImageError: where an image is not RGB, holds numbers that are no colours, or cannot be read, or a mask is none,
            or a film cannot be written.
        JnstError: for a film in MP4 where imageio-ffmpeg is not installed.

    >>> import jnst, numpy as np
    >>> params, config = jnst.load_preset("default", steps=2, size=32)
    >>> rng = np.random.default_rng(0)
    >>> content, style = rng.random((32, 48, 3)), rng.random((40, 40, 3))
    >>> jnst.stylize(params, content, style, config).image.shape
    (21, 32, 3)
    """
    check_mapping(params)
    check_config(config)
    check_callback(callback)
    cache_compiled()
    styles, seed = choose_styles(style, regions, style_weights), check_seed(seed)
    with make_indicator(progress) as indicator:
        indicator.doing("preparing the pictures")
        if mesh is not None:
            if optimizer is not None:
                raise ConfigError("an image divided among devices cannot be given an optimiser of its own")
            if config.network.padding == "circular":
                raise ConfigError(
                    "an image divided among devices cannot tile; use one device, and tiles to save memory"
                )
            params = spread_params(params, mesh)
        picture = as_picture(content, "content", color_profile=config.color_profile)
        pixels, styles = visible_pixels(picture), as_styles(styles, color_profile=config.color_profile)
        if initial is not None:
            initial = as_pixels(initial, "initial", color_profile=config.color_profile)
        masks = prepare_regions(pixels, styles, regions, keep)
        full, sizes = prepare_content(pixels, config)
        check_regions(masks, sizes, config, extra_terms)
        for text in () if masks is None else masks.notes:
            indicator.note(text)
        styles = prepare_styles(mask_styles(styles, masks), full, config.run.colors, masks)
        canvas = canvas_of(full, config.run.colors)
        animation = make_animation(animate, (full.shape[0], full.shape[1]))
        shared = (optimizer, extra_terms, mesh, callback, checkpoint, indicator, animation)
        one = _Single(params, config, full, canvas, styles, masks, style_weights, initial, seed, *shared)
        result = _run(one, sizes)
        if animation is not None:
            animation.add(result.image)
            if animation is not animate:
                _write_film(animation)
    height, width = result.image.shape[:2]
    return result._replace(alpha=fit_alpha(picture.alpha, height, width))


def _write_film(animation: Animation) -> None:
    """Writes the film; one that cannot be written after all does not cost the result."""
    try:
        animation.write()
    except JnstError as error:
        warnings.warn(f"the film was not written: {error}", stacklevel=3)


def _run(one: _Single, sizes: Sequence[tuple[int, int]]) -> Result:
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
            state, scale.trace, stored = restore_state(state, stored.leaves), stored.trace, None
            if int(state.turn) != scale.turns:
                raise JnstError(
                    f"the stored state is of turn {int(state.turn)}, but losses of {scale.turns} turns "
                    "lie beside it; leave out --resume to begin anew"
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
        best_step=int(state.best_turn),
        stopped=describe_end(reason, scale.trace["total"], fallen),
        seconds={"compile": clock["compile"], "run": elapsed - clock["compile"]},
        config=one.config,
    )


def has_fallen(totals: Sequence[float]) -> bool:
    """Whether the loss was ever below its first value."""
    return len(totals) > 1 and min(totals[1:]) < totals[0]


def describe_end(reason: str, totals: Sequence[float], fallen: bool) -> str:
    """`Result.stopped` for the reason that ended the loop, the losses of the last scale, and whether any scale's fell.

    >>> describe_end("time", [3.0], False), describe_end("steps", [3.0, 4.0], False)
    ('no step', 'no descent')
    """
    if reason == "time" and len(totals) == 1 and not fallen:
        return "no step"
    if reason in ("steps", "tolerance") and len(totals) > 1 and not fallen and math.isfinite(totals[0]):
        return "no descent"
    return reason
