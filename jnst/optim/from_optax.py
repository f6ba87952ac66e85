"""optax's optimisers in our form: any gradient transformation, and its L-BFGS."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from jnst.array_types import Image, Scalar
from jnst.config import OptimizerConfig
from jnst.optim.optimizer import PATIENCE, Evaluate, Evaluation, Move, Optimizer, standard_promotion


def _where(condition: jax.Array, yes: Any, no: Any) -> Any:
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), yes, no)


def optax_optimizer(transformation: optax.GradientTransformation, project: Callable[[Image], Image]) -> Optimizer:
    """Any optax gradient transformation; `project` is applied to the point after every step."""

    def accept(old: Any, new: Any, keep: jax.Array, forget: jax.Array) -> Any:
        return _where(keep & ~forget, new, old)

    move = _make_move(transformation, project, shortened=True)
    return Optimizer(transformation.init, move, accept, scaled=False, growth=float("inf"), patience=0)


def optax_lbfgs(config: OptimizerConfig) -> Optimizer:
    """optax's L-BFGS, as a second opinion: fixed step, or its zoom line search at the price of one evaluation more."""
    fixed = config.line_search == "none"
    transformation = optax.lbfgs(
        learning_rate=1.0 if fixed else None,
        memory_size=config.history,
        scale_init_precond=True,
        linesearch=None if fixed else optax.scale_by_zoom_linesearch(20, initial_guess_strategy="one"),
    )

    def accept(old: Any, new: Any, keep: jax.Array, forget: jax.Array) -> Any:
        return _where(forget, jax.tree.map(jnp.zeros_like, old), _where(keep, new, old))

    move = _make_move(transformation, lambda point: point, shortened=fixed)
    return Optimizer(transformation.init, move, accept, scaled=True, growth=2.0, patience=PATIENCE if fixed else 1)


def _make_move(
    transformation: optax.GradientTransformation, project: Callable[[Image], Image], *, shortened: bool
) -> Callable[..., Move]:
    """The move of a transformation; `shortened` says whether `step_scale` matters, as a line search finds its own."""
    # Some transformations (line searches, plateaus, Polyak's step) want the loss as well.
    extended = optax.with_extra_args_support(transformation)

    def move(
        evaluate: Evaluate, point: Image, evaluation: Evaluation, opt_state: Any, loss_scale: Scalar, step_scale: Scalar
    ) -> Move:
        value, gradient = loss_scale * evaluation.value, loss_scale * evaluation.gradient
        with standard_promotion():
            update, opt_state = extended.update(
                gradient, opt_state, point, value=value, grad=gradient, value_fn=_differentiable(evaluate, loss_scale)
            )
        update = jnp.where(jnp.any(gradient != 0), jnp.asarray(update).astype(point.dtype), 0)
        point = project(point + (step_scale * update if shortened else update))
        searched = optax.tree.get(opt_state, "num_linesearch_steps", 0)
        return Move(point, evaluate(point), opt_state, jnp.int32(1) + jnp.asarray(searched, jnp.int32))

    return move


def _differentiable(evaluate: Evaluate, loss_scale: Scalar) -> Callable[[Image], Scalar]:
    """The scaled loss as a function that `jax.grad` differentiates by means of the gradient that comes with it."""

    @jax.custom_vjp
    def loss(point: Image) -> Scalar:
        return loss_scale * evaluate(point).value

    def forward(point: Image) -> tuple[Scalar, Image]:
        evaluation = evaluate(point)
        return loss_scale * evaluation.value, loss_scale * evaluation.gradient

    def backward(gradient: Image, cotangent: Scalar) -> tuple[Image]:
        return (cotangent * gradient,)

    loss.defvjp(forward, backward)
    return loss
