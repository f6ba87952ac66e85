"""Run by test_spatial.py in a process of its own, where the CPU poses as four devices: prints figures as JSON."""

import collections
import dataclasses
import json
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import material
import numpy as np
from small import shallow, small_params

from jnst.config import Config, NetworkConfig, OptimizerConfig, compile_key
from jnst.devices import row_shardings
from jnst.images.pixel_space import encode
from jnst.loss.objective import evaluate
from jnst.loss.targets import make_targets
from jnst.presets.presets import PRESETS
from jnst.transfer.checkpoint import Checkpoint
from jnst.transfer.driver import stylize
from jnst.transfer.loop import _advance_in_place
from jnst.transfer.row_sharding import (
    crop,
    over_devices,
    replicate_params,
    row_mesh,
    shard_state,
)
from jnst.transfer.state import current_picture, init_state
from jnst.vgg.convolution import prepare_params

WIDTH = 1 / 16


def probe(config: Config, size: tuple[int, int]) -> dict[str, Any]:
    """Memory of the compiled step on one device and on four, its collectives, and how far the results differ."""
    params, mesh, key = prepare_params(material.random_params("vgg19", WIDTH, 0)), row_mesh(), compile_key(config)
    content, style = material.with_noise(material.paint("shapes", *size), 1), material.paint("marble", 75, 64)
    targets, state = make_targets(params, content, style, config), init_state(content, config)
    alone = two_turns(params, targets, state, key)
    state, trace = alone(params, targets, state, jnp.int32(2))
    expected = current_picture(state, config, best=True)
    with over_devices(mesh):
        params = replicate_params(params, mesh)
        targets = make_targets(params, content, [style], config, mesh=mesh)
        state = shard_state(content, config, mesh)
        divided = two_turns(params, targets, state, key)
        state, banded = divided(params, targets, state, jnp.int32(2))
    resharded = jax.tree.map(
        lambda leaf, wanted: leaf.sharding.is_equivalent_to(wanted, leaf.ndim),
        state.opt_state,
        row_shardings(state.opt_state, mesh),
    )
    return {
        "share": memory(divided) / memory(alone),
        "collectives": collectives(divided),
        "loss": float(np.abs(banded.total / trace.total - 1).max()),
        "picture": float(np.abs(crop(current_picture(state, config, best=True), size[0]) - expected).max()),
        "memory stays in bands": all(jax.tree.leaves(resharded)),
    }


def two_turns(params: Any, targets: Any, state: Any, key: Config) -> Any:
    """The loop compiled once, to be run as well as looked at."""
    lowered = _advance_in_place.lower(params, targets, state, jnp.int32(1), config=key, optimizer=None, capacity=2)
    return lowered.compile()


def paint(folder: Path) -> dict[str, Any]:
    """A picture painted in tiles on four devices, stopped and resumed, against the whole one on one device.

    In double precision: where the largest of four numbers changes, or a difference its sign, steps amplify rounding.
    """
    jax.config.update("jax_enable_x64", True)
    jnp.float32 = jnp.float64
    config, path = shallow(steps=4, run={"chunk": 2}), folder / "run.state"
    params = jax.tree.map(lambda array: array.astype(jnp.float64), small_params())
    tiled = dataclasses.replace(config, tile=16)
    content, style = material.paint("shapes", 150, 40), material.paint("marble", 50, 64)
    expected = stylize(params, content, style, config).image
    painted = stylize(params, content, style, tiled, mesh=row_mesh())
    stylize(params, content, style, tiled, mesh=row_mesh(), callback=stop_at(2), checkpoint=Checkpoint(path, 0))
    resumed = stylize(params, content, style, tiled, mesh=row_mesh(), checkpoint=Checkpoint(path, 0, resume=True))
    return {
        "shape": painted.image.shape,
        "difference": float(np.abs(painted.image - expected).max()),
        "resumed to the same bits": resumed.image.tobytes() == painted.image.tobytes(),
    }


def stop_at(step: int) -> Any:
    """A callback that ends the run from that step on."""
    return lambda snapshot: snapshot.progress.step >= step


def collectives(compiled: Any) -> dict[str, int]:
    """How often each kind occurs in the compiled text."""
    kinds = r"\b(all-gather|all-reduce|all-to-all|collective-permute)(?:-start)?\("
    return dict(collections.Counter(re.findall(kinds, compiled.as_text())))


def probe_tiles(config: Config, size: tuple[int, int]) -> dict[str, Any]:
    """Loss and gradient in tiles on four devices against those of the whole image, and the compiled step."""
    params, mesh, key = prepare_params(material.random_params("vgg19", WIDTH, 0)), row_mesh(), compile_key(config)
    content, style = material.paint("shapes", *size), material.paint("marble", 75, 64)
    noisy, whole = material.with_noise(content, 1), dataclasses.replace(key, tile=0)
    targets = make_targets(params, content, style, dataclasses.replace(config, tile=0))
    (value, _), gradient = jax.jit(evaluate, static_argnames="config")(
        params, encode(jnp.asarray(noisy), config.variable), targets, config=whole
    )
    with over_devices(mesh):
        params = replicate_params(params, mesh)
        targets = make_targets(params, content, [style], config, mesh=mesh)
        state = shard_state(noisy, config, mesh)
        step = _advance_in_place.lower(
            params, targets, state, jnp.int32(1), config=key, optimizer=None, capacity=1
        ).compile()
        state, trace = step(params, targets, state, jnp.int32(1))  # the first step evaluates and does not move
    tiled = np.asarray(state.evaluation.gradient)
    return {
        "loss": abs(float(trace.total[0]) / float(value) - 1),
        "gradient": float(np.abs(tiled[: size[0]] - gradient).max() / np.abs(gradient).max()),
        "beyond the picture": float(np.abs(tiled[size[0] :]).max()),
        "rows": len(tiled),
        "collectives": collectives(step),
    }


def memory(compiled: Any) -> int:
    """Bytes on one device."""
    report = compiled.memory_analysis()
    return (
        report.argument_size_in_bytes
        + report.output_size_in_bytes
        - report.alias_size_in_bytes
        + report.temp_size_in_bytes
    )


def main() -> None:
    """Four devices; the optimisers that need the most memory."""
    assert len(jax.devices()) == 4
    base = PRESETS["default"]
    layers = tuple((layer, 1 / 3) for layer in ("relu1_1", "relu2_1", "relu3_1"))
    base = dataclasses.replace(
        base,
        network=NetworkConfig("vgg19", WIDTH, "average", first_padding="replicate"),
        loss=dataclasses.replace(base.loss, style_layers=layers, content_layers=(("relu2_2", 1.0),)),
    )
    optimizers = {
        "lbfgs": OptimizerConfig(history=10),
        "compact lbfgs over frequencies": OptimizerConfig(
            history=10, history_precision="bfloat16", frequency_exponent=0.5
        ),
    }
    figures = {
        name: probe(dataclasses.replace(base, optimizer=optimizer), (250, 200))
        for name, optimizer in optimizers.items()
    }
    for pooling, content in (("max", "keep"), ("average", "recompute")):
        network = dataclasses.replace(base.network, pooling=pooling)
        config = dataclasses.replace(
            base, network=network, tile=32, tiled_content=content, optimizer=OptimizerConfig(history=2)
        )
        figures[f"tiles, {pooling} pooling, content {content}"] = probe_tiles(config, (203, 90))
    with tempfile.TemporaryDirectory() as folder:
        figures["painting"] = paint(Path(folder))
    json.dump(figures, sys.stdout)


if __name__ == "__main__":
    main()
