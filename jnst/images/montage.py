"""Several pictures side by side on one sheet."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from jnst.errors import ImageError
from jnst.images.writing import quantize


def montage(
    images: Sequence[npt.ArrayLike],
    *,
    labels: Sequence[str] | None = None,
    height: int = 360,
    columns: int | None = None,
) -> npt.NDArray[np.uint8]:
    """Pictures side by side on white, `height` pixels high, labels below; one row up to four, else nearly square.

    Raises:
        ImageError: no picture, or not as many labels as pictures.
    """
    if not images or (labels is not None and len(labels) != len(images)):
        given = "no labels" if labels is None else f"{len(labels)} labels"
        raise ImageError(f"a sheet of {len(images)} pictures with {given}; expected one label per picture")
    tiles = []
    for image in images:
        tile = Image.fromarray(quantize(image))
        width = max(1, round(tile.width * height / tile.height))
        tiles.append(tile if tile.height == height else tile.resize((width, height), Image.Resampling.LANCZOS))
    columns = min(columns or (len(tiles) if len(tiles) <= 4 else math.isqrt(len(tiles) - 1) + 1), len(tiles))
    rows = -(-len(tiles) // columns)
    gap = max(6, height // 24)
    size = max(11, height // 22)
    caption = size + gap // 2 if labels else 0
    widths = [max(tile.width for tile in tiles[column::columns]) for column in range(columns)]
    sheet = Image.new("RGB", (sum(widths) + gap * (columns + 1), rows * (height + caption) + gap * (rows + 1)), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size)
    for number, tile in enumerate(tiles):
        row, column = divmod(number, columns)
        centre = sum(widths[:column]) + gap * (column + 1) + widths[column] / 2
        top = gap + row * (height + caption + gap)
        sheet.paste(tile, (round(centre - tile.width / 2), top))
        if labels:
            label = _shorten(labels[number], font, widths[column])
            draw.text((centre, top + height + gap // 2), label, "#444444", font, anchor="ma")
    return np.asarray(sheet)


def _shorten(label: str, font: Any, width: float) -> str:
    shown = label
    while shown and font.getlength(shown if shown == label else shown + "…") > width:
        shown = shown[:-1]
    return shown if shown == label else shown + "…"
