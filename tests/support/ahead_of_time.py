"""Programs compiled for TPUs that are not there: `libtpu` brings the compiler, and compiles abstract arrays.

Nothing can be run; the compiler's text, its memory report and its count of operations can be read.
"""

import collections
import functools
import os
import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec, SingleDeviceSharding

from jnst.batch.loop import Problem, advance_batch, begin_batch
from jnst.config import Config, compile_key
from jnst.devices import AXIS, ROWS, row_shardings
from jnst.loss.targets import content_targets, loss_weights, style_grams
from jnst.loss.tiling import band_height
from jnst.transfer.loop import CAPACITY, _advance_in_place
from jnst.transfer.row_sharding import _state_shardings
from jnst.transfer.state import init_state
from jnst.transfer.stopping import stop_rule
from jnst.vgg.convolution import prepare_params
from jnst.vgg.extent import Extent
from jnst.vgg.layers import deepest, layer_names
from jnst.weights.network import random_weights


@functools.cache
def devices(topology: str) -> tuple[Any, ...]:
    """Devices of a slice such as "v5e:2x2", for which programs can be compiled."""
    # Otherwise libtpu asks the cloud's metadata server what machine this is, and waits for an answer.
    os.environ.setdefault("TPU_SKIP_MDS_QUERY", "1")
    os.environ.setdefault("TPU_WORKER_HOSTNAMES", "localhost")
    from jax.experimental import topologies

    return tuple(topologies.get_topology_desc(platform="tpu", topology_name=topology).devices)


def abstract(tree: Any, sharding: Any = None) -> Any:
    """Shapes and types in place of arrays, for a device or for several."""

    def one(leaf: Any, where: Any) -> jax.ShapeDtypeStruct:
        leaf = leaf if hasattr(leaf, "dtype") else np.asarray(leaf)
        return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=where)

    where = (
        sharding if jax.tree.structure(sharding) == jax.tree.structure(tree) else jax.tree.map(lambda _: sharding, tree)
    )
    return jax.tree.map(one, tree, where)


def _params(config: Config) -> Any:
    network = config.network
    weights = random_weights(network.architecture, network.width, 0, network.channels)
    used = list(weights)[: 1 + list(weights).index(_last_convolution(config))]
    return abstract(prepare_params({name: weights[name] for name in used}, platform="tpu"))


def _last_convolution(config: Config) -> str:
    names = layer_names(config.network.architecture)
    layers = [layer for layer, _ in (*config.loss.content_layers, *config.loss.style_layers)]
    return [name for name in names[: deepest(layers, config.network.architecture) + 1] if name.startswith("conv")][-1]


def _targets(params: Any, picture: Any, extent: Any, key: Config) -> Any:
    def make(params: Any, picture: Any, extent: Any) -> Any:
        return content_targets(params, picture, style_grams(params, picture, extent, config=key), extent, config=key)

    return jax.eval_shape(make, params, picture, extent)


def single(config: Config, size: tuple[int, int], topology: str) -> Any:
    """The loop of one image on one device, lowered."""
    key, device = compile_key(config), SingleDeviceSharding(devices(topology)[0])
    params, picture = _params(config), jax.ShapeDtypeStruct((*size, 3), jnp.float32)
    targets = _targets(params, picture, None, key)
    state = jax.eval_shape(lambda x: init_state(x, key), picture)
    arguments = abstract((params, targets, state, np.int32(1)), device)
    return _lower(_advance_in_place.trace(*arguments, config=key, optimizer=None, capacity=CAPACITY))


def batched(config: Config, size: tuple[int, int], topology: str, *, batch_size: int, exact: bool = True) -> Any:
    """The loop of a batch on all devices of a slice, or on the first alone for "v5e:1", lowered.

    Args:
        config: of the run.
        size: height and width.
        topology: name of the slice.
        batch_size: images on each device.
        exact: whether no image is padded.
    """
    chosen = devices(topology)
    mesh = Mesh(np.array(chosen), (AXIS,))
    return _batched(config, size, mesh, batch_size * len(chosen), exact)


def batched_on_one(config: Config, size: tuple[int, int], topology: str, *, batch_size: int, exact: bool = True) -> Any:
    """The loop of a batch on one device of a slice, lowered."""
    return _batched(config, size, SingleDeviceSharding(devices(topology)[0]), batch_size, exact)


def _batched(config: Config, size: tuple[int, int], where: Any, count: int, exact: bool) -> Any:
    key, params = compile_key(config), _params(config)
    mesh = where if isinstance(where, Mesh) else None
    pictures = jax.ShapeDtypeStruct((count, *size, 3), jnp.float32)
    one = jax.ShapeDtypeStruct((*size, 3), jnp.float32)
    grams = jax.eval_shape(lambda params, x: style_grams(params, x, config=key), params, one)
    extent = None if exact else Extent((np.int32(0), np.int32(0)), (np.int32(size[0]), np.int32(size[1])))
    weights = jax.tree.map(np.asarray, loss_weights(config))
    shared = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct((count, *np.shape(leaf)), leaf.dtype),
        (grams, weights, extent, np.bool_(True)),
    )
    problem = Problem(pictures, pictures, *shared)
    targets, state = jax.eval_shape(lambda params, problem: begin_batch(params, problem, config=key), params, problem)
    everywhere, divided = (where, where)
    if mesh is not None:
        everywhere, divided = NamedSharding(mesh, PartitionSpec()), NamedSharding(mesh, PartitionSpec(AXIS))
    alike = abstract((params, jax.tree.map(np.asarray, stop_rule(config.run)), np.int32(1)), everywhere)
    return _lower(advance_batch.trace(*alike, *abstract((targets, state), divided), config=key, mesh=mesh))


def rows(config: Config, size: tuple[int, int], topology: str) -> Any:
    """The loop of one image whose rows all devices of a slice share, lowered."""
    key, mesh, params = compile_key(config), Mesh(np.array(devices(topology)), (ROWS,)), _params(config)
    count = mesh.devices.size
    picture = jax.ShapeDtypeStruct((count * band_height(size[0], config, count), size[1], 3), jnp.float32)
    extent = Extent((np.int32(0), np.int32(0)), (np.int32(size[0]), np.int32(size[1])))
    everywhere = NamedSharding(mesh, PartitionSpec())
    with jax.set_mesh(mesh):
        targets = _targets(params, picture, extent, key)
        state = jax.eval_shape(lambda x, extent: init_state(x, key, extent=extent), picture, extent)
        arguments = (
            abstract(params, everywhere),
            abstract(targets, row_shardings(targets, mesh)),
            abstract(state, _state_shardings(state, mesh)),
            abstract(np.int32(1), everywhere),
        )
        return _lower(_advance_in_place.trace(*arguments, config=key, optimizer=None, capacity=CAPACITY))


def _lower(traced: Any) -> Any:
    return traced.lower(lowering_platforms=("tpu",))


def collectives(compiled: Any) -> dict[str, int]:
    """How often each kind of exchange between devices occurs in the compiled text."""
    kinds = r"\b(all-gather|all-reduce|all-to-all|collective-permute|reduce-scatter)(?:-start)?\("
    return dict(collections.Counter(re.findall(kinds, compiled.as_text())))
