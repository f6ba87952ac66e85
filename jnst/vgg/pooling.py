"""Pooling over 2×2 windows with stride 2, with gradients that need little memory."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from jnst.array_types import FeatureMap
from jnst.config import PoolRounding
from jnst.devices import by_platform
from jnst.vgg.extent import Extent
from jnst.vgg.layers import halve
from jnst.vgg.linear_map import linear_map


def _windows(x: FeatureMap, rounding: PoolRounding, fill: float) -> jax.Array:
    """The 2×2 windows as axes: rows × 2 × columns × 2 × channels."""
    height, width, channels = x.shape
    rows, columns = halve(height, rounding), halve(width, rounding)
    if rounding == "ceil":
        x = jnp.pad(x, ((0, 2 * rows - height), (0, 2 * columns - width), (0, 0)), constant_values=fill)
    return x[: 2 * rows, : 2 * columns].reshape(rows, 2, columns, 2, channels)


@functools.partial(jax.custom_jvp, nondiff_argnums=(1,))
def max_pool(x: FeatureMap, rounding: PoolRounding) -> FeatureMap:
    """Maximum of 2×2 windows with stride 2. The gradient goes to the first maximum in row order, as in PyTorch."""
    if min(x.shape[:2]) < 2:  # one form for all that may leave nothing
        return _largest_of_slices(x, rounding)
    return by_platform(
        x, cpu=lambda x: _largest_of_slices(x, rounding), other=lambda x: _largest_of_windows(x, rounding)
    )


def _largest_of_windows(x: FeatureMap, rounding: PoolRounding) -> FeatureMap:
    """The larger of neighbouring columns, then of neighbouring rows.

    In slices with a stride: to an accelerator's compiler windows as axes of length two, or its own operation for
    windows, mean copies of the whole map into layouts that waste most of the memory.
    """
    for axis in (1, 0):
        x = jnp.maximum(*_neighbours(x, axis, rounding))
    return x


def _neighbours(x: FeatureMap, axis: int, rounding: PoolRounding) -> tuple[FeatureMap, FeatureMap]:
    """Those at even places along an axis, and those after them."""
    length = x.shape[axis]
    if length % 2:
        if rounding == "floor":
            x = lax.slice_in_dim(x, 0, length - 1, axis=axis)
        else:
            x = jnp.pad(x, [(0, int(i == axis)) for i in range(3)], constant_values=-jnp.inf)
    return lax.slice_in_dim(x, 0, None, 2, axis), lax.slice_in_dim(x, 1, None, 2, axis)


def _spread_along(gradient: FeatureMap, x: FeatureMap, axis: int, rounding: PoolRounding) -> FeatureMap:
    """The gradient of the larger of neighbours: to the first of them where both are as large."""
    first, second = _neighbours(x, axis, rounding)
    chosen, zero = first >= second, jnp.zeros((), gradient.dtype)
    spread = jnp.zeros_like(zero)
    for place, part in enumerate((jnp.where(chosen, gradient, 0), jnp.where(chosen, 0, gradient))):
        # Zeros between, before and behind; what a pool left out has none, and what was added beyond is cut off.
        behind = x.shape[axis] - place - (2 * part.shape[axis] - 1)
        spread += lax.pad(part, zero, [(place, behind, 1) if i == axis else (0, 0, 0) for i in range(3)])
    return spread


def _largest_of_slices(x: FeatureMap, rounding: PoolRounding) -> FeatureMap:
    windows = _windows(x, rounding, -jnp.inf)
    # Four slices, not a reduction over two axes: XLA on CPU turns the maximum of slices into one vectorised pass.
    top = jnp.maximum(windows[:, 0, :, 0], windows[:, 0, :, 1])
    return jnp.maximum(top, jnp.maximum(windows[:, 1, :, 0], windows[:, 1, :, 1]))


@max_pool.defjvp
def _max_pool_tangent(rounding: PoolRounding, primals: Any, tangents: Any) -> Any:
    (x,), (tangent,) = primals, tangents
    windows = _windows(x, rounding, -jnp.inf)
    y = max_pool(x, rounding)
    # One byte per window says where its maximum lies.
    first = jnp.where(windows[:, 1, :, 0] == y, jnp.uint8(2), jnp.uint8(3))
    first = jnp.where(windows[:, 0, :, 1] == y, jnp.uint8(1), first)
    first = jnp.where(windows[:, 0, :, 0] == y, jnp.uint8(0), first)
    return y, linear_map(_Pick(rounding), _Spread(rounding), tangent, first, x, like=y)


@dataclasses.dataclass(frozen=True)
class _Pick:
    """From each window the value at the place of the maximum."""

    rounding: PoolRounding

    def __call__(self, x: FeatureMap, first: jax.Array, pooled: FeatureMap) -> FeatureMap:
        del pooled
        windows = _windows(x, self.rounding, 0.0)
        bottom = jnp.where(first == 2, windows[:, 1, :, 0], windows[:, 1, :, 1])
        right = jnp.where(first == 1, windows[:, 0, :, 1], bottom)
        return jnp.where(first == 0, windows[:, 0, :, 0], right)


@dataclasses.dataclass(frozen=True)
class _Spread:
    """The transpose of `_Pick`: each value at the place of the maximum, zeros elsewhere."""

    rounding: PoolRounding

    def __call__(self, gradient: FeatureMap, first: jax.Array, pooled: FeatureMap) -> FeatureMap:
        if min(pooled.shape[:2]) < 2:
            return _spread_by_place(gradient, first, pooled)
        return by_platform(gradient, first, pooled, cpu=_spread_by_place, other=self._spread_by_windows)

    def _spread_by_windows(self, gradient: FeatureMap, first: jax.Array, pooled: FeatureMap) -> FeatureMap:
        del first
        wide = jnp.maximum(*_neighbours(pooled, 1, self.rounding))
        return _spread_along(_spread_along(gradient, wide, 0, self.rounding), pooled, 1, self.rounding)


def _spread_by_place(gradient: FeatureMap, first: jax.Array, pooled: FeatureMap) -> FeatureMap:
    rows, columns, channels = gradient.shape
    place = jnp.arange(4, dtype=jnp.uint8).reshape(1, 2, 1, 2, 1)
    spread = jnp.where(first[:, None, :, None] == place, gradient[:, None, :, None], 0)
    return _fit(spread.reshape(2 * rows, 2 * columns, channels), *pooled.shape[:2])


def _fit(x: FeatureMap, height: int, width: int) -> FeatureMap:
    """Cuts off or adds (zero) rows and columns at the end."""
    x = x[:height, :width]
    return jnp.pad(x, ((0, height - x.shape[0]), (0, width - x.shape[1]), (0, 0)))


def average_pool(x: FeatureMap, rounding: PoolRounding, extent: Extent | None = None) -> FeatureMap:
    """Mean of 2×2 windows with stride 2; a window cut by the border (ceil) averages the pixels that it has."""
    windows = _windows(x, rounding, 0.0)
    total = windows[:, 0, :, 0] + windows[:, 0, :, 1] + windows[:, 1, :, 0] + windows[:, 1, :, 1]
    if rounding == "floor":
        return total * 0.25
    origin, size = extent or Extent((0, 0), (x.shape[0], x.shape[1]))
    rows, columns = (
        jnp.clip(length - start - 2 * jnp.arange(count, dtype=jnp.int32), 1, 2).astype(jnp.float32)
        for length, start, count in zip(size, origin, total.shape[:2], strict=True)
    )
    return (total / (rows[:, None, None] * columns[None, :, None])).astype(x.dtype)
