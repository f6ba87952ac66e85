"""Many images at once: every element of a batch, here called a lane, has its own optimiser state, best image and stop
flag.

What is written here for one image becomes many by `vmap`, and many devices by `shard_map` around it. The weights of the
network are shared: under `vmap` over weights a convolution becomes a grouped one, which is slow.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from jnst.arrays import Gram, Image, LossWeights, Params, Scalar
from jnst.config import Config
from jnst.devices import spread
from jnst.loss.guidance import Guidance
from jnst.loss.targets import content_targets
from jnst.loss.term import Targets, Term
from jnst.transfer.loop import CAPACITY, turn
from jnst.transfer.state import (
    Trace,
    TransferState,
    empty_trace,
    init_state,
    make_descent_optimizer,
    to_picture,
    trace_entry,
)
from jnst.transfer.stopping import RUNNING, UNUSED, StopRule, stop_reason
from jnst.vgg.valid_region import Extent


class Lane(NamedTuple):
    """One image of a batch. `mark` is the best loss at the end of the last chunk, `reason` why the lane stopped."""

    state: TransferState
    mark: Scalar
    reason: jax.Array


class Problem(NamedTuple):
    """What a lane begins with.

    content, initial: RGB in [0, 1], padded to the size that the batch shares.
    grams, weights: of the targets; grams for each region where there are some.
    extent: the true part of a padded image; None where nothing is padded.
    used: false for a lane that only fills the batch up.
    guidance: regions of the content image, padded as it is; None where there are none.
    """

    content: Image
    initial: Image
    grams: dict[str, Gram] | tuple[dict[str, Gram], ...]
    weights: LossWeights
    extent: Extent | None
    used: jax.Array
    guidance: Guidance | None = None


def _begin(params: Params, problem: Problem, config: Config, extra_terms: tuple[Term, ...]) -> tuple[Targets, Lane]:
    targets = content_targets(
        params,
        problem.content,
        problem.grams,
        problem.extent,
        problem.guidance,
        config=config,
        extra_terms=extra_terms,
    )
    targets = targets._replace(weights=problem.weights)
    state = init_state(problem.initial, config, extent=problem.extent, extra_terms=extra_terms)
    return targets, Lane(state, jnp.float32(jnp.inf), jnp.where(problem.used, jnp.int32(RUNNING), jnp.int32(UNUSED)))


@functools.partial(jax.jit, static_argnames=("config", "extra_terms", "mesh"))
def begin_lanes(
    params: Params,
    problems: Problem,
    *,
    config: Config,
    extra_terms: tuple[Term, ...] = (),
    mesh: Mesh | None = None,
) -> tuple[Targets, Lane]:
    """Targets and fresh states. Every array of `problems`, and of the result, has a leading axis of lanes.

    Args:
        params: from `prepare_params`.
        problems: what each batch element begins with.
        config: a `compile_key`.
        extra_terms: from `jnst.loss.targets.compiled_terms`.
        mesh: devices that the batch is divided among; their number must divide that of its elements.
    """

    def block(params: Params, problems: Problem) -> tuple[Targets, Lane]:
        return jax.vmap(lambda problem: _begin(params, problem, config, extra_terms))(problems)

    return spread(block, mesh, shared=1)(params, problems)


def _settle(lane: Lane, new: TransferState, rule: StopRule) -> Lane:
    """Decides after a step whether the lane goes on; one that had stopped keeps what it had."""
    running = lane.reason == RUNNING
    # The optimiser's memory is the largest part of the state, and a lane that stopped needs it no more.
    kept = jax.tree.map(
        lambda a, b: jnp.where(running, a, b), new._replace(memory=()), lane.state._replace(memory=())
    )._replace(memory=new.memory)
    reason = stop_reason(
        rule,
        turns=kept.turn,
        best=kept.best_value,
        mark=lane.mark,
        rejected=kept.rejected,
        value=kept.evaluation.value,
    )
    mark = jnp.where((kept.turn - 1) % rule.chunk == 0, kept.best_value, lane.mark)
    return Lane(kept, mark, jnp.where(running, reason, lane.reason))


def _advance_block(
    params: Params,
    rule: StopRule,
    count: jax.Array,
    targets: Targets,
    lanes: Lane,
    *,
    config: Config,
) -> tuple[Lane, Trace]:
    """The loop over steps for the lanes of one device; it ends early when all of them have stopped."""
    chosen = make_descent_optimizer(config, None)

    def one(targets: Targets, lane: Lane) -> Lane:
        return _settle(lane, turn(params, targets, lane.state, config, chosen), rule)

    def goes_on(carry: tuple[jax.Array, Lane, Trace]) -> jax.Array:
        return (carry[0] < count) & jnp.any(carry[1].reason == RUNNING)

    def body(carry: tuple[jax.Array, Lane, Trace]) -> tuple[jax.Array, Lane, Trace]:
        index, lanes, trace = carry
        lanes = jax.vmap(one)(targets, lanes)
        entry = trace_entry(lanes.state)
        trace = jax.tree.map(lambda values, value: values.at[:, index].set(value), trace, entry)
        return index + 1, lanes, trace

    trace = empty_trace((lanes.reason.shape[0], CAPACITY), lanes.state.evaluation.terms)
    _, lanes, trace = jax.lax.while_loop(goes_on, body, (jnp.int32(0), lanes, trace))
    return lanes, trace


@functools.partial(jax.jit, static_argnames=("config", "mesh"), donate_argnames=("lanes",))
def advance_lanes(
    params: Params,
    rule: StopRule,
    count: jax.Array,
    targets: Targets,
    lanes: Lane,
    *,
    config: Config,
    mesh: Mesh | None = None,
) -> tuple[Lane, Trace]:
    """Up to `count` steps of every lane that is still running; `lanes` is used up (its memory is donated).

    Args:
        params: from `prepare_params`.
        rule: when a lane is done.
        count: at most CAPACITY.
        targets: from `begin_lanes`, and so are the first `lanes`.
        config: a `compile_key`.
        mesh: devices that the lanes are divided among; their number must divide that of the lanes.

    Returns:
        The lanes, and for each the trace of these steps (lanes × CAPACITY). A lane that stopped along the way has
        entries only for the steps that it made.
    """
    block = functools.partial(_advance_block, config=config)
    return spread(block, mesh, shared=3)(params, rule, count, targets, lanes)


@functools.partial(jax.jit, static_argnames=("config", "best"))
def lane_pictures(lanes: Lane, *, config: Config, best: bool) -> Image:
    """The pictures that the lanes stand for: lanes × height × width × 3, RGB, clipped to [0, 1], still padded."""

    def one(state: TransferState) -> Image:
        point = state.best_point if best else state.point
        return to_picture(point, state.start, state.basis, variable=config.variable)

    return jax.vmap(one)(lanes.state)


def stack(items: list[Any]) -> Any:
    """One tree with a leading axis from many trees."""
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *items)
