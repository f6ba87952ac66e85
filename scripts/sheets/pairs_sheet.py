"""Paints every photo in the style of every painting and lays the results out as one contact sheet.

python scripts/sheets/pairs_sheet.py --content photos/ --style paintings/ --size 256 --output out/pairs.png
python scripts/sheets/pairs_sheet.py --content a.jpg --style b.jpg --strengths 0.2 0.5 0.8 --weights vgg16.h5
python scripts/sheets/pairs_sheet.py --content a.jpg --style b.jpg --set loss.style_statistics=covariance

Paintings run along the top and photos down the left; several strengths stand beside each other under their painting.
Each picture is also saved on its own beside the sheet, in a folder of the sheet's name; what lies there already is laid
out and not painted again.
"""

import argparse
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # XLA tells at length of each program that it kept

import jax
import numpy as np
from PIL import Image, ImageDraw

import jnst

sys.path.insert(0, str(Path(__file__).parent))
from contact_sheet import lay_out

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff")


def find_pictures(places: list[Path]) -> list[Path]:
    """The files themselves, and the pictures in folders, by name.

    Raises:
        SystemExit: where there is no picture at all.
    """
    found: list[Path] = []
    for place in places:
        if place.is_dir():
            found += sorted(path for path in place.iterdir() if path.suffix.lower() in SUFFIXES)
        else:
            found.append(place)
    if not found:
        raise SystemExit(f"no picture in {', '.join(map(str, places))}; expected files, or folders with JPEG or PNG")
    return found


def read_setting(text: str) -> tuple[str, Any]:
    """NAME=VALUE as what `jnst.load_preset` takes: numbers and lists as JSON has them, all else as text."""
    name, _, value = text.partition("=")
    try:
        return name.replace(".", "__"), json.loads(value)
    except ValueError:
        return name.replace(".", "__"), value


def labelled(picture: Image.Image, text: str) -> Image.Image:
    """The picture with a line of text above it."""
    out = Image.new("RGB", (picture.width, picture.height + 14), "white")
    out.paste(picture, (0, 14))
    ImageDraw.Draw(out).text((2, 1), text, fill="black")
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--content", nargs="+", type=Path, required=True, help="photos, or folders of them")
    parser.add_argument("--style", nargs="+", type=Path, required=True, help="paintings, or folders of them")
    parser.add_argument("--preset", default="default")
    parser.add_argument("--weights", default="auto", help="a name or a file")
    parser.add_argument("--size", type=int, default=256, help="longer side of a result, pixels")
    parser.add_argument("--iterations", type=int, help="steps at each scale; the preset's own where left out")
    parser.add_argument("--strengths", nargs="+", type=float, default=[0.5])
    parser.add_argument("--set", nargs="+", default=[], metavar="NAME=VALUE", help="other settings than the preset's")
    parser.add_argument("--width", type=int, default=256, help="of a cell, pixels")
    parser.add_argument("--height", type=int, default=206, help="of a cell, pixels")
    parser.add_argument("--output", type=Path, default=Path("out/pairs.png"))
    arguments = parser.parse_args()
    jax.config.update("jax_compilation_cache_dir", str(arguments.output.parent.resolve() / "compiled"))
    contents, styles = find_pictures(arguments.content), find_pictures(arguments.style)
    folder = arguments.output.with_suffix("")
    folder.mkdir(parents=True, exist_ok=True)
    extra = dict(map(read_setting, arguments.set))
    if arguments.iterations is not None:
        extra["steps"] = arguments.iterations
    # The strength is no part of the compiled program, so one set of parameters and one compilation serve them all.
    runs = [
        jnst.load_preset(arguments.preset, weights=arguments.weights, size=arguments.size, strength=strength, **extra)
        for strength in arguments.strengths
    ]
    params = runs[0][0]

    def paint(content: Path, style: Path, index: int) -> Image.Image:
        begin, config = time.monotonic(), runs[index][1]
        strength = f"-{arguments.strengths[index]:g}" if len(runs) > 1 else ""
        path = folder / f"{content.stem}-{style.stem}{strength}.png"
        if not path.exists():
            photo, painting = (jnst.read_image(path).pixels for path in (content, style))
            image = jnst.stylize(params, photo, painting, config).image
            Image.fromarray(np.rint(255 * image).astype(np.uint8)).save(path)
            print(f"{path} {time.monotonic() - begin:.0f} s", flush=True)
        with Image.open(path) as picture:
            return labelled(picture.convert("RGB"), f"{content.stem} x {style.stem}{strength}")

    header = [Image.new("RGB", (8, 8), "white")]
    for path in styles:
        painting = Image.open(path).convert("RGB")
        painting.thumbnail((arguments.size, arguments.size))
        header += [labelled(painting, path.stem)] * len(runs)
    rows = [header]
    for content in contents:
        row = [Image.open(content)]
        row += [paint(content, style, index) for style in styles for index in range(len(runs))]
        rows.append(row)
    lay_out(rows, arguments.width, arguments.height).save(arguments.output)
    print(arguments.output)


if __name__ == "__main__":
    main()
