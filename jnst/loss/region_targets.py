"""Gram matrices as targets: of styles that are blended, of the regions of an image, and how distances are scaled."""

import contextlib
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from jnst.argument_checks import check_kind, check_series
from jnst.array_types import Image, Moment, Scalar
from jnst.config import Config
from jnst.config_fields import is_weight
from jnst.errors import ConfigError, quote
from jnst.images.inputs import StylePicture
from jnst.images.masks import as_mask
from jnst.loss.distances import covariance_matrix, reduce_squares
from jnst.loss.guidance import Guidance, carry_masks, fillings, layers_with_means, mean_of, shares
from jnst.loss.registry import TERMS
from jnst.loss.term import Kept, RegionTargets, Targets, layers_seen


def check_style_masks(masks: Any, styles: Sequence[StylePicture]) -> list[Any]:
    """One mask for each style, height × width × 1, or None where all of it is looked at.

    Raises:
        ConfigError: where the masks do not fit the styles.
        ImageError: for an array that is no mask.
    """
    expected = "a list of masks, one for each style, or None for all of it"
    given = [] if masks is None else check_series("style masks", masks, expected)
    if not given:
        return [None] * len(styles)
    if len(given) != len(styles):
        raise ConfigError(f"{len(given)} style masks and {len(styles)} styles; expected one mask, or None, for each")
    return [
        None if mask is None else _fitting_mask(mask, f"style mask {index}", np.shape(style.pixels)[:2])
        for index, (mask, style) in enumerate(zip(given, styles, strict=True), 1)
    ]


def _fitting_mask(mask: Any, kind: str, size: tuple[int, ...]) -> Any:
    """The mask as height × width × 1; one that is being traced is known by its shape alone."""
    array = mask if isinstance(mask, Tracer) else as_mask(mask, kind)[..., None]
    if array.shape != (*size, 1):
        raise ConfigError(f"the {kind} has shape {np.shape(mask)}; expected its picture's, {(*size, 1)}")
    return array


def check_guidance(guidance: Any, size: tuple[int, ...]) -> Guidance | None:
    """The regions of a content image of that height and width.

    Raises:
        ConfigError: they are not of its size, or no regions.
    """
    if guidance is None:
        return None
    check_kind("guidance", guidance, Guidance, "regions as arrays (jnst.loss.guidance.Guidance)")
    shape = np.shape(guidance.masks)
    if len(shape) != 3 or shape[:2] != size or not shape[2]:
        raise ConfigError(f"the masks of the regions have shape {shape}; expected {size} and one or more regions")
    if guidance.keep is not None and np.shape(guidance.keep) != (*size, 1):
        raise ConfigError(f"the mask of what to keep has shape {np.shape(guidance.keep)}; expected {(*size, 1)}")
    return guidance


def check_style_weights(weights: Any, styles: int) -> list[float]:
    """One weight for each style, as numbers; all alike where none are given.

    Raises:
        ConfigError: where the weights do not fit the styles.
    """
    if weights is None:
        weights = [1.0] * styles
    values = None
    with contextlib.suppress(Exception):  # arrays of other libraries raise what they like
        parts = check_series("style weights", weights, "a list of numbers")
        if len(weights) == len(parts) and not any(isinstance(part, str | bytes) for part in parts):
            values = [float(part) for part in parts]
    if values is None:
        raise ConfigError(f"style weights are {quote(weights)}; expected a number for each style")
    usable = all(map(is_weight, values)) and sum(values) > 0
    if not styles or len(values) != styles or not usable:
        raise ConfigError(
            f"{styles} styles with weights {quote(values)}; expected one finite weight of zero or more per "
            "style, not all zero"
        )
    return values


def blend_grams(grams: Sequence[dict[str, Moment]], weights: Sequence[float] | None = None) -> dict[str, Moment]:
    """Weighted mean of the Gram matrices of several styles; weights are normalised to sum to one.

    Raises:
        ConfigError: as `check_style_weights`.
    """
    weights = check_style_weights(weights, len(grams))
    if len(grams) == 1:
        return grams[0]
    total = sum(weights)
    return {
        layer: sum((weight / total) * one[layer] for weight, one in zip(weights, grams, strict=True))  # pyright: ignore
        for layer in grams[0]
    }


def region_grams(
    grams: Sequence[dict[str, Moment]], weights: Sequence[float] | None, guidance: Guidance | None
) -> dict[str, Moment] | tuple[dict[str, Moment], ...]:
    """What `content_targets` is given: the blend of all styles, for each region where there are some.

    Raises:
        ConfigError: where the weights, or several regions, do not fit the styles.
    """
    if guidance is None:
        return blend_grams(grams, weights)
    regions = guidance.masks.shape[2]
    if regions == 1:
        return (blend_grams(grams, weights),)
    if regions != len(grams):
        raise ConfigError(f"{regions} regions and {len(grams)} styles; expected one style for each region")
    return tuple(grams)


def with_regions(targets: Targets, image: Image, grams: Any, guidance: Guidance, config: Config) -> Targets:
    """The targets with those of each region, and with what stays of the content image (in variable space)."""
    extent = targets.extent
    size = (image.shape[0], image.shape[1]) if extent is None else extent.size
    layers = layers_seen((*TERMS, *targets.extra_terms.terms), config, "grams")
    masks = carry_masks(guidance.masks, layers, config.network, extent)
    factors = guidance.weights * shares(guidance.masks, extent)
    each = zip(grams, fillings(masks, size, config.network), strict=True)
    regions = tuple(
        RegionTargets(one, style_scales(one, config), factors[index], filling)
        for index, (one, filling) in enumerate(each)
    )
    kept = None if guidance.keep is None else Kept(guidance.keep, image)
    return targets._replace(regions=regions, masks=masks, kept=kept)


def style_scales(grams: dict[str, Moment], config: Config) -> dict[str, Scalar]:
    """What the distance of each layer's Gram matrix, or of covariance matrix and mean, is multiplied by."""
    loss = config.loss
    if loss.style_normalization != "target_norm":
        return {layer: jnp.float32(1.0) for layer in grams}
    compared = dict(grams)
    for layer in set(layers_with_means(loss)) & set(grams):
        compared[layer] = covariance_matrix(grams[layer], grams[mean_of(layer)])
    return {
        name: inverse_or_one(reduce_squares(value, reduction=loss.style_reduction)) for name, value in compared.items()
    }


def inverse_or_one(value: Scalar) -> Scalar:
    """1 / value, and one where the target is empty, so that a black image gives numbers and not NaN."""
    usable = value > 1e-20
    return jnp.where(usable, 1.0 / jnp.where(usable, value, 1.0), 1.0)
