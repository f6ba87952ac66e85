"""Regions at one scale of a run: the arrays that targets are made with, and whether every layer sees each region."""

from collections.abc import Sequence

import numpy as np

from jnst.config import Config, NetworkConfig
from jnst.errors import ConfigError
from jnst.images.inputs import StylePicture
from jnst.loss.guidance import Guidance
from jnst.loss.registry import TERMS
from jnst.loss.term import Term, layers_seen
from jnst.transfer.regions import RegionMasks
from jnst.vgg.layers import deepest, layer_names

# Positions of a feature map that a region must cover, soft ones counted by their share.
_FEWEST = 0.5


def guide(
    masks: RegionMasks | None,
    size: tuple[int, int],
    styles: Sequence[StylePicture],
    config: Config,
    extra_terms: Sequence[Term] = (),
) -> Guidance | None:
    """The regions at one scale; None where there are none.

    Args:
        masks: from `prepare_regions`.
        size: height and width of the scale.
        styles: at that scale.
        config: of the run.
        extra_terms: of the run.

    Raises:
        ConfigError: where the part of a style image that is looked at has no pixels at a layer.
    """
    layers = layers_seen((*TERMS, *extra_terms), config, "grams")
    for index, style in enumerate(styles):
        if style.mask is not None:
            part = "the visible part of the style image"
            if masks is not None and masks.style_masks[index] is not None:
                part = f"the style mask of {masks.names[index]}"
            _check_area(style.mask, f"{part} has", "style image", layers, config.network, "show more of it")
    return None if masks is None else masks.at_size(size)


def check_regions(
    masks: RegionMasks | None, sizes: Sequence[tuple[int, int]], config: Config, extra_terms: Sequence[Term] = ()
) -> None:
    """Raises ConfigError where a region has no pixels at a layer, at any scale, or no layer sees the style.

    Args:
        masks: from `prepare_regions`.
        sizes: height and width of each scale.
        config: of the run.
        extra_terms: of the run.
    """
    if masks is None:
        return
    layers = layers_seen((*TERMS, *extra_terms), config, "grams")
    if not layers:
        what = "a mask of what to keep needs" if masks.keeps_alone else "regions need"
        out = "the mask" if masks.keeps_alone else "the regions"
        raise ConfigError(
            f"{what} a style layer, and this run has none: loss.style_layers is empty; leave {out} out, or add a layer"
        )
    for size in sizes:
        stacked = np.asarray(masks.at_size(size).masks)
        for index, name in enumerate(masks.names):
            subject, remedy = f"{name} has", "make its mask white somewhere"
            if masks.keep is not None:
                subject, remedy = f"{name}, without what is kept, has", f"{remedy} outside what is kept"
            if masks.keeps_alone:
                subject, remedy = "what the mask of what to keep leaves has", "make that mask black somewhere"
            _check_area(stacked[..., index], subject, "content image", layers, config.network, remedy)


def _check_area(
    mask: np.ndarray, subject: str, owner: str, layers: Sequence[str], network: NetworkConfig, remedy: str
) -> None:
    height, width = mask.shape
    if not mask.any():
        raise ConfigError(f"{subject} no pixels on the {owner} at {width} × {height}; {remedy}")
    for layer, area in _areas(mask, layers, network).items():
        if area < _FEWEST:
            raise ConfigError(
                f"{subject} no pixels left at {layer} of a {owner} of {width} × {height} (it covers {area:.2g} of a "
                "position there); make the region or the picture larger, take fewer scales, or leave out that layer"
            )


def _areas(mask: np.ndarray, layers: Sequence[str], network: NetworkConfig) -> dict[str, float]:
    """Positions of each layer's map that a mask covers. On the host: `carry_masks` would compile for every size."""
    areas, carried = {}, mask.astype(np.float64)
    for name in layer_names(network.architecture)[: deepest(layers, network.architecture) + 1]:
        if name.startswith("pool"):
            odd = [(0, side % 2 if network.pool_rounding == "ceil" else 0) for side in carried.shape]
            # A border pixel once more leaves the mean of a cut window as it is.
            carried = np.pad(carried, odd, mode="edge")
            rows, columns = (side // 2 for side in carried.shape)
            carried = carried[: 2 * rows, : 2 * columns].reshape(rows, 2, columns, 2).mean((1, 3))
        if name in layers:
            areas[name] = float(carried.sum())
    return areas
