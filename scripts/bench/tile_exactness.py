"""What `tiles.py exact` and `drift` do: tiles against the whole image, in one gradient and in twenty steps."""

import argparse
import dataclasses
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jnst.config import Config
from jnst.images.pixel_space import encode
from jnst.images.writing import write_image
from jnst.loss.objective import evaluate
from jnst.loss.targets import make_targets
from jnst.loss.tiled import evaluate_tiled
from jnst.presets.presets import PRESETS
from jnst.presets.select import find_preset
from jnst.transfer.loop import advance
from jnst.transfer.state import current_picture, init_state
from jnst.vgg.convolution import prepare_params
from jnst.weights.network import random_weights

_STEPS = 20
# Differences in the pictures are shown so many times as large, around grey.
_AMPLIFIED = 50


def picture(height: int, width: int, seed: int) -> jax.Array:
    """A smooth picture with noise: no two pixels are equal, as in a photo."""
    y, x = np.meshgrid(np.linspace(0, 3, height), np.linspace(0, 4, width), indexing="ij")
    waves = [0.5 + 0.3 * np.sin(seed + (k + 1) * x + np.cos(k + 2 * y)) for k in range(3)]
    noise = np.random.default_rng(seed).normal(0, 0.05, (height, width, 3))
    return jnp.asarray(np.clip(np.stack(waves, axis=-1) + noise, 0, 1), jnp.float32)


def _noisy(content: jax.Array) -> jax.Array:
    return jnp.clip(content + 0.1 * (picture(*content.shape[:2], 2) - 0.5), 0, 1)


def sizes_of(arguments: argparse.Namespace) -> list[tuple[int, int]]:
    """Heights and widths."""
    return [(int(height), int(width)) for height, width in (size.split("x") for size in arguments.sizes.split(","))]


def names_of(arguments: argparse.Namespace) -> list[str]:
    """The presets asked for."""
    return arguments.presets.split(",") if arguments.presets else list(PRESETS)


def measure_exactness(arguments: argparse.Namespace) -> dict[str, Any]:
    """Tiled against whole at the recipe's own width: relative error of the loss, gradient error over its maximum."""
    rows = []
    for height, width in sizes_of(arguments):
        for name in names_of(arguments):
            config = PRESETS[name]
            # Without Winograd, whose rounding is ten times as large: what is compared is tiles and nothing else.
            weights = random_weights(config.network.architecture, config.network.width, 0)
            params = prepare_params(weights, winograd=False)
            content, style = picture(height, width, 0), picture(300, 400, 1)
            start = encode(_noisy(content), config.variable)
            targets = make_targets(params, content, style, config)
            (whole, _), gradient = jax.jit(evaluate, static_argnames="config")(params, start, targets, config=config)
            tiled = dataclasses.replace(config, tile=arguments.tile)
            (value, _), found = jax.jit(evaluate_tiled, static_argnames="config")(params, start, targets, config=tiled)
            rows.append(
                {
                    "size": [height, width],
                    "tile": arguments.tile,
                    "preset": name,
                    "loss": abs(float(value) / float(whole) - 1),
                    "gradient": float(jnp.abs(found - gradient).max() / jnp.abs(gradient).max()),
                }
            )
            print(json.dumps(rows[-1]), flush=True)
    return {"exact": rows}


def reverse_channels(params: dict[str, Any]) -> dict[str, Any]:
    """The very same network with every layer's channels in reverse order: the same function, rounded differently."""
    first = next(iter(params))
    return {
        name: {
            "kernel": layer["kernel"][..., ::-1] if name == first else layer["kernel"][:, :, ::-1, ::-1],
            "bias": layer["bias"][::-1],
        }
        for name, layer in params.items()
    }


def _paint(params: Any, config: Config, size: tuple[int, int]) -> np.ndarray:
    """The picture after twenty steps of Adam, in grey levels."""
    content, style = picture(*size, 0), picture(150, 200, 1)
    dtype = jnp.float64 if jax.config.jax_enable_x64 else jnp.float32
    params, content, style = jax.tree.map(lambda array: jnp.asarray(array, dtype), (params, content, style))
    targets = make_targets(params, content, style, config)
    state, _ = advance(params, targets, init_state(_noisy(content), config), config, num_steps=_STEPS + 1)
    assert state.point.dtype == dtype
    assert state.evaluation.gradient.dtype == dtype
    return 255 * current_picture(state, config, best=False).astype(np.float64)


def measure_drift(arguments: argparse.Namespace) -> dict[str, Any]:
    """How far twenty steps of Adam in tiles lead from those of the whole image; largest difference in grey levels.

    Beside it: how far the whole image leads from itself with the channels reversed, and both in float64.
    """
    rows = []
    for height, width in sizes_of(arguments):
        for name in names_of(arguments):
            recipe = find_preset(name, optimizer="adam")
            recipe = dataclasses.replace(recipe, network=dataclasses.replace(recipe.network, width=arguments.width))
            weights = random_weights(recipe.network.architecture, arguments.width, 0)
            params = prepare_params(weights, winograd=False)
            whole = _paint(params, recipe, (height, width))
            tiled = _paint(params, dataclasses.replace(recipe, tile=arguments.tile), (height, width))
            other = _paint(prepare_params(reverse_channels(weights), winograd=False), recipe, (height, width))
            row = {"preset": name, "size": [height, width], "precision": "float64" if arguments.double else "float32"}
            for kind, found in (("tiled", tiled), ("reversed", other)):
                difference = np.abs(found - whole)
                row |= {kind: float(difference.max()), f"{kind}, share above one": float((difference > 1).mean())}
            rows.append(row)
            print(json.dumps(row), flush=True)
            if not arguments.double:
                image = np.clip(0.5 + _AMPLIFIED * (whole - tiled) / 255, 0, 1)
                path = arguments.output.with_name(f"tiles-difference-{name}.png")
                path.parent.mkdir(parents=True, exist_ok=True)
                write_image(path, np.concatenate([whole / 255, image], axis=1), overwrite=True)
    if not arguments.double:
        rows += _in_double()
    return {"drift": rows}


def _in_double() -> list[dict[str, Any]]:
    """The same in a process in which float32 means float64: the code under test is not touched."""
    command = [sys.executable, str(Path(__file__).with_name("tiles.py")), *sys.argv[1:], "--double"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        rows = []
        for line in process.stdout:
            print(line, end="", flush=True)
            rows.append(json.loads(line))
    if process.returncode:
        raise SystemExit(process.returncode)
    return rows


def compute_in_double() -> None:
    """From here on jnst, which names float32 wherever it chooses a type, computes in float64."""
    jax.config.update("jax_enable_x64", True)
    jnp.float32 = jnp.float64
