"""jaxopt's L-BFGS, with its line searches."""

import warnings
from typing import Any

import jax
import jax.numpy as jnp

from jnst.array_types import Image, Scalar
from jnst.config import OptimizerConfig
from jnst.optim.optimizer import PATIENCE, Evaluate, Evaluation, Move, Optimizer, standard_promotion


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

    def solver(evaluate: Evaluate, loss_scale: Scalar, step_scale: Scalar) -> Any:
        def scaled(point: Image) -> Any:
            evaluation = evaluate(point)
            return (loss_scale * evaluation.value, evaluation), loss_scale * evaluation.gradient

        return jaxopt.LBFGS(
            scaled,
            value_and_grad=True,
            has_aux=True,
            stepsize=(lambda _: step_scale) if fixed else 0.0,
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
        # jaxopt's own state alone: loss and gradient are carried by the loop, for every optimiser alike.
        one = jnp.float32(1)
        empty = solver(lambda x: Evaluation(jnp.float32(0), {}, jnp.zeros_like(x)), one, one)
        return _own_state(empty.init_state(point))

    def move(
        evaluate: Evaluate, point: Image, evaluation: Evaluation, opt_state: Any, loss_scale: Scalar, step_scale: Scalar
    ) -> Move:
        state = opt_state._replace(
            value=loss_scale * evaluation.value, grad=loss_scale * evaluation.gradient, aux=evaluation
        )
        before = state.num_fun_eval
        with standard_promotion():
            point, state = solver(evaluate, loss_scale, step_scale).update(point, state)
        # What jaxopt counts is what it makes: its zoom search evaluates the point that it starts from once more.
        evaluations = state.num_fun_eval - before
        gamma = jnp.where(state.gamma > 0, state.gamma, opt_state.gamma)
        state = state._replace(rho_history=jnp.maximum(state.rho_history, 0), gamma=gamma)
        return Move(point, state.aux, _own_state(state), evaluations.astype(jnp.int32))

    def accept(old: Any, new: Any, keep: jax.Array, forget: jax.Array) -> Any:
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

    return Optimizer(init, move, accept, scaled=True, growth=2.0, patience=PATIENCE if fixed else 1)


def _own_state(state: Any) -> Any:
    return state._replace(value=(), grad=(), aux=())
