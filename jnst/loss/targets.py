"""The one place where targets are made: of whole images, in tiles, over devices."""

import contextlib
import dataclasses
from collections.abc import Sequence
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jnst.argument_checks import check_config, check_mapping
from jnst.array_types import FeatureMap, Image, LossWeights, Moment, Params, Scalar, StyleImage
from jnst.config import Config, compile_key
from jnst.devices import ROWS, check_mesh, check_platform, row_shardings
from jnst.images.inputs import PictureForm, StylePicture, as_pixels, as_styles
from jnst.images.pixel_space import as_unit, encode
from jnst.images.resizing import to_unit
from jnst.loss.circular import borderless_grams
from jnst.loss.distances import as_divisor
from jnst.loss.features import count_pixels, feature_maps
from jnst.loss.guidance import Guidance, carry_masks, fillings, layers_with_means, region_products, to_grams
from jnst.loss.region_targets import (
    check_guidance,
    check_style_masks,
    inverse_or_one,
    region_grams,
    style_scales,
    with_regions,
)
from jnst.loss.registry import TERMS
from jnst.loss.term import ExtraTerms, Targets, Term, check_extra_terms, layers_seen
from jnst.loss.tiled import tiled_maps, tiled_products
from jnst.loss.tiling import band_height
from jnst.programs.program import kept_program
from jnst.runtime import limit_mappings
from jnst.vgg.convolution import plain_params
from jnst.vgg.extent import Extent

StyleForm: TypeAlias = StyleImage | np.ndarray | PictureForm | StylePicture
# Factor on the style weight from strength 0 to strength 1: 2 for every tenth.
STRENGTH_RANGE = 1024.0


def make_targets(
    params: Params,
    content: Image | np.ndarray | PictureForm,
    styles: StyleForm | Sequence[StyleForm],
    config: Config,
    *,
    style_weights: Sequence[float] | None = None,
    extra_terms: Sequence[Term] = (),
    mesh: Mesh | None = None,
    guidance: Guidance | None = None,
    style_masks: Sequence[Any] | None = None,
) -> Targets:
    """What an image is compared with: feature maps of the content image and Gram matrices of the style images.

    Args:
        params: from `prepare_params`.
        content: RGB, uint8, uint16 or floating point in [0, 1], height × width × 3, at working size; or another form of
            a picture that `jnst.stylize` takes.
        styles: one style image, of any size, or several whose Gram matrices are averaged. What is transparent in one
            is left out of its Gram matrices.
        config: layers, normalisation, spaces. With tiles everything is computed tile by tile, and the content's maps
            are kept or (`tiled_content` "recompute") computed again from the content image at every evaluation: slower
            by about a quarter, smaller by the maps.
        style_weights: one per style where there are several; equal by default.
        extra_terms: terms beside the package's own (`jnst.Term`).
        mesh: devices among which the rows of images are divided (`jnst.transfer.row_sharding.row_mesh`).
        guidance: regions of the content image, in the order of their styles; all styles are blended for a single one.
        style_masks: for each style image the part of it that is looked at, height × width × 1, or None for all that is
            not transparent.

    Returns:
        Targets for `loss_terms` and `advance`; a pytree of arrays.

    Raises:
        ConfigError: for an unknown layer, an image too small for the deepest one, style weights, masks or regions that
            do not fit the pictures, an extra term that cannot be used, or a mesh over anything but rows.
        ImageError: where an image is not RGB, or holds numbers that are no colours, or a mask is none.
    """
    check_platform()
    check_mapping(params)
    check_config(config)
    limit_mappings()
    mesh = None if mesh is None else check_mesh(mesh, ROWS)
    content = as_pixels(content, "content", color_profile=config.color_profile)
    several = as_styles(styles, color_profile=config.color_profile)
    check_extra_terms(extra_terms, TERMS, config, divided=bool(config.tile) or mesh is not None)
    visible_parts = check_style_masks(style_masks, several)
    guidance = check_guidance(guidance, np.shape(content)[:2])  # pyright: ignore
    key, extra = compile_key(config), compiled_terms(extra_terms)

    def placed(image: Any) -> tuple[Any, Extent | None]:
        return (as_unit(image), None) if mesh is None else divide_rows(to_unit(np.asarray(image)), config, mesh)

    # Tiles exchange rows by themselves and must know of the devices; all else the compiler divides.
    with jax.set_mesh(mesh) if mesh is not None and config.tile else contextlib.nullcontext():
        grams = []
        for style, mask in zip(several, visible_parts, strict=True):
            visible = None if style.mask is None else style.mask[..., None]
            both = mask if visible is None else visible if mask is None else visible * mask
            seen = None if both is None else placed(both)[0]
            grams.append(style_grams(params, *placed(style.pixels), seen, config=key, extra_terms=extra))
        image, extent = placed(content)
        if guidance is not None:
            masks, keep = (None if one is None else placed(one)[0] for one in (guidance.masks, guidance.keep))
            guidance = Guidance(masks, jnp.asarray(guidance.weights, jnp.float32), keep)  # pyright: ignore
        targets = content_targets(
            params,
            image,
            region_grams(grams, style_weights, guidance),
            extent,
            guidance,
            config=key,
            extra_terms=extra,
        )
    targets = targets._replace(weights=loss_weights(config, extra_terms))
    return targets if mesh is None else jax.device_put(targets, row_shardings(targets, mesh))


@kept_program(static=("config", "extra_terms"))
def style_grams(
    params: Params,
    style: StyleImage,
    extent: Extent | None = None,
    mask: FeatureMap | None = None,
    *,
    config: Config,
    extra_terms: tuple[Term, ...] = (),
) -> dict[str, Moment]:
    """Gram matrix of each layer that a term compares them at, for one style image.

    Args:
        params: from `prepare_params`.
        style: RGB in [0, 1], height × width × 3.
        extent: the true part of a padded image.
        mask: the part of it that is looked at, height × width × 1; None for all of it.
        config: a `compile_key` where compiled programs are to be shared.
        extra_terms: from `compiled_terms`.
    """
    params = plain_params(params)  # it runs once, so that compiling sooner is worth more than computing faster
    layers, image = layers_seen((*TERMS, *extra_terms), config, "grams"), encode(style, config.variable)
    if not layers:
        return {}
    size = (image.shape[0], image.shape[1]) if extent is None else extent.size
    masks = None if mask is None else carry_masks(mask, layers, config.network, extent)
    if config.network.padding == "circular":
        # A style picture does not tile: it has a border, which the painted image has not.
        config = dataclasses.replace(config, tile=0, network=dataclasses.replace(config.network, padding="zero"))
        return borderless_grams(feature_maps(params, image, layers, config, extent), layers, config, extent, masks)
    if config.tile:
        products = tiled_products(params, image, layers, config, extent, masks)
    else:
        maps = feature_maps(params, image, layers, config, extent)
        products = region_products(maps, layers, masks, means=layers_with_means(config.loss))
    filling = None if masks is None else fillings(masks, size, config.network)
    return to_grams(products, filling, size, config)[0]


@kept_program(static=("config", "extra_terms"))
def content_targets(
    params: Params,
    content: Image,
    grams: dict[str, Moment] | tuple[dict[str, Moment], ...],
    extent: Extent | None = None,
    guidance: Guidance | None = None,
    *,
    config: Config,
    extra_terms: tuple[Term, ...] = (),
) -> Targets:
    """Targets from a content image and ready Gram matrices, with the config's weights.

    Args:
        params: from `prepare_params`.
        content: RGB in [0, 1], height × width × 3.
        grams: from `style_grams`, blended where there are several styles; with guidance, for each region.
        extent: the true part of a padded image.
        guidance: regions of the content image.
        config: a `compile_key` where compiled programs are to be shared.
        extra_terms: from `compiled_terms`.
    """
    params = plain_params(params)  # as for `style_grams`
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
    plain = grams if isinstance(grams, dict) else {}
    targets = Targets(
        content=maps,
        content_scale=content_scale,
        grams=plain,
        style_scale=style_scales(plain, config),
        weights=loss_weights(config, extra_terms),
        extent=extent,
        content_image=image if recomputed else None,
        own=own or None,
        extra_terms=ExtraTerms(extra_terms),
    )
    return targets if guidance is None else with_regions(targets, image, grams, guidance, config)


def _moments(map_: FeatureMap, pixels: Any) -> tuple[Scalar, Scalar]:
    """E[x] and E[x²] of a feature map with that many true positions, zero elsewhere."""
    map_ = map_.astype(jnp.float32)
    count = as_divisor(pixels) * map_.shape[2]
    return jnp.sum(map_) / count, jnp.sum(jnp.square(map_)) / count


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
