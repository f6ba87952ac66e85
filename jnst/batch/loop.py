"""Many images in one compiled loop: every element of a batch has its own optimiser state, best image and stop flag.

What is written here for one image becomes many by `vmap`, and many devices by `shard_map` around it. The weights of the
network are shared: under `vmap` over weights a convolution becomes a grouped one, which is slow.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from jnst.array_types import Gram, Image, LossWeights, Params, Scalar
from jnst.config import Config
from jnst.devices import map_over_images
from jnst.loss.guidance import Guidance
from jnst.loss.targets import content_targets
from jnst.loss.term import Targets, Term
from jnst.programs.program import kept_program
from jnst.transfer.loop import CAPACITY, take_step
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
from jnst.vgg.convolution import cast_kernels
from jnst.vgg.extent import Extent


class Element(NamedTuple):
    """One image of a batch. `mark` is the best loss at the end of the last chunk, `reason` why the element stopped."""

    state: TransferState
    mark: Scalar
    reason: jax.Array


class Problem(NamedTuple):
    """What an element begins with.

    content, initial: RGB in [0, 1], padded to the size that the batch shares.
    grams, weights: of the targets; grams for each region where there are some.
    extent: the true part of a padded image; None where nothing is padded.
    used: false for an element that only fills the batch up.
    guidance: regions of the content image, padded as it is; None where there are none.
    """

    content: Image
    initial: Image
    grams: dict[str, Gram] | tuple[dict[str, Gram], ...]
    weights: LossWeights
    extent: Extent | None
    used: jax.Array
    guidance: Guidance | None = None


def _begin(params: Params, problem: Problem, config: Config, extra_terms: tuple[Term, ...]) -> tuple[Targets, Element]:
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
    return targets, Element(state, jnp.float32(jnp.inf), jnp.where(problem.used, jnp.int32(RUNNING), jnp.int32(UNUSED)))


@kept_program(static=("config", "extra_terms", "mesh"))
def begin_batch(
    params: Params,
    problems: Problem,
    *,
    config: Config,
    extra_terms: tuple[Term, ...] = (),
    mesh: Mesh | None = None,
) -> tuple[Targets, Element]:
    """Targets and fresh states. Every array of `problems`, and of the result, has a leading axis of elements.

    Args:
        params: from `prepare_params`.
        problems: what each batch element begins with.
        config: a `compile_key`.
        extra_terms: from `jnst.loss.targets.compiled_terms`.
        mesh: devices that the batch is divided among; their number must divide that of its elements.
    """

    def block(params: Params, problems: Problem) -> tuple[Targets, Element]:
        return jax.vmap(lambda problem: _begin(params, problem, config, extra_terms))(problems)

    return map_over_images(block, mesh, shared=1)(params, problems)


def _keep_or_stop(element: Element, new: TransferState, rule: StopRule) -> Element:
    """Decides after a step whether the element goes on; one that had stopped keeps what it had."""
    running = element.reason == RUNNING
    # The optimiser's state is the largest part of the state, and an element that stopped needs it no more.
    kept = jax.tree.map(
        lambda a, b: jnp.where(running, a, b), new._replace(opt_state=()), element.state._replace(opt_state=())
    )._replace(opt_state=new.opt_state)
    reason = stop_reason(
        rule,
        entries=kept.step,
        best=kept.best_value,
        mark=element.mark,
        rejected=kept.rejected,
        value=kept.evaluation.value,
    )
    mark = jnp.where((kept.step - 1) % rule.chunk == 0, kept.best_value, element.mark)
    return Element(kept, mark, jnp.where(running, reason, element.reason))


def _advance_block(
    params: Params,
    rule: StopRule,
    count: jax.Array,
    targets: Targets,
    elements: Element,
    *,
    config: Config,
) -> tuple[Element, Trace]:
    """The loop over steps for the elements of one device; it ends early when all of them have stopped."""
    chosen, params = make_descent_optimizer(config, None), cast_kernels(params, config.precision)

    def one(targets: Targets, element: Element) -> Element:
        return _keep_or_stop(element, take_step(params, targets, element.state, config, chosen), rule)

    def goes_on(carry: tuple[jax.Array, Element, Trace]) -> jax.Array:
        return (carry[0] < count) & jnp.any(carry[1].reason == RUNNING)

    def body(carry: tuple[jax.Array, Element, Trace]) -> tuple[jax.Array, Element, Trace]:
        index, elements, trace = carry
        elements = jax.vmap(one)(targets, elements)
        entry = trace_entry(elements.state)
        trace = jax.tree.map(lambda values, value: values.at[:, index].set(value), trace, entry)
        return index + 1, elements, trace

    trace = empty_trace((elements.reason.shape[0], CAPACITY), elements.state.evaluation.terms)
    _, elements, trace = jax.lax.while_loop(goes_on, body, (jnp.int32(0), elements, trace))
    return elements, trace


@kept_program(static=("config", "mesh"), donate=("elements",))
def advance_batch(
    params: Params,
    rule: StopRule,
    count: jax.Array,
    targets: Targets,
    elements: Element,
    *,
    config: Config,
    mesh: Mesh | None = None,
) -> tuple[Element, Trace]:
    """Up to `count` steps of every element that is still running; `elements` is used up (its memory is donated).

    Args:
        params: from `prepare_params`.
        rule: when an element is done.
        count: at most CAPACITY.
        targets: from `begin_batch`, and so are the first `elements`.
        config: a `compile_key`.
        mesh: devices that the batch is divided among; their number must divide that of its elements.

    Returns:
        The elements, and for each the trace of these steps (elements × CAPACITY). An element that stopped along the
        way has entries only for the steps that it made.
    """
    block = functools.partial(_advance_block, config=config)
    return map_over_images(block, mesh, shared=3)(params, rule, count, targets, elements)


@kept_program(static=("config", "best"))
def batch_pictures(elements: Element, *, config: Config, best: bool) -> Image:
    """The pictures that the elements stand for: elements × height × width × 3, RGB, clipped to [0, 1], still padded."""

    def one(state: TransferState) -> Image:
        point = state.best_point if best else state.point
        return to_picture(point, state.start, state.basis, variable=config.variable)

    return jax.vmap(one)(elements.state)


def stack(items: list[Any]) -> Any:
    """One tree with a leading axis from many trees."""
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *items)
