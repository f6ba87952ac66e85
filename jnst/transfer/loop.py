"""The optimisation of one image as one compiled loop of steps: move, evaluate, keep or take back."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jnst.argument_checks import check_config, check_kind, check_mapping, check_whole
from jnst.array_types import Image, Params, Scalar
from jnst.config import LEAD_FALLS, Config, compile_key
from jnst.config_fields import require
from jnst.devices import check_platform
from jnst.loss.guidance import hold
from jnst.loss.objective import evaluate, weigh
from jnst.loss.term import Targets
from jnst.loss.tiled import evaluate_tiled
from jnst.optim.optimizer import Evaluation, Optimizer
from jnst.optim.preconditioner import analyze, synthesize
from jnst.programs.program import Program
from jnst.transfer.state import Trace, TransferState, empty_trace, make_descent_optimizer, to_image, trace_entry
from jnst.vgg.convolution import cast_kernels
from jnst.vgg.extent import Extent

# Steps that one call of the compiled loop can record; longer runs call it again.
CAPACITY = 256


def _first_loss_scale(
    gradient: Image, state: TransferState, extent: Extent | None, config: Config, failures: jax.Array
) -> Scalar:
    """The power of two for which a step along −gradient changes a pixel by `first_step` of the range on average.

    A quarter of that for every time that it was too far.
    """
    # σ = 2^⌊log₂(first_step · range · n / Σ |Δ|)⌉ for the change Δ = −g of the pixels, n values: then mean |σ Δ| is
    # first_step of the range, up to a factor of √2.
    change = gradient if state.basis is None else synthesize(gradient, state.basis)
    height, width = change.shape[:2] if extent is None else extent.size
    count = jnp.asarray(height * width * change.shape[2]).astype(jnp.float32)
    black_to_white = config.variable.scale / float(np.mean(config.variable.std))
    wanted = config.optimizer.first_step * black_to_white * count / jnp.sum(jnp.abs(change))
    usable = jnp.isfinite(wanted) & (wanted > 0)
    # ldexp is exact; exp2 is not.
    exponent = jnp.round(jnp.log2(jnp.where(usable, wanted, 1))).astype(jnp.int32) - 2 * failures
    power = jnp.ldexp(jnp.float32(1), exponent)
    return jnp.where(usable, power, 1.0)


def _led(targets: Targets, step: jax.Array, lead: float) -> Targets:
    """The targets with the content weight that this step descends on."""
    half, whole = LEAD_FALLS
    factor = jnp.where(step < half, lead, jnp.where(step < whole, math.sqrt(lead), 1.0))
    return targets._replace(weights={**targets.weights, "content": factor * targets.weights["content"]})


def take_step(
    params: Params, targets: Targets, state: TransferState, config: Config, optimizer: Optimizer
) -> TransferState:
    """One move and its evaluation; taken back where the loss is not finite or has grown beyond the limit.

    With `content_lead` above one the gradient uses a larger content weight for the first 200 steps; the reported loss
    always uses the config's weights. The reason: the style terms are stiff, so that L-BFGS lowers them first and
    overshoots the content term, which then recovers slowly, along directions of small curvature. At the steps where the
    lead falls, the loop evaluates again without moving.

    Args:
        params: from `prepare_params`.
        targets: from `make_targets`.
        state: before the step.
        config: static; a `compile_key` where compiled programs are to be shared.
        optimizer: from `make_descent_optimizer`.

    Returns:
        The state after the step.
    """
    start, basis, lead = state.start, state.basis, config.optimizer.content_lead
    led = _led(targets, state.step, lead) if lead > 1 else targets

    def descended(evaluation: Evaluation) -> Scalar:
        return weigh(evaluation.terms, led.weights) if lead > 1 else evaluation.value

    def evaluate_point(point: Image) -> Evaluation:
        compute = evaluate_tiled if config.tile else evaluate
        (value, terms), gradient = compute(params, hold(to_image(point, start, basis), targets.kept), led, config)
        gradient = gradient if targets.kept is None else (1 - targets.kept.mask) * gradient
        value = weigh(terms, targets.weights) if lead > 1 else value
        return Evaluation(value, terms, gradient if basis is None else analyze(gradient, basis))

    step_scale = state.step_scale
    if lead > 1:
        outdated = functools.reduce(jnp.logical_or, [state.step == falls for falls in LEAD_FALLS])
        step_scale = jnp.where(outdated, 0, step_scale)
    move = optimizer.move(evaluate_point, state.point, state.evaluation, state.opt_state, state.loss_scale, step_scale)
    # A fresh state has a zero gradient, so its first move stays where it is and only evaluates.
    fresh = state.step == 0
    new = move.evaluation
    accepted = jnp.isfinite(new.value) & jnp.all(jnp.isfinite(new.gradient))
    # f(x⁺) ≤ growth · f(x).
    if math.isfinite(optimizer.growth):
        accepted &= fresh | (descended(new) <= optimizer.growth * descended(state.evaluation))
    evaluation = jax.tree.map(lambda a, b: jnp.where(accepted, a, b), new, state.evaluation)
    rejected = jnp.where(accepted, 0, state.rejected + 1)
    # A fresh state has nothing to remember: its first pair would be of the initial image with itself.
    forget = fresh | ((rejected >= optimizer.patience) & (optimizer.patience > 0))
    step_scale = jnp.where(accepted, state.step_scale, 0.25 * state.step_scale)
    loss_scale = state.loss_scale
    if optimizer.scaled:
        step_scale = jnp.where(accepted | forget, 1.0, step_scale)
        loss_scale = jax.lax.cond(
            forget,
            lambda: _first_loss_scale(
                evaluation.gradient, state, targets.extent, config, jnp.maximum(rejected - optimizer.patience, 0)
            ),
            lambda: state.loss_scale,
        )
    better = accepted & (new.value < state.best_value)
    return TransferState(
        point=jnp.where(accepted, move.point, state.point),
        start=start,
        basis=basis,
        evaluation=evaluation,
        opt_state=optimizer.accept(state.opt_state, move.opt_state, accepted, forget),
        loss_scale=loss_scale,
        step_scale=step_scale,
        rejected=rejected,
        step=state.step + 1,
        evaluations=state.evaluations + move.evaluations,
        best_point=jnp.where(better, move.point, state.best_point),
        best_value=jnp.where(better, new.value, state.best_value),
        best_step=jnp.where(better, state.step, state.best_step),
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
        state = take_step(params, targets, state, config, chosen)
        return state, jax.tree.map(lambda values, value: values.at[index].set(value), trace, trace_entry(state))

    return jax.lax.fori_loop(0, num_steps, body, (state, trace))


_advance = Program(_loop, static=("config", "optimizer", "capacity"))
# The same, in the state's own memory.
_advance_in_place = Program(_loop, static=("config", "optimizer", "capacity"), donate=("state",))


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
    check_platform()
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
