"""Measures tiles: exactness on every preset at full width, memory against size, time against tile size; makes a plot.

    python scripts/bench_tiles.py exact --sizes 512x512,509x387 --tile 256
    python scripts/bench_tiles.py memory --output out/tiles.json
    python scripts/bench_tiles.py time --size 1024 --output out/tiles.json
    python scripts/bench_tiles.py plot --output out/tiles.json

Memory is what the compiler reserves for one step (arguments and temporary memory), for which nothing is run. Weights
are the bundled network's, or random ones of VGG19's full width.
"""

import argparse
import dataclasses
import json
import resource
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jnst.config import Config, OptimizerConfig
from jnst.descent import _advance_in_place, init_state
from jnst.objective import compile_key, evaluate, make_targets
from jnst.planning import estimate_memory
from jnst.preprocessing import encode
from jnst.presets import PRESETS
from jnst.runs import load_preset
from jnst.tiles import evaluate_tiled, prepare_targets
from jnst.vgg import prepare_params
from jnst.weights import random_weights


def picture(height: int, width: int, seed: int) -> jax.Array:
    """A smooth picture with noise: no two pixels are equal, as in a photo."""
    y, x = np.meshgrid(np.linspace(0, 3, height), np.linspace(0, 4, width), indexing="ij")
    waves = [0.5 + 0.3 * np.sin(seed + (k + 1) * x + np.cos(k + 2 * y)) for k in range(3)]
    noise = np.random.default_rng(seed).normal(0, 0.05, (height, width, 3))
    return jnp.asarray(np.clip(np.stack(waves, axis=-1) + noise, 0, 1), jnp.float32)


def measure_exactness(arguments: argparse.Namespace) -> None:
    """Tiled against whole for every preset: relative error of the loss, gradient error over its maximum."""
    for size in arguments.sizes.split(","):
        height, width = map(int, size.split("x"))
        for name in arguments.presets.split(",") if arguments.presets else PRESETS:
            config = PRESETS[name]
            params = prepare_params(random_weights(config.network.architecture, config.network.width, 0))
            content, style = picture(height, width, 0), picture(300, 400, 1)
            start = encode(jnp.clip(content + 0.1 * (picture(height, width, 2) - 0.5), 0, 1), config.variable)
            targets = make_targets(params, content, style, config)
            (whole, _), gradient = jax.jit(evaluate, static_argnames="config")(params, start, targets, config=config)
            whole, gradient = float(whole), np.asarray(gradient)
            tiled = dataclasses.replace(config, tile=arguments.tile)
            (value, _), found = jax.jit(evaluate_tiled, static_argnames="config")(params, start, targets, config=tiled)
            loss = abs(float(value) / whole - 1)
            error = np.abs(np.asarray(found) - gradient).max() / np.abs(gradient).max()
            print(f"{size} tile {arguments.tile} {name}: loss {loss:.1e}, gradient {error:.1e}", flush=True)


def step_bytes(config: Config, side: int) -> int:
    """Arguments and temporary memory of one compiled step on a square image."""
    shape, key = jax.ShapeDtypeStruct((side, side, 3), jnp.float32), compile_key(config)
    params = prepare_params(random_weights(config.network.architecture, config.network.width, 0))
    targets = jax.eval_shape(lambda x: prepare_targets(params, x, x, config), shape)
    state = jax.eval_shape(lambda x: init_state(x, config), shape)
    turns = jax.ShapeDtypeStruct((), jnp.int32)
    report = (
        _advance_in_place.lower(params, targets, state, turns, config=key, optimizer=None, capacity=1)
        .compile()
        .memory_analysis()
    )
    return int(report.argument_size_in_bytes + report.temp_size_in_bytes)


def measure_memory(arguments: argparse.Namespace) -> dict[str, Any]:
    """Gigabytes against size: whole and in tiles of 512, Adam and compact L-BFGS."""
    rows = []
    optimizers = {
        "adam": OptimizerConfig(method="adam"),
        "lbfgs, history 5, bfloat16": OptimizerConfig(history=5, history_precision="bfloat16", frequency_exponent=0.5),
    }
    for preset in ("pocket", "default"):
        for words, optimizer in optimizers.items():
            for side in (512, 1024, 2048, 4096):
                for tile in (0, 512):
                    config = dataclasses.replace(PRESETS[preset], tile=tile, optimizer=optimizer)
                    row = {
                        "preset": preset,
                        "optimizer": words,
                        "side": side,
                        "tile": tile,
                        "compiled": step_bytes(config, side) / 1e9,
                        "model": estimate_memory((side, side), config).total / 1e9,
                    }
                    rows.append(row)
                    print(row, flush=True)
    return {"memory": rows}


def measure_time(arguments: argparse.Namespace) -> dict[str, Any]:
    """Seconds of one evaluation of the pocket network, whole and by tile size, best of three."""
    params, config = load_preset("pocket", weights="pocket")
    image, style = picture(arguments.size, arguments.size, 0), picture(256, 256, 1)
    rows = []
    for tile in (0, 128, 256, 512, 1024):
        if tile >= arguments.size:
            continue
        one = compile_key(dataclasses.replace(config, tile=tile))
        targets = prepare_targets(params, image, style, one)
        compute = jax.jit(evaluate_tiled if tile else evaluate, static_argnames="config")
        jax.block_until_ready(compute(params, image, targets, config=one))
        times = []
        for _ in range(3):
            begin = time.perf_counter()
            jax.block_until_ready(compute(params, image, targets, config=one))
            times.append(time.perf_counter() - begin)
        rows.append({"side": arguments.size, "tile": tile, "seconds": min(times)})
        print(rows[-1], f"{min(times) / rows[0]['seconds']:.2f} times the whole", flush=True)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(f"peak memory of this process {peak:.1f} GB")
    return {"time": rows}


def plot(path: Path) -> None:
    """Memory against size, and time against tile size, side by side."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figures = json.loads(path.read_text())
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
    for preset, colour in (("default", "tab:red"), ("pocket", "tab:blue")):
        for tile, style in ((0, "-"), (512, "--")):
            rows = [
                row
                for row in figures.get("memory", [])
                if row["preset"] == preset and row["tile"] == tile and row["optimizer"] == "adam"
            ]
            name = f"{'VGG19' if preset == 'default' else 'pocket'}, {'tiles of 512' if tile else 'whole'}"
            left.plot(
                [row["side"] for row in rows],
                [row["compiled"] for row in rows],
                style,
                color=colour,
                marker="o",
                label=name,
            )
    left.set(xscale="log", yscale="log", xlabel="side of the image, pixels", ylabel="memory of a step, GB (Adam)")
    left.set_xticks([512, 1024, 2048, 4096], ["512", "1024", "2048", "4096"])
    left.legend()
    rows = figures.get("time", [])
    if rows:
        tiled = [row for row in rows if row["tile"]]
        right.plot([row["tile"] for row in tiled], [row["seconds"] / rows[0]["seconds"] for row in tiled], marker="o")
        right.axhline(1, color="grey", linewidth=1)
        right.set(xlabel="tile, pixels", ylabel=f"time over that of the whole {rows[0]['side']}² image", ylim=(0, None))
    figure.savefig(path.with_suffix(".png"), dpi=130)
    print(path.with_suffix(".png"))


def main() -> None:
    """Measures what is asked for and adds it to the output file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("exact", "memory", "time", "plot"))
    parser.add_argument("--sizes", default="512x512,509x387")
    parser.add_argument("--presets", default="", help="names, separated by commas; all by default")
    parser.add_argument("--tile", type=int, default=256)
    parser.add_argument("--size", type=int, default=1024)
    parser.add_argument("--output", type=Path, default=Path("out/tiles.json"))
    arguments = parser.parse_args()
    if arguments.what == "exact":
        measure_exactness(arguments)
        return
    if arguments.what == "plot":
        plot(arguments.output)
        return
    found = json.loads(arguments.output.read_text()) if arguments.output.exists() else {}
    found |= measure_memory(arguments) if arguments.what == "memory" else measure_time(arguments)
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
