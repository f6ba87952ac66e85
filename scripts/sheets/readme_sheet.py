"""Lays out pairs of photo, painting and result as the picture at the top of the README.

    python scripts/sheets/readme_sheet.py --photos F --results F --output docs/pictures/readme.jpg PHOTO:PAINTING …

Each PHOTO:PAINTING names a photo of the folder --photos and a painting of `jnst/data/pictures`, both without suffix;
its result is RESULTS/PHOTO-PAINTING.png, as `jnst stylize PHOTO PAINTING --size 360` names it.
"""

import argparse
from pathlib import Path

from contact_sheet import GAP, lay_out
from PIL import Image

PAINTINGS = Path(__file__).resolve().parents[2] / "jnst" / "data" / "pictures"


def find(folder: Path, name: str) -> Image.Image:
    """The picture of that name in the folder, whatever its suffix.

    Raises:
        SystemExit: where there is none.
    """
    for path in sorted(folder.glob(f"{name}.*")):
        if path.suffix.lower() in (".png", ".jpg", ".jpeg"):
            return Image.open(path).convert("RGB")
    raise SystemExit(f"no picture {name} in {folder}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pairs", nargs="+", metavar="PHOTO:PAINTING")
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--results", type=Path, required=True)
    parser.add_argument("--output", type=Path, default=Path("docs/pictures/readme.jpg"))
    parser.add_argument("--width", type=int, default=300, help="of a cell, pixels")
    parser.add_argument("--height", type=int, default=220, help="of a cell, pixels")
    arguments = parser.parse_args()
    cells = []
    for pair in arguments.pairs:
        photo, painting = pair.split(":")
        result = find(arguments.results, f"{photo}-{painting}")
        cells.append([find(arguments.photos, photo), find(PAINTINGS, painting), result])
    rows = [sum(cells[first : first + 2], []) for first in range(0, len(cells), 2)]
    sheet = lay_out(rows, arguments.width, arguments.height)
    sheet.save(arguments.output, quality=88)
    print(f"{arguments.output}: {sheet.width} × {sheet.height}, gaps of {GAP} pixels")


if __name__ == "__main__":
    main()
