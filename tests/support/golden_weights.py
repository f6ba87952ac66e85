"""The .pth files that `scripts/golden/make_weights.py` wrote, and the formula behind their values."""

from pathlib import Path

import numpy as np

GOLDEN = Path(__file__).parents[1] / "golden"
LEGACY = GOLDEN / "vgg16-legacy.pth"
ZIP = GOLDEN / "vgg19-zip.pth"
CHECKPOINT = GOLDEN / "vgg16-checkpoint.pth"


def fill(shape: tuple[int, ...], layer: int) -> np.ndarray:
    """Element k of layer n is ((7 k + 13 n) mod 127 − 63) / 64."""
    return (((7 * np.arange(np.prod(shape)) + 13 * layer) % 127 - 63) / 64).reshape(shape).astype(np.float32)
