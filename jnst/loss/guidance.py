"""Which style goes where: masks carried to each layer, and the Gram matrices of the features under them.

These are the guided Gram matrices of Gatys et al. 2017 (arXiv 1611.07865, section 4): features are multiplied by a
guidance channel T before their products are summed, and a region's matrix is compared with that of its own style. The
channel here is T = √m, with m the mask averaged by pools of the same windows and rounding as the network's, and it is
normalised to a mean square of one. Then the masks are the weights of positions in a mean of f fᵀ, those of all regions
add up to one where the regions cover the image, and an image that is all one region has the plain Gram matrix.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp

from jnst.array_types import FeatureMap, Image, Moment, Scalar
from jnst.config import Config, LossConfig, NetworkConfig
from jnst.loss.distances import as_divisor, channel_products, divide_products
from jnst.loss.term import Kept
from jnst.vgg.extent import Extent, inside
from jnst.vgg.layers import deepest, halve, layer_names, layer_shape
from jnst.vgg.pooling import average_pool


class Guidance(NamedTuple):
    """The regions of an image, as arrays of its size.

    masks: height × width × regions, float32 in [0, 1]; at each pixel their sum is at most one.
    weights: of the regions, one number each.
    keep: height × width × 1 in [0, 1], one where the content image stays; None where nothing has to.
    """

    masks: FeatureMap
    weights: Any
    keep: FeatureMap | None = None


def carry_masks(
    masks: FeatureMap, layers: Sequence[str], network: NetworkConfig, extent: Extent | None = None
) -> dict[str, FeatureMap]:
    """The masks at the size of each layer's feature map: averaged wherever the network pools, with its rounding.

    Args:
        masks: height × width × regions.
        layers: names of layers.
        network: whose pools, and whose rounding of odd sizes.
        extent: the true part of a padded image; the masks are zero outside it.
    """
    masks, carried = _true_part(masks, extent), {}
    for name in layer_names(network.architecture)[: deepest(layers, network.architecture) + 1]:
        if name.startswith("pool"):
            masks = average_pool(masks, network.pool_rounding, extent)
            if extent is not None:
                (top, left), (height, width) = extent
                rounding = network.pool_rounding
                extent = Extent((top // 2, left // 2), (halve(height, rounding), halve(width, rounding)))
                masks = _true_part(masks, extent)
        if name in layers:
            carried[name] = masks
    return carried


def _true_part(masks: FeatureMap, extent: Extent | None) -> FeatureMap:
    return masks if extent is None else jnp.where(inside(masks, extent), masks, 0)


def shares(masks: FeatureMap, extent: Extent | None = None) -> FeatureMap:
    """For each region the share of the image that it covers, a soft pixel counting by its mask."""
    height, width = masks.shape[:2] if extent is None else extent.size
    return jnp.sum(_true_part(masks, extent), (0, 1)) / as_divisor(height * width)


def fillings(carried: Mapping[str, FeatureMap], size: tuple[Any, Any], network: NetworkConfig) -> list[dict[str, Any]]:
    """For each region, by layer, positions of the whole map per position of the region: what T is normalised by.

    Args:
        carried: from `carry_masks`, of one region or more.
        size: true height and width of the image.
        network: as for `carry_masks`.
    """
    by_layer = {}
    for layer, masks in carried.items():
        height, width = layer_shape(layer, *size, network)
        covered = jnp.sum(masks, (0, 1))
        usable = covered > 0
        by_layer[layer] = jnp.where(usable, as_divisor(height * width) / jnp.where(usable, covered, 1), 0)
    regions = max((values.shape[0] for values in by_layer.values()), default=0)
    return [{layer: values[index] for layer, values in by_layer.items()} for index in range(regions)]


_MEAN = " mean"


def mean_of(layer: str) -> str:
    """Under which name the mean of a layer's channels stands beside its Gram matrix.

    >>> mean_of("relu1_1")
    'relu1_1 mean'
    """
    return layer + _MEAN


def layer_of(name: str) -> str:
    """The layer whose Gram matrix, or mean of channels, has that name."""
    return name.removesuffix(_MEAN)


def layers_with_means(loss: LossConfig) -> tuple[str, ...]:
    """The layers at which the means of channels are compared as well."""
    return tuple(layer for layer, _ in loss.style_layers) if loss.style_statistics == "covariance" else ()


def region_products(
    maps: Mapping[str, FeatureMap],
    layers: Sequence[str],
    masks: Mapping[str, FeatureMap] | None,
    *,
    means: Sequence[str] = (),
) -> tuple[dict[str, Moment], ...]:
    """For each region, by layer, Σ over pixels of m f fᵀ; of all pixels alike, as the only region, without masks.

    Args:
        maps: feature maps by layer.
        layers: those that are asked for.
        masks: from `carry_masks`.
        means: layers of which Σ over pixels of m f is asked for as well, under `mean_of`.
    """
    if masks is None:
        sums = {mean_of(layer): _sum(maps[layer]) for layer in means}
        return ({layer: channel_products(maps[layer]) for layer in layers} | sums,)
    regions = max((masks[layer].shape[2] for layer in layers), default=0)
    return tuple(
        {layer: channel_products(_guided(maps[layer], masks[layer][..., index])) for layer in layers}
        | {mean_of(layer): _sum(maps[layer] * masks[layer][..., index, None]) for layer in means}
        for index in range(regions)
    )


def _sum(features: FeatureMap) -> Any:
    """Σ over pixels of f: one number for each channel."""
    return jnp.sum(features.astype(jnp.float32), (0, 1))


def _guided(features: FeatureMap, mask: Any) -> FeatureMap:
    return features * jnp.sqrt(mask)[..., None].astype(features.dtype)


def to_grams(
    products: Sequence[Mapping[str, Moment]],
    filling: Sequence[Mapping[str, Scalar]] | None,
    size: tuple[Any, Any],
    config: Config,
) -> tuple[dict[str, Moment], ...]:
    """The Gram matrices of the products of `region_products`, and the means of its sums.

    Args:
        products: for each region, by layer.
        filling: from `fillings`; None where there are no masks.
        size: true height and width of the image.
        config: whose Gram divisor is used, with the number of positions of the whole map.
    """
    grams = []
    for index, one in enumerate(products):
        divided = {}
        for name, product in one.items():
            height, width = layer_shape(layer_of(name), *size, config.network)
            gram = divide_products(product, divisor=config.loss.gram_divisor, pixels=height * width)
            divided[name] = gram if filling is None else filling[index][layer_of(name)] * gram
        grams.append(divided)
    return tuple(grams)


def hold(image: Image, kept: Kept | None) -> Image:
    """The image with the content image where that is to stay."""
    return image if kept is None else (1 - kept.mask) * image + kept.mask * kept.image
