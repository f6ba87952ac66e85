"""Feature maps of an image in variable space, whole."""

from collections.abc import Sequence
from typing import Any

from jnst.arrays import FeatureMap, Image, Params
from jnst.config import Config
from jnst.images.pixel_space import translate
from jnst.vgg.features import extract_features
from jnst.vgg.layers import layer_shape
from jnst.vgg.valid_region import Extent


def feature_maps(
    params: Params, image: Image, layers: Sequence[str], config: Config, extent: Extent | None
) -> dict[str, FeatureMap]:
    """Feature map of each layer for an image in variable space; `extent` is the true part of a padded one."""
    if not layers:
        return {}
    x = translate(image, config.variable, config.network_input)
    return dict(extract_features(params, x, layers, config.network, precision=config.precision, extent=extent))


def count_pixels(layer: str, features: FeatureMap, config: Config, extent: Extent | None) -> Any:
    """True number of positions of a layer's map."""
    if extent is None:
        return features.shape[0] * features.shape[1]
    height, width = layer_shape(layer, *extent.size, config.network)
    return height * width
