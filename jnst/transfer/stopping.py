"""When an image is done: one rule for a single run, decided by the host, and for a batch, decided on the device."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jnst.config import RunConfig

# After so many moves taken back in a row there is nowhere left to go.
MAX_REJECTED = 10
RUNNING, STEPS, TOLERANCE, STUCK, UNUSED = range(5)
REASONS = ("running", "steps", "tolerance", "stuck", "unused")


class StopRule(NamedTuple):
    """Numbers, not settings: another number of steps is not another compilation.

    Attributes:
        entries: of the trace at the end: the config's steps, and one for the initial image.
        chunk: steps over which the loss must fall by `tolerance`.
        tolerance: that fraction; zero never stops.
    """

    entries: np.int32 | jax.Array
    chunk: np.int32 | jax.Array
    tolerance: np.float32 | jax.Array


def stop_rule(run: RunConfig) -> StopRule:
    """The rule of a config."""
    return StopRule(np.int32(run.steps + 1), np.int32(run.chunk), np.float32(run.tolerance))


def stop_reason(
    rule: StopRule, *, entries: Any, best: Any, mark: Any, rejected: Any, value: Any, library: Any = jnp
) -> Any:
    """RUNNING, STEPS, TOLERANCE or STUCK; numbers or traced values.

    Args:
        rule: from `stop_rule`.
        entries: of the trace so far.
        best: lowest loss so far.
        mark: lowest loss at the end of the chunk before.
        rejected: moves taken back in a row.
        value: present loss; not finite only where the first one was not.
        library: `numpy` for numbers on the host, for which JAX would compile a program for every operation.
    """
    steps = entries - 1
    slow = (rule.tolerance > 0) & (steps % rule.chunk == 0) & (steps >= rule.chunk)
    slow &= mark - best < rule.tolerance * library.abs(mark)
    stuck = (rejected >= MAX_REJECTED) | ~library.isfinite(value)
    reason = library.where(slow, library.int32(TOLERANCE), library.int32(RUNNING))
    reason = library.where(stuck, STUCK, reason)
    return library.where(entries >= rule.entries, STEPS, reason)
