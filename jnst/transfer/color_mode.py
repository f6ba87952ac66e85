"""What a run is made of, in the colours that it works in: as given, matched to the content image, or grey."""

from collections.abc import Sequence

import numpy as np

from jnst.config import Colors
from jnst.images.colors import match_colors, match_luminance, to_grey
from jnst.images.inputs import StylePicture
from jnst.images.masks import fit_mask
from jnst.images.resizing import resize, to_unit
from jnst.images.sizing import finish
from jnst.transfer.regions import RegionMasks

# Ways with colours that prepare the style image for each content image.
PREPARED: tuple[Colors, ...] = ("match", "luminance")
# Ways that give a picture the photo's colours after the run.
PUT_ON_AT_END: tuple[Colors, ...] = ("content", "luminance")


def canvas_of(full: np.ndarray, colors: Colors) -> np.ndarray:
    """The content image that is painted on: its luminance where style is transferred on that alone."""
    return to_grey(full) if colors == "luminance" else full


def show_colors(picture: np.ndarray, full: np.ndarray, colors: Colors) -> np.ndarray:
    """A picture on its way, at the size of its scale, in the colours that the result will have.

    Args:
        picture: RGB in [0, 1], as the run works on it.
        full: the content image at working size, in colour.
        colors: of the config.
    """
    if colors not in PUT_ON_AT_END:
        return picture
    size = (picture.shape[0], picture.shape[1])
    content = full if size == full.shape[:2] else resize(full, *size, "pillow-lanczos")
    return finish(picture, content, colors)


def prepare_styles(
    styles: Sequence[StylePicture], full: np.ndarray, colors: Colors, masks: RegionMasks | None = None
) -> list[StylePicture]:
    """The style images in the colours that the run works in, clipped to [0, 1] where they are changed.

    The colours of a style are matched from the part of it that is looked at, and where there are regions, to those of
    its region of the content image.

    Args:
        styles: as given, with their masks.
        full: the content image at working size, in colour.
        colors: of the config.
        masks: of the run's regions.
    """
    if colors not in PREPARED:
        return list(styles)
    match = match_colors if colors == "match" else match_luminance
    regions = None if masks is None else np.asarray(masks.at_size((full.shape[0], full.shape[1])).masks)
    prepared = []
    for index, style in enumerate(styles):
        height, width = np.shape(style.pixels)[:2]
        weights = None if style.mask is None else fit_mask(style.mask, (height, width))
        place = None if regions is None else regions[..., min(index, regions.shape[2] - 1)]
        matched = match(style.pixels, full, weights=weights, like_weights=place)
        prepared.append(style._replace(pixels=np.clip(matched, 0, 1)))
    return prepared


def carry_over(picture: np.ndarray, full: np.ndarray, before: Colors, after: Colors) -> np.ndarray:
    """The picture of a run that goes on under another way with colours.

    A run on luminance alone works on a grey picture. One that becomes such a run goes on from the picture's luminance,
    and one that is none any more from the picture in the photo's colours, as it was shown.

    Args:
        picture: RGB in [0, 1], as the run works on it.
        full: the content image at working size, in colour, of any type that `to_unit` takes.
        before, after: of the config.
    """
    if (before == "luminance") == (after == "luminance"):
        return picture
    return to_grey(picture) if after == "luminance" else show_colors(picture, to_unit(full), before)
