"""Draws the masks of docs/regions-and-colours.md, paints its pictures with `jnst stylize`, and lays them out.

    python scripts/sheets/regions_and_colours.py --launch rocket.jpg --cup coffee.png --work F [--output docs/pictures]

The photos are those that scikit-image calls rocket (SpaceX, public domain) and coffee (Rachel Michetti, CC0); the
paintings are the bundled ones. Pictures that are in --work already are not painted again.
"""

import argparse
import subprocess
import sys
from pathlib import Path

import numpy as np
from contact_sheet import lay_out
from PIL import Image, ImageDraw, ImageFilter

PAINTINGS = Path(__file__).resolve().parents[2] / "jnst" / "data" / "pictures"
COLOURS = ("style", "content", "match", "luminance")
SIDE = 256
# On the photo of 640 × 427 pixels: what stands on the ground, and the rocket.
GROUND = [
    [(0, 427), (0, 352), (640, 352), (640, 427)],
    [(0, 427), (0, 270), (46, 0), (92, 0), (84, 427)],
    [(556, 0), (604, 0), (640, 170), (640, 427), (580, 427)],
    [(168, 427), (190, 190), (196, 120), (206, 120), (206, 200), (204, 427)],
    [(440, 427), (440, 200), (442, 120), (452, 120), (460, 200), (482, 427)],
    [(286, 427), (286, 362), (358, 362), (358, 427)],
]
ROCKET = [[(308, 405), (308, 175), (311, 140), (321, 124), (332, 140), (336, 175), (336, 405)]]


def draw_mask(size: tuple[int, int], polygons: list[list[tuple[int, int]]], blur: float) -> Image.Image:
    """Polygons in white on black, their borders softened."""
    mask = Image.new("L", size)
    for polygon in polygons:
        ImageDraw.Draw(mask).polygon(polygon, fill=255)
    return mask.filter(ImageFilter.GaussianBlur(blur))


def paint(output: Path, *words: object) -> Image.Image:
    """The result of `jnst stylize`, painted unless it is there."""
    if not output.exists():
        command = [sys.executable, "-m", "jnst", "stylize", *map(str, words), "--size", str(SIDE), "-o", str(output)]
        print(*command[2:], flush=True)
        subprocess.run(command, check=True)
    return Image.open(output).convert("RGB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--launch", type=Path, required=True, help="photo of 640 × 427 pixels")
    parser.add_argument("--cup", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True, help="folder for masks and results")
    parser.add_argument("--output", type=Path, default=Path("docs/pictures"))
    arguments = parser.parse_args()
    work, night, woodcut = arguments.work, PAINTINGS / "night_road.jpg", PAINTINGS / "woodcut_hills.jpg"
    work.mkdir(parents=True, exist_ok=True)
    launch, cup = (Image.open(path).convert("RGB") for path in (arguments.launch, arguments.cup))
    for name, polygons, blur in (("ground", GROUND, 1.5), ("rocket", ROCKET, 1.0)):
        draw_mask(launch.size, polygons, blur).save(work / f"{name}.png")
    masks = ("--mask", "rest", "--mask", work / "ground.png")
    both = paint(work / "regions.png", arguments.launch, night, woodcut, *masks)
    kept = paint(work / "kept.png", arguments.launch, night, woodcut, *masks, "--keep", work / "rocket.png")
    map_ = np.zeros((launch.height, launch.width, 3), np.uint8)
    map_[..., 0], map_[..., 1] = (np.asarray(Image.open(work / f"{name}.png")) for name in ("ground", "rocket"))
    row = [launch, Image.fromarray(map_), both, kept]
    ways = [paint(work / f"{colors}.png", arguments.cup, night, "--colors", colors) for colors in COLOURS]
    sheets = {
        "regions.jpg": [row],
        "colours.jpg": [[cup, Image.open(night).convert("RGB"), ways[0]], ways[1:]],
    }
    for name, rows in sheets.items():
        lay_out(rows, SIDE, 171).save(arguments.output / name, quality=85)
        print(arguments.output / name, (arguments.output / name).stat().st_size)


if __name__ == "__main__":
    main()
