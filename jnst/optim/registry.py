"""The optimisers that a config can name, as values: how each is made, what memory it takes, what would need less."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import optax

from jnst.array_types import Image
from jnst.config import OptimizerConfig
from jnst.optim.adam import scale_by_adam
from jnst.optim.from_optax import optax_lbfgs, optax_optimizer
from jnst.optim.jaxopt_lbfgs import jaxopt_lbfgs
from jnst.optim.lbfgs import fixed_step_lbfgs
from jnst.optim.optimizer import Optimizer


class OptimizerKind(NamedTuple):
    """An optimiser that a config can name: how it is made, what it costs, what would make it lighter.

    Attributes:
        make: (config, project) -> Optimizer. `project` is applied to the point after every step, where one can be.
        images: (config) -> what it keeps, working copies included, counted in float32 images of the run's size; point
            and gradient are not among them.
        evaluations: evaluations of the loss that a step takes, about.
        lighter: (config) -> changes of the settings that need less memory, the smallest change first.
        unused: the settings that are other optimisers' and change nothing here.
    """

    make: Callable[[OptimizerConfig, Callable[[Image], Image]], Optimizer]
    images: Callable[[OptimizerConfig], float]
    evaluations: Callable[[OptimizerConfig], int]
    lighter: Callable[[OptimizerConfig], Sequence[dict[str, Any]]]
    unused: tuple[str, ...]


def _make_adam(config: OptimizerConfig, project: Callable[[Image], Image]) -> Optimizer:
    adam = scale_by_adam(config.beta1, config.beta2, config.epsilon, epsilon_hat=config.epsilon_hat)
    return optax_optimizer(optax.chain(adam, optax.scale(-config.learning_rate)), project)


_TO_ADAM = {"method": "adam", "history_precision": "float32"}


def _compact_history(config: OptimizerConfig) -> list[dict[str, Any]]:
    """A history in half the memory, then shorter ones, then no history at all."""
    compact = config.history_precision == "bfloat16"
    lengths = [config.history] if not compact else []
    lengths += [history for history in (10, 5) if history < config.history]
    return [{"history": history, "history_precision": "bfloat16"} for history in lengths] + [_TO_ADAM]


def _searched(config: OptimizerConfig) -> int:
    return 1 if config.line_search == "none" else 2


_OF_LBFGS = ("history", "history_precision", "line_search", "first_step")
_OF_ADAM = ("learning_rate", "beta1", "beta2", "epsilon", "epsilon_hat", "clip")
# Two moments, and the same again while they are computed.
ADAM = OptimizerKind(_make_adam, lambda config: 4, lambda config: 1, lambda config: (), _OF_LBFGS)
# Steps s and changes y of the gradient, in float32 or half of it.
FIXED_STEP_LBFGS = OptimizerKind(
    lambda config, project: fixed_step_lbfgs(config),
    lambda config: (1 if config.history_precision == "bfloat16" else 2) * config.history,
    _searched,
    _compact_history,
    _OF_ADAM,
)
# In jaxopt's and optax's loops there is a copy of one of the two besides.
JAXOPT_LBFGS = OptimizerKind(
    lambda config, project: jaxopt_lbfgs(config),
    lambda config: 3 * config.history,
    _searched,
    lambda config: [_TO_ADAM],
    _OF_ADAM,
)
OPTAX_LBFGS = JAXOPT_LBFGS._replace(make=lambda config, project: optax_lbfgs(config))

_KINDS = {"adam": ADAM, "lbfgs": JAXOPT_LBFGS, "jaxopt-lbfgs": JAXOPT_LBFGS, "optax-lbfgs": OPTAX_LBFGS}


def optimizer_kind(config: OptimizerConfig) -> OptimizerKind:
    """The optimiser that the config names.

    >>> optimizer_kind(OptimizerConfig(history=10)).images(OptimizerConfig(history=10))
    20
    """
    if config.method == "lbfgs" and config.line_search == "none":
        return FIXED_STEP_LBFGS
    return _KINDS[config.method]


def make_optimizer(
    config: OptimizerConfig,
    project: Callable[[Image], Image],
    transformation: optax.GradientTransformation | None = None,
) -> Optimizer:
    """The optimiser that the config names, or the optax transformation handed in instead.

    Args:
        config: method and constants.
        project: applied to the point after every step of Adam or of the transformation.
        transformation: an optax gradient transformation.
    """
    if transformation is not None:
        return optax_optimizer(transformation, project)
    return optimizer_kind(config).make(config, project)
