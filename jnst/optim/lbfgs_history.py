"""The curvature pairs of L-BFGS, stored as float32 or, in half the memory, as bfloat16; used in float32.

A pair of an image's size takes 24 bytes per pixel, or 12. bfloat16 keeps float32's range, so nothing overflows, and
products of a pair are taken of the rounded numbers, so that every pair agrees with itself.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.scipy.linalg import solve_triangular

from jnst.array_types import Image, Scalar
from jnst.config import HistoryPrecision
from jnst.devices import by_platform

# Parts into which a dot product folds the rows, and images that a pass takes at once: measured on CPU.
_PARTS, _AT_ONCE = 16, 8


class Pairs(NamedTuple):
    """The last steps s and changes of the gradient y, each history × height × width × 3, and their dot products.

    In the symbols of Byrd, Nocedal and Schnabel 1994 (Mathematical Programming 63, section 2), S and Y being the
    matrices whose columns are the s and the y in order of age:

    steps, changes: S and Y. float32, or the bits of bfloat16 numbers as uint16. As bfloat16, XLA on CPU widens the
        whole history to float32 before it takes one pair out, and the memory saved is spent three times over.
    usable: whether a pair has curvature, sᵀy > 0.
    gamma: γ = c sᵀy / yᵀy of the newest pair, c being `add_pair`'s; the first guess of the inverse Hessian is γI.
    made: pairs made; the newest lies at (made − 1) mod history.
    crossed: history × history, R of SᵀY: sᵢᵀyⱼ for every pair i that is not newer than j; its diagonal is D.
    squared: history × history, YᵀY: yᵢᵀyⱼ.
    along_steps, along_changes: Sᵀg and Yᵀg, g the gradient that the inverse was last applied to.
    counted: pairs made when these two were computed; products with newer pairs come from their differences.
    """

    steps: jax.Array
    changes: jax.Array
    usable: jax.Array
    gamma: Scalar
    made: jax.Array
    crossed: jax.Array
    squared: jax.Array
    along_steps: jax.Array
    along_changes: jax.Array
    counted: jax.Array


def no_pairs(point: Image, history: int, precision: HistoryPrecision) -> Pairs:
    """An empty history for points of that shape."""
    stored = jnp.zeros((history, *point.shape), jnp.uint16 if precision == "bfloat16" else jnp.float32)
    square, line = jnp.zeros((history, history), jnp.float32), jnp.zeros(history, jnp.float32)
    none = jnp.int32(0)
    return Pairs(
        stored,
        jnp.zeros_like(stored),
        jnp.zeros(history, bool),
        jnp.float32(1),
        none,
        square,
        jnp.zeros_like(square),
        line,
        jnp.zeros_like(line),
        jnp.zeros_like(none),
    )


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


def _dots(history: jax.Array, vector: Image) -> jax.Array:
    """Dot product of every stored image with the vector."""
    return by_platform(history, vector, cpu=_dots_in_parts, other=_dots_at_once)


def _dots_at_once(history: jax.Array, vector: Image) -> jax.Array:
    """One pass over the history as it lies: an accelerator's compiler would copy all of it to merge two axes."""
    return jnp.sum(_unpack(history) * vector[None], (1, 2, 3))


def _dots_in_parts(history: jax.Array, vector: Image) -> jax.Array:
    count, height = history.shape[:2]
    # Whole rows stay together, so that nothing is moved where the rows are divided among devices.
    history, vector = history.reshape(count, height, -1), vector.reshape(1, height, -1)
    length = vector.shape[2]
    part = length // _PARTS

    def some(dots: jax.Array, first: Any, number: int) -> jax.Array:
        def product(start: int, stop: int) -> jax.Array:
            stored = lax.dynamic_slice(history, (first, 0, start), (number, height, stop - start))
            return _unpack(stored) * vector[:, :, start:stop]

        # Parts of the rows are added before anything is summed: one pass over the image, where a plain sum takes two.
        folded = sum((product(i * part, (i + 1) * part) for i in range(_PARTS)), jnp.float32(0))
        total = jnp.sum(folded, (1, 2))
        if part * _PARTS < length:
            total += jnp.sum(product(part * _PARTS, length), (1, 2))
        return lax.dynamic_update_slice(dots, total, (first,))

    number = min(count, _AT_ONCE)
    groups, rest = divmod(count, number)
    zeros = jnp.zeros(count, jnp.float32)
    dots = lax.fori_loop(0, groups, lambda group, dots: some(dots, group * number, number), zeros)
    return some(dots, groups * number, rest) if rest else dots


def _combine(history: jax.Array, factors: jax.Array, image: Image) -> Image:
    """The image plus each stored one times its factor."""
    return by_platform(history, factors, image, cpu=_combine_in_parts, other=_combine_at_once)


def _combine_at_once(history: jax.Array, factors: jax.Array, image: Image) -> Image:
    """One pass over the history as it lies: a loop would copy all of it into the layout of its image first."""
    return image + jnp.sum(factors[:, None, None, None] * _unpack(history), 0)


def _combine_in_parts(history: jax.Array, factors: jax.Array, image: Image) -> Image:
    count = history.shape[0]

    def add(first: Any, image: Image, number: int) -> Image:
        # Several in one pass, so that the image is not read and written for each.
        for index in range(number):
            image = image + factors[first + index] * _unpack(history[first + index])
        return image

    image = lax.fori_loop(0, count // _AT_ONCE, lambda group, image: add(group * _AT_ONCE, image, _AT_ONCE), image)
    return add(count // _AT_ONCE * _AT_ONCE, image, count % _AT_ONCE)


def apply_inverse(pairs: Pairs, gradient: Image) -> tuple[Image, Pairs]:
    """The approximate inverse Hessian times the gradient, and the history with its dot products brought up to date.

    The compact form (Byrd, Nocedal and Schnabel 1994, theorem 2.2): two passes over the history, whatever its length,
    and between them two triangular systems of its length. It equals the two loops of Nocedal and Wright's
    algorithm 7.4, which go over the history four times, one pair after the other. With R the upper triangle of SᵀY and
    D its diagonal:

    H g = γ g + S R⁻ᵀ [(D + γ YᵀY) R⁻¹ Sᵀg − γ Yᵀg] − γ Y R⁻¹ Sᵀg

    To be called once between one `add_pair` and the next, with the gradients whose difference is added.
    """
    history = pairs.usable.shape[0]
    # Sᵀg and Yᵀg, the first pass.
    along_steps, along_changes = _dots(pairs.steps, gradient), _dots(pairs.changes, gradient)
    # The newest pair's products with the others: y is the difference of two gradients whose products are known,
    # sᵢᵀy = sᵢᵀg⁺ − sᵢᵀg and yᵢᵀy = yᵢᵀg⁺ − yᵢᵀg.
    newest = (pairs.made - 1) % history
    is_new = (jnp.arange(history, dtype=jnp.int32) == newest) & (pairs.made > pairs.counted)
    column = jnp.where(is_new, pairs.crossed[newest, newest], along_steps - pairs.along_steps)
    crossed = jnp.where(is_new[None, :], column[:, None], pairs.crossed)
    column = jnp.where(is_new, pairs.squared[newest, newest], along_changes - pairs.along_changes)
    squared = jnp.where(is_new[None, :], column[:, None], jnp.where(is_new[:, None], column[None, :], pairs.squared))
    pairs = pairs._replace(
        crossed=crossed,
        squared=squared,
        along_steps=along_steps,
        along_changes=along_changes,
        counted=pairs.made,
    )
    # From here on in order of age, the oldest first.
    order = (pairs.made + jnp.arange(history, dtype=jnp.int32)) % history
    usable = pairs.usable[order]
    both = usable[:, None] & usable[None, :]
    crossed, squared = (jnp.where(both, products[order][:, order], 0) for products in (crossed, squared))
    along_steps, along_changes = (jnp.where(usable, dots[order], 0) for dots in (along_steps, along_changes))
    # D, R, and R⁻¹ Sᵀg.
    curvature, zeros = jnp.diagonal(crossed), jnp.zeros(history, jnp.float32)
    triangle = jnp.triu(crossed, 1) + jnp.diag(jnp.where(usable, curvature, 1))
    solved = solve_triangular(triangle, along_steps)
    # (D + γ YᵀY) R⁻¹ Sᵀg − γ Yᵀg.
    right = curvature * solved + pairs.gamma * (
        jnp.dot(squared, solved, precision=lax.Precision.HIGHEST) - along_changes
    )
    of_steps = zeros.at[order].set(solve_triangular(triangle, right, trans=1))
    of_changes = zeros.at[order].set(-pairs.gamma * solved)
    # γ g + S (…) + Y (…), the second pass.
    image = _combine(pairs.steps, of_steps, pairs.gamma * gradient)
    return _combine(pairs.changes, of_changes, image), pairs


def add_pair(pairs: Pairs, step: Image, change: Image, inverse_scale: float = 1.0) -> Pairs:
    """The history with one pair more; without curvature (sᵀy ≤ 0) the pair is stored and never used.

    Args:
        pairs: the history so far.
        step: s, an image.
        change: y, what the gradient changed by.
        inverse_scale: c, a factor on γ = sᵀy / yᵀy, which is the shortest of the usual guesses (Nocedal and Wright
            2006, equation 7.20): where curvatures differ widely it underrates most directions that no pair has seen.
    """
    slot = pairs.made % pairs.usable.shape[0]
    packed_step, packed_change = (_pack(values, pairs.steps.dtype) for values in (step, change))
    step, change = _unpack(packed_step), _unpack(packed_change)
    # sᵀy and yᵀy.
    curvature, length = jnp.sum(step * change), jnp.sum(jnp.square(change))
    usable = (curvature > 0) & (length > 0)
    return pairs._replace(
        steps=pairs.steps.at[slot].set(packed_step),
        changes=pairs.changes.at[slot].set(packed_change),
        usable=pairs.usable.at[slot].set(usable),
        gamma=jnp.where(usable, inverse_scale * curvature / jnp.where(usable, length, 1), pairs.gamma),
        made=pairs.made + 1,
        crossed=pairs.crossed.at[slot, slot].set(curvature),
        squared=pairs.squared.at[slot, slot].set(length),
    )


def accept_pairs(old: Pairs, new: Pairs, keep: jax.Array, forget: jax.Array) -> Pairs:
    """The new history; the old one without its oldest pair where the new is not kept; or an empty one.

    Only the newest pair can hold numbers that are not finite, so only its slot is cleared.
    """
    slot = old.made % old.usable.shape[0]

    def clear(history: jax.Array) -> jax.Array:
        return history.at[slot].set(jnp.where(keep, history[slot], 0))

    def choose(new: jax.Array, old: jax.Array, empty: Any) -> jax.Array:
        return jnp.where(forget, empty, jnp.where(keep, new, old))

    def chosen(products: jax.Array) -> jax.Array:
        corner = products.at[slot, slot].set(jnp.where(keep, products[slot, slot], 0))
        return jnp.where(forget, 0, corner)

    return new._replace(
        steps=clear(new.steps),
        changes=clear(new.changes),
        usable=choose(new.usable, old.usable.at[slot].set(False), False),
        gamma=choose(new.gamma, old.gamma, 1),
        made=choose(new.made, old.made, 0),
        crossed=chosen(new.crossed),
        squared=chosen(new.squared),
        along_steps=jnp.where(forget, 0, new.along_steps),
        along_changes=jnp.where(forget, 0, new.along_changes),
        counted=jnp.where(forget, 0, new.counted),
    )
