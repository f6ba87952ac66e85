"""Preconditioning by spatial frequency: the optimiser sees cosine coefficients, coarse ones amplified.

The image is start + Cᵀ(w ∘ z)C with C the orthonormal cosine transform (DCT-II) of each axis and w = f to minus the
exponent, f in cycles per pixel and no lower than `LOWEST`. The transforms are matrix products, so an image padded with
zeros gives the same numbers as the image alone, and the cosine basis has no wrap-around at the border.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import PartitionSpec

from jnst.arrays import Image

# Mesh axis over which an image's rows are divided, where they are (`jnst.spatial`).
ROWS = "rows"


# Cycles per pixel below which all waves are weighed alike. Were longer ones amplified more, wide smooth areas would
# change colour from one end to the other, which no layer of the network sees as a loss.
LOWEST = 1 / 64


class Basis(NamedTuple):
    """Cosine transforms of rows (height × height) and columns (width × width), and the weight of each frequency."""

    rows: jax.Array
    columns: jax.Array
    weights: jax.Array


def _cosines(count: int, length: Any) -> jax.Array:
    """Orthonormal DCT-II matrix of `length`, in the top left corner of count × count zeros."""
    index = jnp.arange(count, dtype=jnp.float32)
    # Half-integer products are reduced modulo the period before the cosine: float32 is exact for integers to 2²⁴ only.
    phase = jnp.mod((2 * jnp.arange(count)[None, :] + 1) * jnp.arange(count)[:, None], 4 * length)
    matrix = jnp.cos(jnp.pi * phase.astype(jnp.float32) / (2 * length)) * jnp.sqrt(2.0 / length)
    matrix = jnp.where(index[:, None] == 0, jnp.sqrt(1.0 / length), matrix)
    return jnp.where((index[:, None] < length) & (index[None, :] < length), matrix, 0)


def make_basis(shape: tuple[int, int], exponent: float, *, size: tuple[Any, Any] | None = None) -> Basis:
    """The transforms for an image of height × width; `size` is the true one where the image is padded.

    The weights have a mean square of one over the true image; the constant has that of the lowest frequencies.
    """
    height, width = shape if size is None else size
    row, column = jnp.arange(shape[0])[:, None], jnp.arange(shape[1])[None, :]
    down, across = row / (2 * height), column / (2 * width)
    lowest = jnp.maximum(0.5 / jnp.maximum(height, width), LOWEST)
    weights = jnp.maximum(jnp.hypot(down, across), lowest) ** -exponent
    weights = jnp.where((row < height) & (column < width), weights, 0)
    weights /= jnp.sqrt(jnp.sum(jnp.square(weights)) / (height * width))
    return Basis(_cosines(shape[0], height), _cosines(shape[1], width), weights)


def _product(rows: jax.Array, x: Image, columns: jax.Array) -> Image:
    mesh = jax.sharding.get_abstract_mesh()
    if ROWS not in mesh.axis_names:
        return jnp.einsum("ki,ijc,lj->klc", rows, x, columns, precision=lax.Precision.HIGHEST)
    # Each device transforms its rows, then turns them in for as many columns: no device ever holds the whole image.
    x = jnp.einsum("ijc,lj->ilc", x, columns, precision=lax.Precision.HIGHEST)
    x = _divide_columns(x, mesh.shape[ROWS])
    x = jnp.einsum("ki,ilc->klc", rows, x, precision=lax.Precision.HIGHEST)
    x = lax.with_sharding_constraint(x, PartitionSpec(None, ROWS))
    return lax.with_sharding_constraint(x[:, : columns.shape[0]], PartitionSpec(ROWS))


def _divide_columns(x: Image, count: int) -> Image:
    """The image with its columns, padded to a multiple of the devices, divided among them instead of its rows."""
    width = -(-x.shape[1] // count) * count
    x = lax.with_sharding_constraint(jnp.pad(x, ((0, 0), (0, width - x.shape[1]), (0, 0))), PartitionSpec(ROWS))
    return lax.with_sharding_constraint(x, PartitionSpec(None, ROWS))


def synthesize(z: Image, basis: Basis) -> Image:
    """From weighted coefficients to pixels: Cᵀ(w ∘ z)C for each channel."""
    return _product(basis.rows.T, basis.weights[..., None] * z, basis.columns.T)


def analyze(gradient: Image, basis: Basis) -> Image:
    """The adjoint of `synthesize`: a gradient with respect to pixels becomes one with respect to coefficients."""
    return basis.weights[..., None] * _product(basis.rows, gradient, basis.columns)
