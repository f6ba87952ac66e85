"""Measures tiles: exactness on every preset, memory against size, time against tile size; makes a plot.

    python scripts/bench/tiles.py exact --sizes 512x512,509x387 --tile 256
    python scripts/bench/tiles.py drift --sizes 157x139 --tile 96
    python scripts/bench/tiles.py memory --output out/tiles.json
    python scripts/bench/tiles.py time --size 1024 --output out/tiles.json
    python scripts/bench/tiles.py plot --output out/tiles.json

Memory is what the compiler reserves for one step (arguments and temporary memory), for which nothing is run. Weights
are the bundled network's, or random ones of VGG19's full width.
"""

import argparse
import dataclasses
import json
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from tile_exactness import compute_in_double, measure_drift, measure_exactness, picture

from jnst.config import Config, OptimizerConfig, compile_key
from jnst.loss.halo_exchange import Band
from jnst.loss.objective import compute_terms, evaluate, gram_terms, weigh
from jnst.loss.targets import make_targets
from jnst.loss.tiled import _compare, _content_reader, evaluate_tiled
from jnst.loss.tiling import cut_tiles
from jnst.presets.presets import PRESETS
from jnst.presets.resolve import load_preset
from jnst.transfer.loop import _advance_in_place
from jnst.transfer.memory import estimate_memory
from jnst.transfer.state import init_state
from jnst.vgg.convolution import prepare_params
from jnst.weights.network import random_weights


def step_bytes(config: Config, side: int) -> int:
    """Arguments and temporary memory of one compiled step on a square image."""
    shape, key = jax.ShapeDtypeStruct((side, side, 3), jnp.float32), compile_key(config)
    params = prepare_params(random_weights(config.network.architecture, config.network.width, 0))
    targets = jax.eval_shape(lambda x: make_targets(params, x, x, config), shape)
    state = jax.eval_shape(lambda x: init_state(x, config), shape)
    steps = jax.ShapeDtypeStruct((), jnp.int32)
    report = (
        _advance_in_place.lower(params, targets, state, steps, config=key, optimizer=None, capacity=1)
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
    for preset in arguments.presets.split(",") if arguments.presets else ("default",):
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


def evaluate_scanned(params: Any, image: jax.Array, targets: Any, config: Config) -> Any:
    """What `evaluate_tiled` computes, the other way: autodiff through a loop of tiles, each of them checkpointed."""

    def weighted(image: jax.Array) -> jax.Array:
        size = (image.shape[0], image.shape[1])
        tiles = cut_tiles(image, config, size, Band())
        content_target = _content_reader(params, tiles, targets, config, Band())

        def compare(index: Any) -> Any:
            return _compare(params, *tiles.cut(index), content_target(index), None, tiles, targets, config)

        @jax.checkpoint
        def add(sums: Any, index: jax.Array) -> tuple[Any, None]:
            return jax.tree.map(jnp.add, sums, compare(index)), None

        zeros = jax.tree.map(lambda one: jnp.zeros(one.shape, one.dtype), jax.eval_shape(compare, 0))
        (products, terms), _ = lax.scan(add, zeros, jnp.arange(tiles.number))
        terms |= gram_terms(products, targets, config, size=size)
        terms |= compute_terms("image", image, targets.own, targets, config, size=size)
        return weigh(terms, targets.weights)

    return jax.value_and_grad(weighted)(image)


def measure_time(arguments: argparse.Namespace) -> dict[str, Any]:
    """Seconds of one evaluation of the bundled network, whole and by tile size; the best of several."""
    params, config = load_preset("default")
    params, side = prepare_params(params, winograd=False), arguments.size
    image, style = picture(side, side, 0), picture(256, 256, 1)
    ways = {"whole": (evaluate, 0)}
    for tile in map(int, arguments.tiles.split(",")):
        ways |= {f"two passes, {tile}": (evaluate_tiled, tile), f"checkpointed loop, {tile}": (evaluate_scanned, tile)}
    runs, times = {}, {name: [] for name in ways}
    for name, (function, tile) in ways.items():
        key = compile_key(dataclasses.replace(config, tile=tile))
        targets = make_targets(params, image, style, key)
        compiled = jax.jit(function, static_argnames="config").lower(params, image, targets, config=key).compile()
        runs[name] = compiled, targets
        print(name, f"{compiled.memory_analysis().temp_size_in_bytes / 1e6:.0f} MB of temporary memory", flush=True)
    for _ in range(arguments.repeats):  # in turns, so that a slow minute of the machine meets all alike
        for name, (compiled, targets) in runs.items():
            begin = time.perf_counter()
            jax.block_until_ready(compiled(params, image, targets))
            times[name].append(time.perf_counter() - begin)
    rows = []
    for name, seconds in times.items():
        way, _, tile = name.partition(", ")
        rows.append({"side": side, "way": way, "tile": int(tile or 0), "seconds": min(seconds)})
        print(name, f"{min(seconds):.2f} s, {min(seconds) / min(times['whole']):.2f} times the whole", flush=True)
    return {"time": rows}


def plot(path: Path) -> None:
    """Memory against size, and time against tile size, side by side."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figures = json.loads(path.read_text())
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
    for preset, colour in (("default", "tab:red"),):
        for tile, style in ((0, "-"), (512, "--")):
            rows = [
                row
                for row in figures.get("memory", [])
                if row["preset"] == preset and row["tile"] == tile and row["optimizer"] == "adam"
            ]
            name = f"{preset}, {'tiles of 512' if tile else 'whole'}"
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
    left.set_xticks([], minor=True)
    left.legend()
    rows = figures.get("time", [])
    if rows:
        for way in ("two passes", "checkpointed loop"):
            tiled = sorted((row["tile"], row["seconds"] / rows[0]["seconds"]) for row in rows if row["way"] == way)
            right.plot(*zip(*tiled, strict=True), marker="o", label=way)
        right.legend()
        right.axhline(1, color="grey", linewidth=1)
        right.set(xlabel="tile, pixels", ylabel=f"time over that of the whole {rows[0]['side']}² image", ylim=(0, None))
    figure.savefig(path.with_suffix(".png"), dpi=130)
    print(path.with_suffix(".png"))


def main() -> None:
    """Measures what is asked for and adds it to the output file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("exact", "drift", "memory", "time", "plot"))
    parser.add_argument("--sizes", default="512x512,509x387", help="heights and widths")
    parser.add_argument("--presets", default="", help="names, separated by commas; all by default, two for `memory`")
    parser.add_argument("--tile", type=int, default=256)
    parser.add_argument("--size", type=int, default=1024)
    parser.add_argument("--output", type=Path, default=Path("out/tiles.json"))
    parser.add_argument("--tiles", default="256,512", help="sides in pixels, for `time`")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--width", type=float, default=0.25, help="of the network in `drift`")
    parser.add_argument("--double", action="store_true", help="`drift` in float64 alone")
    arguments = parser.parse_args()
    if arguments.double:
        compute_in_double()
        measure_drift(arguments)
        return
    if arguments.what == "plot":
        plot(arguments.output)
        return
    found = json.loads(arguments.output.read_text()) if arguments.output.exists() else {}
    measures = {"exact": measure_exactness, "drift": measure_drift, "memory": measure_memory, "time": measure_time}
    found |= measures[arguments.what](arguments)
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
