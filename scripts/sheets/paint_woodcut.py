#!/usr/bin/env python3
"""Paints a style picture in the manner of a colour woodcut: flat inks, and cut lines that swell with the shade.

    python scripts/sheets/paint_woodcut.py [OUT.jpg]

The picture is ours from a fixed seed: a sun among rings, ridges of hills behind one another, and water below. Each area
is one flat ink with lines cut along its own shape, thick where it is dark.
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image

HEIGHT, WIDTH, SUPERSAMPLE, SEED = 480, 600, 3, 11
INK = np.array([24, 26, 44], float)
SUN = (0.86, 0.25, 0.115)  # centre x, y and radius, in picture heights
# Height of each ridge at the left, roughness, flat ink; from far to near.
RIDGES = (
    (0.47, 0.05, (222, 138, 92)),
    (0.55, 0.07, (196, 84, 70)),
    (0.64, 0.06, (64, 122, 126)),
    (0.73, 0.05, (38, 84, 100)),
)
WATER = 0.82


def smooth_noise(generator: np.random.Generator, x: np.ndarray, y: np.ndarray, frequency: float) -> np.ndarray:
    """A sum of eight random plane waves around a frequency (cycles per picture height), about unit variance."""
    total = np.zeros_like(x)
    for _ in range(8):
        angle, phase = generator.uniform(0, 2 * np.pi, 2)
        wave = frequency * generator.uniform(0.6, 1.4) * 2 * np.pi
        total += np.cos(wave * (np.cos(angle) * x + np.sin(angle) * y) + phase)
    return total / 2


def cut(phase: np.ndarray, shade: np.ndarray) -> np.ndarray:
    """Where ink stays between cuts: lines at whole numbers of the phase, their width the shade's share of the pitch."""
    return np.abs(phase - np.round(phase)) < 0.5 * np.clip(shade, 0, 1)


def paint(seed: int = SEED) -> Image.Image:
    """The picture."""
    generator = np.random.default_rng(seed)
    scale = HEIGHT * SUPERSAMPLE
    y, x = np.mgrid[0:scale, 0 : WIDTH * SUPERSAMPLE] / scale
    tremor = 0.10 * smooth_noise(generator, x, y, 18) + 0.25 * smooth_noise(generator, x, y, 4)
    breaks = smooth_noise(generator, x, y, 9)

    # The sky: rings around the sun, paper glowing towards it.
    radius = np.hypot(x - SUN[0], y - SUN[1])
    glow = np.clip(radius / 0.9, 0, 1)[..., None]
    bands = np.round(glow * 4) / 4
    picture = (1 - bands) * np.array([250, 214, 130.0]) + bands * np.array([120, 168, 180.0])
    rays = np.arctan2(y - SUN[1], x - SUN[0])
    shade = 0.16 + 0.34 * glow[..., 0] + 0.10 * breaks + 0.08 * np.cos(9 * rays)
    lines = cut(radius * 26 + tremor, shade)
    inside = radius < SUN[2]
    picture = np.where(inside[..., None], np.array([232, 78, 48.0]), picture)
    rim = np.abs(radius - SUN[2]) < 0.005
    black = (lines & ~inside) | rim

    # The ridges: lines run along the slope, darker on the side turned away from the sun.
    for height, rough, ink in RIDGES:
        bumps = smooth_noise(generator, x[:1], np.zeros_like(x[:1]), 1.2) + 0.4 * smooth_noise(
            generator, x[:1], np.zeros_like(x[:1]), 3.5
        )
        edge = height + rough * bumps
        depth = y - edge
        slope = np.gradient(edge[0]) * scale
        shade = 0.30 + 0.35 * np.tanh(-2.5 * slope)[None] + 0.9 * depth + 0.12 * breaks
        area = depth > 0
        lines = cut(depth * 34 + 5 * x + tremor, np.clip(shade, 0.06, 0.8))
        picture = np.where(area[..., None], np.array(ink, float), picture)
        black = np.where(area, lines | (depth < 0.007), black)

    # The water: waves with the sun's light on them.
    swell = WATER + 0.012 * np.sin(10 * x + 1.0)
    area = y > swell
    light = np.exp(-(((x - SUN[0]) / (0.10 + 0.5 * (y - WATER))) ** 2))
    picture = np.where(area[..., None], np.array([70, 132, 150.0]), picture)
    picture = np.where((area & (light + 0.25 * breaks > 0.6))[..., None], np.array([246, 196, 112.0]), picture)
    phase = (y - swell) * 30 / (1 + 2.0 * (y - WATER)) + 0.35 * np.sin(14 * x + 22 * y) + tremor
    black = np.where(area, cut(phase, 0.46 - 0.22 * light + 0.14 * breaks), black)

    # The grain of the block: the inks lie a little thin here and there.
    grain = 6 * smooth_noise(generator, 3 * x, 60 * y, 1.0)[..., None]
    picture = np.where(black[..., None], INK, picture + grain)
    canvas = Image.fromarray(np.clip(picture, 0, 255).astype(np.uint8))
    return canvas.resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS)


if __name__ == "__main__":
    default = Path(__file__).parents[2] / "jnst" / "data" / "pictures" / "woodcut_hills.jpg"
    paint().save(sys.argv[1] if len(sys.argv) > 1 else default, quality=88, optimize=True)
