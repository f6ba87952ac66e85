"""Gram matrices of a style picture without its border, for images that have none."""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp

from jnst.array_types import FeatureMap, Moment
from jnst.config import Config, NetworkConfig
from jnst.loss.distances import as_divisor, gram_matrix
from jnst.loss.guidance import layers_with_means, mean_of
from jnst.vgg.extent import Extent, inside
from jnst.vgg.layers import deepest, layer_names, layer_shape


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
    maps: dict[str, FeatureMap],
    layers: Sequence[str],
    config: Config,
    extent: Extent | None,
    masks: dict[str, FeatureMap] | None = None,
) -> dict[str, Moment]:
    """Gram matrix of each of the layers' maps over the positions that no border is seen from.

    An image that tiles has no border, and would otherwise be asked for the features of one. Of a small map at least
    the middle half of each side is kept.

    Args:
        maps: feature maps by layer.
        layers: those that are asked for.
        config: whose Gram divisor is used.
        extent: the true part of a padded image.
        masks: the part that is looked at, from `carry_masks`; where all of it is at the border, the border counts.

    Returns:
        The matrices, and the means of channels where the config compares those as well.
    """
    grams = {}
    for layer in layers:
        map_ = maps[layer]
        size: Any = map_.shape[:2] if extent is None else layer_shape(layer, *extent.size, config.network)
        reach = border_reach(layer, config.network)
        down, across = (jnp.minimum(reach, length // 4) for length in size)
        height, width = size[0] - 2 * down, size[1] - 2 * across
        within = inside(map_, Extent((-down, -across), (height, width)))
        if masks is None:
            mask, filling = within, 1
            seen = jnp.where(within, map_, 0)
        else:
            middle = jnp.where(within, masks[layer], 0)
            mask = jnp.where(jnp.any(middle > 0), middle, masks[layer])
            covered = jnp.sum(mask)
            filling = jnp.where(covered > 0, as_divisor(height * width) / jnp.where(covered > 0, covered, 1), 0)
            seen = map_ * jnp.sqrt(mask).astype(map_.dtype)
        grams[layer] = filling * gram_matrix(seen, divisor=config.loss.gram_divisor, pixels=height * width)
        if layer in layers_with_means(config.loss):
            total = jnp.sum(mask * map_.astype(jnp.float32), (0, 1))
            grams[mean_of(layer)] = filling * total / as_divisor(height * width)
    return grams
