"""The optimisation of one image as one compiled loop of steps: move, evaluate, keep or take back."""

import functools
import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jnst.arguments import check_config, check_kind, check_mapping, check_whole
from jnst.arrays import Image, LossTerms, Params, Scalar
from jnst.config import LEAD_FALLS, Config, PixelSpace, compile_key, require
from jnst.images.pixel_space import as_unit, decode, encode
from jnst.loss.builtin import TERMS
from jnst.loss.guidance import hold
from jnst.loss.objective import evaluate, weigh
from jnst.loss.term import Targets, Term
from jnst.loss.tiled import evaluate_tiled
from jnst.optim.kinds import make_optimizer
from jnst.optim.optimizers import Evaluation, Optimizer
from jnst.optim.preconditioner import Basis, analyze, make_basis, make_circular_basis, synthesize
from jnst.vgg.convolution import cast_kernels
from jnst.vgg.valid_region import Extent

# Steps that one call of the compiled loop can record; longer runs call it again.
CAPACITY = 256


class TransferState(NamedTuple):
    """What the loop carries.

    point: what the optimiser moves: the image in variable space, or weighted cosine coefficients relative to `start`.
    start, basis: only where the config preconditions by frequency.
    evaluation: loss and gradient at `point`; a fresh state has none yet.
    memory: the optimiser's own state.
    scale: power of two that the optimiser's view of the loss is multiplied by.
    shrink: at most one; a quarter of what it was whenever a move is taken back.
    rejected: moves taken back in a row.
    turn: steps of the loop made; the first one evaluates the initial image without moving, so that image k enters
        step k.
    evaluations: evaluations of the loss, line searches included.
    best_point, best_value, best_turn: the best so far.
    """

    point: Image
    start: Image | None
    basis: Basis | None
    evaluation: Evaluation
    memory: Any
    scale: Scalar
    shrink: Scalar
    rejected: jax.Array
    turn: jax.Array
    evaluations: jax.Array
    best_point: Image
    best_value: Scalar
    best_turn: jax.Array


class Trace(NamedTuple):
    """What the reader is told, one entry per step: evaluations so far, weighted total, unweighted terms by name.

    Entry k is the loss of the image that enters step k, for every optimiser; entry 0 is the initial image.
    """

    evaluation: jax.Array
    total: jax.Array
    terms: LossTerms

    def columns(self) -> dict[str, Any]:
        """All of it by name, the terms beside "evaluation" and "total"."""
        return {"evaluation": self.evaluation, "total": self.total, **self.terms}


def empty_trace(shape: int | tuple[int, ...], names: Iterable[str]) -> Trace:
    """A trace of zeros for terms of those names: entries, or batch elements × entries."""
    zeros = jnp.zeros(shape, jnp.float32)
    return Trace(jnp.zeros(shape, jnp.int32), zeros, {name: zeros for name in names})


def trace_entry(state: TransferState) -> Trace:
    """What the trace holds of a state."""
    return Trace(state.evaluations, state.evaluation.value, state.evaluation.terms)


def to_image(point: Image, start: Image | None, basis: Basis | None) -> Image:
    """The image in variable space that an optimiser's point stands for."""
    return point if start is None or basis is None else start + synthesize(point, basis)


def make_descent_optimizer(config: Config, transformation: optax.GradientTransformation | None) -> Optimizer:
    """The config's optimiser in its variable space, clipping included; or the optax transformation instead."""
    black, white = (encode(jnp.full((1, 1, 3), level, jnp.float32), config.variable) for level in (0, 1))

    def project(image: Image) -> Image:
        return jnp.clip(image, black, white) if config.optimizer.clip else image

    return make_optimizer(config.optimizer, project, transformation)


def init_state(
    image: Image | np.ndarray,
    config: Config,
    *,
    extent: Extent | None = None,
    optimizer: optax.GradientTransformation | None = None,
    extra_terms: Sequence[Term] = (),
) -> TransferState:
    """A fresh state that begins with an image.

    Args:
        image: RGB in [0, 1], height × width × 3.
        config: of the run.
        extent: the true part of a padded image.
        optimizer: an optax gradient transformation to use in place of the config's optimiser.
        extra_terms: those that the targets were made for.
    """
    check_config(config)
    names = tuple(term.name for term in (*TERMS, *extra_terms))
    return _init_state(as_unit(image), extent, config=compile_key(config), optimizer=optimizer, names=names)


@functools.partial(jax.jit, static_argnames=("config", "optimizer", "names"))
def _init_state(
    image: Image,
    extent: Extent | None,
    *,
    config: Config,
    optimizer: optax.GradientTransformation | None,
    names: tuple[str, ...],
) -> TransferState:
    point, start, basis = encode(image, config.variable), None, None
    if config.optimizer.frequency_exponent:
        size, exponent, start = None if extent is None else extent.size, config.optimizer.frequency_exponent, point
        shape = (point.shape[0], point.shape[1])
        circular = config.network.padding == "circular"
        basis = make_circular_basis(shape, exponent) if circular else make_basis(shape, exponent, size=size)
        point = jnp.zeros_like(point)
    unknown = jnp.float32(jnp.inf)
    evaluation = Evaluation(unknown, {name: unknown for name in names}, jnp.zeros_like(point))
    memory = make_descent_optimizer(config, optimizer).init(point)
    one, zero = jnp.float32(1), jnp.int32(0)
    state = TransferState(
        point, start, basis, evaluation, memory, one, one, zero, zero, zero, point, jnp.float32(jnp.inf), zero
    )
    return _unshare(state)


def _unshare(state: TransferState) -> TransferState:
    """The state with an array of its own for every entry, so that it can be advanced in place."""
    seen: set[int] = set()

    def own(array: jax.Array) -> jax.Array:
        if id(array) in seen:
            return jnp.array(array)
        seen.add(id(array))
        return array

    return jax.tree.map(own, state)


def _first_scale(
    gradient: Image, state: TransferState, extent: Extent | None, config: Config, failures: jax.Array
) -> Scalar:
    """The power of two for which a step along −gradient changes a pixel by `first_step` of the range on average.

    A quarter of that for every time that it was too far.
    """
    change = gradient if state.basis is None else synthesize(gradient, state.basis)
    height, width = change.shape[:2] if extent is None else extent.size
    count = jnp.asarray(height * width * change.shape[2]).astype(jnp.float32)
    spread = config.variable.scale / float(np.mean(config.variable.std))
    wanted = config.optimizer.first_step * spread * count / jnp.sum(jnp.abs(change))
    usable = jnp.isfinite(wanted) & (wanted > 0)
    # ldexp is exact; exp2 is not.
    exponent = jnp.round(jnp.log2(jnp.where(usable, wanted, 1))).astype(jnp.int32) - 2 * failures
    power = jnp.ldexp(jnp.float32(1), exponent)
    return jnp.where(usable, power, 1.0)


def _led(targets: Targets, turn: jax.Array, lead: float) -> Targets:
    """The targets with the content weight that this step descends on."""
    half, whole = LEAD_FALLS
    factor = jnp.where(turn < half, lead, jnp.where(turn < whole, math.sqrt(lead), 1.0))
    return targets._replace(weights={**targets.weights, "content": factor * targets.weights["content"]})


def turn(params: Params, targets: Targets, state: TransferState, config: Config, optimizer: Optimizer) -> TransferState:
    """One move and its evaluation; taken back where the loss is not finite or has grown beyond the limit.

    With a content lead the gradient is that of the weights led by, and the value told is that of the config's. On the
    way from the content image the style terms, stiff, are met first and at the content's expense, which then comes
    back slowly, along shallow directions; held back at first, content is met from below. Where the lead falls, a step
    evaluates anew without moving.
    """
    start, basis, lead = state.start, state.basis, config.optimizer.content_lead
    led = _led(targets, state.turn, lead) if lead > 1 else targets

    def descended(evaluation: Evaluation) -> Scalar:
        return weigh(evaluation.terms, led.weights) if lead > 1 else evaluation.value

    def evaluate_point(point: Image) -> Evaluation:
        compute = evaluate_tiled if config.tile else evaluate
        (value, terms), gradient = compute(params, hold(to_image(point, start, basis), targets.kept), led, config)
        gradient = gradient if targets.kept is None else (1 - targets.kept.mask) * gradient
        value = weigh(terms, targets.weights) if lead > 1 else value
        return Evaluation(value, terms, gradient if basis is None else analyze(gradient, basis))

    reach = state.shrink
    if lead > 1:
        outdated = functools.reduce(jnp.logical_or, [state.turn == falls for falls in LEAD_FALLS])
        reach = jnp.where(outdated, 0, reach)
    move = optimizer.move(evaluate_point, state.point, state.evaluation, state.memory, state.scale, reach)
    # A fresh state has a zero gradient, so its first move stays where it is and only evaluates.
    fresh = state.turn == 0
    new = move.evaluation
    accept = jnp.isfinite(new.value) & jnp.all(jnp.isfinite(new.gradient))
    if math.isfinite(optimizer.growth):
        accept &= fresh | (descended(new) <= optimizer.growth * descended(state.evaluation))
    evaluation = jax.tree.map(lambda a, b: jnp.where(accept, a, b), new, state.evaluation)
    rejected = jnp.where(accept, 0, state.rejected + 1)
    # A fresh state has nothing to remember: its first pair would be of the initial image with itself.
    forget = fresh | ((rejected >= optimizer.patience) & (optimizer.patience > 0))
    shrink = jnp.where(accept, state.shrink, 0.25 * state.shrink)
    scale = state.scale
    if optimizer.scaled:
        shrink = jnp.where(accept | forget, 1.0, shrink)
        scale = jax.lax.cond(
            forget,
            lambda: _first_scale(
                evaluation.gradient, state, targets.extent, config, jnp.maximum(rejected - optimizer.patience, 0)
            ),
            lambda: state.scale,
        )
    better = accept & (new.value < state.best_value)
    return TransferState(
        point=jnp.where(accept, move.point, state.point),
        start=start,
        basis=basis,
        evaluation=evaluation,
        memory=optimizer.settle(state.memory, move.memory, accept, forget),
        scale=scale,
        shrink=shrink,
        rejected=rejected,
        turn=state.turn + 1,
        evaluations=state.evaluations + move.evaluations,
        best_point=jnp.where(better, move.point, state.best_point),
        best_value=jnp.where(better, new.value, state.best_value),
        best_turn=jnp.where(better, state.turn, state.best_turn),
    )


def _loop(
    params: Params,
    targets: Targets,
    state: TransferState,
    num_steps: jax.Array,
    *,
    config: Config,
    optimizer: optax.GradientTransformation | None,
    capacity: int,
) -> tuple[TransferState, Trace]:
    chosen, params = make_descent_optimizer(config, optimizer), cast_kernels(params, config.precision)
    trace = empty_trace(capacity, state.evaluation.terms)

    def body(index: jax.Array, carry: tuple[TransferState, Trace]) -> tuple[TransferState, Trace]:
        state, trace = carry
        state = turn(params, targets, state, config, chosen)
        return state, jax.tree.map(lambda values, value: values.at[index].set(value), trace, trace_entry(state))

    return jax.lax.fori_loop(0, num_steps, body, (state, trace))


_advance = jax.jit(_loop, static_argnames=("config", "optimizer", "capacity"))
# The same, in the state's own memory.
_advance_in_place = jax.jit(_loop, static_argnames=("config", "optimizer", "capacity"), donate_argnames=("state",))


def advance(
    params: Params,
    targets: Targets,
    state: TransferState,
    config: Config,
    *,
    num_steps: int,
    optimizer: optax.GradientTransformation | None = None,
    in_place: bool = False,
) -> tuple[TransferState, Trace]:
    """`num_steps` steps in one compiled loop, compiled once per image size whatever `num_steps` is.

    The first step of a fresh state evaluates the initial image without moving it, so that entry k of the trace is
    always the loss of the image that enters step k.

    Args:
        params: from `prepare_params`.
        targets: from `make_targets`.
        state: from `init_state`, or from an earlier call.
        config: static; weights, steps and sizes in it do not cause a recompilation (weights are read from `targets`).
        num_steps: steps; with zero the loop is compiled and nothing is run.
        optimizer: an optax gradient transformation to use in place of the config's optimiser.
        in_place: the new state takes over the old one's memory, and the old one must not be used again.

    Returns:
        The new state and the trace, each of its fields with `num_steps` entries.

    Raises:
        ConfigError: for a negative number of steps, or a state that was begun with other terms than the targets.
    """
    check_mapping(params)
    check_config(config)
    check_kind("targets", targets, Targets, "what jnst.make_targets returns")
    check_kind("state", state, TransferState, "what jnst.init_state or an earlier jnst.advance returns")
    num_steps = check_whole("number of steps", num_steps)
    require(num_steps >= 0, f"number of steps is {num_steps}; expected zero or more")
    ours, theirs = (", ".join(sorted(names)) for names in (state.evaluation.terms, targets.weights))
    require(ours == theirs, f"the state was begun with the terms {ours}, the targets have {theirs}; give both the same")
    traces: list[Trace] = []
    while True:
        count = min(num_steps, CAPACITY)
        state, trace = (_advance_in_place if in_place else _advance)(
            params,
            targets,
            state,
            jnp.int32(count),
            config=compile_key(config),
            optimizer=optimizer,
            capacity=CAPACITY,
        )
        traces.append(jax.tree.map(lambda values, count=count: values[:count], trace))
        num_steps -= count
        if num_steps <= 0:
            return state, jax.tree.map(lambda *parts: jnp.concatenate(parts), *traces)


@functools.partial(jax.jit, static_argnames=("variable",))
def to_picture(point: Image, start: Image | None, basis: Basis | None, *, variable: PixelSpace) -> Image:
    """The picture that an optimiser's point stands for: RGB, clipped to [0, 1], height × width × 3."""
    return jnp.clip(decode(to_image(point, start, basis), variable), 0.0, 1.0)


def current_picture(state: TransferState, config: Config, *, best: bool) -> np.ndarray:
    """The picture that the state stands for, on the host: RGB, clipped to [0, 1], height × width × 3."""
    point = state.best_point if best else state.point
    return np.array(to_picture(point, state.start, state.basis, variable=config.variable))
