"""Devices: the axes of a mesh, and what is computed on each of its devices."""

import contextlib
import importlib.util
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from contextvars import ContextVar
from typing import Any

import jax
import numpy as np
from jax import lax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jnst.errors import ConfigError, JnstError, quote

# Mesh axis over which an image's rows are divided, where they are (`jnst.transfer.row_sharding`).
ROWS = "rows"
# Mesh axis over which the images of a batch are divided.
AXIS = "images"
_LOWERED_FOR: ContextVar[str | None] = ContextVar("platform that a program is lowered for", default=None)

# What JAX_PLATFORMS may name, the modules that make it available, and what to install for it.
_PLATFORMS = {
    "cpu": (("jaxlib",), ""),
    "cuda": (("jax_cuda12_plugin", "jax_cuda13_plugin"), 'for an NVIDIA GPU install "jnst[cuda]"'),
    "tpu": (("libtpu",), 'for a TPU install "jnst[tpu]"'),
    "rocm": (("jax_rocm60_plugin", "jax_rocm7_plugin"), "for an AMD GPU install JAX's plugin for ROCm"),
}


# Whether this process is a copy, by `os.fork`, of one in which JAX had started.
_FORKED = False


def _remember_fork() -> None:
    global _FORKED
    _FORKED = _FORKED or bool(getattr(sys.modules.get("jax._src.xla_bridge"), "_backends", None))


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_remember_fork)


def missing_platform() -> str | None:
    """A sentence where JAX cannot start the platform asked for: what is there, and what to install; None where it can.

    JAX answers with the failure of one of its parts, and for CUDA without its plugin with an empty assertion. In a
    process that was forked after it had started, where its threads are missing, it waits for ever.
    """
    if _FORKED:
        return (
            "this process was forked from one in which JAX had started, and there JAX waits for ever; start processes "
            'by multiprocessing.get_context("spawn"), or fork before JAX is used'
        )
    try:
        jax.devices()
    except (RuntimeError, AssertionError) as error:
        asked = jax.config.jax_platforms or ""  # pyright: ignore[reportAttributeAccessIssue]
        reason = str(error).partition("\n")[0]
        if not asked:
            return f"JAX finds no device to compute on: {reason or type(error).__name__}"
        there = [name for name, (modules, _) in _PLATFORMS.items() if any(map(importlib.util.find_spec, modules))]
        wanted = ["cuda" if name == "gpu" else name for name in asked.split(",")]
        hints = [_PLATFORMS[name][1] for name in wanted if name in _PLATFORMS and name not in there]
        return "; ".join(
            [
                f"JAX_PLATFORMS is {quote(asked)}, which JAX cannot start here",
                f"installed for JAX are: {', '.join(there)}",
                *hints,
                f"or set JAX_PLATFORMS={there[0]}",
            ]
        )
    return None


def check_platform() -> None:
    """Raises JnstError where JAX cannot start the platform that JAX_PLATFORMS names."""
    if sentence := missing_platform():
        raise JnstError(sentence)


def default_platform() -> str:
    """Where arrays are put that are given no device: cpu, gpu or tpu."""
    device = jax.config.jax_default_device  # pyright: ignore[reportAttributeAccessIssue]
    if device is None:
        return jax.default_backend()
    platform = getattr(device, "platform", device)
    return "gpu" if platform in ("cuda", "rocm") else platform


def by_platform(*arguments: Any, other: Callable[..., Any], **forms: Callable[..., Any]) -> Any:
    """One form of a computation, chosen when a program is compiled, by the platform that it is compiled for.

    Not when it is traced: a program may be compiled for a device that is not the default, or not even there. What is
    traced only when it is lowered (`lowering_for`) is traced in one form.

    Args:
        arguments: of the forms.
        other: where there is none for the platform.
        forms: by platform: cpu, tpu, cuda or rocm.
    """
    platform = _LOWERED_FOR.get()
    if platform is not None:
        return forms.get(platform, other)(*arguments)
    return lax.platform_dependent(*arguments, default=other, **forms)


@contextlib.contextmanager
def lowering_for(platform: str | None) -> Iterator[None]:
    """Where the platform that a program is lowered for is known: cpu, tpu, cuda or rocm; None for several at once."""
    token = _LOWERED_FOR.set(platform)
    try:
        yield
    finally:
        _LOWERED_FOR.reset(token)


def row_parts() -> int:
    """Among how many devices the rows of images are divided where this is traced; one where they are not."""
    mesh = jax.sharding.get_abstract_mesh()
    return mesh.shape[ROWS] if ROWS in mesh.axis_names else 1


def choose_devices(devices: Any) -> list[Any]:
    """The devices as a list; all of this process for None.

    Raises:
        ConfigError: for anything but one or more devices of JAX, each once.
        JnstError: where JAX cannot start the platform that JAX_PLATFORMS names.
    """
    check_platform()
    if devices is None:
        return list(jax.local_devices())
    if isinstance(devices, str | Set) or not isinstance(devices, Iterable):
        raise ConfigError(f"devices is {quote(devices)}; expected a list of devices, such as jax.devices()")
    chosen = list(devices)
    wrong = [device for device in chosen if not isinstance(device, jax.Device)]
    if wrong:
        raise ConfigError(f"a device is {quote(wrong[0])}; expected one of jax.devices()")
    if not chosen:
        raise ConfigError("there are 0 devices; expected one or more")
    if len(set(chosen)) < len(chosen):
        raise ConfigError(
            f"{len(chosen)} devices are named and {len(set(chosen))} are meant; expected each of them once"
        )
    return chosen


def check_mesh(mesh: Any, axis: str) -> Mesh:
    """The mesh with its one axis as `image_mesh` and `row_mesh` make it.

    Raises:
        ConfigError: it is no mesh, or has another axis or several.
    """
    maker = {AXIS: "jnst.image_mesh", ROWS: "jnst.row_mesh"}[axis]
    expected = f'a mesh with one axis, "{axis}", as {maker}() makes it'
    if not isinstance(mesh, Mesh):
        raise ConfigError(f"mesh is {type(mesh).__name__}; expected {expected}")
    if mesh.axis_names != (axis,):
        names = ", ".join(quote(str(name)) for name in mesh.axis_names) or "none"
        raise ConfigError(f"the mesh has the axes {names}; expected {expected}")
    # `jax.make_mesh` asks for every array's sharding in the program; here the compiler chooses.
    return Mesh(mesh.devices, (axis,))


def image_mesh(devices: Sequence[Any] | None = None) -> Mesh | None:
    """A mesh with one axis, over images.

    Args:
        devices: to divide batches among; by default all of this process.

    Returns:
        The mesh, or None where there is only one device.

    Raises:
        ConfigError: for anything but one or more devices of JAX, each once.
    """
    chosen = choose_devices(devices)
    return None if len(chosen) == 1 else Mesh(np.array(chosen), (AXIS,))


def count_devices(mesh: Mesh | None) -> int:
    """Devices of a mesh; one where there is none."""
    return 1 if mesh is None else mesh.devices.size


def map_over_images(function: Callable[..., Any], mesh: Mesh | None, *, shared: int) -> Callable[..., Any]:
    """The function on each device's own block of elements.

    The first `shared` arguments are the same everywhere; all others, and the results, have a leading axis of elements.
    A `shard_map`, not a sharded `jit`: there XLA would let loops on different devices wait for each other.
    """
    if mesh is None:
        return function

    def mapped(*arguments: Any) -> Any:
        elements = PartitionSpec(AXIS)
        specs = (PartitionSpec(),) * shared + (elements,) * (len(arguments) - shared)
        return jax.shard_map(function, mesh=mesh, in_specs=specs, out_specs=elements, check_vma=False)(*arguments)

    return mapped


def place(tree: Any, mesh: Mesh | None, *, shared: bool = False) -> Any:
    """Arrays put where `map_over_images` wants them: copies everywhere, or elements divided among the devices."""
    if mesh is None:
        return jax.device_put(tree)
    return jax.device_put(tree, NamedSharding(mesh, PartitionSpec() if shared else PartitionSpec(AXIS)))


def row_shardings(tree: Any, mesh: Mesh) -> Any:
    """Where the rows of each array of a state or of targets lie; pictures, maps and histories have rows."""

    def sharding(array: Any) -> NamedSharding:
        spec = {3: PartitionSpec(ROWS), 4: PartitionSpec(None, ROWS)}.get(array.ndim, PartitionSpec())
        return NamedSharding(mesh, spec)

    return jax.tree.map(sharding, tree)
