"""Makes the pictures of docs/texture-and-inspection.md and docs/film.md from the bundled pictures and weights.

    python scripts/sheets/texture_sheets.py [texture layers film]

Without names all three: docs/pictures/texture.jpg (a painting, a texture of it, four copies of a seamless one),
docs/pictures/layers.jpg (a painting, its feature maps and Gram matrices, and what two layers keep of it) and
docs/pictures/film.webp (the way from one painting into the style of the other).
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image

import jnst
from jnst.images.montage import montage

ROOT = Path(__file__).resolve().parents[2]
PICTURES, OUTPUT = ROOT / "jnst" / "data" / "pictures", ROOT / "docs" / "pictures"


def painting(name: str) -> np.ndarray:
    """A bundled picture."""
    return jnst.read_image(PICTURES / f"{name}.jpg").pixels


def save(name: str, sheet: np.ndarray) -> None:
    """Writes a sheet as JPEG, small enough to be read over a slow line."""
    Image.fromarray(sheet).save(OUTPUT / name, quality=76)
    print(f"{name}: {(OUTPUT / name).stat().st_size} bytes")


def texture() -> None:
    """A painting, a texture, and a seamless texture twice across and twice down."""
    params, config = jnst.load_preset("default", size=256)
    pictures = []
    for name in ("night_road", "woodcut_hills"):
        style = painting(name)
        plain = jnst.texture(params, style, config, size=192, scales=1).image
        seamless = jnst.texture(params, style, config, size=192, scales=1, seamless=True).image
        pictures += [style, plain, np.tile(seamless, (2, 2, 1))]
    save(
        "texture.jpg",
        montage(pictures, labels=["style", "texture", "--seamless, four copies"] * 2, height=230, columns=3),
    )


def layers() -> None:
    """What some layers make of a painting."""
    params, config = jnst.load_preset("default", size=160)
    picture = painting("woodcut_hills")
    seen = jnst.inspect(params, picture, config, layers=["relu1_1", "relu3_1", "relu5_1"])
    sheet = seen.sheet(channels=4, height=110)
    kept = [jnst.reconstruct(params, picture, config, layers=[layer]).image for layer in ("relu2_2", "relu4_2")]
    row = montage([picture, *kept], labels=["picture", "from relu2_2", "from relu4_2"], height=170)
    wide = max(sheet.shape[1], row.shape[1])
    parts = [np.pad(part, ((0, 0), (0, wide - part.shape[1]), (0, 0)), constant_values=255) for part in (sheet, row)]
    save("layers.jpg", np.concatenate(parts))


def film() -> None:
    """The way from one painting into the style of the other."""
    params, config = jnst.load_preset("default", size=200, steps=60)
    animation = jnst.Animation(seconds=1.4, size=108)
    jnst.stylize(params, painting("woodcut_hills"), painting("night_road"), config, animate=animation)
    animation.write(OUTPUT / "film.webp", overwrite=True)
    print(f"film.webp: {(OUTPUT / 'film.webp').stat().st_size} bytes")


if __name__ == "__main__":
    for name in sys.argv[1:] or ("texture", "layers", "film"):
        {"texture": texture, "layers": layers, "film": film}[name]()
