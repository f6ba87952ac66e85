"""Small material for the tests of the core: narrow networks, little pictures, short runs."""

import atexit
import functools
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from oracles import paint, random_params

from jnst.config import Config, LossConfig, NetworkConfig, OptimizerConfig, PixelSpace, RunConfig, SizeConfig
from jnst.devices import lowering_for
from jnst.presets.presets import PRESETS
from jnst.vgg.convolution import prepare_params
from jnst.weights.network import describe_weights, random_weights
from jnst.weights.store import write_weights

WIDTH = 1 / 16
# Three convolutions deep: enough for content, style and a pool, and compiled in a second.
SHALLOW = LossConfig(
    content_weight=1.0,
    style_weight=10.0,
    tv_weight=1.0,
    content_layers=(("relu2_1", 1.0),),
    style_layers=(("relu1_1", 0.5), ("relu2_1", 0.5)),
    content_normalization="target_variance",
    style_normalization="target_norm",
    tv_reduction="mean",
)


@functools.cache
def small_params(architecture: str = "vgg19") -> Any:
    """Random weights of a network a sixteenth as wide, prepared."""
    with jax.ensure_compile_time_eval():  # kept for later, so it must not belong to whatever is being traced
        return prepare_params(random_params(architecture, WIDTH, 0))


@functools.cache
def tiny_weights() -> str:
    """Path of a weights file of a random VGG16 a sixteenth as wide, for tests that need a quick network from a file."""
    folder = tempfile.mkdtemp(prefix="jnst-tests-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    path = f"{folder}/tiny.h5"
    write_weights(path, random_weights("vgg16", WIDTH, 0), describe_weights("tiny", "vgg16", WIDTH, "caffe"))
    return path


def shallow(*, steps: int = 4, optimizer: OptimizerConfig | None = None, **fields: Any) -> Config:
    """A config on the small network's first layers, pictures as they are, the variable in [0, 1]."""
    return Config(
        network=NetworkConfig(width=WIDTH),
        network_input=fields.pop("network_input", PixelSpace(scale=255.0, mean=(120.0, 115.0, 105.0))),
        size=SizeConfig(rule="keep"),
        loss=fields.pop("loss", SHALLOW),
        optimizer=optimizer or OptimizerConfig(),
        run=RunConfig(steps=steps, **fields.pop("run", {})),
        **fields,
    )


def narrow(name: str, *, steps: int = 2) -> Config:
    """A preset on the small network, pictures as they are."""
    config = PRESETS[name]
    return replace(
        config,
        network=replace(config.network, width=WIDTH),
        size=replace(config.size, rule="keep"),
        run=replace(config.run, steps=steps),
    )


def picture(subject: str, height: int = 32, width: int = 48, seed: int = 0) -> jnp.ndarray:
    return jnp.asarray(paint(subject, height, width, seed))


def relative(value: Any, expected: Any) -> float:
    """Largest difference in units of the largest expected value."""
    value, expected = np.asarray(value, np.float64), np.asarray(expected, np.float64)
    return float(np.abs(value - expected).max() / max(np.abs(expected).max(), 1e-30))


def lowered_text(function: Any, *arguments: Any, platform: str = "cpu") -> str:
    """The program for a platform, as it is before it is compiled."""
    return jax.jit(function).trace(*arguments).lower(lowering_platforms=(platform,)).as_text()


def equations(jaxpr: Any, platform: str = "cpu") -> Iterator[Any]:
    """All steps of a jaxpr, inner ones included; of forms by platform those of the one given."""
    for equation in jaxpr.eqns:
        yield equation
        values = equation.params
        if equation.primitive.name == "linear_map":  # traced when it is lowered
            given = [jax.ShapeDtypeStruct(variable.aval.shape, variable.aval.dtype) for variable in equation.invars]
            with lowering_for(platform):
                yield from equations(jax.make_jaxpr(values["forward"])(*given).jaxpr, platform)
        if platforms := values.get("branches_platforms"):
            chosen = next(index for index, names in enumerate(platforms) if names is None or platform in names)
            values = {"branches": values["branches"][chosen]}
        for value in values.values():
            for inner in value if isinstance(value, list | tuple) else [value]:
                inner = getattr(inner, "jaxpr", inner)
                if hasattr(inner, "eqns"):
                    yield from equations(inner, platform)


def count_primitives(jaxpr: Any, name: str) -> int:
    """How often a primitive occurs in a jaxpr on a CPU, inner ones included."""
    return sum(equation.primitive.name == name for equation in equations(jaxpr))
