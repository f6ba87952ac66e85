"""Slow, obvious float64 NumPy forms of what jnst computes, written from the papers and not from jnst.

One image at a time, height × width × channels, no batch axis. Also hands on the test material (weights, pictures,
golden values) so that a test needs one import.
"""

from collections.abc import Callable, Iterable

import numpy as np
from material import (  # noqa: F401
    CHANNELS,
    CONVOLUTIONS_PER_BLOCK,
    Params,
    fingerprint,
    layer_names,
    load_golden,
    paint,
    random_params,
    sample_positions,
    to_eight_bits,
    with_noise,
)

# --- the network ---


def convolve(x: np.ndarray, kernel: np.ndarray, bias: np.ndarray, *, padding: str = "zero") -> np.ndarray:
    """3×3 cross-correlation, stride 1, one pixel of padding: y[i, j, o] = b[o] + Σ x[i+a−1, j+b−1, c] k[a, b, c, o]."""
    height, width, _ = x.shape
    border = ((1, 1), (1, 1), (0, 0))
    padded = np.pad(
        x.astype(np.float64), border, mode={"zero": "constant", "replicate": "edge", "circular": "wrap"}[padding]
    )
    result = np.zeros((height, width, kernel.shape[-1])) + bias.astype(np.float64)
    for row in range(3):
        for column in range(3):
            result += padded[row : row + height, column : column + width] @ kernel[row, column].astype(np.float64)
    return result


def pool(x: np.ndarray, *, pooling: str = "max", rounding: str = "floor") -> np.ndarray:
    """Non-overlapping 2×2 windows; `ceil` keeps an odd last row or column as a window of the pixels there are."""
    height, width, channels = x.shape
    if rounding == "floor":
        rows, columns = height // 2, width // 2
    else:
        rows, columns = -(-height // 2), -(-width // 2)
    result = np.zeros((rows, columns, channels))
    for row in range(rows):
        for column in range(columns):
            window = x[2 * row : 2 * row + 2, 2 * column : 2 * column + 2]
            result[row, column] = window.max(axis=(0, 1)) if pooling == "max" else window.mean(axis=(0, 1))
    return result


def extract_features(
    params: Params,
    x: np.ndarray,
    architecture: str,
    *,
    layers: Iterable[str] | None = None,
    pooling: str = "max",
    rounding: str = "floor",
    first_padding: str = "zero",
    padding: str = "zero",
) -> dict[str, np.ndarray]:
    """Feature maps by layer name (all of them unless told), from an image already in the network's pixel space."""
    wanted = layer_names(architecture) if layers is None else list(layers)
    features: dict[str, np.ndarray] = {}
    x = x.astype(np.float64)
    for name in layer_names(architecture):
        if len(features) == len(wanted):
            break
        if name.startswith("conv"):
            here = first_padding if name == "conv1_1" and padding == "zero" else padding
            x = convolve(x, params[name]["kernel"], params[name]["bias"], padding=here)
        elif name.startswith("relu"):
            x = np.where(x > 0, x, 0.0)
        else:
            x = pool(x, pooling=pooling, rounding=rounding)
        if name in wanted:
            features[name] = x
    return features


# --- losses ---


def gram_matrix(features: np.ndarray, *, divisor: str) -> np.ndarray:
    """G[c, d] = Σ_pixels F[c] F[d], divided by 1 (`none`), H·W (`pixels`) or H·W·C (`pixels_channels`)."""
    height, width, channels = features.shape
    flat = features.astype(np.float64).reshape(height * width, channels)
    return flat.T @ flat / {"none": 1, "pixels": height * width, "pixels_channels": height * width * channels}[divisor]


def channel_moments(features: np.ndarray, mask: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Covariance matrix and mean of the channels, each position counting by the mask."""
    positions = features.astype(np.float64).reshape(-1, features.shape[2])
    weights = np.ones(len(positions)) if mask is None else mask.ravel()
    mean = np.average(positions, 0, weights)
    return np.cov(positions.T, aweights=weights, ddof=0).reshape(len(mean), len(mean)), mean


def carry_mask(mask: np.ndarray, architecture: str, layer: str, *, rounding: str) -> np.ndarray:
    """A mask, height × width, at the size of a layer's map: the mean of each pooling window, pool after pool."""
    carried = mask.astype(np.float64)[..., None]
    for name in layer_names(architecture):
        if name.startswith("pool"):
            carried = pool(carried, pooling="average", rounding=rounding)
        if name == layer:
            break
    return carried[..., 0]


def guided_gram(features: np.ndarray, mask: np.ndarray, *, divisor: str) -> np.ndarray:
    """G[c, d] = Σ_pixels T F[c] · T F[d], divided as by `gram_matrix`; T² is the mask over its mean."""
    height, width, channels = features.shape
    channel = np.sqrt(mask / mask.mean())
    gram = np.zeros((channels, channels))
    for row in range(height):
        for column in range(width):
            guided = channel[row, column] * features[row, column].astype(np.float64)
            gram += np.outer(guided, guided)
    return gram / {"none": 1, "pixels": height * width, "pixels_channels": height * width * channels}[divisor]


def content_loss(features: np.ndarray, target: np.ndarray, *, reduction: str) -> float:
    """Squared differences: their `mean`, `sum`, or half the sum (`half_sum`, CVPR 2016 eq. 1)."""
    squares = (features.astype(np.float64) - target) ** 2
    return float({"mean": squares.mean(), "sum": squares.sum(), "half_sum": squares.sum() / 2}[reduction])


def style_loss(gram: np.ndarray, target: np.ndarray, *, reduction: str) -> float:
    """Squared differences over all C² entries: `mean`, `sum`, or a quarter of the mean (`quarter_mean`).

    With the Gram divided by its own pixels, quarter_mean is CVPR 2016 eq. 4, Σ(G−A)² / (4 N² M²), for equal sizes.
    """
    squares = (gram.astype(np.float64) - target) ** 2
    return float({"mean": squares.mean(), "sum": squares.sum(), "quarter_mean": squares.mean() / 4}[reduction])


def total_variation(image: np.ndarray, *, norm: str, reduction: str) -> float:
    """|difference| (`l1`) or its square (`l2`) of neighbours, summed over all vertical and horizontal pairs (`sum`).

    `mean` is the vertical pairs' mean plus the horizontal pairs' mean, as in the programs that take a mean.
    """
    height, width, channels = image.shape
    image = image.astype(np.float64)
    result = 0.0
    for down, across in ((1, 0), (0, 1)):
        steps = []
        for row in range(height - down):
            for column in range(width - across):
                for channel in range(channels):
                    step = image[row + down, column + across, channel] - image[row, column, channel]
                    steps.append(abs(step) if norm == "l1" else step * step)
        if steps:
            result += sum(steps) / (len(steps) if reduction == "mean" else 1)
    return float(result)


# --- optimisation ---


def adam(
    gradient: Callable[[np.ndarray], np.ndarray],
    x: np.ndarray,
    *,
    steps: int,
    learning_rate: float,
    beta1: float = 0.9,
    beta2: float = 0.999,
    epsilon: float = 1e-8,
    epsilon_hat: bool = False,
    clip: tuple[float, float] | None = None,
) -> list[np.ndarray]:
    """The points that Adam visits (Kingma & Ba 2015, arXiv:1412.6980), the start included: steps + 1 of them.

    Algorithm 1 adds epsilon after bias correction; the form before section 2.1 (`epsilon_hat`, TensorFlow's) adds it
    to the uncorrected root and puts both corrections into the step size.
    """
    x = x.astype(np.float64)
    mean, square = np.zeros_like(x), np.zeros_like(x)
    points = [x]
    for t in range(1, steps + 1):
        g = gradient(x)
        mean = beta1 * mean + (1 - beta1) * g
        square = beta2 * square + (1 - beta2) * g**2
        if epsilon_hat:
            step_size = learning_rate * np.sqrt(1 - beta2**t) / (1 - beta1**t)
            x = x - step_size * mean / (np.sqrt(square) + epsilon)
        else:
            x = x - learning_rate * (mean / (1 - beta1**t)) / (np.sqrt(square / (1 - beta2**t)) + epsilon)
        if clip is not None:
            x = np.clip(x, *clip)
        points.append(x)
    return points


def directional_derivative(
    function: Callable[[np.ndarray], float], x: np.ndarray, direction: np.ndarray, *, step: float
) -> float:
    """Central difference (f(x + h d) − f(x − h d)) / 2h: what ⟨gradient, d⟩ should be, up to h² and kinks."""
    x = x.astype(np.float64)
    return (function(x + step * direction) - function(x - step * direction)) / (2 * step)
