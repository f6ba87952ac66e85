"""Pictures painted by procedure: the training material of the bundled network. No photograph, nobody else's picture.

A *style* is a way of painting: a palette, a kind of composition, one or two hands (strokes along a flow field, dabs,
hatching, stipple, tiles, stripes, contours, streaks), their scale and direction, a surface. A *picture* is one
composition painted in one style. Both are drawn from seeds, so that picture k of style s is the same everywhere
with the same NumPy and Pillow.

Pictures are height × width × 3, floating point in [0, 1] inside, uint8 in what `paint_pictures` returns.
"""

import colorsys
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageDraw

SUPERSAMPLE = 2  # Pillow draws without antialiasing; lines are drawn larger and averaged down


class Style(NamedTuple):
    """How to paint, without what is painted."""

    palette: np.ndarray  # colours × 3
    composition: str
    hands: tuple[tuple[str, dict[str, Any]], ...]
    surface: dict[str, float]


def coloured_noise(rng: np.random.Generator, size: int, exponent: float, *, stretch: float = 1.0, angle: float = 0.0):
    """Gaussian noise whose amplitude falls as frequency^−exponent, zero mean, unit variance, size × size."""
    vertical, horizontal = np.meshgrid(np.fft.fftfreq(size), np.fft.fftfreq(size), indexing="ij")
    along = np.cos(angle) * horizontal + np.sin(angle) * vertical
    across = np.cos(angle) * vertical - np.sin(angle) * horizontal
    radius = np.hypot(along * stretch, across / stretch)
    radius[0, 0] = 1.0
    spectrum = np.fft.fft2(rng.standard_normal((size, size))) * radius**-exponent
    spectrum[0, 0] = 0.0
    field = np.fft.ifft2(spectrum).real
    return field / (field.std() + 1e-9)


def random_palette(rng: np.random.Generator) -> np.ndarray:
    """Three to seven colours, from nearly grey through harmonies of one or two hues to anything."""
    count = int(rng.integers(3, 8))
    hue, spread = rng.random(), rng.choice([0.03, 0.1, 0.5])
    saturation = rng.uniform(0.05, 1.0)
    colours = []
    for index in range(count):
        turn = 0.5 * (index % 2) * (rng.random() < 0.5)
        value = (index + rng.random()) / count
        colours.append(
            colorsys.hsv_to_rgb((hue + turn + spread * rng.uniform(-1, 1)) % 1, saturation * rng.random() ** 0.5, value)
        )
    return np.asarray(colours)


def through_palette(field: np.ndarray, palette: np.ndarray, *, bands: bool) -> np.ndarray:
    """The field's ranks, looked up in the palette, in bands or blended."""
    ranks = np.argsort(np.argsort(field, axis=None)).reshape(field.shape) / field.size
    position = ranks * (len(palette) - 1)
    if bands:
        return palette[np.rint(position).astype(int)]
    low = np.minimum(position.astype(int), len(palette) - 2)
    share = (position - low)[..., None]
    return palette[low] * (1 - share) + palette[low + 1] * share


def random_style(rng: np.random.Generator) -> Style:
    """A way of painting. Lengths are in pixels of the finished picture."""
    composition = str(rng.choice(["leaves", "polygons", "noise", "bands", "gradient", "mixed"]))
    names = ["strokes"] * 5 + ["streaks", "dabs", "hatching", "stipple", "tiles", "stripes", "contours"]
    count = int(rng.choice([0, 1, 1, 1, 2]))
    hands = tuple((str(name), random_hand(rng, str(name))) for name in rng.choice(names, size=count, replace=False))
    surface = {
        "grain": float(rng.choice([0.0, 0.0, 0.02, 0.06])),
        "grain_exponent": float(rng.uniform(0, 1)),
        "relief": float(rng.choice([0.0, 0.0, 0.3, 0.8])),
        "weave": float(rng.choice([0.0] * 7 + [0.08])),
        "weave_period": float(rng.uniform(2.5, 6)),
        "blur": float(rng.choice([0.0, 0.0, 0.0, 1.0])),
    }
    return Style(random_palette(rng), composition, hands, surface)


def random_hand(rng: np.random.Generator, name: str) -> dict[str, Any]:
    """The constants of one hand; those that it has no use for are drawn all the same, to keep seeds in step."""
    width = float(np.exp(rng.uniform(np.log(1.2), np.log(10))))
    return {
        "width": width,
        "length": width * float(np.exp(rng.uniform(np.log(2), np.log(12)))),
        "flow": str(rng.choice(["constant", "drift", "swirl", "edges", "rings", "free"])),
        "angle": float(rng.uniform(0, np.pi)),
        "wander": float(rng.uniform(0.1, 1.5)),
        "jitter": float(rng.choice([0.02, 0.08, 0.2])),
        "outline": float(rng.choice([0.0, 0.0, 0.25, 0.6])),
        "cover": float(rng.uniform(0.6, 2.5)),
        "crossed": bool(rng.random() < 0.5),
        "hard": bool(rng.random() < 0.6),
        "vortices": int(rng.integers(1, 6)),
        "ink": float(rng.uniform(0.35, 1.0)),
    }


# ---- what is painted ------------------------------------------------------------------------------------------------


def compose(rng: np.random.Generator, style: Style, size: int) -> np.ndarray:
    """A composition in the style's palette: shapes that hide each other, clouds, bands, gradients."""
    kind = style.composition
    if kind == "noise":
        return through_palette(coloured_noise(rng, size, rng.uniform(0.8, 2.2)), style.palette, bands=False)
    if kind == "bands":
        field = coloured_noise(rng, size, rng.uniform(1.4, 2.4), stretch=rng.uniform(1, 2), angle=rng.uniform(0, np.pi))
        return through_palette(field, style.palette, bands=True)
    if kind == "gradient":
        return through_palette(_gradient(rng, size), style.palette, bands=False)
    ground = through_palette(_gradient(rng, size), style.palette, bands=False)
    picture = _shapes(rng, style, ground, size, polygons=kind == "polygons")
    if kind == "mixed":
        veil = through_palette(coloured_noise(rng, size, 1.3), style.palette, bands=False)
        picture = 0.6 * picture + 0.4 * veil
    return picture


def _gradient(rng: np.random.Generator, size: int) -> np.ndarray:
    vertical, horizontal = np.mgrid[0:size, 0:size] / size
    angle = rng.uniform(0, 2 * np.pi)
    field = np.cos(angle) * horizontal + np.sin(angle) * vertical
    if rng.random() < 0.5:
        top, left = rng.random(2)
        field = field + 2 * np.hypot(vertical - top, horizontal - left)
    return field + 0.1 * coloured_noise(rng, size, 2.0)


def _shapes(rng: np.random.Generator, style: Style, ground: np.ndarray, size: int, *, polygons: bool) -> np.ndarray:
    """Dead leaves: shapes of sizes that follow a power law, each hiding what lies under it."""
    canvas, draw = _canvas(ground)
    for _ in range(int(rng.integers(15, 90))):
        radius = min(size / 2.5, 3 * rng.random() ** (-1 / 1.3)) * SUPERSAMPLE
        top, left = rng.random(2) * size * SUPERSAMPLE
        colour = _ink(style.palette[rng.integers(len(style.palette))] + rng.normal(0, 0.05, 3))
        corners = int(rng.integers(3, 7)) if polygons or rng.random() < 0.3 else 24
        turns = np.sort(rng.random(corners)) if corners < 24 else np.arange(24) / 24
        tilt, flat = rng.uniform(0, np.pi), rng.uniform(0.3, 1)
        x, y = radius * np.cos(2 * np.pi * turns), radius * flat * np.sin(2 * np.pi * turns)
        points = np.stack([left + np.cos(tilt) * x - np.sin(tilt) * y, top + np.sin(tilt) * x + np.cos(tilt) * y], 1)
        draw.polygon([tuple(point) for point in points], fill=colour)
    return _finish(canvas)


# ---- how it is painted ----------------------------------------------------------------------------------------------


def flow_field(rng: np.random.Generator, hand: dict[str, Any], picture: np.ndarray) -> np.ndarray:
    """The angle of strokes at every pixel, radians, size × size."""
    size = len(picture)
    vertical, horizontal = np.mgrid[0:size, 0:size].astype(float)
    kind = hand["flow"]
    if kind == "constant":
        return np.full((size, size), hand["angle"]) + 0.1 * coloured_noise(rng, size, 2.0)
    if kind == "drift":
        return hand["angle"] + hand["wander"] * coloured_noise(rng, size, 2.2)
    if kind == "free":
        return rng.uniform(0, np.pi, (size, size))
    if kind == "edges":
        luminance = _blur(picture.mean(2), 3)
        down, right = np.gradient(luminance)
        return np.arctan2(right, -down + 1e-6)  # along the edge, across the gradient
    turns = np.zeros((size, size), complex)
    for _ in range(hand["vortices"] if kind == "swirl" else 1):
        top, left = rng.uniform(-0.2, 1.2, 2) * size
        away = (horizontal - left) + 1j * (vertical - top)
        reach = 1.0 if kind == "rings" else np.exp(-np.abs(away) / (0.35 * size))
        turns += reach * 1j * away / (np.abs(away) + 1e-6) * rng.choice([-1, 1])
    return np.angle(turns + 1e-6)


def paint_strokes(rng: np.random.Generator, hand: dict[str, Any], picture: np.ndarray, palette: np.ndarray):
    """Curved strokes along the flow, each of one colour taken where it begins; some with a lit or shaded side."""
    size = len(picture)
    angles = flow_field(rng, hand, picture)
    canvas, draw = _canvas(_blur(picture, 2))
    width, length = hand["width"], min(hand["length"], size / 2)
    count = int(np.clip(hand["cover"] * size**2 / (width * length), 30, 1500))
    segments = int(np.clip(length / max(width, 2), 2, 8))
    position = rng.random((count, 2)) * size
    paths = [position]
    for _ in range(segments):
        row, column = np.clip(paths[-1].T.astype(int), 0, size - 1)
        angle = angles[row, column]
        paths.append(paths[-1] + np.stack([np.sin(angle), np.cos(angle)], 1) * length / segments)
    row, column = np.clip(paths[segments // 2].T.astype(int), 0, size - 1)
    colours = picture[row, column] + hand["jitter"] * rng.standard_normal((count, 1))
    colours += 0.5 * hand["jitter"] * rng.standard_normal((count, 3))
    colours = np.where(rng.random((count, 1)) < 0.1, palette[rng.integers(len(palette), size=count)], colours)
    points = np.stack(paths, 1)[:, :, ::-1] * SUPERSAMPLE  # count × points × (x, y)
    side = width * SUPERSAMPLE * 0.3
    thick = np.maximum(1, np.rint(width * SUPERSAMPLE * rng.uniform(0.7, 1.3, count))).astype(int)
    for line, colour, pen in zip(points, colours, thick, strict=True):
        flat = [tuple(point) for point in line]
        if hand["outline"]:
            shade = colour * (1 - hand["outline"])
            draw.line([(x + side, y + side) for x, y in flat], fill=_ink(shade), width=pen, joint="curve")
        draw.line(flat, fill=_ink(colour), width=pen, joint="curve")
    return _finish(canvas)


def paint_streaks(rng: np.random.Generator, hand: dict[str, Any], picture: np.ndarray, palette: np.ndarray):
    """Wet paint drawn along the flow: the mean of the noisy picture over short stream lines."""
    size = len(picture)
    angles = flow_field(rng, hand, picture)
    noisy = picture + (0.3 + hand["jitter"]) * _blur(rng.standard_normal((size, size, 1)), hand["width"] / 3) * 2
    total = np.zeros_like(picture)
    steps = int(np.clip(hand["length"], 4, 24))
    for direction in (1, -1):
        row, column = np.mgrid[0:size, 0:size].astype(float)
        for _ in range(steps // 2):
            inside = np.clip(row, 0, size - 1).astype(int), np.clip(column, 0, size - 1).astype(int)
            total += noisy[inside]
            row += direction * np.sin(angles[inside])
            column += direction * np.cos(angles[inside])
    return np.clip(total / (2 * (steps // 2)), 0, 1)


def paint_dabs(rng: np.random.Generator, hand: dict[str, Any], picture: np.ndarray, palette: np.ndarray):
    """Separate touches of the brush on a ground: points or short ellipses on a loose grid."""
    size = len(picture)
    spacing = max(hand["width"] * (1.2 if hand["hard"] else 0.8), 2.0)
    canvas, draw = _canvas(np.broadcast_to(palette[0], picture.shape) if hand["hard"] else picture)
    grid = np.stack(np.meshgrid(np.arange(0, size, spacing), np.arange(0, size, spacing)), -1).reshape(-1, 2)
    grid = rng.permutation(grid + rng.normal(0, 0.3 * spacing, grid.shape))
    radius = 0.55 * hand["width"] * SUPERSAMPLE
    for x, y in grid:
        colour = picture[int(np.clip(y, 0, size - 1)), int(np.clip(x, 0, size - 1))]
        if rng.random() < 0.15:
            colour = palette[rng.integers(len(palette))]
        reach = radius * (1.8 if hand["crossed"] else 1.0)
        left, top = x * SUPERSAMPLE, y * SUPERSAMPLE
        box = (left - reach, top - radius, left + reach, top + radius)
        draw.ellipse(box, fill=_ink(colour + rng.normal(0, hand["jitter"], 3)))
    return _finish(canvas)


def paint_hatching(rng: np.random.Generator, hand: dict[str, Any], picture: np.ndarray, palette: np.ndarray):
    """Parallel lines of ink, closer or broader where the picture is dark; a second set across where it is darkest."""
    size = len(picture)
    vertical, horizontal = np.mgrid[0:size, 0:size].astype(float)
    luminance = _blur(picture.mean(2), 1)
    ink, paper = palette[0], (0.5 * picture + 0.5 * palette[-1] if hand["hard"] else picture)
    result = paper.copy()
    period = max(3.0, hand["width"] * 1.5)
    wobble = 0.6 * coloured_noise(rng, size, 1.8)
    for turn in (0.0, np.pi / 2) if hand["crossed"] else (0.0,):
        angle = hand["angle"] + turn
        phase = (np.cos(angle) * horizontal + np.sin(angle) * vertical) / period * 2 * np.pi + wobble
        tone = luminance if turn == 0.0 else luminance + 0.25
        mask = _edge(np.cos(phase) - (2.2 * tone - 0.9), 0.35)[..., None] * hand["ink"]
        result = result * (1 - mask) + ink * mask
    return result


def paint_stipple(rng: np.random.Generator, hand: dict[str, Any], picture: np.ndarray, palette: np.ndarray):
    """Dots of ink, denser where the picture is dark."""
    size = len(picture)
    canvas, draw = _canvas(0.5 * picture + 0.5 * palette[-1] if hand["hard"] else picture)
    count = int(np.clip(0.5 * size**2 / hand["width"] ** 2, 40, 2500))
    luminance = picture.mean(2)
    for x, y, chance, grow in zip(*(rng.random(count) for _ in range(4)), strict=True):
        if luminance[int(y * size), int(x * size)] < chance:
            radius = hand["width"] * (0.3 + 0.3 * grow) * SUPERSAMPLE
            left, top = x * size * SUPERSAMPLE, y * size * SUPERSAMPLE
            draw.ellipse((left - radius, top - radius, left + radius, top + radius), fill=_ink(palette[0]))
    return _finish(canvas)


def paint_tiles(rng: np.random.Generator, hand: dict[str, Any], picture: np.ndarray, palette: np.ndarray):
    """Cells of a mosaic or leaded glass, one colour each, with or without a joint."""
    size = len(picture)
    side = max(5.0, hand["width"] * 2)
    grid = np.stack(np.meshgrid(np.arange(0, size + side, side), np.arange(0, size + side, side)), -1).reshape(-1, 2)
    seeds = grid + rng.normal(0, (0.35 if hand["crossed"] else 0.08) * side, grid.shape)
    vertical, horizontal = np.mgrid[0:size, 0:size].astype(np.float32)
    nearest = np.full((size, size), np.inf, np.float32)
    second, owner = nearest.copy(), np.zeros((size, size), int)
    for index, (x, y) in enumerate(seeds):
        top, bottom = max(0, int(y - 3 * side)), int(y + 3 * side)
        left, right = max(0, int(x - 3 * side)), int(x + 3 * side)
        area = np.s_[top:bottom, left:right]
        distance = np.hypot(vertical[area] - y, horizontal[area] - x)
        closer = distance < nearest[area]
        second[area] = np.where(closer, nearest[area], np.minimum(second[area], distance))
        owner[area] = np.where(closer, index, owner[area])
        nearest[area] = np.where(closer, distance, nearest[area])
    place = np.clip(seeds.astype(int), 0, size - 1)
    colours = picture[place[:, 1], place[:, 0]] + rng.normal(0, hand["jitter"], (len(seeds), 3))
    joint = _edge(0.12 * side - (second - nearest), 1.0)[..., None] * hand["ink"] * hand["hard"]
    return colours[owner] * (1 - joint) + palette[0] * joint


def paint_stripes(rng: np.random.Generator, hand: dict[str, Any], picture: np.ndarray, palette: np.ndarray):
    """Stripes or waves, straight, bent or ringed, between the picture and a colour."""
    size = len(picture)
    vertical, horizontal = np.mgrid[0:size, 0:size].astype(float)
    distance = np.cos(hand["angle"]) * horizontal + np.sin(hand["angle"]) * vertical
    if hand["flow"] == "rings":
        distance = np.hypot(vertical - rng.uniform(0, size), horizontal - rng.uniform(0, size))
    distance = distance + hand["width"] * hand["wander"] * coloured_noise(rng, size, 2.0)
    wave = np.cos(2 * np.pi * distance / max(3.0, 2 * hand["width"]))
    mask = (_edge(wave, 0.4) if hand["hard"] else 0.5 + 0.5 * wave)[..., None] * hand["ink"]
    return picture * (1 - mask) + palette[len(palette) // 2] * mask


def paint_contours(rng: np.random.Generator, hand: dict[str, Any], picture: np.ndarray, palette: np.ndarray):
    """Lines of ink along the edges of flat areas, as in a woodcut or leaded glass."""
    luminance = _blur(picture, 0.5 + hand["width"] / 4)
    down, right = np.gradient(luminance, axis=(0, 1))
    strength = np.sqrt((down**2 + right**2).sum(2))
    mask = _edge(strength / (strength.mean() + 1e-6) - 1.5, 0.7)[..., None] * hand["ink"]
    return picture * (1 - mask) + palette[0] * mask


HANDS = {
    "strokes": paint_strokes,
    "streaks": paint_streaks,
    "dabs": paint_dabs,
    "hatching": paint_hatching,
    "stipple": paint_stipple,
    "tiles": paint_tiles,
    "stripes": paint_stripes,
    "contours": paint_contours,
}


def finish_surface(rng: np.random.Generator, surface: dict[str, float], picture: np.ndarray) -> np.ndarray:
    """Light on thick paint, the weave of the canvas, grain, a soft focus."""
    size = len(picture)
    if surface["blur"]:
        picture = _blur(picture, surface["blur"])
    if surface["relief"]:
        height = _blur(picture.mean(2), 0.7)
        down, right = np.gradient(height)
        picture = picture + surface["relief"] * (down + right)[..., None]
    if surface["weave"]:
        vertical, horizontal = np.mgrid[0:size, 0:size] * (2 * np.pi / surface["weave_period"])
        picture = picture + surface["weave"] * (np.cos(vertical) * np.cos(horizontal))[..., None]
    if surface["grain"]:
        picture = picture + surface["grain"] * coloured_noise(rng, size, surface["grain_exponent"])[..., None]
    return np.clip(picture, 0, 1)


def paint_picture(style: Style, rng: np.random.Generator, size: int) -> np.ndarray:
    """One picture in a style, size × size × 3 in [0, 1]."""
    picture = compose(rng, style, size)
    for name, hand in style.hands:
        picture = np.clip(HANDS[name](rng, hand, np.clip(picture, 0, 1), style.palette), 0, 1)
    return finish_surface(rng, style.surface, picture)


def paint_pictures(seed: int, styles: range, each: int, size: int) -> np.ndarray:
    """uint8 pictures, styles × each × size × size × 3. Picture k of style s depends on the seed, s, k and the size."""
    pictures = np.empty((len(styles), each, size, size, 3), np.uint8)
    for row, index in enumerate(styles):
        style = random_style(np.random.default_rng([seed, index]))
        for column in range(each):
            rng = np.random.default_rng([seed, index, 1 + column])
            pictures[row, column] = np.rint(255 * paint_picture(style, rng, size))
    return pictures


# ---- small tools ----------------------------------------------------------------------------------------------------


def _ink(colour: np.ndarray) -> tuple[int, int, int]:
    red, green, blue = np.clip(255 * colour, 0, 255).astype(int)
    return int(red), int(green), int(blue)


def _canvas(picture: np.ndarray) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    large = np.clip(picture, 0, 1).repeat(SUPERSAMPLE, 0).repeat(SUPERSAMPLE, 1)
    canvas = Image.fromarray(np.rint(255 * large).astype(np.uint8))
    return canvas, ImageDraw.Draw(canvas)


def _finish(canvas: Image.Image) -> np.ndarray:
    return np.asarray(canvas.reduce(SUPERSAMPLE), np.float64) / 255


def _edge(value: np.ndarray, softness: float) -> np.ndarray:
    """A step from 0 to 1 at zero, as soft as a drawn line's edge."""
    return np.clip(0.5 + value / (2 * softness), 0, 1)


def _blur(picture: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian blur with reflected borders, along the first two axes."""
    reach = max(1, int(3 * sigma))
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / max(sigma, 1e-3)) ** 2)
    kernel /= kernel.sum()
    for axis in (0, 1):
        pads = [(reach, reach) if index == axis else (0, 0) for index in range(picture.ndim)]
        padded = np.pad(picture, pads, mode="symmetric")
        length = picture.shape[axis]
        parts = [weight * np.take(padded, range(k, k + length), axis) for k, weight in enumerate(kernel)]
        picture = np.sum(parts, axis=0)
    return picture
