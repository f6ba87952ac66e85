"""Which channels of a convolutional network to keep, and the least squares that fit the kept ones anew.

Everything here is linear algebra in NumPy, float64, on second moments of feature maps.
"""

from collections.abc import Sequence

import numpy as np
import scipy.linalg
import scipy.optimize

Array = np.ndarray
STEP = 8  # widths are multiples of this


def rank_channels(moments: Array) -> tuple[Array, Array]:
    """Pivoted Cholesky factorisation of second moments E[f fᵀ].

    Each pick takes the channel with the most energy that the earlier picks do not explain linearly; then its projection
    is removed.

    Returns:
        The channels in the order of the picks, and for 0, 1, …, n picks the share of the energy left unexplained.
    """
    residual = np.array(moments, np.float64)
    total, order, left = np.trace(residual), [], [1.0]
    for _ in range(len(residual)):
        energy = np.diag(residual).copy()
        energy[order] = -1.0
        pick = int(energy.argmax())
        order.append(pick)
        column = residual[:, pick].copy()
        residual -= np.outer(column, column) / max(column[pick], 1e-12 * total)
        left.append(max(0.0, float(np.delete(np.diag(residual), order).sum() / total)))
    return np.array(order), np.array(left)


def choose_width(left: Array, budget: float) -> int:
    """Fewest channels, a multiple of eight, that leave no more than `budget` of the energy unexplained.

    Args:
        left: from `rank_channels`.
        budget: share of the energy.
    """
    enough = int(np.argmax(left <= budget))
    return min(-(-enough // STEP) * STEP, len(left) - 1)


def gram_weights(moments: Array, kept: Sequence[int]) -> Array:
    """Weights d of the kept channels with which inner products of two positions are most nearly those of all channels.

    Gram matrices see a map through k(x, y) = Σ_c f_c(x) f_c(y) alone: |G|² is the mean of k² over pairs of positions.
    d minimises E[(Σ_kept d_c f_c(x) f_c(y) − k(x, y))²] over independent positions, d ≥ 0, which is a quadratic form in
    the squared second moments.
    """
    squared = np.square(np.asarray(moments, np.float64))
    kept = list(kept)
    form, target = squared[np.ix_(kept, kept)], squared[kept].sum(1)
    form = form + 1e-3 * np.diag(np.diag(form))
    root = np.linalg.cholesky(form).T
    weights, _ = scipy.optimize.nnls(root, scipy.linalg.solve_triangular(root.T, target, lower=True))
    return np.maximum(weights, 0.1)


class LeastSquares:
    """Ridge least squares gathered from blocks: y ≈ [x, 1] w, every sample with a weight."""

    def __init__(self, inputs: int, outputs: int) -> None:
        self.gram = np.zeros((inputs + 1, inputs + 1))
        self.cross = np.zeros((inputs + 1, outputs))
        self.energy = np.zeros(outputs)

    def add(self, x: Array, y: Array, weight: float) -> None:
        """Samples × inputs and samples × outputs."""
        x = np.concatenate([x, np.ones((len(x), 1), x.dtype)], 1)
        self.gram += weight * (x.T @ x)
        self.cross += weight * (x.T @ y)
        self.energy += weight * np.square(y, dtype=np.float64).sum(0)

    def solve(self, start: Array, ridge: float) -> tuple[Array, float]:
        """Weights (inputs + 1) × outputs, drawn to `start` by the ridge, and the relative squared error.

        The ridge is `ridge` times the mean square of an input, the bias's own left out.
        """
        penalty = np.full(len(self.gram), ridge * np.diag(self.gram)[:-1].mean())
        penalty[-1] = 1e-9 * self.gram[-1, -1]
        change = scipy.linalg.solve(self.gram + np.diag(penalty), self.cross - self.gram @ start, assume_a="pos")
        found = start + change
        error = self.energy.sum() - 2 * (found * self.cross).sum() + (found * (self.gram @ found)).sum()
        return found, float(error / self.energy.sum())
