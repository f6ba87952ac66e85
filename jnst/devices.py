"""Devices: the axes of a mesh, and what is computed on each of its devices."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

# Mesh axis over which an image's rows are divided, where they are (`jnst.transfer.row_sharding`).
ROWS = "rows"
# Mesh axis over which the images of a batch are divided.
AXIS = "images"


def row_parts() -> int:
    """Among how many devices the rows of images are divided where this is traced; one where they are not."""
    mesh = jax.sharding.get_abstract_mesh()
    return mesh.shape[ROWS] if ROWS in mesh.axis_names else 1


def image_mesh(devices: Sequence[Any] | None = None) -> Mesh | None:
    """A mesh with one axis, over images; of this process's devices by default. None where there is only one."""
    chosen = list(jax.local_devices() if devices is None else devices)
    return None if len(chosen) == 1 else Mesh(np.array(chosen), (AXIS,))


def count_devices(mesh: Mesh | None) -> int:
    """Devices of a mesh; one where there is none."""
    return 1 if mesh is None else mesh.devices.size


def spread(function: Callable[..., Any], mesh: Mesh | None, *, shared: int) -> Callable[..., Any]:
    """The function on each device's own block of lanes.

    The first `shared` arguments are the same everywhere; all others, and the results, have a leading axis of lanes.
    A `shard_map`, not a sharded `jit`: there XLA would let loops on different devices wait for each other.
    """
    if mesh is None:
        return function

    def mapped(*arguments: Any) -> Any:
        lanes = PartitionSpec(AXIS)
        specs = (PartitionSpec(),) * shared + (lanes,) * (len(arguments) - shared)
        return jax.shard_map(function, mesh=mesh, in_specs=specs, out_specs=lanes, check_vma=False)(*arguments)

    return mapped


def place(tree: Any, mesh: Mesh | None, *, shared: bool = False) -> Any:
    """Arrays put where `spread` wants them: copies everywhere, or lanes divided among the devices."""
    if mesh is None:
        return jax.device_put(tree)
    return jax.device_put(tree, NamedSharding(mesh, PartitionSpec() if shared else PartitionSpec(AXIS)))


def row_shardings(tree: Any, mesh: Mesh) -> Any:
    """Where the rows of each array of a state or of targets lie; pictures, maps and histories have rows."""

    def sharding(array: Any) -> NamedSharding:
        spec = {3: PartitionSpec(ROWS), 4: PartitionSpec(None, ROWS)}.get(array.ndim, PartitionSpec())
        return NamedSharding(mesh, spec)

    return jax.tree.map(sharding, tree)
