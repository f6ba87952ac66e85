"""Pictures laid out as a table, a module for other scripts."""

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
