"""Gram matrices of a style picture without its border, for images that have none."""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp

from jnst.arrays import FeatureMap, Gram
from jnst.config import Config, NetworkConfig
from jnst.loss.terms import gram_matrix
from jnst.vgg.layers import deepest, layer_names, layer_shape
from jnst.vgg.valid_region import Extent, inside


def border_reach(layer: str, network: NetworkConfig) -> int:
    """Positions of a layer's map, counted from its edge, that see what the network puts beyond the image's border.

    >>> border_reach("relu1_1", NetworkConfig()), border_reach("relu5_1", NetworkConfig("vgg16"))
    (1, 4)
    """
    reach = 0
    for name in layer_names(network.architecture)[: deepest([layer], network.architecture) + 1]:
        if name.startswith("conv"):
            reach += 1
        elif name.startswith("pool"):
            reach = -(-reach // 2)
    return reach


def borderless_grams(
    maps: dict[str, FeatureMap], layers: Sequence[str], config: Config, extent: Extent | None
) -> dict[str, Gram]:
    """Gram matrix of each of the layers' maps over the positions that no border is seen from.

    An image that tiles has no border, and would otherwise be asked for the features of one. Of a small map at least
    the middle half of each side is kept.
    """
    grams = {}
    for layer in layers:
        map_ = maps[layer]
        size: Any = map_.shape[:2] if extent is None else layer_shape(layer, *extent.size, config.network)
        reach = border_reach(layer, config.network)
        down, across = (jnp.minimum(reach, length // 4) for length in size)
        height, width = size[0] - 2 * down, size[1] - 2 * across
        middle = jnp.where(inside(map_, Extent((-down, -across), (height, width))), map_, 0)
        grams[layer] = gram_matrix(middle, divisor=config.loss.gram_divisor, pixels=height * width)
    return grams
