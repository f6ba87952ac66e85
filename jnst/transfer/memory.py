"""How much memory a run needs, of one image or of many at once, and so how many images go into a batch.

One model for both. It counts what the backward pass keeps, working copies of the largest feature map, content targets
and Gram matrices, the optimiser's state and the images. It is held against the compiler's own figures in
`tests/transfer/test_planning.py` and `tests/batch/test_api.py`; before a batch runs it is checked again.
"""

import functools
from typing import Any, NamedTuple

from jnst.config import Config, LayerWeights
from jnst.devices import default_platform
from jnst.loss.tiling import band_height, layer_stride, tile_grid
from jnst.optim.kinds import optimizer_kind
from jnst.transfer.chips import PLAIN, Chip
from jnst.vgg.layers import deepest, layer_names, network_channels
from jnst.vgg.winograd import winograd_pays

# Larger batches gain nothing: the device is full long before (see the README's table).
LARGEST = {"cpu": 4, "gpu": 64, "tpu": 64}


def kept_channels(config: Config, chip: Chip | None = None) -> tuple[float, float]:
    """Channels of all feature maps kept, and of the largest one, each per pixel of the image, as they are stored."""
    network, layers = config.network, config.loss.layers
    channels, kept, largest, area = 3.0, 3.0, 3.0, 1.0
    table = network_channels(network)
    for name in layer_names(network.architecture)[: deepest(layers, network.architecture) + 1]:
        if name.startswith("pool"):
            area /= 4
            kept += channels * area
        elif name in table:
            channels = (chip or PLAIN).channels(table[name])
            kept += channels * area
            largest = max(largest, channels * area)
    return kept, largest


def params_bytes(config: Config, chip: Chip | None = None) -> int:
    """Bytes of the network's parameters up to the deepest layer, flipped and transformed kernels included."""
    total, inputs, network = 0, 3, config.network
    winograd = chip is None and default_platform() == "cpu" and not config.tile
    table = network_channels(network)
    used = layer_names(network.architecture)[: deepest(config.loss.layers, network.architecture) + 1]
    for name in (name for name in used if name in table):
        outputs = table[name]
        total += 4 * ((chip or PLAIN).kernel(inputs, outputs) + (chip or PLAIN).kernel(outputs, inputs) + outputs)
        if winograd and winograd_pays(name, inputs, outputs):
            total += 4 * 2 * 36 * inputs * outputs
        inputs = outputs
    return total


def batch_size_that_fits(
    config: Config,
    height: int,
    width: int,
    *,
    available: int,
    platform: str,
    regions: int = 0,
    chip: Chip | None = None,
) -> int:
    """Images of that size in one batch on one device: a power of two, at least one."""
    most, batch_size = LARGEST.get(platform, LARGEST["gpu"]), 1
    if chip is not None:
        needed = functools.partial(estimate_memory, (height, width), config, regions=regions, chip=chip)
        while 2 * batch_size <= most and needed(images=2 * batch_size).total <= available:
            batch_size *= 2
        return batch_size
    room = max(0, available - params_bytes(config)) // element_bytes(config, height, width, regions)
    while 2 * batch_size <= min(room, most):
        batch_size *= 2
    return batch_size


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

# Start and weights of the coefficients, and working copies while they are transformed, in images.
_START, _TRANSFORMED = 4 / 3, 4

# On a chip: working copies of the largest map, rows beside their neighbours among them (`jnst.vgg.row_batch`), and what
# its compiler takes besides, in bytes; fitted to its figures.
_CHIP_COPIES, _LEFT = 2.5, 5e6

# Images that a step works on, on a chip: those of the optimiser and those while they are transformed.
_WORKING = 5 + _TRANSFORMED

# Bytes for each entry of a Gram matrix: target, the image's own, and its gradient, in float32.
_GRAM = 12


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


def estimate_memory(
    size: tuple[int, int],
    config: Config,
    *,
    devices: int = 1,
    images: int = 1,
    regions: int = 0,
    chip: Chip | None = None,
) -> Memory:
    """Memory of a run on each device.

    Args:
        size: height and width at full working size, in pixels.
        config: whole or tiled, as it says.
        devices: among which the rows of one image are divided.
        images: in one batch on a device; one is a run of a single image.
        regions: with masks, of each image.
        chip: on which it is to run; by default what is here.
    """
    height, width = size[0] if devices == 1 else band_height(size[0], config, devices), size[1]
    pixels, grid = height * width, tile_grid(size, config, devices=devices)
    kept, largest = kept_channels(config, chip)
    value = 2 if config.precision == "bfloat16" else 4
    area = pixels
    if grid is not None:
        area = (grid.tile[0] + 2 * grid.halo) * (grid.tile[1] + 2 * grid.halo)
    working_maps = (_COPIES if chip is None else _CHIP_COPIES) * largest
    if grid is None:
        working_maps = max(working_maps, _STYLE_MAPS * _map_channels(config.loss.style_layers, config))
    # Each region keeps the maps of the style layers once more, under its mask.
    kept += regions * _map_channels(config.loss.style_layers, config)
    grams = max(1, regions) * sum(layer_channels(layer, config) ** 2 for layer, _ in config.loss.style_layers)
    masks = regions * sum(1 / layer_stride(layer, config.network) ** 2 for layer, _ in config.loss.style_layers)
    masks += 4 if regions else 0  # what is kept, and of which picture
    # On an accelerator the program and the pictures' copies lie in the host's memory, which simulated devices share.
    on_host = (chip is None and default_platform() == "cpu") / devices
    gram = _GRAM if chip is None else 4  # the target alone lives from step to step
    maps = images * value * (kept + working_maps) * area
    optimizer = images * _state_bytes(height, width, config, devices, chip)
    if chip is not None:
        # What does not live from step to step lies on the chip itself as far as it can: maps, working images, and the
        # kernels in the type that they are multiplied in.
        cast = params_bytes(config, chip) / 2 if value == 2 else 0
        working = images * (_IMAGE * _WORKING * chip.plane(height, width) + 8 * grams)
        maps = _LEFT + max(0, maps + working + cast - chip.near)
    return Memory(
        fixed=round(_BASE * on_host) + params_bytes(config, chip),
        features=round(maps),
        targets=round(images * ((_content_channels(config) * value + 4 * masks) * pixels + gram * grams)),
        optimizer=round(optimizer),
        pictures=round(images * _HOST * devices * pixels * on_host),
    )


def _state_bytes(height: int, width: int, config: Config, devices: int, chip: Chip | None) -> float:
    """Bytes of the optimiser's state and of what is computed with it, for one image or its band of rows."""
    optimizer, history = config.optimizer, optimizer_kind(config.optimizer).images(config.optimizer)
    image = _IMAGE * (chip or PLAIN).plane(height, width)
    # Point, gradient and best picture; those again while they are computed; a tiled run pads image and gradient. What a
    # chip computes is counted with its maps.
    images, waves = 3 + history, _START
    if chip is None:
        images, waves = images + (6 if config.tile else 5), waves + _TRANSFORMED
    if not optimizer.frequency_exponent:
        return image * images
    return image * (images + waves) + 2 * ((devices * height) ** 2 + width**2)


def element_bytes(config: Config, height: int, width: int, regions: int = 0) -> int:
    """Bytes that each image of a batch takes on its device."""
    memory = estimate_memory((height, width), config, regions=regions)
    return memory.features + memory.targets + memory.optimizer


def _content_channels(config: Config) -> float:
    """Channels of the content targets per pixel of the image: of the maps, or of the image they are made from."""
    if config.tile and config.tiled_content == "recompute":
        return 6
    return _map_channels(config.loss.content_layers, config)


def _map_channels(layers: LayerWeights, config: Config) -> float:
    """Channels of the layers' feature maps per pixel of the image."""
    return sum(layer_channels(layer, config) / layer_stride(layer, config.network) ** 2 for layer, _ in layers)


def layer_channels(layer: str, config: Config) -> int:
    """Channels of a layer's feature map."""
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
