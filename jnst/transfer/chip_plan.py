"""What a run would need and take on a chip that is not here: memory by the planner's model, time by arithmetic."""

from typing import NamedTuple

from jnst.config import Config
from jnst.loss.tiling import layer_stride
from jnst.optim.kinds import optimizer_kind
from jnst.transfer.chips import PASSES, Chip
from jnst.transfer.free_memory import usable_bytes
from jnst.transfer.memory import (
    Memory,
    batch_size_that_fits,
    estimate_memory,
    format_bytes,
    kept_channels,
    layer_channels,
)
from jnst.vgg.layers import deepest, layer_names, network_channels

# How often a step moves each feature map: written, read by the next layer, read again on the way back, and its gradient
# written and read.
_MAP_PASSES = 5
# How often a step moves the optimiser's history, and images of float32 beside it.
_HISTORY_PASSES, _IMAGE_PASSES = 2, 20


class ChipEstimate(NamedTuple):
    """A run on one chip, by arithmetic alone.

    pictures: in one batch on the chip. memory: of that batch. operations: floating point operations of one step of one
    picture, each counted as often as the chip's products take passes. traffic: bytes that such a step moves.
    seconds: of one step of one picture in a batch: arithmetic and traffic one after the other, both at the published
    peak, which no program reaches.
    """

    chip: Chip
    pictures: int
    memory: Memory
    operations: float
    traffic: float
    seconds: float


def estimate_on_chip(
    size: tuple[int, int], config: Config, chip: Chip, *, available: int | None = None
) -> ChipEstimate:
    """Memory and time of a run on a chip.

    Args:
        size: height and width at full working size, in pixels.
        config: of the run; a whole image.
        chip: from `jnst.transfer.chips.find_chip`.
        available: bytes that may be used; by default most of the chip's.
    """
    available = usable_bytes(chip.memory) if available is None else available
    pictures = batch_size_that_fits(config, *size, available=available, platform="tpu", chip=chip)
    memory = estimate_memory(size, config, images=pictures, chip=chip)
    operations, traffic = step_operations(size, config), step_traffic(size, config, chip)
    return ChipEstimate(
        chip, pictures, memory, operations, traffic, operations / chip.operations + traffic / chip.bandwidth
    )


def step_operations(size: tuple[int, int], config: Config) -> float:
    """Floating point operations of one evaluation and the optimiser's transforms, products and sums counted apart."""
    pixels, network = size[0] * size[1], config.network
    table, inputs, products = network_channels(network), 3, 0.0
    for name in layer_names(network.architecture)[: deepest(config.loss.layers, network.architecture) + 1]:
        if name in table:
            products += 9 * inputs * table[name] * pixels / layer_stride(name, network) ** 2
            inputs = table[name]
    for layer, _ in config.loss.style_layers:
        products += layer_channels(layer, config) ** 2 * pixels / layer_stride(layer, network) ** 2
    # Forward and back.
    total = 2 * 2 * PASSES[config.precision] * products
    if config.optimizer.frequency_exponent:
        # Forth and back along both axes, for three channels, in two halves of a quarter of the matrix each.
        total += 2 * 2 * PASSES["float32"] * 3 * pixels * sum(size) / 2
    return total


def step_traffic(size: tuple[int, int], config: Config, chip: Chip) -> float:
    """Bytes that one step moves between the chip and its memory, where nothing stays on the chip."""
    value = 2 if config.precision == "bfloat16" else 4
    pixels, image = size[0] * size[1], 12 * size[0] * size[1]
    history = optimizer_kind(config.optimizer).images(config.optimizer)
    maps = _MAP_PASSES * value * kept_channels(config, chip)[0] * pixels
    return maps + image * (_IMAGE_PASSES + _HISTORY_PASSES * history)


def describe_estimate(estimate: ChipEstimate, config: Config, sizes: list[tuple[int, int]]) -> list[str]:
    """Lines for the user.

    Args:
        estimate: at full working size.
        config: of the run.
        sizes: heights and widths of all its scales.
    """
    chip, several = estimate.chip, "s" if estimate.pictures > 1 else ""
    pixels = sizes[-1][0] * sizes[-1][1]
    evaluations = (config.run.steps + 1) * optimizer_kind(config.optimizer).evaluations(config.optimizer)
    whole = evaluations * estimate.seconds * sum(height * width for height, width in sizes) / pixels
    return [
        f"batch: {estimate.pictures} picture{several} on each chip, {format_bytes(estimate.memory.total)}",
        f"a step of one picture: {estimate.operations / 1e12:.2g} TFLOP, {format_bytes(round(estimate.traffic))} moved",
        f"time, an estimate from the {chip.name}'s published peaks, nothing was run: "
        f"{1e3 * estimate.seconds:.2g} ms a step, {whole:.2g} s a picture, "
        f"{float(f'{3600 / whole:.2g}'):,.0f} pictures an hour and chip; the real ones take longer",
    ]
