"""Run by test_spatial.py in a process of its own, where the CPU poses as four devices: prints figures as JSON."""

import collections
import dataclasses
import json
import re
import sys
from typing import Any

import jax
import jax.numpy as jnp
import material
import numpy as np

from jnst.config import Config, OptimizerConfig
from jnst.descent import _advance_in_place, advance, current_picture, init_state
from jnst.objective import compile_key, make_targets
from jnst.presets import PRESETS
from jnst.spatial import crop, over_devices, row_mesh, row_shardings, spread_params, spread_state, spread_targets
from jnst.vgg import prepare_params

WIDTH = 1 / 16


def probe(config: Config, size: tuple[int, int]) -> dict[str, Any]:
    """Memory of the compiled step on one device and on four, its collectives, and how far the results differ."""
    params, mesh, key = prepare_params(material.random_params("vgg19", WIDTH, 0)), row_mesh(), compile_key(config)
    content, style = material.with_noise(material.paint("shapes", *size), 1), material.paint("marble", 75, 64)
    targets, state = make_targets(params, content, style, config), init_state(content, config)
    alone = _advance_in_place.lower(params, targets, state, jnp.int32(1), config=key, optimizer=None, capacity=256)
    single = memory(alone.compile())
    state, trace = advance(params, targets, state, config, num_steps=2, in_place=True)
    expected = current_picture(state, config, best=True)
    with over_devices(mesh):
        params = spread_params(params, mesh)
        targets, state = spread_targets(params, content, [style], config, mesh), spread_state(content, config, mesh)
        compiled = _advance_in_place.lower(
            params, targets, state, jnp.int32(1), config=key, optimizer=None, capacity=256
        ).compile()
        state, banded = advance(params, targets, state, config, num_steps=2, in_place=True)
    kinds = re.findall(r"\b(all-gather|all-reduce|all-to-all|collective-permute)(?:-start)?\(", compiled.as_text())
    resharded = jax.tree.map(
        lambda leaf, wanted: leaf.sharding.is_equivalent_to(wanted, leaf.ndim),
        state.memory,
        row_shardings(state.memory, mesh),
    )
    return {
        "share": memory(compiled) / single,
        "collectives": dict(collections.Counter(kinds)),
        "loss": float(np.abs(banded.total / trace.total - 1).max()),
        "picture": float(np.abs(crop(current_picture(state, config, best=True), size[0]) - expected).max()),
        "memory stays in bands": all(jax.tree.leaves(resharded)),
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
    base = PRESETS["pocket"]
    layers = tuple((layer, 1 / 3) for layer in ("relu1_1", "relu2_1", "relu3_1"))
    base = dataclasses.replace(
        base,
        network=dataclasses.replace(base.network, width=WIDTH),
        loss=dataclasses.replace(base.loss, style_layers=layers, content_layers=(("relu2_2", 1.0),)),
    )
    optimizers = {
        "lbfgs": OptimizerConfig(history=10),
        "compact lbfgs over frequencies": OptimizerConfig(
            history=10, history_precision="bfloat16", frequency_exponent=0.5
        ),
    }
    json.dump(
        {
            name: probe(dataclasses.replace(base, optimizer=optimizer), (250, 160))
            for name, optimizer in optimizers.items()
        },
        sys.stdout,
    )


if __name__ == "__main__":
    main()
