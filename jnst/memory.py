"""How much memory a batch needs, and so how many images go into one.

The model counts what the backward pass keeps, a few working copies of the largest feature map, and the optimiser's
state. Checked against the compiler's own figures in `tests/test_batch.py`; before a batch runs it is checked again.
"""

import os
from typing import Any

import jax

from jnst.config import Config
from jnst.layers import deepest, layer_names, network_channels
from jnst.winograd import winograd_pays

# Working copies of the largest feature map beside what is kept. This and the pictures below are fitted to XLA's figures
# on CPU for VGG19 and a quarter of its width, history 10 to 100, 256 × 256 and 512 × 384, one to four lanes.
_WORKING_COPIES = 1.0
# What a batch may fill of what is free; the rest is for the compiler's surprises and for reading and writing pictures.
_FILL = 0.75
# Larger batches gain nothing: the device is full long before (see the README's table).
LARGEST = {"cpu": 4, "gpu": 64, "tpu": 64}


def kept_channels(config: Config) -> tuple[float, float]:
    """Channels of all feature maps kept, and of the largest one, each per pixel of the image."""
    network, layers = config.network, config.loss.layers
    channels, kept, largest, area = 3.0, 3.0, 3.0, 1.0
    table = network_channels(network)
    for name in layer_names(network.architecture)[: deepest(layers, network.architecture) + 1]:
        if name.startswith("pool"):
            area /= 4
            kept += channels * area
        elif name in table:
            channels = table[name]
            kept += channels * area
            largest = max(largest, channels * area)
    return kept, largest


def lane_bytes(config: Config, height: int, width: int) -> int:
    """Bytes that one image of that size needs while it is being optimised."""
    kept, largest = kept_channels(config)
    value = 2 if config.precision == "bfloat16" else 4
    optimizer = config.optimizer
    # The point, its best, the gradient, the move, and their new versions; Adam's two moments and theirs. L-BFGS's pairs
    # are there twice: under `vmap` XLA writes a new pair into a copy.
    pairs = 1 if optimizer.history_precision == "bfloat16" else 2
    images = 8 + (2 * pairs * optimizer.history if optimizer.method.endswith("lbfgs") else 4)
    if optimizer.frequency_exponent:
        images += 17
    table = network_channels(config.network)
    targets = sum(
        table[layer.replace("relu", "conv")] / 4 ** (int(layer[4]) - 1)
        for layer, _ in config.loss.content_layers
        if layer.replace("relu", "conv") in table
    )
    grams = sum(
        table[layer.replace("relu", "conv")] ** 2
        for layer, _ in config.loss.style_layers
        if layer.replace("relu", "conv") in table
    )
    per_pixel = value * (kept + _WORKING_COPIES * largest) + 4 * targets + 12 * images
    return round(height * width * per_pixel + 4 * 3 * grams)


def params_bytes(config: Config) -> int:
    """Bytes of the network's parameters up to the deepest layer, flipped and transformed kernels included."""
    total, inputs, network = 0, 3, config.network
    winograd = jax.default_backend() == "cpu" and not config.tile
    table = network_channels(network)
    used = layer_names(network.architecture)[: deepest(config.loss.layers, network.architecture) + 1]
    for name in (name for name in used if name in table):
        outputs = table[name]
        total += 4 * (2 * 9 * inputs * outputs + outputs)
        if winograd and winograd_pays(name, inputs, outputs):
            total += 4 * 2 * 36 * inputs * outputs
        inputs = outputs
    return total


def available_bytes(device: Any = None) -> int:
    """Memory that a batch may use: free on the accelerator, or of the machine for a CPU."""
    stats = (device or jax.local_devices()[0]).memory_stats() or {}
    if "bytes_limit" in stats:
        return round(_FILL * (stats["bytes_limit"] - stats.get("bytes_in_use", 0)))
    # Simulated devices share one machine.
    return round(_FILL * _free_memory() / len(jax.local_devices()))


def _free_memory() -> int:
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            for line in file:
                if line.startswith("MemAvailable:"):
                    return 1024 * int(line.split()[1])
    except OSError:
        pass
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    except (AttributeError, ValueError, OSError):
        return 4 << 30


def lanes_that_fit(config: Config, height: int, width: int, *, available: int, platform: str) -> int:
    """Images of that size in one batch on one device: a power of two, at least one."""
    room = max(0, available - params_bytes(config)) // lane_bytes(config, height, width)
    lanes = 1
    while 2 * lanes <= min(room, LARGEST.get(platform, LARGEST["gpu"])):
        lanes *= 2
    return lanes


def compiled_bytes(compiled: Any) -> int | None:
    """What the compiler reports for a program on one device: arguments, results and temporary memory; None if it
    does not say."""
    try:
        report = compiled.memory_analysis()
    except (NotImplementedError, RuntimeError):
        return None
    if report is None:
        return None
    return int(
        report.argument_size_in_bytes
        + report.output_size_in_bytes
        - report.alias_size_in_bytes
        + report.temp_size_in_bytes
    )
