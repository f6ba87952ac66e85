"""When an image is done: one rule for a single run, decided by the host, and for a batch, decided on the device."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

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

    entries: int | jax.Array
    chunk: int | jax.Array
    tolerance: float | jax.Array


def stop_rule(run: RunConfig) -> StopRule:
    """The rule of a config."""
    return StopRule(jnp.int32(run.steps + 1), jnp.int32(run.chunk), jnp.float32(run.tolerance))


def stop_reason(rule: StopRule, *, entries: Any, best: Any, mark: Any, rejected: Any, value: Any) -> jax.Array:
    """RUNNING, STEPS, TOLERANCE or STUCK; numbers or traced values.

    Args:
        rule: from `stop_rule`.
        entries: of the trace so far.
        best: lowest loss so far.
        mark: lowest loss at the end of the chunk before.
        rejected: moves taken back in a row.
        value: present loss; not finite only where the first one was not.
    """
    steps = entries - 1
    slow = (rule.tolerance > 0) & (steps % rule.chunk == 0) & (steps >= rule.chunk)
    slow &= mark - best < rule.tolerance * jnp.abs(mark)
    stuck = (rejected >= MAX_REJECTED) | ~jnp.isfinite(value)
    reason = jnp.where(slow, jnp.int32(TOLERANCE), jnp.int32(RUNNING))
    reason = jnp.where(stuck, STUCK, reason)
    return jnp.where(entries >= rule.entries, STEPS, reason)
