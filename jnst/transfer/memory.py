"""How much memory a batch needs, and so how many images go into one.

The model counts what the backward pass keeps, a few working copies of the largest feature map, and the optimiser's
state. Checked against the compiler's own figures in `tests/test_batch.py`; before a batch runs it is checked again.
"""

import os
from typing import Any, NamedTuple

import jax

from jnst.config import Config, LayerWeights, OptimizerConfig
from jnst.loss.tiling import band_height, layer_stride, tile_grid
from jnst.vgg.layers import deepest, layer_names, network_channels
from jnst.vgg.winograd import winograd_pays

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


def format_bytes(count: int) -> str:
    """Decimal units, two digits.

    >>> format_bytes(46_400_000_000), format_bytes(250_000_000)
    ('46 GB', '250 MB')
    """
    if count >= 9.95e9:
        return f"{count / 1e9:.0f} GB"
    return f"{count / 1e9:.1f} GB" if count >= 9.95e8 else f"{count / 1e6:.0f} MB"
