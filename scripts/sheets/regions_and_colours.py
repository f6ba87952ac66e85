"""Draws the masks of docs/regions-and-colours.md, paints its pictures with `jnst stylize`, and lays them out.

    python scripts/sheets/regions_and_colours.py [SHEET …] --photos FOLDER --work FOLDER [--output FOLDER]

SHEET is regions, colours or statistics; without one, all three. The photos are in scikit-image's folder `data`: rocket
(SpaceX, public domain), coffee (Rachel Michetti, CC0), chelsea (Stéfan van der Walt, CC0) and astronaut (NASA, public
domain). The paintings are the bundled ones. Pictures that are in --work already are not painted again.
"""

import argparse
import dataclasses
import subprocess
import sys
from pathlib import Path

import numpy as np
from contact_sheet import lay_out
from PIL import Image, ImageDraw, ImageFilter

import jnst
from jnst.images.sizing import finish
from jnst.images.writing import quantize
from jnst.transfer.scales import prepare_content

PAINTINGS = Path(__file__).resolve().parents[2] / "jnst" / "data" / "pictures"
COLOURS = ("style", "content", "match", "luminance")
PAIRS = (
    ("coffee.png", "night_road.jpg"),
    ("chelsea.png", "woodcut_hills.jpg"),
    ("rocket.jpg", "night_road.jpg"),
    ("astronaut.png", "woodcut_hills.jpg"),
)
SIDE, SMALL, STEPS = 256, 201, 30
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


def paint(output: Path, side: int, *words: object) -> Image.Image:
    """The result of `jnst stylize`, painted unless it is there."""
    if not output.exists():
        command = [sys.executable, "-m", "jnst", "stylize", *map(str, words), "--size", str(side), "-o", str(output)]
        print(*command[2:], flush=True)
        subprocess.run(command, check=True)
    return Image.open(output).convert("RGB")


def regions(photos: Path, work: Path) -> Image.Image:
    """A photo, its masks, its sky in one style and its ground in another, and the same with the rocket kept."""
    photo, night, woodcut = photos / "rocket.jpg", PAINTINGS / "night_road.jpg", PAINTINGS / "woodcut_hills.jpg"
    launch = Image.open(photo).convert("RGB")
    for name, polygons, blur in (("ground", GROUND, 1.5), ("rocket", ROCKET, 1.0)):
        draw_mask(launch.size, polygons, blur).save(work / f"{name}.png")
    masks = ("--mask", "rest", "--mask", work / "ground.png")
    both = paint(work / "regions.png", SIDE, photo, night, woodcut, *masks)
    kept = paint(work / "kept.png", SIDE, photo, night, woodcut, *masks, "--keep", work / "rocket.png")
    map_ = np.zeros((launch.height, launch.width, 3), np.uint8)
    map_[..., 0], map_[..., 1] = (np.asarray(Image.open(work / f"{name}.png")) for name in ("ground", "rocket"))
    return lay_out([[launch, Image.fromarray(map_), both, kept]], SIDE, 171)


def colours(photos: Path, work: Path) -> Image.Image:
    """Of each pair the photo, the painting, and the four ways with colours."""
    params, config = jnst.load_preset("default", size=SMALL, steps=STEPS)
    rows = []
    for name, style in PAIRS:
        photo = np.asarray(crop(Image.open(photos / name).convert("RGB")))
        made = {}
        for way in ("style", "match", "luminance"):
            path = work / f"{Path(name).stem}-{way}.png"
            if not path.exists():
                changed = dataclasses.replace(config, run=dataclasses.replace(config.run, colors=way))
                jnst.stylize(params, photo, PAINTINGS / style, changed).save(path)
            made[way] = Image.open(path).convert("RGB")
        # The photo's colours are put on at the end, so this is the first run once more.
        painted = np.asarray(made["style"], np.float32) / 255
        full, _ = prepare_content(photo, config)
        made["content"] = Image.fromarray(quantize(finish(painted, full, "content")))
        rows.append([Image.fromarray(photo), Image.open(PAINTINGS / style), *(made[way] for way in COLOURS)])
    return lay_out(rows, SMALL, 2 * SMALL // 3)


def statistics(photos: Path, work: Path) -> Image.Image:
    """Of each pair the photo, the painting, and what Gram matrices, or covariance matrices and means, make of it."""
    rows = []
    for name, style in PAIRS:
        photo, row = np.asarray(crop(Image.open(photos / name).convert("RGB"))), []
        for kind, weight in (("gram", 60.0), ("covariance", 15.0)):
            path = work / f"{Path(name).stem}-{kind}.png"
            if not path.exists():
                params, config = jnst.load_preset(
                    "default", size=SMALL, loss__style_statistics=kind, style_weight=weight
                )
                jnst.stylize(params, photo, PAINTINGS / style, config).save(path)
            row.append(Image.open(path).convert("RGB"))
        rows.append([Image.fromarray(photo), Image.open(PAINTINGS / style), *row])
    return lay_out(rows, SMALL, 2 * SMALL // 3)


def crop(photo: Image.Image) -> Image.Image:
    """The middle of the photo, three wide and two high, so that all compile once."""
    height = min(photo.height, 2 * photo.width // 3)
    width, top = 3 * height // 2, (photo.height - height) // 4
    left = (photo.width - width) // 2
    return photo.crop((left, top, left + width, top + height))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sheets", nargs="*", help="of regions, colours and statistics (all)")
    parser.add_argument("--photos", type=Path, required=True, help="folder of scikit-image's pictures")
    parser.add_argument("--work", type=Path, required=True, help="folder for masks and results")
    parser.add_argument("--output", type=Path, default=Path("docs/pictures"))
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    sheets = {"regions": regions, "colours": colours, "statistics": statistics}
    for name in arguments.sheets or sheets:
        path = arguments.output / f"{name}.jpg"
        sheets[name](arguments.photos, arguments.work).save(path, quality=85)
        print(path, path.stat().st_size)


if __name__ == "__main__":
    main()
