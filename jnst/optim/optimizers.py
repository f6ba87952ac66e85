"""Optimisers as pure functions of one form; optax and jaxopt are used here and in `kinds` alone.

An optimiser moves a point and evaluates the loss there, once per move unless it searches along a line. It never decides
whether a move was good: the transfer loop does, and then tells it to keep or forget (`settle`).
"""

import contextlib
import math
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jnst.arrays import Image, LossTerms, Scalar
from jnst.config import OptimizerConfig
from jnst.optim.lbfgs_memory import Pairs, apply_inverse, no_pairs, remember, settle_pairs


class Evaluation(NamedTuple):
    """The loss at a point: weighted value, unweighted terms, gradient with respect to the point."""

    value: Scalar
    terms: LossTerms
    gradient: Image


class Move(NamedTuple):
    """Where a move led, the loss there, the optimiser's new memory, and how many evaluations that took."""

    point: Image
    evaluation: Evaluation
    memory: Any
    evaluations: jax.Array


Evaluate = Callable[[Image], Evaluation]


class Optimizer(NamedTuple):
    """Pure functions of one optimiser.

    init(point) -> memory
    move(evaluate, point, evaluation, memory, scale, shrink) -> Move. The optimiser is shown loss and gradient
        multiplied by `scale` (a power of two, so nothing is lost); `shrink` is at most one and shortens the step,
        but for that of a line search, which finds its own.
    settle(old memory, new memory, keep, forget) -> memory: the new one, or, where the move is not kept, one fit to go
        on from the old point; an empty one where all is to be forgotten.
    scaled: whether `scale` matters (L-BFGS) or the original's constants rely on the true loss (Adam's epsilon).
    growth: a move that multiplies the loss by more than this is taken back.
    patience: moves taken back in a row after which the memory is forgotten; zero never.
    """

    init: Callable[[Image], Any]
    move: Callable[[Evaluate, Image, Evaluation, Any, Scalar, Scalar], Move]
    settle: Callable[[Any, Any, jax.Array, jax.Array], Any]
    scaled: bool
    growth: float
    patience: int


# A fixed step that went too far is tried again at a quarter, and again, before L-BFGS begins anew along the gradient.
_PATIENCE = 3


def _guest_rules() -> contextlib.AbstractContextManager[Any]:
    """optax and jaxopt mix whole numbers with floating point, which strict promotion refuses."""
    return jax.numpy_dtype_promotion("standard")


def _where(condition: jax.Array, yes: Any, no: Any) -> Any:
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), yes, no)


def _one_minus_power(beta: float, count: jax.Array) -> jax.Array:
    """1 − βᵗ to float32's last digit: subtracting from one loses four digits while βᵗ is near it (β₂ = 0.999)."""
    return -jnp.expm1(count * jnp.float32(math.log(beta))) if beta > 0 else jnp.ones_like(count)


def scale_by_adam(
    beta1: float, beta2: float, epsilon: float, *, epsilon_hat: bool = False
) -> optax.GradientTransformation:
    """Adam (Kingma and Ba 2014, arXiv 1412.6980): optax's moments, the bias corrections to the last digit.

    optax subtracts βᵗ from one in float32, which makes the first steps wrong by 3·10⁻⁵; PyTorch computes the
    corrections in double precision.

    Args:
        beta1: β₁, decay of the mean gradient m.
        beta2: β₂, decay of the mean squared gradient v.
        epsilon: guard in the divisor.
        epsilon_hat: whether it is added before bias correction, √(1 − β₂ᵗ) / (1 − β₁ᵗ) · m / (√v + ε), the remark to
            section 2 and the order of TensorFlow and Keras; by default after it, as Algorithm 1 and PyTorch do.
    """
    base = optax.scale_by_adam(beta1, beta2)

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        with _guest_rules():
            _, state = base.update(updates, state, params)
        count = state.count.astype(jnp.float32)
        mean, root = _one_minus_power(beta1, count), jnp.sqrt(_one_minus_power(beta2, count))

        def step(m: jax.Array, v: jax.Array) -> jax.Array:
            if epsilon_hat:
                return root / mean * m / (jnp.sqrt(v) + epsilon)
            return m / mean / (jnp.sqrt(v) / root + epsilon)

        return jax.tree.map(step, state.mu, state.nu), state

    return optax.GradientTransformation(base.init, update)


def optax_optimizer(transformation: optax.GradientTransformation, project: Callable[[Image], Image]) -> Optimizer:
    """Any optax gradient transformation; `project` is applied to the point after every step."""
    # Some transformations (line searches, plateaus, Polyak's step) want the loss as well.
    extended = optax.with_extra_args_support(transformation)

    def move(
        evaluate: Evaluate, point: Image, evaluation: Evaluation, memory: Any, scale: Scalar, shrink: Scalar
    ) -> Move:
        value, gradient = scale * evaluation.value, scale * evaluation.gradient
        with _guest_rules():
            update, memory = extended.update(
                gradient, memory, point, value=value, grad=gradient, value_fn=_differentiable(evaluate, scale)
            )
        update = jnp.where(jnp.any(gradient != 0), shrink * jnp.asarray(update).astype(point.dtype), 0)
        point = project(point + update)
        searched = optax.tree.get(memory, "num_linesearch_steps", 0)
        return Move(point, evaluate(point), memory, jnp.int32(1) + jnp.asarray(searched, jnp.int32))

    def settle(old: Any, new: Any, keep: jax.Array, forget: jax.Array) -> Any:
        return _where(keep & ~forget, new, old)

    return Optimizer(transformation.init, move, settle, scaled=False, growth=float("inf"), patience=0)


def jaxopt_lbfgs(config: OptimizerConfig) -> Optimizer:
    """jaxopt's L-BFGS (Nocedal and Wright 2006, algorithm 7.5), with a line search or a fixed step of one.

    With a fixed step every move costs one evaluation, and the steps are those of `fixed_step_lbfgs`. Curvature
    pairs with sᵀy ≤ 0 are left out.
    """
    # jaxopt is imported late: it costs start-up time that Adam need not pay. It warns that it is retired; nothing else
    # depends on it.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        import jaxopt

    fixed = config.line_search == "none"

    def solver(evaluate: Evaluate, scale: Scalar, shrink: Scalar) -> Any:
        def scaled(point: Image) -> Any:
            evaluation = evaluate(point)
            return (scale * evaluation.value, evaluation), scale * evaluation.gradient

        return jaxopt.LBFGS(
            scaled,
            value_and_grad=True,
            has_aux=True,
            stepsize=(lambda _: shrink) if fixed else 0.0,
            linesearch="zoom" if fixed else config.line_search,
            linesearch_init="max",
            history_size=config.history,
            tol=0.0,
            implicit_diff=False,
            # "auto" would turn the line search into a scan of full length.
            unroll=False,
            jit=True,
        )

    def init(point: Image) -> Any:
        # The memory alone: loss and gradient are carried by the loop, for every optimiser alike.
        one = jnp.float32(1)
        empty = solver(lambda x: Evaluation(jnp.float32(0), {}, jnp.zeros_like(x)), one, one)
        return _memory(empty.init_state(point))

    def move(
        evaluate: Evaluate, point: Image, evaluation: Evaluation, memory: Any, scale: Scalar, shrink: Scalar
    ) -> Move:
        state = memory._replace(value=scale * evaluation.value, grad=scale * evaluation.gradient, aux=evaluation)
        before = state.num_fun_eval
        with _guest_rules():
            point, state = solver(evaluate, scale, shrink).update(point, state)
        # What jaxopt counts is what it makes: its zoom search evaluates the point that it starts from once more.
        evaluations = state.num_fun_eval - before
        gamma = jnp.where(state.gamma > 0, state.gamma, memory.gamma)
        state = state._replace(rho_history=jnp.maximum(state.rho_history, 0), gamma=gamma)
        return Move(point, state.aux, _memory(state), evaluations.astype(jnp.int32))

    def settle(old: Any, new: Any, keep: jax.Array, forget: jax.Array) -> Any:
        # Forgetting is setting the pairs' weights to zero. Only the slot just written can hold a number that is not
        # finite, so only that slot is emptied, and the history, which is large, is never copied.
        slot = old.iter_num % config.history

        def clear(history: jax.Array) -> jax.Array:
            return history.at[slot].set(jnp.where(keep, history[slot], 0))

        def choose(new: Any, old: Any, empty: Any) -> jax.Array:
            return jnp.where(forget, empty, jnp.where(keep, new, old))

        return new._replace(
            s_history=clear(new.s_history),
            y_history=clear(new.y_history),
            rho_history=choose(new.rho_history, old.rho_history.at[slot].set(0), 0),
            gamma=choose(new.gamma, old.gamma, 1),
            iter_num=choose(new.iter_num, old.iter_num, 0),
            stepsize=choose(new.stepsize, old.stepsize, 1),
            error=choose(new.error, old.error, jnp.inf),
        )

    return Optimizer(init, move, settle, scaled=True, growth=2.0, patience=_PATIENCE if fixed else 1)


def _memory(state: Any) -> Any:
    return state._replace(value=(), grad=(), aux=())


def fixed_step_lbfgs(config: OptimizerConfig) -> Optimizer:
    """The steps that `jaxopt_lbfgs` takes without a line search, one evaluation each, in a fraction of its time.

    100 pairs cost a quarter of what they cost there, where half of the history is copied at every move.
    """

    def move(
        evaluate: Evaluate, point: Image, evaluation: Evaluation, memory: Pairs, scale: Scalar, shrink: Scalar
    ) -> Move:
        direction, memory = apply_inverse(memory, scale * evaluation.gradient)
        new_point = point - shrink * direction
        new = evaluate(new_point)
        memory = remember(memory, new_point - point, scale * (new.gradient - evaluation.gradient))
        return Move(new_point, new, memory, jnp.int32(1))

    return Optimizer(
        lambda point: no_pairs(point, config.history, config.history_precision),
        move,
        settle_pairs,
        scaled=True,
        growth=2.0,
        patience=_PATIENCE,
    )


def optax_lbfgs(config: OptimizerConfig) -> Optimizer:
    """optax's L-BFGS, as a second opinion: fixed step, or its zoom line search at the price of one evaluation more."""
    fixed = config.line_search == "none"
    transformation = optax.lbfgs(
        learning_rate=1.0 if fixed else None,
        memory_size=config.history,
        scale_init_precond=True,
        linesearch=None if fixed else optax.scale_by_zoom_linesearch(20, initial_guess_strategy="one"),
    )

    def move(
        evaluate: Evaluate, point: Image, evaluation: Evaluation, memory: Any, scale: Scalar, shrink: Scalar
    ) -> Move:
        value, gradient = scale * evaluation.value, scale * evaluation.gradient
        with _guest_rules():
            update, memory = transformation.update(
                gradient, memory, point, value=value, grad=gradient, value_fn=_differentiable(evaluate, scale)
            )
        update = jnp.asarray(update).astype(point.dtype)
        point = point + (shrink * update if fixed else update)
        searched = jnp.int32(0) if fixed else optax.tree.get(memory, "num_linesearch_steps")
        return Move(point, evaluate(point), memory, jnp.int32(1) + jnp.asarray(searched, jnp.int32))

    def settle(old: Any, new: Any, keep: jax.Array, forget: jax.Array) -> Any:
        return _where(forget, jax.tree.map(jnp.zeros_like, old), _where(keep, new, old))

    return Optimizer(transformation.init, move, settle, scaled=True, growth=2.0, patience=_PATIENCE if fixed else 1)


def _differentiable(evaluate: Evaluate, scale: Scalar) -> Callable[[Image], Scalar]:
    """The scaled loss as a function that `jax.grad` differentiates by means of the gradient that comes with it."""

    @jax.custom_vjp
    def loss(point: Image) -> Scalar:
        return scale * evaluate(point).value

    def forward(point: Image) -> tuple[Scalar, Image]:
        evaluation = evaluate(point)
        return scale * evaluation.value, scale * evaluation.gradient

    def backward(gradient: Image, cotangent: Scalar) -> tuple[Image]:
        return (cotangent * gradient,)

    loss.defvjp(forward, backward)
    return loss
