"""What a run will need before it begins: memory whole and in tiles, the tile that fits, the time, and what would help.

The memory model counts feature maps, optimiser state and pictures; `tests/test_planning.py` holds it against the
compiler's own figures.
"""

import dataclasses
import functools
import math
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jnst.arrays import Params
from jnst.config import Config, LayerWeights, OptimizerConfig
from jnst.grids import Grid, band_height, layer_stride, tile_grid
from jnst.layers import deepest, layer_names, network_channels
from jnst.memory import available_bytes, kept_channels, params_bytes
from jnst.objective import compile_key, evaluate, make_targets

# Interior sides that are tried, largest first. Beyond 1024 the halo costs little and the memory grows fast.
TILES = (1024, 768, 512, 384, 256, 128)
_IMAGE = 12  # bytes per pixel of a picture in float32
# Python, JAX and the compiled programs; pictures in and out on the host, per pixel. Measured, both rounded up.
_BASE = 500 << 20
_HOST = 60
# Beside the feature maps that are kept: working copies of the largest one, or in a whole image, where that is more, the
# gradients of all style terms at once, in maps of their own. Both fitted to the compiler's figures.
_COPIES = 1.75
_STYLE_MAPS = 0.95


class Memory(NamedTuple):
    """Bytes that a run needs at its fullest: fixed costs, feature maps, content targets, optimiser state, pictures."""

    fixed: int
    features: int
    targets: int
    optimizer: int
    pictures: int

    @property
    def total(self) -> int:
        return sum(self)


class Plan(NamedTuple):
    """How a run of that size (height, width) will be carried out.

    config: with the tile chosen. grid: None for the whole image. memory: of what was chosen.
    whole: what the whole image would need. available: bytes. advice: changes that would make it fit, best first.
    devices: among which the rows are divided; grid and memory are then those of each.
    """

    size: tuple[int, int]
    config: Config
    grid: Grid | None
    memory: Memory
    whole: Memory
    available: int
    advice: tuple[str, ...]
    devices: int = 1

    @property
    def fits(self) -> bool:
        return self.memory.total <= self.available


def optimizer_images(optimizer: OptimizerConfig) -> float:
    """What an optimiser keeps, counted in float32 pictures: working copies included, point and gradient not.

    >>> optimizer_images(OptimizerConfig(method="adam")), optimizer_images(OptimizerConfig(history=10))
    (4, 20)
    """
    if optimizer.method == "adam":
        return 4
    if optimizer.history_precision == "bfloat16":
        return optimizer.history
    # Steps and changes of the gradient; in jaxopt's and optax's loops a copy of one of the two besides.
    ours = optimizer.method == "lbfgs" and optimizer.line_search == "none"
    return (2 if ours else 3) * optimizer.history


def estimate_memory(size: tuple[int, int], config: Config, *, devices: int = 1) -> Memory:
    """Memory of a run at full size (height, width), whole or tiled as the config says, on each of several devices."""
    height, width = size[0] if devices == 1 else band_height(size[0], config, devices), size[1]
    pixels, grid, optimizer = height * width, tile_grid(size, config, devices=devices), config.optimizer
    kept, largest = kept_channels(config)
    value = 2 if config.precision == "bfloat16" else 4
    area, side = pixels, (height, width)
    if grid is not None:
        side = (grid.tile[0] + 2 * grid.halo, grid.tile[1] + 2 * grid.halo)
        area = side[0] * side[1]
    working_maps = _COPIES * largest
    if grid is None:
        working_maps = max(working_maps, _STYLE_MAPS * _map_channels(config.loss.style_layers, config))
    features = value * (kept + working_maps) * area
    # Point, gradient and best picture; those again while they are computed; a tiled run pads image and gradient.
    state = 3 + optimizer_images(optimizer)
    working = 5 if grid is None else 6
    cosines = 0
    if optimizer.frequency_exponent:
        state, working, cosines = state + 4 / 3, working + 4, 2 * ((devices * height) ** 2 + width**2)
    # On an accelerator the program and the pictures' copies lie in the host's memory, which simulated devices share.
    on_host = (jax.default_backend() == "cpu") / devices
    return Memory(
        fixed=round(_BASE * on_host) + params_bytes(config),
        features=round(features),
        targets=round(_content_channels(config) * value * pixels),
        optimizer=round(_IMAGE * pixels * (state + working) + cosines),
        pictures=round(_HOST * devices * pixels * on_host),
    )


def _content_channels(config: Config) -> float:
    """Channels of the content targets per pixel of the image: of the maps, or of the image they are made from."""
    if config.tile and config.tiled_content == "recompute":
        return 6
    return _map_channels(config.loss.content_layers, config)


def _map_channels(layers: LayerWeights, config: Config) -> float:
    """Channels of the layers' feature maps per pixel of the image."""
    return sum(_channels(layer, config) / layer_stride(layer, config.network) ** 2 for layer, _ in layers)


def _channels(layer: str, config: Config) -> int:
    names, table = layer_names(config.network.architecture), network_channels(config.network)
    before = names[deepest([layer], config.network.architecture) :: -1]
    return next(table[name] for name in before if name in table)


def plan_run(
    size: tuple[int, int],
    config: Config,
    *,
    tile: int | None = None,
    available: int | None = None,
    devices: int = 1,
) -> Plan:
    """The fastest way to run an image of that size in the memory there is.

    Args:
        size: height and width at full working size.
        config: of the run; its tile is replaced.
        tile: a side in pixels, or 0 for the whole image; by default the whole image where it fits, else the largest
            tile that does, and content targets computed anew where nothing else helps.
        available: bytes on each device; by default what is free.
        devices: among which the image's rows are divided.

    Returns:
        The plan; where even the smallest tile does not fit, `fits` is false and `advice` says what would.
    """
    available = available_bytes() if available is None else available
    whole = dataclasses.replace(config, tile=0, tiled_content="keep")
    candidates = [whole, *_tiled(config)] if tile is None else [dataclasses.replace(config, tile=tile)]
    estimate = functools.partial(estimate_memory, devices=devices)
    chosen = next((one for one in candidates if estimate(size, one).total <= available), None)
    if chosen is None:
        chosen = min(candidates, key=lambda one: estimate(size, one).total)
    memory, grid = estimate(size, chosen), tile_grid(size, chosen, devices=devices)
    advice = () if memory.total <= available else _advise(size, config, available, devices)
    return Plan(size, chosen, grid, memory, estimate(size, whole), available, advice, devices)


def _tiled(config: Config) -> list[Config]:
    return [
        dataclasses.replace(config, tile=tile, tiled_content=content)
        for content in ("keep", "recompute")
        for tile in TILES
    ]


def _advise(size: tuple[int, int], config: Config, available: int, devices: int) -> tuple[str, ...]:
    """Changes of the settings with which some tile fits, each by itself, then a smaller picture."""

    def need(size: tuple[int, int], config: Config) -> int:
        return min(estimate_memory(size, one, devices=devices).total for one in _tiled(config))

    optimizer = config.optimizer
    changes: list[tuple[str, dict[str, Any]]] = []
    if optimizer.method == "lbfgs" and optimizer.line_search == "none":
        for history in sorted({optimizer.history, 10, 5}, reverse=True):
            compact = optimizer.history_precision == "bfloat16"
            if history < optimizer.history or (history == optimizer.history and not compact):
                flag = "" if history == optimizer.history else f"--history {history} "
                changes.append(
                    (f"{flag}--history-precision bfloat16", {"history": history, "history_precision": "bfloat16"})
                )
    if optimizer.method != "adam":
        changes.append(("--optimizer adam", {"method": "adam", "history_precision": "float32"}))
    advice = []
    for words, change in changes:
        total = need(size, dataclasses.replace(config, optimizer=dataclasses.replace(optimizer, **change)))
        if total <= available:
            advice.append(f"{words} ({format_bytes(total)})")
    # Nearly everything grows with the number of pixels.
    fixed = estimate_memory((1, 1), config, devices=devices).fixed
    factor = math.sqrt(max(0.0, available - fixed) / max(1, need(size, config) - fixed))
    long = int(max(size) * min(1.0, factor)) // 16 * 16
    while long > 0 and need((max(1, size[0] * long // max(size)), max(1, size[1] * long // max(size))), config) > (
        available
    ):
        long -= 16 * max(1, long // 200)
    if long > 0:
        advice.append(f"--size {long}")
    return tuple(advice)


def describe_plan(plan: Plan) -> list[str]:
    """Lines for the user: the need whole and as planned, the tile, and what would make it fit."""
    height, width = plan.size
    lines = [
        f"size: {width} × {height} ({width * height / 1e6:.1f} megapixels)",
        f"memory, whole: {_describe(plan.whole)}",
    ]
    if plan.devices > 1:
        lines.insert(1, f"devices: {plan.devices}, each with a band of rows; memory and tiles are those of one")
    if plan.grid is not None:
        down, across = plan.grid.counts
        lines.append(
            f"tiles: {across} × {down} of {plan.grid.tile[1]} × {plan.grid.tile[0]} pixels, halo {plan.grid.halo}; "
            f"{overhead(plan.size, plan.grid, plan.devices):.1f} times the work of the whole image"
        )
        kept = "kept" if plan.config.tiled_content == "keep" else "computed anew for each tile"
        lines += [f"content targets: {kept}", f"memory, tiled: {_describe(plan.memory)}"]
    else:
        lines.append("tiles: none; the whole image at once is fastest")
    lines.append(f"available: {format_bytes(plan.available)}")
    if not plan.fits:
        lines.append("does not fit; " + ("these would: " + "; ".join(plan.advice) if plan.advice else "nor any size"))
    return lines


def _describe(memory: Memory) -> str:
    parts = ", ".join(f"{name} {format_bytes(value)}" for name, value in memory._asdict().items())
    return f"{format_bytes(memory.total)} ({parts})"


def format_bytes(count: int) -> str:
    """Decimal units, two digits.

    >>> format_bytes(46_400_000_000), format_bytes(250_000_000)
    ('46 GB', '250 MB')
    """
    if count >= 9.95e9:
        return f"{count / 1e9:.0f} GB"
    return f"{count / 1e9:.1f} GB" if count >= 9.95e8 else f"{count / 1e6:.0f} MB"


def overhead(size: tuple[int, int], grid: Grid, devices: int = 1) -> float:
    """Arithmetic of a tiled evaluation over that of a whole one: halos, and the forward pass twice (two of three)."""
    area = (grid.tile[0] + 2 * grid.halo) * (grid.tile[1] + 2 * grid.halo) * grid.counts[0] * grid.counts[1]
    return 1.5 * area * devices / (size[0] * size[1])


def measure_pace(params: Params, config: Config, *, side: int = 256, seconds: float = 2.0) -> float:
    """Seconds per evaluation and pixel on this machine, from a few evaluations of a small image after compiling."""
    config = compile_key(dataclasses.replace(config, tile=0))
    ramp = jnp.linspace(0, 1, side * side * 3).reshape(side, side, 3)
    targets = make_targets(params, ramp, ramp, config)
    compute = jax.jit(evaluate, static_argnames="config")
    jax.block_until_ready(compute(params, ramp, targets, config=config))
    best, begin = float("inf"), time.monotonic()
    while best == float("inf") or time.monotonic() - begin < seconds:
        start = time.monotonic()
        jax.block_until_ready(compute(params, ramp, targets, config=config))
        best = min(best, time.monotonic() - start)
    return best / side**2


def expected_seconds(plan: Plan, sizes: Sequence[tuple[int, int]], pace: float) -> float:
    """Time of a run over all its scales (`sizes`, heights and widths), without compiling."""
    evaluations = plan.config.run.steps + 1
    total = 0.0
    for size in sizes:
        grid = tile_grid(size, plan.config, devices=plan.devices)
        work = 1.0 if grid is None else overhead(size, grid, plan.devices)
        total += pace * size[0] * size[1] * work / plan.devices
    return total * evaluations * (1 if plan.config.optimizer.line_search == "none" else 2)
