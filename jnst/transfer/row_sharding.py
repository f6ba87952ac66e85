"""One image over several devices: each holds a band of rows of the picture, its feature maps and L-BFGS's memory.

The compiler exchanges the few rows that convolutions look at across a border, and sums Gram matrices and dot products
over the devices. With tiles each device goes over those of its own band (`jnst.loss.halo_exchange`). Images of any
height are padded with rows that count for nothing (see `jnst.vgg.valid_region.Extent`).
"""

import contextlib
import functools
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jnst.arrays import Params
from jnst.config import Config, compile_key
from jnst.devices import ROWS
from jnst.loss.targets import Targets, blend_grams, combine_targets, content_maps, loss_weights, style_grams
from jnst.loss.tiled import tiled_content, tiled_grams
from jnst.loss.tiling import band_height
from jnst.transfer.loop import TransferState, init_state
from jnst.vgg.convolution import plain_params
from jnst.vgg.valid_region import Extent


def row_mesh(devices: Sequence[Any] | None = None) -> Mesh:
    """The devices, by default all of this process, as bands of rows from top to bottom."""
    return Mesh(np.array(jax.local_devices() if devices is None else list(devices)), (ROWS,))


def padded_height(height: int, config: Config, mesh: Mesh) -> int:
    """The height up to which an image is padded: equal bands, each a whole number of positions of the deepest layer.

    With tiles each band is a whole number of tiles, and no lower than their halo.
    """
    return mesh.devices.size * band_height(height, config, mesh.devices.size)


def row_shardings(tree: Any, mesh: Mesh) -> Any:
    """Where the rows of each array of a state or of targets lie; pictures, maps and histories have rows."""

    def sharding(array: Any) -> NamedSharding:
        spec = {3: PartitionSpec(ROWS), 4: PartitionSpec(None, ROWS)}.get(array.ndim, PartitionSpec())
        return NamedSharding(mesh, spec)

    return jax.tree.map(sharding, tree)


def _state_shardings(state: Any, mesh: Mesh) -> Any:
    shardings = row_shardings(state, mesh)
    if state.basis is None:
        return shardings
    # The transforms are whole on every device; a frequency's weight lies where its coefficient does.
    weights = NamedSharding(mesh, PartitionSpec(ROWS))
    return shardings._replace(basis=shardings.basis._replace(weights=weights))


def _banded(image: Any, config: Config, mesh: Mesh) -> tuple[jax.Array, Extent]:
    """The picture padded at the bottom, each band on its device, and its true extent."""
    array = np.asarray(image, np.float32)
    height, width = array.shape[:2]
    rows = padded_height(height, config, mesh)
    padded = np.pad(array, ((0, rows - height), (0, 0), (0, 0)), mode="edge")
    extent = Extent((np.int32(0), np.int32(0)), (np.int32(height), np.int32(width)))
    return jax.device_put(padded, NamedSharding(mesh, PartitionSpec(ROWS))), extent


@functools.partial(jax.jit, static_argnames="config")
def _grams(params: Params, style: jax.Array, extent: Extent, config: Config) -> Any:
    return style_grams(params, style, config, extent=extent)


@functools.partial(jax.jit, static_argnames="config")
def _targets(params: Params, content: jax.Array, grams: Any, extent: Extent, config: Config) -> Targets:
    maps = content_maps(params, content, config, extent=extent)
    return combine_targets(maps, grams, config, extent=extent)


def spread_params(params: Params, mesh: Mesh) -> Params:
    """The network on every device."""
    # Plain convolutions alone: the compiler exchanges rows for those; Winograd's blocks it would have to gather.
    return jax.device_put(plain_params(params), NamedSharding(mesh, PartitionSpec()))


def spread_targets(
    params: Params,
    content: Any,
    styles: Sequence[Any],
    config: Config,
    mesh: Mesh,
    *,
    style_weights: Sequence[float] | None = None,
) -> Targets:
    """`make_targets` with the content's maps in bands.

    Args:
        params: from `spread_params`.
        content: RGB in [0, 1], height × width × 3, on the host.
        styles: the same, one or several; each is banded too while its Gram matrices are computed.
        config: with tiles, each device goes over its band tile by tile.
        mesh: from `row_mesh`.
        style_weights: one per style.
    """
    key = compile_key(config)
    make_grams, make_content = (tiled_grams, tiled_content) if config.tile else (_grams, _targets)
    with over_devices(mesh) if config.tile else contextlib.nullcontext():
        grams = [make_grams(params, *_banded(style, config, mesh), config=key) for style in styles]
        image, extent = _banded(content, config, mesh)
        targets = make_content(params, image, blend_grams(grams, style_weights), extent, config=key)
    targets = targets._replace(weights=loss_weights(config))
    return jax.device_put(targets, row_shardings(targets, mesh))


def spread_state(picture: Any, config: Config, mesh: Mesh) -> TransferState:
    """`init_state` in bands: RGB in [0, 1], height × width × 3."""
    image, extent = _banded(picture, config, mesh)
    make = functools.partial(init_state, config=compile_key(config), extent=extent)
    return jax.jit(make, out_shardings=_state_shardings(jax.eval_shape(make, image), mesh))(image)


def over_devices(mesh: Mesh) -> Any:
    """A context in which compiled programs know that rows lie on different devices."""
    return jax.set_mesh(mesh)


def crop(picture: jax.Array | np.ndarray, height: int) -> np.ndarray:
    """The true picture, without the rows that were added."""
    return np.asarray(picture)[:height]
