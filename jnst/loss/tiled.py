"""Loss and gradient of a whole image, computed tile by tile in the memory of one tile.

Not an approximation: a tile carries as many pixels around it as its feature maps look at (the halo), Gram matrices are
summed over all tiles before they are compared, and zero padding exists at the true border only. Two passes: the first
sums the products of which Gram matrices are made; the second pulls their gradient back through each tile, whose halo
adds to its neighbours' gradient. Where the image's rows are divided among devices, each goes over the tiles of its own
band (`jnst.loss.halo_exchange`).
"""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from jnst.arrays import FeatureMap, Gram, Image, LossTerms, Params, Scalar
from jnst.config import Config, compile_key
from jnst.images.pixel_space import as_unit, encode
from jnst.loss.halo_exchange import Band, on_bands
from jnst.loss.objective import style_term, variation_term, weigh
from jnst.loss.targets import (
    Targets,
    blend_grams,
    combine_targets,
    feature_maps,
    inverse_or_one,
    layers_of,
    loss_weights,
    make_targets,
)
from jnst.loss.terms import channel_products, content_loss, divide_products
from jnst.loss.tiling import Grid, Tiles, cut_tiles, layer_stride
from jnst.vgg.convolution import plain_params
from jnst.vgg.layers import layer_shape
from jnst.vgg.valid_region import Extent


def _true_size(image: Image, extent: Extent | None, band: Band) -> tuple[Any, Any]:
    return (band.count * image.shape[0], image.shape[1]) if extent is None else extent.size


def _inner(map_: FeatureMap, layer: str, grid: Grid, config: Config) -> FeatureMap:
    """A tile's feature map without its halo."""
    stride = layer_stride(layer, config.network)
    halo, rows, columns = grid.halo // stride, grid.tile[0] // stride, grid.tile[1] // stride
    return map_[halo : halo + rows, halo : halo + columns]


def _tile_maps(
    params: Params, tile: Image, extent: Extent, layers: Sequence[str], grid: Grid, config: Config
) -> dict[str, FeatureMap]:
    """Feature maps of one tile, without halo; zero outside the true image."""
    # Winograd's rounding depends on where a block begins, and the maximum of a pooling window turns a difference of
    # rounding into one of gradients: 1.4e-4 of its maximum on VGG19, where plain convolutions give 4e-7.
    maps = feature_maps(plain_params(params), tile, layers, config, extent)
    return {layer: _inner(map_, layer, grid, config) for layer, map_ in maps.items()}


def _sum_products(params: Params, tiles: Tiles, config: Config) -> dict[str, Gram]:
    """Σ f fᵀ over the whole image for each style layer."""
    layers = layers_of(config.loss.style_layers)

    def add(index: jax.Array, sums: dict[str, Gram]) -> dict[str, Gram]:
        tile, extent = tiles.cut(index)
        maps = _tile_maps(params, tile, extent, layers, tiles.grid, config)
        return {layer: sums[layer] + channel_products(maps[layer]) for layer in layers}

    shapes = _tile_shapes(params, tiles, layers, config)
    zeros = {layer: jnp.zeros((shape.shape[2], shape.shape[2]), jnp.float32) for layer, shape in shapes.items()}
    return lax.fori_loop(0, tiles.number, add, zeros)


def _tile_shapes(params: Params, tiles: Tiles, layers: Sequence[str], config: Config) -> dict[str, Any]:
    """Shape and type of one tile's maps, found without computing anything."""
    return jax.eval_shape(lambda: _tile_maps(params, *tiles.cut(0), layers, tiles.grid, config))


def _divide(products: dict[str, Gram], size: tuple[Any, Any], config: Config) -> dict[str, Gram]:
    return {
        layer: divide_products(
            product, divisor=config.loss.gram_divisor, pixels=math.prod(layer_shape(layer, *size, config.network))
        )
        for layer, product in products.items()
    }


def evaluate_tiled(params: Params, image: Image, targets: Targets, config: Config) -> Any:
    """What `jnst.loss.objective.evaluate` returns, up to rounding, in the memory of one tile.

    A tile has `config.tile` pixels a side.

    Args:
        params: from `prepare_params`.
        image: height × width × 3 in the config's variable space, of any size.
        targets: from `prepare_targets`, or from `make_targets`.
        config: `tile` above zero.

    Returns:
        ((weighted loss, terms), gradient with respect to the image in variable space).
    """
    gradient, (content, style) = on_bands(functools.partial(_evaluate_band, config), params, image, targets)
    weights = targets.weights

    def without_network(image: Image) -> tuple[Scalar, Scalar]:
        variation = variation_term(image, targets, config)
        return weights.total_variation * variation, variation

    (_, variation), other_gradient = jax.value_and_grad(without_network, has_aux=True)(image)
    terms = LossTerms(content, style, variation)
    return (weigh(terms, weights), terms), gradient + other_gradient


def _evaluate_band(
    config: Config, band: Band, params: Params, image: Image, targets: Targets
) -> tuple[Image, tuple[Scalar, Scalar]]:
    """Gradient of the weighted content and style terms with respect to a band, and the two terms of the whole image."""
    size = _true_size(image, targets.extent, band)
    tiles = cut_tiles(image, config, size, band)
    products = band.total(_sum_products(params, tiles, config))
    style, cotangents = jax.value_and_grad(lambda sums: style_term(_divide(sums, size, config), targets, config))(
        products
    )
    cotangents = jax.tree.map(lambda cotangent: targets.weights.style * cotangent, cotangents)
    content, spread = _pull_back(params, tiles, cotangents, targets, config, band)
    halo, (height, width) = tiles.grid.halo, image.shape[:2]
    gradient = band.collect(spread[: height + 2 * halo, halo : halo + width], halo)
    return gradient, (band.total(content), style)


def _pull_back(
    params: Params, tiles: Tiles, cotangents: dict[str, Gram], targets: Targets, config: Config, band: Band
) -> tuple[Scalar, Image]:
    """The band's share of the content term, and the gradient of content and style with respect to the padded band."""
    content_target = _content_reader(params, tiles, targets, config, band)

    def add(index: jax.Array, carry: tuple[Scalar, Image]) -> tuple[Scalar, Image]:
        content, gradient = carry
        tile, extent = tiles.cut(index)
        wanted = content_target(index)
        (_, content_here), pull = jax.vjp(
            lambda tile: _compare(params, tile, extent, wanted, tiles, targets, config), tile
        )
        (here,) = pull((cotangents, jnp.asarray(targets.weights.content, jnp.float32)))
        corner = (*tiles.corner(index), 0)
        there = lax.dynamic_slice(gradient, corner, here.shape)
        return content + content_here, lax.dynamic_update_slice(gradient, there + here, corner)

    return lax.fori_loop(0, tiles.number, add, (jnp.float32(0.0), jnp.zeros_like(tiles.padded)))


def _compare(
    params: Params,
    tile: Image,
    extent: Extent,
    wanted: dict[str, FeatureMap],
    tiles: Tiles,
    targets: Targets,
    config: Config,
) -> tuple[dict[str, Gram], Scalar]:
    """A tile's share of the products of each style layer, and of the content term."""
    loss = config.loss
    maps = _tile_maps(params, tile, extent, config.loss.layers, tiles.grid, config)
    content = jnp.float32(0.0)
    for layer, weight in loss.content_layers:
        pixels = math.prod(layer_shape(layer, *tiles.size, config.network))
        distance = content_loss(maps[layer], wanted[layer], reduction=loss.content_reduction, pixels=pixels)
        content += weight * targets.content_scale[layer] * distance
    return {layer: channel_products(maps[layer]) for layer, _ in loss.style_layers}, content


def _content_reader(
    params: Params, tiles: Tiles, targets: Targets, config: Config, band: Band
) -> Callable[[Any], dict[str, FeatureMap]]:
    """The content targets of a tile by its index: cut out of the kept maps, or computed from the content image."""
    grid = tiles.grid
    layers = layers_of(config.loss.content_layers)
    if targets.content_image is not None:
        content_tiles = cut_tiles(targets.content_image, config, tiles.size, band)
        return lambda index: _tile_maps(params, *content_tiles.cut(index), layers, grid, config)
    strides = {layer: layer_stride(layer, config.network) for layer in layers}
    maps = {}
    for layer, map_ in targets.content.items():
        # Nothing is copied for maps from `prepare_targets`, which already reach to the end of the last tiles.
        widths = [
            (0, length // strides[layer] - have) for length, have in zip(grid.padded, map_.shape[:2], strict=True)
        ]
        maps[layer] = jnp.pad(map_, (*widths, (0, 0)))

    def read(index: Any) -> dict[str, FeatureMap]:
        row, column = tiles.corner(index)
        return {
            layer: lax.dynamic_slice(
                map_,
                (row // strides[layer], column // strides[layer], 0),
                (grid.tile[0] // strides[layer], grid.tile[1] // strides[layer], map_.shape[2]),
            )
            for layer, map_ in maps.items()
        }

    return read


@functools.partial(jax.jit, static_argnames="config")
def tiled_grams(params: Params, style: Image, extent: Extent | None = None, *, config: Config) -> dict[str, Gram]:
    """Gram matrix of each style layer for a style image (RGB, [0, 1]), tile by tile."""

    def sum_band(band: Band, params: Params, image: Image, extent: Extent | None) -> tuple[tuple[()], dict[str, Gram]]:
        size = _true_size(image, extent, band)
        products = band.total(_sum_products(params, cut_tiles(image, config, size, band), config))
        return (), _divide(products, size, config)

    return on_bands(sum_band, params, encode(style, config.variable), extent)[1]


@functools.partial(jax.jit, static_argnames="config")
def tiled_content(
    params: Params, content: Image, grams: dict[str, Gram], extent: Extent | None = None, *, config: Config
) -> Targets:
    """Targets from a content image (RGB, [0, 1]), tile by tile, and ready Gram matrices."""
    image = encode(content, config.variable)
    targets = combine_targets({}, grams, config, extent=extent)
    maps, scale = on_bands(functools.partial(_content_band, config), params, image, extent)
    keep = config.tiled_content == "keep"
    return targets._replace(content=maps, content_scale=scale, content_image=None if keep else image)


def _content_band(config: Config, band: Band, params: Params, image: Image, extent: Extent | None) -> Any:
    """A band's content maps, where they are kept, and the factor of each layer's term."""
    size = _true_size(image, extent, band)
    tiles = cut_tiles(image, config, size, band)
    grid, layers = tiles.grid, layers_of(config.loss.content_layers)
    keep = config.tiled_content == "keep"
    maps, moments = {}, {}
    shapes = _tile_shapes(params, tiles, layers, config)
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
    scale = {layer: jnp.float32(1.0) for layer in layers}
    if config.loss.content_normalization == "target_variance":
        for layer, (total, squares) in band.total(moments).items():
            count = math.prod(layer_shape(layer, *size, config.network)) * shapes[layer].shape[2]
            scale[layer] = inverse_or_one(squares / count - jnp.square(total / count))
    return maps, scale


def prepare_targets(
    params: Params,
    content: Image,
    styles: Image | Sequence[Image],
    config: Config,
    *,
    style_weights: Sequence[float] | None = None,
) -> Targets:
    """`make_targets` of the whole images, or of the same images tile by tile where `config.tile` says so.

    The content's feature maps are kept, or (`config.tiled_content` "recompute") only the content image is, from which
    every evaluation computes them anew: slower by about a quarter, smaller by the maps.
    """
    if config.tile == 0:
        return make_targets(params, content, styles, config, style_weights=style_weights)
    several = list(styles) if isinstance(styles, list | tuple) else [styles]
    key = compile_key(config)
    grams = [tiled_grams(params, as_unit(style), config=key) for style in several]
    targets = tiled_content(params, as_unit(content), blend_grams(grams, style_weights), config=key)
    return targets._replace(weights=loss_weights(config))
