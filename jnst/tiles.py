"""Loss and gradient of a whole image, computed tile by tile in the memory of one tile.

Not an approximation: a tile carries as many pixels around it as its feature maps look at (the halo), Gram matrices are
summed over all tiles before they are compared, and zero padding exists at the true border only. Two passes: the first
sums the products of which Gram matrices are made; the second pulls their gradient back through each tile, whose halo
adds to its neighbours' gradient.
"""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jnst.arrays import FeatureMap, Gram, Image, LossTerms, Params, Scalar
from jnst.config import Config, NetworkConfig
from jnst.losses import channel_products, content_loss, divide_products, total_variation
from jnst.objective import (
    Targets,
    blend_grams,
    combine_targets,
    compile_key,
    feature_maps,
    inverse_or_one,
    layers_of,
    loss_weights,
    make_targets,
    style_term,
    weigh,
)
from jnst.preprocessing import as_unit, encode
from jnst.vgg import Extent, deepest, layer_names, layer_shape, plain_params


class Grid(NamedTuple):
    """How an image is cut.

    tile: rows and columns of a tile without its halo, multiples of `alignment`; the last may reach beyond the image.
    halo: pixels added on every side.
    counts: tiles down and across.
    """

    tile: tuple[int, int]
    halo: int
    counts: tuple[int, int]

    @property
    def padded(self) -> tuple[int, int]:
        """Height and width of all tiles together, without the outer halo."""
        return self.tile[0] * self.counts[0], self.tile[1] * self.counts[1]


def layer_stride(layer: str, network: NetworkConfig) -> int:
    """Image pixels from one position of a layer's map to the next.

    >>> layer_stride("relu4_2", NetworkConfig())
    8
    """
    names = layer_names(network.architecture)[: deepest([layer], network.architecture) + 1]
    return 2 ** sum(name.startswith("pool") for name in names)


def halo_size(layers: Sequence[str], network: NetworkConfig) -> int:
    """Pixels around a tile that the maps of `layers` over the tile depend on, rounded up to the tiles' alignment.

    A 3×3 convolution looks one position further on each side, which is as many pixels as the strides before it make.
    A pool looks no further, because tiles begin at multiples of every stride.

    >>> halo_size(["relu5_1"], NetworkConfig()), halo_size(["relu1_2"], NetworkConfig())
    (80, 16)
    """
    reach, stride = 0, 1
    for name in layer_names(network.architecture)[: deepest(layers, network.architecture) + 1]:
        if name.startswith("conv"):
            reach += stride
        elif name.startswith("pool"):
            stride *= 2
    unit = alignment(layers, network)
    return -(-reach // unit) * unit


def alignment(layers: Sequence[str], network: NetworkConfig) -> int:
    """What tiles begin at multiples of, so that every pool's windows lie as in the whole image."""
    return max([16, *(layer_stride(layer, network) for layer in layers)])


def make_grid(size: tuple[int, int], tile: int, layers: Sequence[str], network: NetworkConfig) -> Grid:
    """The fewest tiles of at most `tile` pixels a side that cover an image of height × width, all of one size.

    >>> make_grid((1000, 700), 512, ["relu5_1"], NetworkConfig())
    Grid(tile=(512, 352), halo=80, counts=(2, 2))
    """
    unit = alignment(layers, network)
    side = max(unit, tile // unit * unit)
    counts = [-(-length // side) for length in size]
    rows, columns = (-(-length // (unit * count)) * unit for length, count in zip(size, counts, strict=True))
    return Grid((rows, columns), halo_size(layers, network), (counts[0], counts[1]))


def _grid(image: Image, config: Config) -> Grid:
    loss = config.loss
    layers = layers_of(loss.content_layers) + layers_of(loss.style_layers)
    return make_grid((image.shape[0], image.shape[1]), config.tile, layers, config.network)


def _true_size(image: Image, extent: Extent | None) -> tuple[Any, Any]:
    return (image.shape[0], image.shape[1]) if extent is None else extent.size


class _Tiles(NamedTuple):
    """An image ready to be cut: padded by the halo all round."""

    padded: Image
    grid: Grid
    size: tuple[Any, Any]

    @property
    def number(self) -> int:
        return self.grid.counts[0] * self.grid.counts[1]

    def corner(self, index: Any) -> tuple[Any, Any]:
        """Row and column, in the true image, of a tile's first pixel without its halo."""
        down, across = index // self.grid.counts[1], index % self.grid.counts[1]
        return down * self.grid.tile[0], across * self.grid.tile[1]

    def cut(self, index: Any) -> tuple[Image, Extent]:
        """A tile with its halo, and where it lies."""
        (row, column), grid = self.corner(index), self.grid
        shape = (grid.tile[0] + 2 * grid.halo, grid.tile[1] + 2 * grid.halo, 3)
        tile = lax.dynamic_slice(self.padded, (row, column, 0), shape)
        return tile, Extent((row - grid.halo, column - grid.halo), self.size)


def _cutter(image: Image, grid: Grid, size: tuple[Any, Any]) -> _Tiles:
    """The image with a margin for the halo; what the margin holds never matters, it lies outside the true image."""
    widths = [(grid.halo, grid.halo + length - have) for length, have in zip(grid.padded, image.shape, strict=False)]
    return _Tiles(jnp.pad(image, (*widths, (0, 0))), grid, size)


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


def _sum_products(params: Params, tiles: _Tiles, config: Config) -> dict[str, Gram]:
    """Σ f fᵀ over the whole image for each style layer."""
    layers = layers_of(config.loss.style_layers)

    def add(index: jax.Array, sums: dict[str, Gram]) -> dict[str, Gram]:
        tile, extent = tiles.cut(index)
        maps = _tile_maps(params, tile, extent, layers, tiles.grid, config)
        return {layer: sums[layer] + channel_products(maps[layer]) for layer in layers}

    shapes = _tile_shapes(params, tiles, layers, config)
    zeros = {layer: jnp.zeros((shape.shape[2], shape.shape[2]), jnp.float32) for layer, shape in shapes.items()}
    return lax.fori_loop(0, tiles.number, add, zeros)


def _tile_shapes(params: Params, tiles: _Tiles, layers: Sequence[str], config: Config) -> dict[str, Any]:
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
    """What `jnst.objective.evaluate` returns, up to rounding, in the memory of one tile of `config.tile` pixels a side.

    Args:
        params: from `prepare_params`.
        image: height × width × 3 in the config's variable space, of any size.
        targets: from `prepare_targets`, or from `make_targets`.
        config: `tile` above zero.

    Returns:
        ((weighted loss, terms), gradient with respect to the image in variable space).
    """
    grid, size, loss = _grid(image, config), _true_size(image, targets.extent), config.loss
    tiles = _cutter(image, grid, size)
    products = _sum_products(params, tiles, config)
    style, cotangents = jax.value_and_grad(lambda sums: style_term(_divide(sums, size, config), targets, config))(
        products
    )
    cotangents = jax.tree.map(lambda cotangent: targets.weights.style * cotangent, cotangents)
    content, spread = _pull_back(params, tiles, cotangents, targets, config)
    gradient = spread[grid.halo : grid.halo + image.shape[0], grid.halo : grid.halo + image.shape[1]]
    variation, variation_gradient = jax.value_and_grad(
        lambda image: total_variation(image, norm=loss.tv_norm, reduction=loss.tv_reduction, size=size)
    )(image)
    terms = LossTerms(content, style, variation)
    return (weigh(terms, targets.weights), terms), gradient + targets.weights.total_variation * variation_gradient


def _pull_back(
    params: Params, tiles: _Tiles, cotangents: dict[str, Gram], targets: Targets, config: Config
) -> tuple[Scalar, Image]:
    """The content term, and the gradient of content and style with respect to the padded image."""
    loss = config.loss
    layers = layers_of(loss.content_layers) + layers_of(loss.style_layers)
    content_target = _content_reader(params, tiles, targets, config)

    def forward(tile: Image, extent: Extent, wanted: dict[str, FeatureMap]) -> tuple[dict[str, Gram], Scalar]:
        maps = _tile_maps(params, tile, extent, layers, tiles.grid, config)
        content = jnp.float32(0.0)
        for layer, weight in loss.content_layers:
            pixels = math.prod(layer_shape(layer, *tiles.size, config.network))
            distance = content_loss(maps[layer], wanted[layer], reduction=loss.content_reduction, pixels=pixels)
            content += weight * targets.content_scale[layer] * distance
        return {layer: channel_products(maps[layer]) for layer, _ in loss.style_layers}, content

    def add(index: jax.Array, carry: tuple[Scalar, Image]) -> tuple[Scalar, Image]:
        content, gradient = carry
        tile, extent = tiles.cut(index)
        wanted = content_target(index)
        (_, content_here), pull = jax.vjp(lambda tile: forward(tile, extent, wanted), tile)
        (here,) = pull((cotangents, jnp.asarray(targets.weights.content, jnp.float32)))
        corner = (*tiles.corner(index), 0)
        there = lax.dynamic_slice(gradient, corner, here.shape)
        return content + content_here, lax.dynamic_update_slice(gradient, there + here, corner)

    return lax.fori_loop(0, tiles.number, add, (jnp.float32(0.0), jnp.zeros_like(tiles.padded)))


def _content_reader(
    params: Params, tiles: _Tiles, targets: Targets, config: Config
) -> Callable[[Any], dict[str, FeatureMap]]:
    """The content targets of a tile by its index: cut out of the kept maps, or computed from the content image."""
    grid = tiles.grid
    layers = layers_of(config.loss.content_layers)
    if targets.content_image is not None:
        content_tiles = _cutter(targets.content_image, grid, tiles.size)
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
def _tiled_grams(params: Params, style: Image, config: Config) -> dict[str, Gram]:
    image = encode(style, config.variable)
    grid, size = _grid(image, config), _true_size(image, None)
    return _divide(_sum_products(params, _cutter(image, grid, size), config), size, config)


@functools.partial(jax.jit, static_argnames="config")
def _tiled_content(params: Params, content: Image, grams: dict[str, Gram], config: Config) -> Targets:
    image = encode(content, config.variable)
    grid, size = _grid(image, config), _true_size(image, None)
    tiles = _cutter(image, grid, size)
    layers = layers_of(config.loss.content_layers)
    keep = config.tiled_content == "keep"
    maps, moments = {}, {}
    for layer, shape in _tile_shapes(params, tiles, layers, config).items():
        height, width = (side * count for side, count in zip(shape.shape[:2], grid.counts, strict=True))
        maps[layer] = jnp.zeros((height, width, shape.shape[2]), shape.dtype) if keep else ()
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
    targets = combine_targets({}, grams, config)
    scale = {layer: jnp.float32(1.0) for layer in layers}
    if config.loss.content_normalization == "target_variance":
        channels = {layer: shape.shape[2] for layer, shape in _tile_shapes(params, tiles, layers, config).items()}
        for layer, (total, squares) in moments.items():
            count = math.prod(layer_shape(layer, *size, config.network)) * channels[layer]
            scale[layer] = inverse_or_one(squares / count - jnp.square(total / count))
    return targets._replace(content=maps if keep else {}, content_scale=scale, content_image=None if keep else image)


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
    grams = [_tiled_grams(params, as_unit(style), key) for style in several]
    targets = _tiled_content(params, as_unit(content), blend_grams(grams, style_weights), key)
    return targets._replace(weights=loss_weights(config))
