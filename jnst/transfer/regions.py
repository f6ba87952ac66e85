"""Regions of the content image with a style each, and what stays as it is: masks from as given to those of a scale."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from jnst.config_fields import LARGEST, is_weight
from jnst.errors import ConfigError, quote
from jnst.images.inputs import StylePicture, as_list
from jnst.images.masks import Mask, as_mask, fit_mask, same_aspect
from jnst.loss.guidance import Guidance
from jnst.loss.region_targets import check_style_weights

# Masks in words: the whole picture, and what the masks of the other regions leave.
ALL, REST = "all", "rest"
WORDS = (ALL, REST)


@dataclass(frozen=True, eq=False)
class Region:
    """A part of the content image and the style that it is painted in.

    Attributes:
        mask: height × width, white (1, 255 or True) where the region is, grey where it ends softly; of the shape of the
            content image, or resized to it. Or "all" for the whole content image, or "rest" for what the other regions
            leave. Where regions overlap, their masks are divided by their sum.
        style: the style image, height × width × 3, RGB; uint8, uint16, or floating point in [0, 1].
        style_mask: the part of the style image that is looked at; by default all that is not transparent.
        weight: how strong the style is here; with 1 each pixel is moved as much as in a run with one style.
        name: of the region in messages.

    >>> Region(np.ones((4, 4)), np.zeros((8, 8, 3))).weight
    1.0
    """

    mask: Any
    style: Any
    style_mask: Any = None
    weight: float = 1.0
    name: str = ""


class RegionMasks(NamedTuple):
    """Masks of all regions, at the sizes that they came in.

    masks: for each region, or a word.
    style_masks: for each style, or None for all of it.
    weights: of the regions.
    keep: what stays the content image, or None.
    names: of the regions, for messages.
    notes: sentences about masks that are resized, for the user to read.
    keeps_alone: whether there is no region, and one that holds the whole picture stands for the rest of what is kept.
    """

    masks: tuple[Mask | str, ...]
    style_masks: tuple[Mask | None, ...]
    weights: tuple[float, ...]
    keep: Mask | None
    names: tuple[str, ...]
    notes: tuple[str, ...]
    keeps_alone: bool = False

    def at_size(self, size: tuple[int, int]) -> Guidance:
        """The masks at height × width pixels, normalised, and without what stays the content image."""
        given = [None if isinstance(mask, str) else fit_mask(mask, size) for mask in self.masks]
        covered = np.sum([mask for mask in given if mask is not None], axis=0, initial=0) * np.ones(size)
        words = {ALL: np.ones(size), REST: np.clip(1 - covered, 0, 1)}
        every = [words[str(word)] if mask is None else mask for mask, word in zip(given, self.masks, strict=True)]
        stacked = np.stack(every, 2)
        stacked /= np.maximum(stacked.sum(2, keepdims=True), 1)
        keep = None if self.keep is None else fit_mask(self.keep, size)[..., None]
        stacked = stacked if keep is None else stacked * (1 - keep)
        return Guidance(stacked.astype(np.float32), np.array(self.weights, np.float32), keep)  # pyright: ignore

    def hold(self, picture: np.ndarray, content: np.ndarray) -> np.ndarray:
        """The picture with what stays of the content image, both RGB and of one size."""
        if self.keep is None:
            return picture
        keep = fit_mask(self.keep, (content.shape[0], content.shape[1]))[..., None]
        return ((1 - keep) * picture + keep * content).astype(np.float32)


def prepare_regions(
    content: Any, styles: Sequence[StylePicture], regions: Sequence[Region] | None, keep: Any
) -> RegionMasks | None:
    """The masks of a run, checked; None where there is neither a region nor something to keep.

    Args:
        content: the content image as given.
        styles: those of the regions, in their order; where there are no regions, all of which are blended.
        regions: of the content image.
        keep: mask of what stays the content image, or None.

    Raises:
        ConfigError: for a weight that is none, two regions that are the rest, or a mask of another aspect ratio than
            its picture.
        ImageError: for an array that is no mask.
    """
    if regions is None and keep is None:
        return None
    shape, notes = np.shape(content), []

    def fitting(mask: Any, kind: str, picture: tuple[int, ...], owner: str) -> Mask:
        array = as_mask(mask, kind)
        (rows, columns), (height, width) = array.shape, picture[:2]
        sizes = f"the {kind} is {columns} × {rows} pixels and the {owner} {width} × {height}"
        if not same_aspect(array.shape, picture):
            raise ConfigError(f"{sizes}; expected the same aspect ratio: crop the one like the other")
        if array.shape != picture[:2]:
            notes.append(f"{sizes}; the mask is resized")
        return array

    several = [Region(ALL, None)] if regions is None else list(regions)
    names = tuple(_name(region, index, len(several)) for index, region in enumerate(several))
    masks: list[Mask | str] = []
    style_masks: list[Mask | None] = [None] * len(styles)
    for index, (region, name) in enumerate(zip(several, names, strict=True)):
        _check_weight(region.weight, name)
        word = _word(region.mask, name)
        masks.append(word or fitting(region.mask, f"mask of {name}", shape, "content image"))
        if region.style_mask is not None:
            kind = f"style mask of {name}"
            style_masks[index] = fitting(region.style_mask, kind, np.shape(styles[index].pixels), "style image")
    rests = sum(isinstance(mask, str) and mask == REST for mask in masks)
    if rests > 1:
        raise ConfigError(f"{rests} regions are the rest; expected one at most")
    kept = None if keep is None else fitting(keep, "mask of what to keep", shape, "content image")
    weights = tuple(float(region.weight) for region in several)
    return RegionMasks(tuple(masks), tuple(style_masks), weights, kept, names, tuple(notes), regions is None)


def mask_styles(styles: Sequence[StylePicture], masks: RegionMasks | None) -> list[StylePicture]:
    """The style images, of which what their regions' style masks show is looked at, as far as it is visible.

    Raises:
        ConfigError: where that is nothing.
    """
    if masks is None:
        return list(styles)
    masked = []
    for style, mask, name in zip(styles, masks.style_masks, masks.names * len(styles), strict=False):
        if mask is None or style.mask is None:
            masked.append(style if mask is None else style._replace(mask=mask))
            continue
        both = style.mask * fit_mask(mask, (style.mask.shape[0], style.mask.shape[1]))
        if not both.any():
            raise ConfigError(
                f"all that the style mask of {name} shows is transparent in the style image; expected something to see"
            )
        masked.append(style._replace(mask=both))
    return masked


def choose_styles(style: Any, regions: Sequence[Region] | None, style_weights: Any = None) -> list[Any]:
    """The style images of a run, from those given and those of the regions.

    Raises:
        ConfigError: for both, weights that do not fit the styles, or weights to blend the styles of regions with.
    """
    if regions is None:
        styles = as_list(style)
        if style_weights is not None:
            check_style_weights(style_weights, len(styles))
        return styles
    if style is not None:
        raise ConfigError(
            "there are both a style and regions, which have a style each; give None in place of the style"
        )
    if style_weights is not None:
        raise ConfigError("style weights blend styles, and each region has its own; give the regions weights instead")
    if not regions:
        raise ConfigError("there are 0 regions; expected one or more, or None for the whole content image")
    wrong = next((one for one in regions if not isinstance(one, Region)), None)
    if wrong is not None:
        raise ConfigError(f"a region is {quote(wrong)}; expected jnst.Region(mask, style)")
    return [region.style for region in regions]


def _name(region: Region, index: int, count: int) -> str:
    if region.name:
        return f"region {index + 1} ({region.name})"
    return f"region {index + 1}" if count > 1 else "the region"


def _word(mask: Any, name: str) -> str:
    """The mask where it is a word, else nothing."""
    if not isinstance(mask, str):
        return ""
    if mask not in WORDS:
        raise ConfigError(
            f"the mask of {name} is the text {quote(mask)}; expected an array, {quote(ALL)} or {quote(REST)}; files "
            "are read with jnst.read_image"
        )
    return mask


def _check_weight(weight: Any, name: str) -> None:
    number: Any = isinstance(weight, int | float | np.number) and not isinstance(weight, bool)
    if not (number and is_weight(weight if isinstance(weight, int) else float(weight))):
        raise ConfigError(
            f"the weight of {name} is {quote(weight)}; expected a finite number of zero or more, at most {LARGEST:g}"
        )
