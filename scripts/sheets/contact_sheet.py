"""Lays results out as a table: paintings along the top, photos down the left, each result where they cross.

    python scripts/sheets/contact_sheet.py --results out/pairs --content photos/*.jpg --style paintings/*.jpg

The results are files CONTENT-STYLE-WEIGHTS.png in one folder.
"""

import argparse
from pathlib import Path

from PIL import Image

GAP = 6


def fit_cell(picture: Image.Image, width: int, height: int) -> Image.Image:
    """The picture, whole and in its proportions, in the middle of a white cell."""
    scale = min(width / picture.width, height / picture.height)
    size = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
    cell = Image.new("RGB", (width, height), "white")
    corner = (width - size[0]) // 2, (height - size[1]) // 2
    cell.paste(picture.convert("RGB").resize(size, Image.Resampling.LANCZOS), corner)
    return cell


def lay_out(rows: list[list[Image.Image]], width: int, height: int) -> Image.Image:
    """A sheet of equal cells with gaps between them."""
    columns = max(len(row) for row in rows)
    sheet = Image.new("RGB", (columns * (width + GAP) - GAP, len(rows) * (height + GAP) - GAP), "white")
    for down, row in enumerate(rows):
        for across, picture in enumerate(row):
            sheet.paste(fit_cell(picture, width, height), (across * (width + GAP), down * (height + GAP)))
    return sheet


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=Path, required=True, help="folder that measure_style.py --save wrote")
    parser.add_argument("--weights", default="vgg16-caffe", help="whose results")
    parser.add_argument("--content", nargs="+", type=Path, required=True)
    parser.add_argument("--style", nargs="+", type=Path, required=True)
    parser.add_argument("--width", type=int, default=320, help="of a cell, pixels")
    parser.add_argument("--height", type=int, default=240, help="of a cell, pixels")
    parser.add_argument("--output", type=Path, default=Path("out/contact.png"))
    arguments = parser.parse_args()
    corner = Image.new("RGB", (arguments.width, arguments.height), "white")
    rows = [[corner, *(Image.open(path) for path in arguments.style)]]
    for content in arguments.content:
        names = [f"{content.stem}-{style.stem}-{arguments.weights}.png" for style in arguments.style]
        rows.append([Image.open(content), *(Image.open(arguments.results / name) for name in names)])
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    lay_out(rows, arguments.width, arguments.height).save(arguments.output)
    print(arguments.output)


if __name__ == "__main__":
    main()
