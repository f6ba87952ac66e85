"""The curvature pairs of L-BFGS, stored as float32 or, in half the memory, as bfloat16; used in float32.

A pair of an image's size takes 24 bytes per pixel, or 12. bfloat16 keeps float32's range, so nothing overflows, and
products of a pair are taken of the rounded numbers, so that every pair agrees with itself.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jnst.arrays import Image, Scalar
from jnst.config import HistoryPrecision


class Pairs(NamedTuple):
    """The last steps s and changes of the gradient y, each history × height × width × 3.

    steps, changes: float32, or the bits of bfloat16 numbers as uint16. As bfloat16, XLA on CPU widens the whole history
        to float32 before it takes one pair out, and the memory saved is spent three times over.
    weights: 1 / sᵀy for each pair, zero for a pair that is not used.
    gamma: sᵀy / yᵀy of the newest pair, the first guess of the inverse Hessian.
    made: pairs made; the newest lies at (made − 1) mod history.
    """

    steps: jax.Array
    changes: jax.Array
    weights: jax.Array
    gamma: Scalar
    made: jax.Array


def no_pairs(point: Image, history: int, precision: HistoryPrecision) -> Pairs:
    """An empty memory for points of that shape."""
    stored = jnp.zeros((history, *point.shape), jnp.uint16 if precision == "bfloat16" else jnp.float32)
    return Pairs(stored, jnp.zeros_like(stored), jnp.zeros(history), jnp.float32(1), jnp.int32(0))


def _pack(values: Image, stored: Any) -> jax.Array:
    """The numbers in the type of what is stored."""
    if stored == jnp.uint16:
        return lax.bitcast_convert_type(values.astype(jnp.bfloat16), jnp.uint16)
    return values.astype(stored)


def _unpack(stored: jax.Array) -> Image:
    """float32 again; bfloat16 is its upper half."""
    if stored.dtype == jnp.uint16:
        return lax.bitcast_convert_type(stored.astype(jnp.uint32) << 16, jnp.float32)
    return stored


def apply_inverse(pairs: Pairs, gradient: Image) -> Image:
    """The approximate inverse Hessian times the gradient (Nocedal and Wright 2006, algorithm 7.4)."""
    history = pairs.weights.shape[0]

    def right(age: jax.Array, carry: tuple[Image, jax.Array]) -> tuple[Image, jax.Array]:
        vector, alphas = carry
        slot = (pairs.made - 1 - age) % history
        alpha = pairs.weights[slot] * jnp.sum(_unpack(pairs.steps[slot]) * vector)
        return vector - alpha * _unpack(pairs.changes[slot]), alphas.at[slot].set(alpha)

    def left(index: jax.Array, carry: tuple[Image, jax.Array]) -> tuple[Image, jax.Array]:
        vector, alphas = carry
        slot = (pairs.made + index) % history
        beta = pairs.weights[slot] * jnp.sum(_unpack(pairs.changes[slot]) * vector)
        return vector + (alphas[slot] - beta) * _unpack(pairs.steps[slot]), alphas

    carry = lax.fori_loop(0, history, right, (gradient, jnp.zeros(history)))
    return lax.fori_loop(0, history, left, (pairs.gamma * carry[0], carry[1]))[0]


def remember(pairs: Pairs, step: Image, change: Image) -> Pairs:
    """The memory with one pair more; without curvature (sᵀy ≤ 0) the pair is stored and never used."""
    slot = pairs.made % pairs.weights.shape[0]
    packed_step, packed_change = (_pack(values, pairs.steps.dtype) for values in (step, change))
    step, change = _unpack(packed_step), _unpack(packed_change)
    curvature, length = jnp.sum(step * change), jnp.sum(jnp.square(change))
    usable = (curvature > 0) & (length > 0)
    return Pairs(
        pairs.steps.at[slot].set(packed_step),
        pairs.changes.at[slot].set(packed_change),
        pairs.weights.at[slot].set(jnp.where(usable, 1 / jnp.where(usable, curvature, 1), 0)),
        jnp.where(usable, curvature / jnp.where(usable, length, 1), pairs.gamma),
        pairs.made + 1,
    )


def settle_pairs(old: Pairs, new: Pairs, keep: jax.Array, forget: jax.Array) -> Pairs:
    """The new memory; the old one without its oldest pair where the new is not kept; or an empty one.

    Only the newest pair can hold numbers that are not finite, so only its slot is cleared.
    """
    slot = old.made % old.weights.shape[0]

    def clear(history: jax.Array) -> jax.Array:
        return history.at[slot].set(jnp.where(keep, history[slot], 0))

    def choose(new: jax.Array, old: jax.Array, empty: float) -> jax.Array:
        return jnp.where(forget, empty, jnp.where(keep, new, old))

    return Pairs(
        clear(new.steps),
        clear(new.changes),
        choose(new.weights, old.weights.at[slot].set(0), 0),
        choose(new.gamma, old.gamma, 1),
        choose(new.made, old.made, 0),
    )
