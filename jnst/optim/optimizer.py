"""What an optimiser is: pure functions of one form.

An optimiser moves a point and evaluates the loss there, once per move unless it searches along a line. It never decides
whether a move was good: the transfer loop does, and then has its state kept or emptied (`accept`).
"""

import contextlib
from collections.abc import Callable
from typing import Any, NamedTuple

import jax

from jnst.array_types import Image, LossTerms, Scalar


class Evaluation(NamedTuple):
    """The loss at a point: weighted value, unweighted terms, gradient with respect to the point."""

    value: Scalar
    terms: LossTerms
    gradient: Image


class Move(NamedTuple):
    """Where a move led, the loss there, the optimiser's new state, and how many evaluations that took."""

    point: Image
    evaluation: Evaluation
    opt_state: Any
    evaluations: jax.Array


Evaluate = Callable[[Image], Evaluation]


class Optimizer(NamedTuple):
    """Pure functions of one optimiser.

    init(point) -> opt_state
    move(evaluate, point, evaluation, opt_state, loss_scale, step_scale) -> Move. The optimiser is shown loss and
        gradient multiplied by `loss_scale` (a power of two, so nothing is lost); `step_scale` is at most one and
        shortens the step, but for that of a line search, which finds its own.
    accept(old opt_state, new opt_state, keep, forget) -> opt_state: the new one, or, where the move is not kept, one
        fit to go on from the old point; an empty one where all is to be forgotten.
    scaled: whether `loss_scale` matters (L-BFGS) or the original's constants rely on the true loss (Adam's epsilon).
    growth: a move that multiplies the loss by more than this is taken back.
    patience: moves taken back in a row after which its state is emptied; zero never.
    """

    init: Callable[[Image], Any]
    move: Callable[[Evaluate, Image, Evaluation, Any, Scalar, Scalar], Move]
    accept: Callable[[Any, Any, jax.Array, jax.Array], Any]
    scaled: bool
    growth: float
    patience: int


# A fixed step that went too far is tried again at a quarter, and again, before L-BFGS starts again along the gradient.
PATIENCE = 3


def standard_promotion() -> contextlib.AbstractContextManager[Any]:
    """optax and jaxopt mix whole numbers with floating point, which strict promotion refuses."""
    return jax.numpy_dtype_promotion("standard")
