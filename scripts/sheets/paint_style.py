#!/usr/bin/env python3
"""Paints the bundled style picture: curved strokes along a swirling flow field, coarse to fine, from a fixed seed.

    python scripts/sheets/paint_style.py [OUT.jpg]

The picture is ours from the first stroke to the last: a flow field made of vortices, a palette that follows the height
in the picture and the distance to a few lamps, and bristled strokes laid over one another.
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

HEIGHT, WIDTH, SUPERSAMPLE, SEED = 480, 600, 2, 7
# Sky from above to the horizon, then the land; red, green, blue.
SKY = np.array([(18, 32, 84), (30, 66, 140), (58, 118, 178), (122, 172, 186), (214, 186, 110)], float)
LAND = np.array([(120, 88, 42), (62, 92, 62), (26, 58, 66), (20, 32, 56)], float)
LAMP = np.array([(250, 226, 140), (240, 176, 58), (206, 112, 40)], float)
# Centre (x, y, in picture heights), strength and radius of each vortex; the first three carry a lamp.
VORTICES = ((0.28, 0.30, 1.6, 0.16), (0.86, 0.20, -1.4, 0.13), (1.02, 0.56, 0.8, 0.08), (0.58, 0.46, -1.2, 0.22))
HORIZON = 0.72


def flow(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Unit direction of the strokes at (x, y), in picture heights: a waving drift plus the vortices."""
    u, v = np.full_like(x, 0.9), 0.35 * np.sin(5.0 * x + 2.0 * y) + 0.25 * np.cos(9.0 * x)
    for centre_x, centre_y, strength, radius in VORTICES:
        dx, dy = x - centre_x, y - centre_y
        fall = strength * np.exp(-(dx**2 + dy**2) / (2 * radius**2)) / radius
        u, v = u - 3.0 * fall * dy, v + 3.0 * fall * dx
    land = y > HORIZON
    v = np.where(land, 0.5 * np.sin(7.0 * x), v)
    length = np.hypot(u, v) + 1e-9
    return u / length, v / length


def blend(palette: np.ndarray, position: float) -> np.ndarray:
    """Colour at a position from 0 to 1 along a palette."""
    index = np.clip(position, 0, 1) * (len(palette) - 1)
    low = int(min(index, len(palette) - 2))
    return palette[low] + (index - low) * (palette[low + 1] - palette[low])


def colour(x: float, y: float, generator: np.random.Generator) -> np.ndarray:
    """Colour of a stroke that begins at (x, y), a little off on purpose."""
    for centre_x, centre_y, _, radius in VORTICES[:3]:
        near = np.hypot(x - centre_x, y - centre_y) / radius
        if near < 1.0 + 0.25 * generator.normal():
            return blend(LAMP, near) + generator.normal(0, 10, 3)
    ridge = HORIZON + 0.05 * np.sin(6 * x) + 0.02 * np.sin(17 * x)
    tone = 0.12 * generator.normal()
    base = blend(SKY, y / ridge + tone) if y < ridge else blend(LAND, (y - ridge) / (1 - ridge) + tone)
    return base + 14 * generator.normal() + generator.normal(0, 8, 3)


def stroke(
    draw: ImageDraw.ImageDraw, x: float, y: float, length: float, width: float, generator: np.random.Generator
) -> None:
    """One curved stroke made of bristles, each its own shade."""
    scale = HEIGHT * SUPERSAMPLE
    points, steps = [(x, y)], 10
    for _ in range(steps):
        u, v = flow(np.array(points[-1][0]), np.array(points[-1][1]))
        points.append((points[-1][0] + float(u) * length / steps, points[-1][1] + float(v) * length / steps))
    path = np.array(points)
    along = np.gradient(path, axis=0)
    normal = np.stack([-along[:, 1], along[:, 0]], 1) / (np.hypot(*along.T)[:, None] + 1e-9)
    base = colour(x, y, generator)
    bristles = max(3, round(width * scale / 3))
    taper = np.sin(np.linspace(0.25, np.pi - 0.15, steps + 1))[:, None]
    for offset in np.linspace(-0.5, 0.5, bristles):
        # A ridge of paint: lighter on one flank, darker on the other.
        shade = base + 26 * offset + generator.normal(0, 12)
        line = (path + normal * offset * width * taper) * scale
        draw.line([tuple(point) for point in line], fill=tuple(np.clip(shade, 0, 255).astype(int)), width=4)


def paint(seed: int = SEED) -> Image.Image:
    """The picture."""
    generator = np.random.default_rng(seed)
    canvas = Image.new("RGB", (WIDTH * SUPERSAMPLE, HEIGHT * SUPERSAMPLE), (24, 36, 80))
    draw = ImageDraw.Draw(canvas)
    for count, length, width in ((900, 0.16, 0.034), (2600, 0.10, 0.019), (4200, 0.06, 0.011)):
        places = generator.random((count, 2)) * (WIDTH / HEIGHT + 0.2, 1.2) - 0.1
        for x, y in places:
            stroke(draw, x, y, length * generator.uniform(0.6, 1.3), width, generator)
    return canvas.resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS)


if __name__ == "__main__":
    default = Path(__file__).parents[2] / "jnst" / "data" / "pictures" / "night_road.jpg"
    paint().save(sys.argv[1] if len(sys.argv) > 1 else default, quality=88, optimize=True)
