"""How an image is cut into tiles: size, halo and number, worked out from the network's layer table; and the cutting."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jnst.array_types import FeatureMap, Image
from jnst.config import Config, NetworkConfig
from jnst.loss.halo_exchange import Band
from jnst.vgg.extent import Extent
from jnst.vgg.layers import deepest, layer_names


class Grid(NamedTuple):
    """How an image is cut, or each device's band of its rows.

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


def tile_grid(size: tuple[int, int], config: Config, *, devices: int = 1) -> Grid | None:
    """The grid of a config's tiles over an image of that size (height, width), or None for the whole image.

    With several devices, the grid of each one's band, which its tiles fill exactly and which is at least as high as the
    halo, so that a band's tiles look into the next band and no further.
    """
    if not config.tile:
        return None
    layers, rows = config.loss.layers, size[0]
    if devices > 1:
        rows = max(-(-size[0] // devices), halo_size(layers, config.network))
    return make_grid((rows, size[1]), config.tile, layers, config.network)


def band_height(height: int, config: Config, devices: int) -> int:
    """Rows that each device holds of an image of that height: the same for all, whole positions of the deepest layer.

    >>> band_height(250, Config(), 4), band_height(250, Config(tile=64), 4)
    (64, 96)
    """
    grid = tile_grid((height, 1), config, devices=devices)
    if grid is not None and devices > 1:
        return grid.padded[0]
    unit = alignment(config.loss.layers, config.network) * devices
    return -(-height // unit) * unit // devices


class Tiles(NamedTuple):
    """An image, or a band of it that begins at the row `top`, ready to be cut: with the halo all round."""

    padded: Image
    grid: Grid
    top: Any
    size: tuple[Any, Any]

    @property
    def number(self) -> int:
        return self.grid.counts[0] * self.grid.counts[1]

    def corner(self, index: Any) -> tuple[Any, Any]:
        """Row and column, in the band, of a tile's first pixel without its halo."""
        down, across = index // self.grid.counts[1], index % self.grid.counts[1]
        return down * self.grid.tile[0], across * self.grid.tile[1]

    def cut(self, index: Any) -> tuple[Image, Extent]:
        """A tile with its halo, and where it lies in the true image."""
        (row, column), grid = self.corner(index), self.grid
        shape = (grid.tile[0] + 2 * grid.halo, grid.tile[1] + 2 * grid.halo, 3)
        tile = lax.dynamic_slice(self.padded, (row, column, 0), shape)
        return tile, Extent((self.top + row - grid.halo, column - grid.halo), self.size)


def surround(image: Image, grid: Grid) -> Image:
    """The image with its opposite sides beyond its border, as far as the tiles and their halo reach."""
    margins = ((grid.halo, have - need + grid.halo) for have, need in zip(grid.padded, image.shape[:2], strict=True))
    return jnp.pad(image, (*margins, (0, 0)), mode="wrap")


def collect(gradient: Image, image: Image, config: Config, band: Band) -> Image:
    """The adjoint of the padding of `cut_tiles`: what all tiles with their halo hold, added up for each pixel."""
    height, width = image.shape[:2]
    grid = tile_grid((height, width), config)
    assert grid is not None
    if config.network.padding == "circular":
        return jax.linear_transpose(lambda image: surround(image, grid), image)(gradient)[0]
    halo = grid.halo
    return band.collect(gradient[: height + 2 * halo, halo : halo + width], halo)


def cut_tiles(image: Image, config: Config, size: tuple[Any, Any], band: Band) -> Tiles:
    """The band with a margin for the halo; what lies outside the true image never matters."""
    height, width = image.shape[:2]
    grid = tile_grid((height, width), config)
    assert grid is not None
    if config.network.padding == "circular":
        return Tiles(surround(image, grid), grid, 0, size)
    halo, below, right = grid.halo, grid.padded[0] - height, grid.padded[1] - width
    # A band of several is filled by its tiles and takes its margins from its neighbours; all else is added at once.
    rows = (halo, halo + below) if band.count == 1 else (0, 0)
    padded = jnp.pad(image if band.count == 1 else band.extend(image, halo), (rows, (halo, halo + right), (0, 0)))
    return Tiles(padded, grid, band.first_row(height), size)


def map_reader(kept: dict[str, FeatureMap], tiles: Tiles, config: Config) -> Callable[[Any], dict[str, FeatureMap]]:
    """The part of each layer's map that belongs to a tile, by the tile's index."""
    grid, strides, maps = tiles.grid, {layer: layer_stride(layer, config.network) for layer in kept}, {}
    for layer, map_ in kept.items():
        # Nothing is copied for maps made in tiles, which already reach to the end of the last tiles.
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
