"""Draws docs/pictures/alpha.jpg: two photos that look the same and differ under their alpha, and what becomes of both.

    python scripts/sheets/alpha_sheet.py [--output FILE]

The photo and the painting are the bundled ones. Both results are painted, and must be equal.
"""

import argparse
from pathlib import Path

import numpy as np

import jnst
from jnst.images.montage import montage
from jnst.images.reading import Picture
from jnst.images.resizing import resize
from jnst.images.transparency import lay_on_white

PICTURES = Path(__file__).parents[2] / "jnst" / "data" / "pictures"
SIDE = 224


def main() -> None:
    """Paints both and lays them out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("docs/pictures/alpha.jpg"))
    arguments = parser.parse_args()
    photo = jnst.read_image(PICTURES / "night_road.jpg").pixels
    height = round(SIDE * photo.shape[0] / photo.shape[1])
    photo = resize(photo, height, SIDE, "pillow-lanczos")
    rows, columns = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : SIDE * 1j]
    alpha = (255 * np.clip(8 * (1 - np.hypot(rows, columns)), 0, 1)).astype(np.uint8)
    params, config = jnst.load_preset("default", weights="vgg16-small", size=SIDE, steps=30)
    noise = np.random.default_rng(0).integers(0, 256, photo.shape).astype(np.uint8)
    stored, results = [], []
    for hidden in (np.full_like(photo, (0, 160, 60)), noise):
        pixels = np.where(alpha[..., None] == 0, hidden, photo)
        result = jnst.stylize(params, Picture(pixels, alpha, "PNG", ()), PICTURES / "woodcut_hills.jpg", config)
        stored.append(pixels)
        results.append(result)
    assert np.array_equal(results[0].image, results[1].image)
    cells = []
    for pixels, result in zip(stored, results, strict=True):
        cells += [pixels, lay_on_white(photo, alpha), lay_on_white(result.image, result.alpha)]
    labels = ["colours in the file", "as it is seen", "result"] * 2
    sheet = montage(cells, labels=labels, height=height, columns=3)
    jnst.write_image(arguments.output, sheet, quality=85, overwrite=True)


if __name__ == "__main__":
    main()
