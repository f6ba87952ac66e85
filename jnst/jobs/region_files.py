"""The files that the regions of a run come from: as on the command line, in a list of work, and in a record."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jnst.config_fields import LARGEST, is_weight
from jnst.errors import ConfigError, ImageError, quote
from jnst.images.masks import Mask, parse_color, picture_mask
from jnst.images.reading import Picture
from jnst.transfer.regions import ALL, WORDS, Region


@dataclass(frozen=True)
class RegionFiles:
    """Where the masks of a run come from.

    masks: for each style a file, a file and a colour in it (MAP.png:#rrggbb), or a word, "all" or "rest"; none where
        the style is everywhere.
    style_masks: for each style the same, or "all" for the whole style image; none where that is so for all.
    keep: the file of what stays the content image, with a colour or without; empty where nothing has to.
    weights: of the regions; None for one each.
    """

    masks: tuple[str, ...] = ()
    style_masks: tuple[str, ...] = ()
    keep: str = ""
    weights: tuple[float, ...] | None = None

    def paths(self) -> list[str]:
        """The files, each once."""
        named = (*self.masks, *self.style_masks, *filter(None, [self.keep]))
        return list(dict.fromkeys(split_mask(mask)[0] for mask in named if mask not in WORDS))


def split_mask(mask: str) -> tuple[str, str | None]:
    """Path and colour of a mask's name; the colour is None where the whole file is the mask.

    >>> split_mask("map.png:#ff0000"), split_mask("C:/sky.png")
    (('map.png', '#ff0000'), ('C:/sky.png', None))
    """
    path, colon, color = mask.rpartition(":")
    if not colon or not path or "/" in color or "\\" in color or os.path.exists(mask):
        return mask, None
    try:
        parse_color(color)
    except ConfigError as error:
        raise ConfigError(f"there is no file {quote(mask)}, and as a map with a colour in it: {error}") from error
    return path, color


def check_region_files(files: RegionFiles, styles: Sequence[Any], *, blend: bool) -> RegionFiles | None:
    """The files where something is asked for, else None.

    Args:
        files: as given.
        styles: of the run.
        blend: whether weights to blend the styles are given.

    Raises:
        ConfigError: masks, style masks or weights of another number than styles, or what contradicts each other.
    """
    if files == RegionFiles():
        return None
    for kind, given in (("masks", files.masks), ("masks of styles", files.style_masks)):
        if given and len(given) != len(styles):
            raise ConfigError(
                f"{kind}: {len(given)}, styles: {len(styles)}; expected one for each style, in their order ("
                f"'all' for the whole picture{', rest for what the other masks leave' if kind == 'masks' else ''})"
            )
    if files.style_masks and len(styles) > 1 and not files.masks:
        raise ConfigError("masks of several styles, which are blended, need a mask of the content for each style too")
    if blend and files.masks:
        raise ConfigError(
            "style blend mixes styles, and with masks each has its own region; give region weights instead"
        )
    if files.weights is not None and len(files.weights) != len(files.masks):
        raise ConfigError(
            f"region weights: {len(files.weights)}, masks: {len(files.masks)}; expected one for each mask"
        )
    wrong = next((weight for weight in files.weights or () if not is_weight(weight)), None)
    if wrong is not None:
        raise ConfigError(f"region weight is {wrong}; expected a finite number of zero or more, at most {LARGEST:g}")
    if files.masks.count("rest") > 1:
        raise ConfigError("two masks are 'rest'; expected one at most")
    for mask in (*files.masks, *files.style_masks, *filter(None, [files.keep])):
        if mask not in WORDS:
            split_mask(mask)
    if "rest" in files.style_masks:
        raise ConfigError("a mask of a style is 'rest'; expected a file, or all")
    if files.keep in WORDS:
        raise ConfigError(f"the mask of what to keep is {quote(files.keep)}; expected a file")
    return files


def read_regions(
    files: RegionFiles | None, styles: Sequence[Any], read: Callable[[str], Picture]
) -> tuple[list[Region] | None, Mask | None]:
    """The regions and what to keep, as `jnst.stylize` takes them.

    Args:
        files: checked.
        styles: the style images, in the order of the masks.
        read: from a path to the picture.

    Raises:
        ImageError: for a file that is no picture, or a picture that is no mask.
        ConfigError: for a colour that is not in its map.
    """
    if files is None:
        return None, None

    def load(mask: str, kind: str) -> Any:
        if mask in WORDS:
            return mask
        path, color = split_mask(mask)
        try:
            return picture_mask(read(path), kind, color)
        except ConfigError as error:
            raise ConfigError(f"{kind} {path}: {error}") from error
        except ImageError as error:
            raise ImageError(f"{kind}: {error}") from error

    keep = load(files.keep, "mask of what to keep") if files.keep else None
    if not files.masks and not files.style_masks:
        return None, keep
    masks = files.masks or (ALL,) * len(styles)
    weights, seen = files.weights or (1.0,) * len(masks), files.style_masks or (ALL,) * len(masks)
    regions = []
    for mask, style, style_mask, weight in zip(masks, styles, seen, weights, strict=True):
        own = None if style_mask == ALL else load(style_mask, "style mask")
        regions.append(Region(load(mask, "mask"), style, own, weight, name=Path(mask).name))
    return regions, keep


def describe_regions(files: RegionFiles | None, describe: Callable[[Path], Any]) -> dict[str, Any] | None:
    """The files as plain JSON types, for a record; None where there are none.

    Args:
        files: of a run.
        describe: from a path to what is told of the file.
    """
    if files is None:
        return None

    def tell(mask: str) -> Any:
        if mask in WORDS:
            return mask
        path, color = split_mask(mask)
        return describe(Path(path)) | ({} if color is None else {"color": color})

    return {
        "masks": [tell(mask) for mask in files.masks],
        "style_masks": [tell(mask) for mask in files.style_masks],
        "keep": tell(files.keep) if files.keep else None,
        "weights": None if files.weights is None else list(files.weights),
    }


def stored_regions(described: Any, find: Callable[[Any], os.PathLike[str]]) -> RegionFiles:
    """The inverse of `describe_regions`.

    Args:
        described: the part of a record, from `checked_regions`, or None.
        find: from what a record tells of a file to its path.
    """
    if described is None:
        return RegionFiles()

    def name(one: Any) -> str:
        if isinstance(one, str):
            return one
        path = str(find(one))
        return f"{path}:{one['color']}" if one.get("color") else path

    return RegionFiles(
        masks=tuple(map(name, described["masks"])),
        style_masks=tuple(map(name, described["style_masks"])),
        keep=name(described["keep"]) if described["keep"] else "",
        weights=None if described["weights"] is None else tuple(described["weights"]),
    )


def checked_regions(value: Any, check_file: Callable[[Any, str], Any]) -> dict[str, Any] | None:
    """What a record says of regions, each field of its type.

    Args:
        value: as read from JSON.
        check_file: checks what is told of a file, under the name of its field.

    Raises:
        ConfigError: naming the field that is wrong.
    """
    if value is None:
        return None
    if not isinstance(value, dict):
        raise ConfigError(f"inputs.regions is {quote(value)}; expected an object with named fields")

    def checked(one: Any, name: str) -> Any:
        if isinstance(one, str) and one in WORDS:
            return one
        file = check_file(one, name)
        if file is None:
            raise ConfigError(f"{name} is None; expected an object with the path of a file")
        color = one.get("color") if isinstance(one, dict) else None
        if color is not None:
            if not isinstance(color, str):
                raise ConfigError(f"{name}.color is {quote(color)}; expected text")
            parse_color(color)
        return file | {"color": color}

    fields: dict[str, Any] = {}
    for name in ("masks", "style_masks"):
        given = value.get(name) or []
        if not isinstance(given, list) or len(given) > 1000:
            raise ConfigError(f"inputs.regions.{name} is {quote(given)}; expected a list of files")
        fields[name] = [checked(one, f"inputs.regions.{name}[{index}]") for index, one in enumerate(given)]
    keep, weights = value.get("keep"), value.get("weights")
    numbers = isinstance(weights, list) and all(
        isinstance(weight, int | float) and not isinstance(weight, bool) and 0 <= weight < 1e300 for weight in weights
    )
    if weights is not None and not numbers:
        raise ConfigError(f"inputs.regions.weights is {quote(weights)}; expected numbers")
    return fields | {"keep": None if keep is None else checked(keep, "inputs.regions.keep"), "weights": weights}
