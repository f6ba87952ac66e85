"""Slow, obvious float64 forms of the resize kernels: for every output pixel, a loop over the input pixels it weighs."""

import math
from collections.abc import Callable

import numpy as np


def _cubic(a: float) -> Callable[[float], float]:
    def weigh(x: float) -> float:
        x = abs(x)
        if x < 1:
            return (a + 2) * x**3 - (a + 3) * x**2 + 1
        return a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a if x < 2 else 0.0

    return weigh


def _triangle(x: float) -> float:
    return max(0.0, 1 - abs(x))


def _lanczos(x: float) -> float:
    if x == 0:
        return 1.0
    return 3 * math.sin(math.pi * x) * math.sin(math.pi * x / 3) / (math.pi * x) ** 2 if abs(x) < 3 else 0.0


# kernel → weight as a function of the distance in input pixels, reach, whether it is stretched when shrinking
KERNELS = {
    "opencv-cubic": (_cubic(-0.75), 2, False),
    "tensorflow-bilinear": (_triangle, 1, False),
    "pillow-bilinear": (_triangle, 1, True),
    "pillow-bicubic": (_cubic(-0.5), 2, True),
    "pillow-lanczos": (_lanczos, 3, True),
}


def _resize_line(line: np.ndarray, length: int, kernel: str) -> np.ndarray:
    weigh, reach, antialias = KERNELS[kernel]
    scale = len(line) / length
    stretch = max(1.0, scale) if antialias else 1.0
    result = []
    for index in range(length):
        centre = (index + 0.5) * scale - 0.5
        total, weights = 0.0, 0.0
        for position in range(math.floor(centre - reach * stretch), math.ceil(centre + reach * stretch) + 1):
            weight = weigh((position - centre) / stretch)
            if antialias and not 0 <= position < len(line):
                continue  # Pillow leaves out what lies beyond the border; the others repeat the border pixel
            total = total + weight * line[min(max(position, 0), len(line) - 1)]
            weights += weight
        result.append(total / weights)
    return np.array(result)


def resize(image: np.ndarray, height: int, width: int, kernel: str) -> np.ndarray:
    """Without any rounding; height × width × channels."""
    image = image.astype(np.float64)
    rows = np.stack([_resize_line(row, width, kernel) for row in image])
    return np.stack([_resize_line(rows[:, column], height, kernel) for column in range(width)], axis=1)
