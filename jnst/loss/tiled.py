"""Loss and gradient of a whole image, computed tile by tile in the memory of one tile.

Not an approximation: a tile carries as many pixels around it as its feature maps look at (the halo), Gram matrices are
summed over all tiles before they are compared, and zero padding exists at the true border only. Two passes: the first
sums the products of which Gram matrices are made; the second pulls their gradient back through each tile, whose halo
adds to its neighbours' gradient. Where the image's rows are divided among devices, each goes over the tiles of its own
band (`jnst.loss.halo_exchange`).
"""

import dataclasses
import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from jnst.array_types import FeatureMap, Image, Moment, Params, Scalar
from jnst.config import Config
from jnst.loss.distances import as_divisor
from jnst.loss.features import feature_maps
from jnst.loss.guidance import layers_with_means, region_products
from jnst.loss.halo_exchange import Band, on_bands
from jnst.loss.objective import compute_terms, gram_terms, terms_of, weigh
from jnst.loss.term import Targets, layers_seen
from jnst.loss.tiling import Grid, Tiles, collect, cut_tiles, layer_stride, map_reader
from jnst.vgg.convolution import plain_params
from jnst.vgg.extent import Extent, inside
from jnst.vgg.layers import layer_shape


def _true_size(image: Image, extent: Extent | None, band: Band) -> tuple[Any, Any]:
    return (band.count * image.shape[0], image.shape[1]) if extent is None else extent.size


def _inner(map_: FeatureMap, layer: str, grid: Grid, config: Config) -> FeatureMap:
    """A tile's feature map without its halo."""
    stride = layer_stride(layer, config.network)
    halo, rows, columns = grid.halo // stride, grid.tile[0] // stride, grid.tile[1] // stride
    return map_[halo : halo + rows, halo : halo + columns]


def _within(map_: FeatureMap, extent: Extent, grid: Grid) -> FeatureMap:
    """A map without halo, zero where the last tiles reach beyond the image."""
    stride = grid.tile[0] // map_.shape[0]
    row, column = ((start + grid.halo) // stride for start in extent.origin)
    height, width = (length // stride for length in extent.size)
    return jnp.where(inside(map_, Extent((row, column), (height, width))), map_, 0)


def _tile_maps(
    params: Params, tile: Image, extent: Extent, layers: Sequence[str], grid: Grid, config: Config
) -> dict[str, FeatureMap]:
    """Feature maps of one tile, without halo; zero outside the true image."""
    # Winograd's rounding depends on where a block begins, and the maximum of a pooling window turns a difference of
    # rounding into one of gradients: 1.4e-4 of its maximum on VGG19, where plain convolutions give 4e-7.
    params = plain_params(params)
    if config.network.padding == "circular":  # the halo holds the opposite side, and there is no border
        network = dataclasses.replace(config.network, padding="zero")
        maps = feature_maps(params, tile, layers, dataclasses.replace(config, network=network), None)
        return {layer: _within(_inner(map_, layer, grid, config), extent, grid) for layer, map_ in maps.items()}
    maps = feature_maps(params, tile, layers, config, extent)
    return {layer: _inner(map_, layer, grid, config) for layer, map_ in maps.items()}


Products = tuple[dict[str, Moment], ...]


def _sum_products(params: Params, tiles: Tiles, layers: Sequence[str], masks: Any, config: Config) -> Products:
    """`region_products` summed over all tiles; the masks are those of the band, or None."""
    read = None if masks is None else map_reader(masks, tiles, config)

    def here(index: Any) -> Products:
        maps = _tile_maps(params, *tiles.cut(index), layers, tiles.grid, config)
        seen = None if read is None else read(index)
        return region_products(maps, layers, seen, means=layers_with_means(config.loss))

    def add(index: jax.Array, sums: Products) -> Products:
        return jax.tree.map(jnp.add, sums, here(index))

    zeros = jax.tree.map(lambda shape: jnp.zeros(shape.shape, shape.dtype), jax.eval_shape(here, 0))
    return lax.fori_loop(0, tiles.number, add, zeros)


def _tile_shapes(params: Params, tiles: Tiles, layers: Sequence[str], config: Config) -> dict[str, Any]:
    """Shape and type of one tile's maps, found without computing anything."""
    return jax.eval_shape(lambda: _tile_maps(params, *tiles.cut(0), layers, tiles.grid, config))


def evaluate_tiled(params: Params, image: Image, targets: Targets, config: Config) -> Any:
    """What `jnst.loss.objective.evaluate` returns, up to rounding, in the memory of one tile.

    A tile has `config.tile` pixels a side.

    Args:
        params: from `prepare_params`.
        image: height × width × 3 in the config's variable space, of any size.
        targets: from `make_targets`, with tiles or without.
        config: `tile` above zero.

    Returns:
        ((weighted loss, terms), gradient with respect to the image in variable space).
    """
    divided = targets._replace(own=None, kept=None)
    gradient, with_network = on_bands(functools.partial(_evaluate_band, config), params, image, divided)
    size = (image.shape[0], image.shape[1]) if targets.extent is None else targets.extent.size

    def without_network(image: Image) -> tuple[Scalar, dict[str, Scalar]]:
        terms = compute_terms("image", image, targets.own, targets, config, size=size)
        return weigh(terms, targets.weights), terms

    (_, others), other_gradient = jax.value_and_grad(without_network, has_aux=True)(image)
    terms = {**with_network, **others}
    return (weigh(terms, targets.weights), terms), gradient + other_gradient


def _evaluate_band(
    config: Config, band: Band, params: Params, image: Image, targets: Targets
) -> tuple[Image, dict[str, Scalar]]:
    """Gradient of the weighted terms of maps and Gram matrices with respect to a band, and those terms of the image."""
    size = _true_size(image, targets.extent, band)
    tiles = cut_tiles(image, config, size, band)
    layers = layers_seen(terms_of(targets), config, "grams")
    products = band.total(_sum_products(params, tiles, layers, targets.masks, config))

    def of_products(products: Products) -> tuple[Scalar, dict[str, Scalar]]:
        terms = gram_terms(products, targets, config, size=size)
        return weigh(terms, targets.weights), terms

    cotangents, of_grams = jax.grad(of_products, has_aux=True)(products)
    of_maps, padded_gradient = _pull_back(params, tiles, cotangents, targets, config, band)
    gradient = collect(padded_gradient, image, config, band)
    return gradient, {**band.total(of_maps), **of_grams}


def _pull_back(
    params: Params, tiles: Tiles, cotangents: Products, targets: Targets, config: Config, band: Band
) -> tuple[dict[str, Scalar], Image]:
    """The band's share of the terms of maps, and the gradient of those and of the Gram matrices' terms with respect to
    the padded band."""
    content_target = _content_reader(params, tiles, targets, config, band)
    read_masks = None if targets.masks is None else map_reader(targets.masks, tiles, config)
    names = [term.name for term in terms_of(targets) if term.sees == "maps"]
    weights = {name: jnp.asarray(targets.weights[name], jnp.float32) for name in names}

    def add(index: jax.Array, carry: tuple[dict[str, Scalar], Image]) -> tuple[dict[str, Scalar], Image]:
        terms, gradient = carry
        tile, extent = tiles.cut(index)
        wanted, masks = content_target(index), None if read_masks is None else read_masks(index)
        (_, terms_here), pull = jax.vjp(
            lambda tile: _compare(params, tile, extent, wanted, masks, tiles, targets, config), tile
        )
        (here,) = pull((cotangents, weights))
        corner = (*tiles.corner(index), 0)
        there = lax.dynamic_slice(gradient, corner, here.shape)
        sums = {name: terms[name] + terms_here[name] for name in names}
        return sums, lax.dynamic_update_slice(gradient, there + here, corner)

    zeros = {name: jnp.float32(0.0) for name in names}
    return lax.fori_loop(0, tiles.number, add, (zeros, jnp.zeros_like(tiles.padded)))


def _compare(
    params: Params,
    tile: Image,
    extent: Extent,
    wanted: dict[str, FeatureMap],
    masks: dict[str, FeatureMap] | None,
    tiles: Tiles,
    targets: Targets,
    config: Config,
) -> tuple[Products, dict[str, Scalar]]:
    """A tile's share of the products of each layer with a Gram matrix, and of the terms of maps."""
    terms = terms_of(targets)
    maps = _tile_maps(params, tile, extent, layers_seen(terms, config), tiles.grid, config)
    found = compute_terms("maps", maps, wanted, targets, config, size=tiles.size)
    means = layers_with_means(config.loss)
    return region_products(maps, layers_seen(terms, config, "grams"), masks, means=means), found


def _content_reader(
    params: Params, tiles: Tiles, targets: Targets, config: Config, band: Band
) -> Callable[[Any], dict[str, FeatureMap]]:
    """The content targets of a tile by its index: cut out of the kept maps, or computed from the content image."""
    grid = tiles.grid
    layers = layers_seen(terms_of(targets), config, "maps")
    if targets.content_image is not None:
        content_tiles = cut_tiles(targets.content_image, config, tiles.size, band)
        return lambda index: _tile_maps(params, *content_tiles.cut(index), layers, grid, config)
    return map_reader(targets.content, tiles, config)


def tiled_products(
    params: Params,
    image: Image,
    layers: Sequence[str],
    config: Config,
    extent: Extent | None,
    masks: dict[str, FeatureMap] | None,
) -> Products:
    """`region_products` of an image in variable space, tile by tile."""

    def sum_band(band: Band, params: Params, image: Image, extent: Any, masks: Any) -> tuple[tuple[()], Products]:
        tiles = cut_tiles(image, config, _true_size(image, extent, band), band)
        return (), band.total(_sum_products(params, tiles, layers, masks, config))

    return on_bands(sum_band, params, image, extent, masks)[1]


def tiled_maps(
    params: Params, image: Image, layers: Sequence[str], config: Config, extent: Extent | None
) -> tuple[dict[str, FeatureMap], dict[str, tuple[Scalar, Scalar]]]:
    """Feature maps of an image in variable space, tile by tile, and their moments.

    Returns:
        The maps as far as the last tiles reach, zero outside the true image; none unless `config.tiled_content` is
        "keep". For each layer the mean of its map's entries and that of their squares.
    """
    return on_bands(functools.partial(_band_maps, config, tuple(layers)), params, image, extent)


def _band_maps(
    config: Config, layers: tuple[str, ...], band: Band, params: Params, image: Image, extent: Extent | None
) -> Any:
    """A band's maps, where they are kept, and the moments of the whole image's."""
    size = _true_size(image, extent, band)
    tiles = cut_tiles(image, config, size, band)
    shapes = _tile_shapes(params, tiles, layers, config)
    grid, keep = tiles.grid, config.tiled_content == "keep"
    maps, moments = {}, {}
    for layer, shape in shapes.items():
        height, width = (side * count for side, count in zip(shape.shape[:2], grid.counts, strict=True))
        if keep:
            maps[layer] = jnp.zeros((height, width, shape.shape[2]), shape.dtype)
        moments[layer] = (jnp.float32(0), jnp.float32(0))

    def add(index: jax.Array, carry: Any) -> Any:
        maps, moments = dict(carry[0]), dict(carry[1])
        row, column = tiles.corner(index)
        for layer, map_ in _tile_maps(params, *tiles.cut(index), layers, grid, config).items():
            stride = layer_stride(layer, config.network)
            if keep:
                maps[layer] = lax.dynamic_update_slice(maps[layer], map_, (row // stride, column // stride, 0))
            total, squares = moments[layer]
            map_ = map_.astype(jnp.float32)
            moments[layer] = (total + jnp.sum(map_), squares + jnp.sum(jnp.square(map_)))
        return maps, moments

    maps, moments = lax.fori_loop(0, tiles.number, add, (maps, moments))
    means = {}
    for layer, (total, squares) in band.total(moments).items():
        count = as_divisor(math.prod(layer_shape(layer, *size, config.network))) * shapes[layer].shape[2]
        means[layer] = (total / count, squares / count)
    return maps, means
