"""The layer table of the VGG networks (Simonyan and Zisserman 2014, arXiv 1409.1556): names, channels, map sizes."""

import functools
from collections.abc import Sequence
from typing import Any

from jnst.config import Architecture, NetworkConfig, PoolRounding
from jnst.errors import ConfigError, check_choice, describe_unknown

# Convolutions per block; the channels of a block are the same in both networks.
_BLOCKS: dict[str, tuple[int, ...]] = {"vgg16": (2, 2, 3, 3, 3), "vgg19": (2, 2, 4, 4, 4)}
_CHANNELS = (64, 128, 256, 512, 512)


@functools.cache
def layer_names(architecture: Architecture) -> tuple[str, ...]:
    """All layers in order: conv1_1, relu1_1, …, pool5 (Simonyan and Zisserman 2014, arXiv 1409.1556, table 1).

    Args:
        architecture: "vgg16" or "vgg19".

    Returns:
        Names of convolutions, rectifications and pools.

    >>> layer_names("vgg16")[:5]
    ('conv1_1', 'relu1_1', 'conv1_2', 'relu1_2', 'pool1')

    Raises:
        ConfigError: for an unknown architecture.
    """
    check_choice("architecture", architecture, _BLOCKS)
    names: list[str] = []
    for block, depth in enumerate(_BLOCKS[architecture], start=1):
        for index in range(1, depth + 1):
            names += [f"conv{block}_{index}", f"relu{block}_{index}"]
        names.append(f"pool{block}")
    return tuple(names)


def convolutions(architecture: Architecture) -> dict[str, int]:
    """Names of the convolutions in order, with the channels each has at width 1."""
    return {name: _CHANNELS[int(name[4]) - 1] for name in layer_names(architecture) if name.startswith("conv")}


def scaled_channels(channels: int, width: float) -> int:
    """Channels of a convolution in a network of that width multiplier; at least one."""
    return max(1, round(channels * width))


def channel_counts(architecture: Architecture, width: float, channels: Sequence[int] = ()) -> dict[str, int]:
    """Output channels of every convolution in order: those given, then the table's times the width.

    >>> list(channel_counts("vgg16", 0.5, (24, 40)).values())[:4]
    [24, 40, 64, 64]
    """
    counts = {name: scaled_channels(count, width) for name, count in convolutions(architecture).items()}
    return counts | dict(zip(counts, channels, strict=False))


def network_channels(network: NetworkConfig) -> dict[str, int]:
    """`channel_counts` of a network."""
    return channel_counts(network.architecture, network.width, network.channels)


def describe_width(network: Any) -> str:
    """Architecture and width in words, of a `NetworkConfig` or of what a weights file says about itself.

    >>> describe_width(NetworkConfig("vgg16", channels=(24, 40)))
    'vgg16 with channels 24, 40'
    """
    if network.channels:
        return f"{network.architecture} with channels {', '.join(map(str, network.channels))}"
    return f"{network.architecture} at width {network.width:g}"


def deepest(layers: Sequence[str], architecture: Architecture) -> int:
    """Position of the deepest of `layers` in `layer_names`; -1 when none is asked for.

    Raises:
        ConfigError: for a layer that the network does not have, with the closest name.
    """
    names = layer_names(architecture)
    for layer in layers:
        if layer not in names:
            raise ConfigError(describe_unknown(f"layer of {architecture}", layer, names))
    return max((names.index(layer) for layer in layers), default=-1)


def minimum_size(layers: Sequence[str], network: NetworkConfig) -> int:
    """Smallest height or width of an image for which the deepest of `layers` still has a pixel."""
    if network.pool_rounding == "ceil":
        return 1
    pools = sum(
        name.startswith("pool")
        for name in layer_names(network.architecture)[: deepest(layers, network.architecture) + 1]
    )
    return 2**pools


def layer_shape(layer: str, height: Any, width: Any, network: NetworkConfig) -> tuple[Any, Any]:
    """Height and width of a layer's feature map for an image of that height and width (traced values allowed)."""
    names = layer_names(network.architecture)
    for name in names[: deepest([layer], network.architecture) + 1]:
        if name.startswith("pool"):
            height, width = halve(height, network.pool_rounding), halve(width, network.pool_rounding)
    return height, width


def halve(length: Any, rounding: PoolRounding) -> Any:
    """Height or width behind a pool of stride 2."""
    return (length + 1) // 2 if rounding == "ceil" else length // 2
