"""Preconditioning by spatial frequency: the optimiser sees cosine coefficients, coarse ones amplified.

The image is start + Cᵀ(w ∘ z)C with C the orthonormal cosine transform (DCT-II) of each axis and w = f to minus the
exponent, f in cycles per pixel and no lower than `LOWEST`. The transforms are matrix products, so an image padded with
zeros gives the same numbers as the image alone, and the cosine basis has no wrap-around at the border.

Over n pixels the even waves are symmetric and the odd ones antisymmetric: with y the first half of the pixels x and
y′[i] = x[n − 1 − i], the even coefficients depend on y + y′ alone and the odd ones on y − y′, which are two products
with a quarter of the matrix each. Along each axis of the coefficients the even waves come first, then the odd ones.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import PartitionSpec

from jnst.array_types import Image
from jnst.devices import ROWS, row_parts

# Cycles per pixel below which all waves are weighed alike. Were longer ones amplified more, wide smooth areas would
# change colour from one end to the other or turn grey in the middle, which no layer of the network sees as a loss.
LOWEST = 1 / 16


class Waves(NamedTuple):
    """The cosine transform of one axis.

    even, odd: waves × pixels, at the first half of the true pixels, the middle one included; zeros at all others.
    padding: pixels beyond the true ones; nothing where there is no padding.
    """

    even: jax.Array
    odd: jax.Array
    padding: Any


class Basis(NamedTuple):
    """The transforms along the height and along the width, and the weight of each coefficient.

    An image without a border, whose opposite sides are neighbours, has no cosine transforms but Hartley's.
    """

    rows: Waves | None
    columns: Waves | None
    weights: jax.Array


def _waves(count: int, length: Any) -> Waves:
    """Orthonormal DCT-II of the first `length` of `count` pixels; `length` is nothing where that is all of them."""
    padding, length = (None, count) if length is None else (count - length, length)
    pixel = jnp.arange((count + 1) // 2, dtype=jnp.int32)[None, :]
    divisor = _as_float(length)

    def cosines(wave: jax.Array) -> jax.Array:
        # C[k, n] = √(2 / N) cos(π (2n + 1) k / 2N), and √(1 / N) for k = 0.
        # Half-integer products are reduced modulo the period before the cosine: float32 is exact to 2²⁴ only.
        phase = jnp.mod((2 * pixel + 1) * wave, 4 * length)
        matrix = jnp.cos(jnp.pi * phase.astype(jnp.float32) / (2 * divisor)) * jnp.sqrt(2.0 / divisor)
        matrix = jnp.where(wave == 0, jnp.sqrt(1.0 / divisor), matrix)
        return jnp.where((wave < length) & (2 * pixel < length), matrix, 0)

    even, odd = (jnp.arange(first, count, 2, dtype=jnp.int32)[:, None] for first in (0, 1))
    return Waves(cosines(even), cosines(odd), padding)


def _wave_order(count: int) -> np.ndarray:
    """Which wave each coefficient along an axis belongs to."""
    return np.concatenate([np.arange(0, count, 2), np.arange(1, count, 2)]).astype(np.int32)


def _as_float(length: Any) -> Any:
    """A length to divide by, which is traced where images are padded."""
    return length if isinstance(length, int) else jnp.asarray(length).astype(jnp.float32)


def make_basis(shape: tuple[int, int], exponent: float, *, size: tuple[Any, Any] | None = None) -> Basis:
    """The transforms for an image of height × width; `size` is the true one where the image is padded.

    The weights have a mean square of one over the true image; the constant has that of the lowest frequencies.
    """
    height, width = shape if size is None else size
    row, column = _wave_order(shape[0])[:, None], _wave_order(shape[1])[None, :]
    down, across = (
        jnp.asarray(order.astype(np.float32) / _as_float(2 * length), jnp.float32)
        for order, length in ((row, height), (column, width))
    )
    # f = √((k / 2H)² + (l / 2W)²) cycles per pixel; w = max(f, lowest)^−exponent, scaled so that the mean of w² is one.
    lowest = jnp.maximum(0.5 / _as_float(jnp.maximum(height, width)), LOWEST)
    weights = jnp.maximum(jnp.hypot(down, across), lowest) ** -exponent
    weights = jnp.where((row < height) & (column < width), weights, 0)
    weights /= jnp.sqrt(jnp.sum(jnp.square(weights)) / _as_float(height * width))
    rows, columns = size or (None, None)
    return Basis(_waves(shape[0], rows), _waves(shape[1], columns), weights)


def make_circular_basis(shape: tuple[int, int], exponent: float) -> Basis:
    """As `make_basis`, for an image whose opposite sides are neighbours.

    Hartley's transform of each axis (real, orthonormal, its own inverse): waves that go round, all of whose shifts have
    the same weight, so that no place of the image is preferred.
    """
    down, across = (np.abs(np.fft.fftfreq(length)) for length in shape)
    frequency = np.maximum(np.hypot(down[:, None], across[None, :]), LOWEST)
    weights = frequency**-exponent
    return Basis(None, None, jnp.asarray(weights / np.sqrt(np.mean(np.square(weights))), jnp.float32))


def _hartley(x: Image) -> Image:
    """Σ x[n] (cos + sin)(2πkn/N) / √N along the height and the width of each channel."""
    for axis in (0, 1):
        waves = jnp.fft.fft(x, axis=axis, norm="ortho")
        x = waves.real - waves.imag
    return x


def _multiply(matrix: jax.Array, x: jax.Array, axis: int) -> jax.Array:
    formula = "ki,ijc->kjc" if axis == 0 else "lj,ijc->ilc"
    return jnp.einsum(formula, matrix, x, precision=lax.Precision.HIGHEST)


def _to_waves(x: Image, waves: Waves, axis: int) -> Image:
    """From pixels to coefficients along one axis."""
    # Cosines of even k are symmetric about the middle and those of odd k antisymmetric, so that sums and differences of
    # the two halves take half of the products.
    mirrored, length = jnp.flip(x, axis), x.shape[axis]
    if waves.padding is not None:
        mirrored, length = jnp.roll(mirrored, -waves.padding, axis), length - waves.padding
    near, far = (lax.slice_in_dim(side, 0, waves.even.shape[1], axis=axis) for side in (x, mirrored))
    middle = 2 * lax.broadcasted_iota(jnp.int32, near.shape, axis) == length - 1
    even, odd = jnp.where(middle, near, near + far), near - far
    return jnp.concatenate([_multiply(waves.even, even, axis), _multiply(waves.odd, odd, axis)], axis)


def _to_pixels(z: Image, waves: Waves, axis: int) -> Image:
    """From coefficients to pixels along one axis: the adjoint, and the inverse, of `_to_waves`."""
    even, odd = jnp.split(z, [len(waves.even)], axis)
    even, odd = _multiply(waves.even.T, even, axis), _multiply(waves.odd.T, odd, axis)
    near, far = even + odd, even - odd
    if waves.padding is None:
        far = lax.slice_in_dim(far, 0, len(waves.odd), axis=axis)
        return jnp.concatenate([near, jnp.flip(far, axis)], axis)
    beyond = [(0, len(waves.odd) if i == axis else 0) for i in range(z.ndim)]
    near, far = jnp.pad(near, beyond), jnp.flip(jnp.pad(far, beyond), axis)
    first_half = 2 * lax.broadcasted_iota(jnp.int32, near.shape, axis) < z.shape[axis] - waves.padding
    return jnp.where(first_half, near, jnp.roll(far, -waves.padding, axis))


def _along_both(transform: Callable[[Image, Waves, int], Image], x: Image, basis: Basis) -> Image:
    if basis.rows is None or basis.columns is None:
        return _hartley(x)
    x = transform(x, basis.columns, 1)
    parts = row_parts()
    if parts == 1:
        return transform(x, basis.rows, 0)
    # Each device has transformed its rows, and turns them in for as many columns: none ever holds the whole image.
    y = transform(_divide_columns(x, parts), basis.rows, 0)
    y = lax.with_sharding_constraint(y, PartitionSpec(None, ROWS))
    return lax.with_sharding_constraint(y[:, : x.shape[1]], PartitionSpec(ROWS))


def _divide_columns(x: Image, count: int) -> Image:
    """The image with its columns, padded to a multiple of the devices, divided among them instead of its rows."""
    width = -(-x.shape[1] // count) * count
    x = lax.with_sharding_constraint(jnp.pad(x, ((0, 0), (0, width - x.shape[1]), (0, 0))), PartitionSpec(ROWS))
    return lax.with_sharding_constraint(x, PartitionSpec(None, ROWS))


def synthesize(z: Image, basis: Basis) -> Image:
    """From weighted coefficients to pixels: Cᵀ(w ∘ z)C for each channel."""
    return _along_both(_to_pixels, basis.weights[..., None] * z, basis)


def analyze(gradient: Image, basis: Basis) -> Image:
    """The adjoint of `synthesize`: a gradient with respect to pixels becomes one with respect to coefficients."""
    return basis.weights[..., None] * _along_both(_to_waves, gradient, basis)
