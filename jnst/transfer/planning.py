"""What a run will need before it begins: memory whole and in tiles, the tile that fits, the time, and what would help.

The memory model counts feature maps, optimiser state and pictures; `tests/test_planning.py` holds it against the
compiler's own figures.
"""

import dataclasses
import functools
import math
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jnst.argument_checks import check_config, check_count, check_pair
from jnst.array_types import Params
from jnst.config import Config, compile_key
from jnst.errors import ConfigError, quote
from jnst.loss.objective import evaluate
from jnst.loss.targets import make_targets
from jnst.loss.tiling import Grid, tile_grid
from jnst.optim.registry import optimizer_kind
from jnst.transfer.chips import Chip, describe_chip
from jnst.transfer.free_memory import available_bytes, usable_bytes
from jnst.transfer.memory import Memory, estimate_memory, format_bytes

# Interior sides that are tried, largest first. Beyond 1024 the halo costs little and the memory grows fast.
TILES = (1024, 768, 512, 384, 256, 128)


class Plan(NamedTuple):
    """How a run of that size (height, width) will be carried out.

    config: with the tile chosen. grid: None for the whole image. memory: of what was chosen.
    whole: what the whole image would need. available: bytes. advice: changes that would make it fit, best first.
    devices: among which the rows are divided; grid and memory are then those of each.
    chip: that it was planned for; None for what is here.
    """

    size: tuple[int, int]
    config: Config
    grid: Grid | None
    memory: Memory
    whole: Memory
    available: int
    advice: tuple[str, ...]
    devices: int = 1
    chip: Chip | None = None

    @property
    def fits(self) -> bool:
        return self.memory.total <= self.available


def plan_run(
    size: tuple[int, int],
    config: Config,
    *,
    tile: int | None = None,
    available: int | None = None,
    devices: int = 1,
    regions: int = 0,
    chip: Chip | None = None,
) -> Plan:
    """The fastest way to run an image of that size in the memory there is.

    Args:
        size: height and width at full working size.
        config: of the run; its tile is replaced.
        tile: a side in pixels, or 0 for the whole image; by default the whole image where it fits, else the largest
            tile that does, and content targets computed again where nothing else helps.
        available: bytes on each device; by default what is free.
        devices: among which the image's rows are divided.
        regions: of the image, with a mask each.
        chip: to plan for in place of what is here, from `jnst.transfer.chips.find_chip`.

    Returns:
        The plan; where even the smallest tile does not fit, `fits` is false and `advice` says what would.

    Raises:
        ConfigError: for a size, a tile or a count that cannot be.
    """
    check_config(config)
    size, devices = check_pair("size", size), check_count("devices", devices, 1)
    regions = check_count("regions", regions, 0)
    if available is not None and not (isinstance(available, int | float) and available >= 0):
        raise ConfigError(f"available is {quote(available)}; expected bytes, zero or more")
    if available is None:
        available = available_bytes() if chip is None else usable_bytes(chip.memory)
    whole = dataclasses.replace(config, tile=0, tiled_content="keep")
    candidates = [whole, *_tiled(config)] if tile is None else [dataclasses.replace(config, tile=tile)]
    estimate = functools.partial(estimate_memory, devices=devices, regions=regions, chip=chip)
    chosen = next((one for one in candidates if estimate(size, one).total <= available), None)
    if chosen is None:
        chosen = min(candidates, key=lambda one: estimate(size, one).total)
    memory, grid = estimate(size, chosen), tile_grid(size, chosen, devices=devices)
    advice = () if memory.total <= available else _advise(size, config, available, estimate)
    return Plan(size, chosen, grid, memory, estimate(size, whole), available, advice, devices, chip)


def _tiled(config: Config) -> list[Config]:
    return [
        dataclasses.replace(config, tile=tile, tiled_content=content)
        for content in ("keep", "recompute")
        for tile in TILES
    ]


def _advise(
    size: tuple[int, int], config: Config, available: int, estimate: Callable[[tuple[int, int], Config], Memory]
) -> tuple[str, ...]:
    """Changes of the settings with which some tile fits, each by itself, then a smaller picture."""

    def need(size: tuple[int, int], config: Config) -> int:
        return min(estimate(size, one).total for one in _tiled(config))

    optimizer = config.optimizer
    advice = []
    for change in optimizer_kind(optimizer).lighter(optimizer):
        total = need(size, dataclasses.replace(config, optimizer=dataclasses.replace(optimizer, **change)))
        if total <= available:
            advice.append(f"{_flags(change, config)} ({format_bytes(total)})")
    # Nearly everything grows with the number of pixels.
    fixed = estimate((1, 1), config).fixed
    factor = math.sqrt(max(0.0, available - fixed) / max(1, need(size, config) - fixed))
    long = int(max(size) * min(1.0, factor)) // 16 * 16
    while long > 0 and need((max(1, size[0] * long // max(size)), max(1, size[1] * long // max(size))), config) > (
        available
    ):
        long -= 16 * max(1, long // 200)
    if long > 0:
        advice.append(f"--size {long}")
    return tuple(advice)


def _flags(change: dict[str, Any], config: Config) -> str:
    """A change of the optimiser as one writes it on the command line; another optimiser brings its own settings."""
    if "method" in change:
        return f"--optimizer {change['method']}"
    same = {name for name, value in change.items() if name == "history" and value == config.optimizer.history}
    return " ".join(f"--{name.replace('_', '-')} {value}" for name, value in change.items() if name not in same)


def describe_plan(plan: Plan) -> list[str]:
    """Lines for the user: the need whole and as planned, the tile, and what would make it fit."""
    height, width = plan.size
    lines = [] if plan.chip is None else [describe_chip(plan.chip)]
    lines += [
        f"size: {width} × {height} ({width * height / 1e6:.1f} megapixels)",
        f"memory, whole: {_describe(plan.whole)}",
    ]
    if plan.devices > 1:
        lines.insert(
            len(lines) - 1, f"devices: {plan.devices}, each with a band of rows; memory and tiles are those of one"
        )
    if plan.grid is not None:
        down, across = plan.grid.counts
        lines.append(
            f"tiles: {across} × {down} of {plan.grid.tile[1]} × {plan.grid.tile[0]} pixels, halo {plan.grid.halo}; "
            f"{overhead(plan.size, plan.grid, plan.devices):.1f} times the work of the whole image"
        )
        kept = "kept" if plan.config.tiled_content == "keep" else "computed again for each tile"
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


def overhead(size: tuple[int, int], grid: Grid, devices: int = 1) -> float:
    """Arithmetic of a tiled evaluation over that of a whole one: halos, and the forward pass twice (two of three)."""
    area = (grid.tile[0] + 2 * grid.halo) * (grid.tile[1] + 2 * grid.halo) * grid.counts[0] * grid.counts[1]
    return 1.5 * area * devices / (size[0] * size[1])


def measure_pace(params: Params, config: Config, *, side: int = 256, seconds: float = 2.0) -> float:
    """Seconds per evaluation and pixel on this machine, from a few evaluations of a small image after compiling."""
    config = compile_key(dataclasses.replace(config, tile=0))
    ramp = jnp.linspace(0, 1, side * side * 3, dtype=jnp.float32).reshape(side, side, 3)
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
    optimizer = plan.config.optimizer
    return total * evaluations * optimizer_kind(optimizer).evaluations(optimizer)
