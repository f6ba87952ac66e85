"""The one place where targets are made: of whole images, in tiles, over devices."""

import contextlib
import dataclasses
import functools
import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jnst.arguments import check_config, check_mapping
from jnst.arrays import FeatureMap, Gram, Image, LossWeights, Params, Scalar, StyleImage
from jnst.config import Config, compile_key
from jnst.devices import ROWS, row_shardings
from jnst.errors import ConfigError, quote
from jnst.images.pixel_space import as_unit, encode
from jnst.images.resizing import to_unit
from jnst.images.validate import validate_images
from jnst.loss.borderless import borderless_grams
from jnst.loss.builtin import TERMS
from jnst.loss.maps import count_pixels, feature_maps, gram_matrices
from jnst.loss.term import ExtraTerms, Targets, Term, check_extra_terms, layers_seen
from jnst.loss.terms import as_divisor, style_loss
from jnst.loss.tiled import tiled_grams, tiled_maps
from jnst.loss.tiling import band_height
from jnst.vgg.valid_region import Extent

# Factor on the style weight from strength 0 to strength 1: 2 for every tenth.
STRENGTH_RANGE = 1024.0


def make_targets(
    params: Params,
    content: Image | np.ndarray,
    styles: StyleImage | np.ndarray | Sequence[StyleImage | np.ndarray],
    config: Config,
    *,
    style_weights: Sequence[float] | None = None,
    extra_terms: Sequence[Term] = (),
    mesh: Mesh | None = None,
) -> Targets:
    """What an image is compared with: feature maps of the content image and Gram matrices of the style images.

    Args:
        params: from `prepare_params`.
        content: RGB, uint8, uint16 or floating point in [0, 1], height × width × 3, at working size.
        styles: one style image, of any size, or several whose Gram matrices are averaged.
        config: layers, normalisation, spaces. With tiles everything is computed tile by tile, and the content's maps
            are kept or (`tiled_content` "recompute") computed anew from the content image at every evaluation: slower
            by about a quarter, smaller by the maps.
        style_weights: one per style where there are several; equal by default.
        extra_terms: terms beside the package's own (`jnst.Term`).
        mesh: devices among which the rows of images are divided (`jnst.transfer.row_sharding.row_mesh`).

    Raises:
        ConfigError: for an unknown layer, an image too small for the deepest one, style weights that do not fit the
            styles, or an extra term that cannot be used.
        ImageError: where an image is not RGB, or holds numbers that are no colours.
    """
    check_mapping(params)
    check_config(config)
    several = list(styles) if isinstance(styles, list | tuple) else [styles]
    validate_images(content, several)
    check_extra_terms(extra_terms, TERMS, config, divided=bool(config.tile) or mesh is not None)
    key, extra = compile_key(config), compiled_terms(extra_terms)

    def placed(image: Any) -> tuple[Any, Extent | None]:
        return (as_unit(image), None) if mesh is None else divide_rows(to_unit(np.asarray(image)), config, mesh)

    # Tiles exchange rows by themselves and must know of the devices; all else the compiler divides.
    with jax.set_mesh(mesh) if mesh is not None and config.tile else contextlib.nullcontext():
        grams = [style_grams(params, *placed(style), config=key, extra_terms=extra) for style in several]
        image, extent = placed(content)
        targets = content_targets(
            params, image, blend_grams(grams, style_weights), extent, config=key, extra_terms=extra
        )
    targets = targets._replace(weights=loss_weights(config, extra_terms))
    return targets if mesh is None else jax.device_put(targets, row_shardings(targets, mesh))


@functools.partial(jax.jit, static_argnames=("config", "extra_terms"))
def style_grams(
    params: Params,
    style: StyleImage,
    extent: Extent | None = None,
    *,
    config: Config,
    extra_terms: tuple[Term, ...] = (),
) -> dict[str, Gram]:
    """Gram matrix of each layer that a term compares them at, for one style image.

    Args:
        params: from `prepare_params`.
        style: RGB in [0, 1], height × width × 3.
        extent: the true part of a padded image.
        config: a `compile_key` where compiled programs are to be shared.
        extra_terms: from `compiled_terms`.
    """
    layers, image = layers_seen((*TERMS, *extra_terms), config, "grams"), encode(style, config.variable)
    if config.network.padding == "circular":
        # A style picture does not tile: it has a border, which the painted image has not.
        config = dataclasses.replace(config, tile=0, network=dataclasses.replace(config.network, padding="zero"))
        return borderless_grams(feature_maps(params, image, layers, config, extent), layers, config, extent)
    if config.tile:
        return tiled_grams(params, image, layers, config, extent)
    return gram_matrices(feature_maps(params, image, layers, config, extent), layers, config, extent)


def blend_grams(grams: Sequence[dict[str, Gram]], weights: Sequence[float] | None = None) -> dict[str, Gram]:
    """Weighted mean of the Gram matrices of several styles; weights are normalised to sum to one.

    Raises:
        ConfigError: where the weights do not fit the styles.
    """
    if weights is None:
        weights = [1.0] * len(grams)
    try:
        values = [float(weight) for weight in weights]
    except (TypeError, ValueError, OverflowError):
        values = None
    if values is None or isinstance(weights, bytes):
        raise ConfigError(f"style weights are {quote(weights)}; expected a number for each style")
    weights = values
    usable = all(math.isfinite(weight) and weight >= 0 for weight in weights) and sum(weights) > 0
    if not grams or len(weights) != len(grams) or not usable:
        raise ConfigError(
            f"{len(grams)} styles with weights {quote(weights)}; expected one finite weight of zero or more per "
            "style, not all zero"
        )
    if len(grams) == 1:
        return grams[0]
    total = sum(weights)
    return {
        layer: sum((weight / total) * one[layer] for weight, one in zip(weights, grams, strict=True))  # pyright: ignore
        for layer in grams[0]
    }


@functools.partial(jax.jit, static_argnames=("config", "extra_terms"))
def content_targets(
    params: Params,
    content: Image,
    grams: dict[str, Gram],
    extent: Extent | None = None,
    *,
    config: Config,
    extra_terms: tuple[Term, ...] = (),
) -> Targets:
    """Targets from a content image and ready Gram matrices, with the config's weights.

    Args:
        params: from `prepare_params`.
        content: RGB in [0, 1], height × width × 3.
        grams: from `style_grams`, blended where there are several styles.
        extent: the true part of a padded image.
        config: a `compile_key` where compiled programs are to be shared.
        extra_terms: from `compiled_terms`.
    """
    terms, loss, image = (*TERMS, *extra_terms), config.loss, encode(content, config.variable)
    layers = layers_seen(terms, config, "maps")
    if config.tile:
        maps, moments = tiled_maps(params, image, layers, config, extent)
    else:
        maps = feature_maps(params, image, layers, config, extent)
        moments = {layer: _moments(map_, count_pixels(layer, map_, config, extent)) for layer, map_ in maps.items()}
    content_scale = {layer: jnp.float32(1.0) for layer in layers}
    if loss.content_normalization == "target_variance":
        # Padding is zero and must stay out of the variance: E[x²] − E[x]².
        content_scale = {layer: inverse_or_one(square - jnp.square(mean)) for layer, (mean, square) in moments.items()}
    own = {term.name: term.target(content, config) for term in terms if term.target is not None}
    recomputed = config.tile and config.tiled_content == "recompute"
    return Targets(
        content=maps,
        content_scale=content_scale,
        grams=grams,
        style_scale=style_scales(grams, config),
        weights=loss_weights(config, extra_terms),
        extent=extent,
        content_image=image if recomputed else None,
        own=own or None,
        extra_terms=ExtraTerms(extra_terms),
    )


def style_scales(grams: dict[str, Gram], config: Config) -> dict[str, Scalar]:
    """What the distance of each layer's Gram matrix is multiplied by, as `Targets.style_scale`."""
    loss = config.loss
    if loss.style_normalization != "target_norm":
        return {layer: jnp.float32(1.0) for layer in grams}
    return {
        layer: inverse_or_one(style_loss(gram, jnp.zeros_like(gram), reduction=loss.style_reduction))
        for layer, gram in grams.items()
    }


def _moments(map_: FeatureMap, pixels: Any) -> tuple[Scalar, Scalar]:
    """E[x] and E[x²] of a feature map with that many true positions, zero elsewhere."""
    map_ = map_.astype(jnp.float32)
    count = as_divisor(pixels) * map_.shape[2]
    return jnp.sum(map_) / count, jnp.sum(jnp.square(map_)) / count


def inverse_or_one(value: Scalar) -> Scalar:
    """1 / value, and one where the target is empty, so that a black image gives numbers and not NaN."""
    usable = value > 1e-20
    return jnp.where(usable, 1.0 / jnp.where(usable, value, 1.0), 1.0)


def loss_weights(config: Config, extra_terms: Sequence[Term] = ()) -> LossWeights:
    """The factors of the weighted sum by the terms' names, float32; the strength is a factor on the style weight."""
    weights = {term.name: term.weight_in(config) for term in (*TERMS, *extra_terms)}
    weights["style"] *= STRENGTH_RANGE ** (config.loss.strength - 0.5)
    return {name: jnp.float32(weight) for name, weight in weights.items()}


def compiled_terms(extra_terms: Sequence[Term]) -> tuple[Term, ...]:
    """The terms without their weights, as compiled programs depend on them."""
    return tuple(term._replace(weight=1.0) for term in extra_terms)


def divide_rows(image: np.ndarray, config: Config, mesh: Mesh) -> tuple[jax.Array, Extent]:
    """An image padded at the bottom to equal bands of rows, each on its device, and its true extent."""
    height, width = image.shape[:2]
    rows = mesh.devices.size * band_height(height, config, mesh.devices.size)
    padded = np.pad(np.asarray(image, np.float32), ((0, rows - height), (0, 0), (0, 0)), mode="edge")
    extent = Extent((np.int32(0), np.int32(0)), (np.int32(height), np.int32(width)))
    return jax.device_put(padded, NamedSharding(mesh, PartitionSpec(ROWS))), extent
