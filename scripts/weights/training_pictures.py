"""The pictures that the small network is fitted on: painted by our own programs, or in the public domain or CC0.

Photographs come from the wheels of scikit-image and matplotlib, found by the packages' folders: neither is imported,
nothing is downloaded. Licences are those that scikit-image's documentation of each picture states.
"""

import importlib.util
import sys
from pathlib import Path

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "sheets"))
from paint_style import paint
from painted_pictures import HANDS, finish_surface, paint_pictures, random_hand, random_palette, random_style

# Package, file, licence.
PHOTOGRAPHS = (
    ("skimage", "data/astronaut.png", "public domain, NASA"),
    ("skimage", "data/rocket.jpg", "public domain, SpaceX"),
    ("skimage", "data/hubble_deep_field.jpg", "public domain, NASA"),
    ("skimage", "data/chelsea.png", "CC0, Stefan van der Walt"),
    ("skimage", "data/coffee.png", "CC0, Rachel Michetti"),
    ("skimage", "data/camera.png", "CC0, Lav Varshney"),
    ("skimage", "data/retina.jpg", "CC0, Mikael Häggström"),
    ("skimage", "data/brick.png", "CC0, CC0Textures"),
    ("skimage", "data/gravel.png", "CC0, CC0Textures"),
    ("skimage", "data/grass.png", "CC0, linolafett"),
    ("skimage", "data/clock_motion.png", "public domain, Stefan van der Walt"),
    ("matplotlib", "mpl-data/sample_data/grace_hopper.jpg", "public domain, US Navy"),
)
# Share of each kind of picture, in turn.
_KINDS = ("photograph", "repainted", "painted", "recoloured", "repainted", "painted", "photograph", "repainted")
_PAINTED_SEED = 11


def read_photographs() -> list[np.ndarray]:
    """The photographs, height × width × 3, uint8.

    Raises:
        SystemExit: with the command that installs a missing package.
    """
    pictures = []
    for package, file, _ in PHOTOGRAPHS:
        spec = importlib.util.find_spec(package)
        if spec is None or not spec.submodule_search_locations:
            name = "scikit-image" if package == "skimage" else package
            raise SystemExit(f"{package} is not installed; `pip install --no-deps {name}` brings its pictures")
        with Image.open(Path(spec.submodule_search_locations[0]) / file) as image:
            pictures.append(np.asarray(image.convert("RGB")))
    return pictures


def training_pictures(count: int, size: int, seed: int) -> np.ndarray:
    """`count` square crops, count × size × size × 3, uint8; the same for the same arguments and package versions.

    Photographs at several scales, the same in other colours, the same repainted by the strokes, dabs and hatchings of
    `painted_pictures.py`, pictures that are painted altogether, and the bundled style picture.
    """
    photographs = read_photographs()
    road = np.asarray(paint().convert("RGB"))
    pictures = np.empty((count, size, size, 3), np.uint8)
    for index in range(count):
        rng = np.random.default_rng([seed, index])
        kind = _KINDS[index % len(_KINDS)]
        if kind == "painted":
            if index % 16 == 2:
                pictures[index] = _crop(road, rng, size)
            else:
                pictures[index] = paint_pictures(_PAINTED_SEED, range(index, index + 1), 1, size)[0, 0]
            continue
        picture = _crop(photographs[int(rng.integers(len(photographs)))], rng, size)
        if kind == "recoloured" or (kind == "repainted" and rng.random() < 0.7):
            picture = _recolour(picture, rng)
        if kind == "repainted":
            picture = _repaint(picture, rng)
        pictures[index] = picture
    return pictures


def _crop(picture: np.ndarray, rng: np.random.Generator, size: int) -> np.ndarray:
    """A square part of the picture, from its whole height to the size itself, mirrored half of the time."""
    height, width = picture.shape[:2]
    shorter = min(height, width)
    side = round(min(shorter, size * (shorter / size) ** rng.random())) if shorter > size else shorter
    top, left = (int(rng.integers(length - side + 1)) for length in (height, width))
    part = Image.fromarray(picture[top : top + side, left : left + side]).resize((size, size), Image.Resampling.LANCZOS)
    return np.asarray(part)[:, :: int(rng.choice([1, -1]))]


def _recolour(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The picture with the mean and covariance of a random palette's colours."""
    pixels = picture.reshape(-1, 3) / 255
    palette = random_palette(rng)
    covariance = np.cov(pixels.T) + 1e-4 * np.eye(3)
    wanted = np.cov(palette.T) + 1e-3 * np.eye(3)
    matrix = np.linalg.cholesky(wanted) @ np.linalg.inv(np.linalg.cholesky(covariance))
    moved = (pixels - pixels.mean(0)) @ matrix.T + palette.mean(0)
    return np.rint(255 * np.clip(moved, 0, 1)).astype(np.uint8).reshape(picture.shape)


def _repaint(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The picture in strokes, dabs, hatching and so on."""
    unit = picture / 255
    names = rng.choice(["strokes", "strokes", "strokes", *HANDS], size=int(rng.integers(1, 3)))
    for name in map(str, names):
        unit = np.clip(HANDS[name](rng, random_hand(rng, name), unit, random_palette(rng)), 0, 1)
    return np.rint(255 * finish_surface(rng, random_style(rng).surface, unit)).astype(np.uint8)
