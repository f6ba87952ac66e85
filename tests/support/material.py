"""What the tests and `scripts/golden/make.py` are made of: random weights, painted pictures, stored golden values.

NumPy only, so that the PyTorch script and the tests rebuild the very same numbers and none of them has to be stored.
Pictures are float32 RGB, height × width × 3, in [0, 1], in whole steps of 1/255: an 8-bit file's worth.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np

GOLDEN = Path(__file__).parents[1] / "golden"
CHANNELS = (64, 128, 256, 512, 512)
CONVOLUTIONS_PER_BLOCK = {"vgg16": (2, 2, 3, 3, 3), "vgg19": (2, 2, 4, 4, 4)}
BIAS_DEVIATION = 2.0

Params = dict[str, dict[str, np.ndarray]]


def layer_names(architecture: str) -> list[str]:
    """Every layer in order: conv, relu, conv, relu, …, pool for each of the five blocks.

    >>> layer_names("vgg16")[:5]
    ['conv1_1', 'relu1_1', 'conv1_2', 'relu1_2', 'pool1']
    """
    names = []
    for block, count in enumerate(CONVOLUTIONS_PER_BLOCK[architecture], start=1):
        for index in range(1, count + 1):
            names += [f"conv{block}_{index}", f"relu{block}_{index}"]
        names.append(f"pool{block}")
    return names


def random_params(architecture: str, width: float, seed: int, *, gain: float = 1.0) -> Params:
    """He-scaled random filters, float32; `gain` multiplies every kernel.

    `numpy.random.default_rng(seed)` draws standard normals layer by layer from conv1_1 on: first the kernel (HWIO,
    times √(2 / (9 · inputs))), then the bias (times 2, enough to be missed where it is left out: the pictures are
    on the 0–255 scale).
    """
    rng = np.random.default_rng(seed)
    params: Params = {}
    inputs = 3
    for name in layer_names(architecture):
        if name.startswith("conv"):
            outputs = round(CHANNELS[int(name[4]) - 1] * width)
            kernel = rng.standard_normal((3, 3, inputs, outputs)) * gain * np.sqrt(2 / (9 * inputs))
            bias = rng.standard_normal(outputs) * BIAS_DEVIATION
            params[name] = {"kernel": kernel.astype(np.float32), "bias": bias.astype(np.float32)}
            inputs = outputs
    return params


def to_eight_bits(image: np.ndarray) -> np.ndarray:
    """The nearest picture in steps of 1/255, clipped to [0, 1], float32."""
    return (np.round(np.clip(image, 0, 1) * 255) / 255).astype(np.float32)


def paint(subject: str, height: int, width: int, seed: int = 0) -> np.ndarray:
    """A small painted picture.

    `hills`: smooth colour gradients; `shapes`: discs on a ramp; `weave`: stripes that cross; `marble`: smoothed noise
    bent through a sine. None is symmetric under a flip or a swap of axes or of channels.
    """
    rng = np.random.default_rng(seed)
    y, x = np.meshgrid((np.arange(height) + 0.5) / height, (np.arange(width) + 0.5) / width, indexing="ij")
    if subject == "hills":
        red = 0.5 + 0.4 * np.sin(5 * x + 2 * y)
        green = 0.2 + 0.6 * y + 0.15 * np.cos(9 * x * y)
        blue = 0.9 - 0.7 * y**2 + 0.1 * np.sin(14 * x)
        image = np.stack([red, green, blue], axis=-1)
    elif subject == "shapes":
        image = np.stack([0.2 + 0.5 * x, 0.7 - 0.4 * y, 0.3 + 0.3 * x * y], axis=-1)
        for _ in range(9):
            centre_y, centre_x, radius = rng.uniform(0, 1), rng.uniform(0, 1), rng.uniform(0.06, 0.22)
            inside = (y - centre_y) ** 2 + (x - centre_x) ** 2 < radius**2
            image[inside] = rng.uniform(0, 1, 3)
    elif subject == "weave":
        warp = np.sin(2 * np.pi * (9 * x + 3 * y))
        weft = np.sign(np.sin(2 * np.pi * (2 * x - 11 * y)))
        image = 0.5 + 0.25 * warp[..., None] * [1.0, 0.3, -0.6] + 0.2 * weft[..., None] * [-0.4, 1.0, 0.5]
    elif subject == "marble":
        noise = rng.standard_normal((height, width))
        for _ in range(12):
            noise = (noise + np.roll(noise, 1, axis=0) + np.roll(noise, 2, axis=1) + np.roll(noise, -1, axis=1)) / 4
        bent = 2 * noise / noise.std() + 8 * x
        image = 0.5 + 0.45 * np.sin(bent[..., None] + [0.0, 0.7, 1.9])
    else:
        raise ValueError(f"unknown subject {subject!r}; known are: hills, shapes, weave, marble")
    return to_eight_bits(image)


def with_noise(image: np.ndarray, seed: int, deviation: float = 0.1) -> np.ndarray:
    """The picture plus normal noise, again in whole steps of 1/255."""
    return to_eight_bits(image + np.random.default_rng(seed).normal(0, deviation, image.shape))


def sample_positions(shape: tuple[int, ...], count: int, seed: int = 0) -> np.ndarray:
    """Sorted flat (C order) positions of up to `count` entries, drawn without repetition."""
    size = int(np.prod(shape))
    return np.sort(np.random.default_rng(seed).choice(size, min(count, size), replace=False))


def fingerprint(params: Params) -> np.ndarray:
    """Sum, sum of magnitudes and a position-weighted sum over all weights: tells whether the generator still agrees."""
    flat = np.concatenate([params[name][part].ravel() for name in params for part in ("kernel", "bias")])
    flat = flat.astype(np.float64)
    return np.array([flat.sum(), np.abs(flat).sum(), flat @ np.cos(np.arange(flat.size))])


def load_golden(name: str) -> dict[str, Any]:
    """The golden file of that name: arrays by key, and under `about` the settings and versions that made them.

    >>> load_golden("presets")["about"]["width"]
    0.125
    """
    with np.load(GOLDEN / f"{name}.npz") as file:
        golden: dict[str, Any] = {key: file[key] for key in file.files}
    golden["about"] = json.loads(str(golden["about"]))
    return golden
