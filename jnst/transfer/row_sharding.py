"""One image over several devices: each holds a band of rows of the picture, its feature maps and L-BFGS's history.

The compiler exchanges the few rows that convolutions look at across a border, and sums Gram matrices and dot products
over the devices. With tiles each device goes over those of its own band (`jnst.loss.halo_exchange`). Images of any
height are padded with rows that count for nothing (see `jnst.vgg.extent.Extent`).
"""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jnst.array_types import Params
from jnst.config import Config, compile_key
from jnst.devices import ROWS, choose_devices, row_shardings
from jnst.loss.targets import divide_rows
from jnst.loss.term import Term
from jnst.transfer.state import TransferState, init_state
from jnst.vgg.convolution import plain_params


def row_mesh(devices: Sequence[Any] | None = None) -> Mesh:
    """A mesh with one axis, over the rows of an image.

    Args:
        devices: that hold the rows from top to bottom; by default all of this process.

    Returns:
        The mesh, for `stylize`, `make_targets` and `reconstruct`.

    Raises:
        ConfigError: for anything but one or more devices of JAX, each once.
        JnstError: where JAX cannot start the platform that JAX_PLATFORMS names.
    """
    return Mesh(np.array(choose_devices(devices)), (ROWS,))


def _state_shardings(state: Any, mesh: Mesh) -> Any:
    shardings = row_shardings(state, mesh)
    if state.basis is None:
        return shardings
    # The transforms are whole on every device; a frequency's weight lies where its coefficient does.
    weights = NamedSharding(mesh, PartitionSpec(ROWS))
    return shardings._replace(basis=shardings.basis._replace(weights=weights))


def replicate_params(params: Params, mesh: Mesh) -> Params:
    """The network on every device."""
    # Plain convolutions alone: the compiler exchanges rows for those; Winograd's blocks it would have to gather.
    return jax.device_put(plain_params(params), NamedSharding(mesh, PartitionSpec()))


def shard_state(picture: Any, config: Config, mesh: Mesh, *, extra_terms: Sequence[Term] = ()) -> TransferState:
    """`init_state` in bands: RGB in [0, 1], height × width × 3."""
    image, extent = divide_rows(np.asarray(picture), config, mesh)
    make = functools.partial(init_state, config=compile_key(config), extent=extent, extra_terms=extra_terms)
    return jax.jit(make, out_shardings=_state_shardings(jax.eval_shape(make, image), mesh))(image)


def over_devices(mesh: Mesh) -> Any:
    """A context in which compiled programs know that rows lie on different devices."""
    return jax.set_mesh(mesh)


def crop(picture: jax.Array | np.ndarray, height: int) -> np.ndarray:
    """The true picture, without the rows that were added."""
    return np.asarray(picture)[:height]
