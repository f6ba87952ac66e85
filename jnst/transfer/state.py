"""What the compiled loop carries, how it begins, what it tells, and the picture that it stands for."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jnst.argument_checks import check_config
from jnst.array_types import Image, LossTerms, Scalar
from jnst.config import Config, PixelSpace, compile_key
from jnst.devices import check_platform
from jnst.images.pixel_space import as_unit, decode, encode
from jnst.loss.registry import TERMS
from jnst.loss.term import Term
from jnst.optim.optimizer import Evaluation, Optimizer
from jnst.optim.preconditioner import Basis, make_basis, make_circular_basis, synthesize
from jnst.optim.registry import make_optimizer
from jnst.programs.program import kept_program
from jnst.runtime import limit_mappings
from jnst.vgg.extent import Extent


class TransferState(NamedTuple):
    """What the loop carries.

    point: what the optimiser moves: the image in variable space, or weighted cosine coefficients relative to `start`.
    start, basis: only where the config preconditions by frequency.
    evaluation: loss and gradient at `point`; a fresh state has none yet.
    opt_state: the optimiser's own state.
    loss_scale: power of two that the optimiser's view of the loss is multiplied by.
    step_scale: at most one; a quarter of what it was whenever a move is taken back.
    rejected: moves taken back in a row.
    step: steps of the loop made; the first one evaluates the initial image without moving, so that image k enters
        step k.
    evaluations: evaluations of the loss, line searches included.
    best_point, best_value, best_step: the best so far.
    """

    point: Image
    start: Image | None
    basis: Basis | None
    evaluation: Evaluation
    opt_state: Any
    loss_scale: Scalar
    step_scale: Scalar
    rejected: jax.Array
    step: jax.Array
    evaluations: jax.Array
    best_point: Image
    best_value: Scalar
    best_step: jax.Array


class Trace(NamedTuple):
    """What came of each step, one entry per step: evaluations so far, weighted total, unweighted terms by name.

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

    Returns:
        A state of step zero, without loss and gradient, for `advance`.

    Raises:
        ConfigError: where config is none.
    """
    check_platform()
    check_config(config)
    limit_mappings()
    names = tuple(term.name for term in (*TERMS, *extra_terms))
    return _init_state(as_unit(image), extent, config=compile_key(config), optimizer=optimizer, names=names)


@kept_program(static=("config", "optimizer", "names"))
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
    opt_state = make_descent_optimizer(config, optimizer).init(point)
    one, zero = jnp.float32(1), jnp.int32(0)
    state = TransferState(
        point=point,
        start=start,
        basis=basis,
        evaluation=evaluation,
        opt_state=opt_state,
        loss_scale=one,
        step_scale=one,
        rejected=zero,
        step=zero,
        evaluations=zero,
        best_point=point,
        best_value=unknown,
        best_step=zero,
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


@kept_program(static=("variable",))
def to_picture(point: Image, start: Image | None, basis: Basis | None, *, variable: PixelSpace) -> Image:
    """The picture that an optimiser's point stands for: RGB, clipped to [0, 1], height × width × 3."""
    return jnp.clip(decode(to_image(point, start, basis), variable), 0.0, 1.0)


def current_picture(state: TransferState, config: Config, *, best: bool) -> np.ndarray:
    """The picture that the state stands for, on the host: RGB, clipped to [0, 1], height × width × 3."""
    point = state.best_point if best else state.point
    return np.array(to_picture(point, state.start, state.basis, variable=config.variable))
