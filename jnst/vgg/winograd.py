"""3×3 convolution with a quarter of the products: Winograd's F(4×4, 3×3) (Lavin and Gray 2015, arXiv 1509.09308).

Each 4×4 block of the result comes from a 6×6 block of the input: both are transformed by small constant matrices, and
between them 36 plain matrix products over the channels take the place of 144. Rounding errors are some ten times those
of the plain sum (3·10⁻⁶ of the result's spread in float32, against 3·10⁻⁷).
"""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jnst.array_types import FeatureMap

# Of the interpolation points 0, ±1, ±2 and infinity: Bᵀ (input), G (kernel) and Aᵀ (result) of section 4.
_INPUT = (
    (4, 0, -5, 0, 1, 0),
    (0, -4, -4, 1, 1, 0),
    (0, 4, -4, -1, 1, 0),
    (0, -2, -1, 2, 1, 0),
    (0, 2, -1, -2, 1, 0),
    (0, 4, 0, -5, 0, 1),
)
_KERNEL = (
    (1 / 4, 0, 0),
    (-1 / 6, -1 / 6, -1 / 6),
    (-1 / 6, 1 / 6, -1 / 6),
    (1 / 24, 1 / 12, 1 / 6),
    (1 / 24, -1 / 12, 1 / 6),
    (0, 0, 1),
)
_RESULT = ((1, 1, 1, 1, 1, 0), (0, 1, -1, 2, -2, 0), (0, 1, 1, 4, 4, 0), (0, 1, -1, 8, -8, 1))
_BLOCK, _WINDOW = 4, 6


def winograd_pays(layer: str, inputs: int, outputs: int) -> bool:
    """Whether this form is worth its while on a CPU for a convolution of that name.

    In block 1 and with fewer channels the transforms cost more than the products save, measured within a loop: a single
    call hides the gain behind fresh memory for the blocks. The transformed kernels take four times the plain ones'
    memory, 38 MB from 512 channels to 512, so block 5, whose maps are small, does without.
    """
    low, high = sorted((inputs, outputs))
    return layer.startswith(("conv2_", "conv3_", "conv4_")) and low >= 48 and high >= 96


def transform_kernel(kernel: Any) -> jax.Array:
    """G g Gᵀ for every pair of channels: 3 × 3 × inputs × outputs to 36 × inputs × outputs."""
    both = np.kron(_KERNEL, _KERNEL).astype(np.float32)
    flat = jnp.asarray(kernel, jnp.float32).reshape(9, *kernel.shape[2:])
    return jnp.einsum("ab,bio->aio", both, flat, precision=lax.Precision.HIGHEST)


@jax.jit
def transform_kernels(kernels: Any) -> Any:
    """`transform_kernel` of every array in a tree, as one program."""
    return jax.tree.map(transform_kernel, kernels)


def _combine(matrix: Sequence[Sequence[float]], parts: Sequence[jax.Array]) -> list[jax.Array]:
    """Matrix times a column of arrays, written out: XLA turns it into one pass and leaves out the zeros.

    By functions of lax: tracing the operators of arrays takes four times as long, and a network has thousands.
    """
    results = []
    for row in matrix:
        terms = [
            part if factor == 1 else lax.mul(part, np.asarray(factor, part.dtype))
            for factor, part in zip(row, parts, strict=True)
            if factor
        ]
        results.append(functools.reduce(lax.add, terms))
    return results


def _split(array: jax.Array, axis: int) -> list[jax.Array]:
    return [lax.index_in_dim(array, i, axis, keepdims=False) for i in range(array.shape[axis])]


@functools.partial(jax.jit, static_argnames="padding")  # traced once per shape and not for every layer
def winograd_convolution(x: FeatureMap, kernel: Any, padding: int = 1) -> FeatureMap:
    """3×3 convolution with zero padding and stride one, in float32.

    Args:
        x: height × width × inputs.
        kernel: from `transform_kernel`.
        padding: zeros on all four sides.
    """
    height, width, channels = x.shape[0] + 2 * padding - 2, x.shape[1] + 2 * padding - 2, x.shape[2]
    rows, columns = -(-height // _BLOCK), -(-width // _BLOCK)
    below, right = _BLOCK * rows - height + padding, _BLOCK * columns - width + padding
    x = lax.pad(x, np.zeros((), x.dtype), ((padding, below, 0), (padding, right, 0), (0, 0, 0)))
    down = [lax.slice_in_dim(x, i, i + _BLOCK * (rows - 1) + 1, _BLOCK, axis=0) for i in range(_WINDOW)]
    # V = Bᵀ d B for every block d of the input.
    # One axis at a time, and the barrier keeps XLA from computing the first inside the second six times over.
    half = lax.optimization_barrier(jnp.stack(_combine(_INPUT, down)))
    across = [lax.slice_in_dim(half, i, i + _BLOCK * (columns - 1) + 1, _BLOCK, axis=2) for i in range(_WINDOW)]
    blocks = jnp.stack(_combine(_INPUT, across), axis=1).reshape(_WINDOW**2, rows * columns, channels)
    # M = Σ over inputs of U ⊙ V, with U = G g Gᵀ the transformed kernel.
    products = jnp.einsum("ipc,icd->ipd", blocks, kernel, precision=lax.Precision.HIGHEST)
    products = products.reshape(_WINDOW, _WINDOW, rows, columns, -1)
    # Y = Aᵀ M A, the block of the result.
    half = lax.optimization_barrier(jnp.stack(_combine(_RESULT, _split(products, 0))))
    result = jnp.stack(_combine(_RESULT, _split(half, 1)), axis=1)
    result = result.transpose(2, 0, 3, 1, 4).reshape(_BLOCK * rows, _BLOCK * columns, -1)
    return lax.slice(result, (0, 0, 0), (height, width, result.shape[2]))
