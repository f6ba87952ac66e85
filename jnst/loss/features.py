"""Feature maps: of an image in variable space, as the loss sees it, and of an RGB picture (`jnst.features`)."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from jnst.argument_checks import check_config
from jnst.array_types import FeatureMap, Image, Params
from jnst.config import Config
from jnst.devices import check_platform
from jnst.images.inputs import PictureForm, as_pixels
from jnst.images.pixel_space import as_unit, encode, translate
from jnst.runtime import limit_mappings
from jnst.vgg.extent import Extent
from jnst.vgg.features import extract_features
from jnst.vgg.layers import layer_shape


def features(
    params: Params, rgb: Image | np.ndarray | PictureForm, layers: Sequence[str], config: Config
) -> dict[str, FeatureMap]:
    """Feature maps of an RGB picture at the named layers: what the losses of a run with that config look at.

    The picture is brought to the pixel space of the network's input, `config.network_input`. `extract_features` alone
    leaves that to its caller, and a picture in another space, such as `config.variable` where the optimiser works,
    gives wrong maps without a word. Differentiable in `rgb`; for several pictures use `jax.vmap` over it.

    Args:
        params: from `prepare_params`, `load_params` or `load_preset`.
        rgb: height × width × 3, RGB; uint8, uint16, or floating point in [0, 1]; or another form of a picture
            that `jnst.stylize` takes. Taken at the size that it has.
        layers: names from `layer_names`, such as relu4_2.
        config: whose network, pixel spaces and precision are used.

    Returns:
        For each name a map of height / s × width / s × channels, rounded as the network's pools round, with s = 1 in
        block 1, 2 in block 2, up to 16 in block 5 (pool1 to pool5: 2 to 32); float32, or bfloat16 where that is the
        precision.

    Raises:
        ConfigError: for an unknown layer or an image too small for the deepest one.
        ImageError: where the picture is not RGB, or holds numbers that are no colours.
        WeightsError: where the parameters lack a layer or belong to a network of another width.

    >>> from jnst import Config, prepare_params
    >>> params = prepare_params({"conv1_1": {"kernel": np.ones((3, 3, 3, 64)), "bias": np.zeros(64)}})
    >>> features(params, np.zeros((32, 48, 3), np.uint8), ["relu1_1"], Config())["relu1_1"].shape
    (32, 48, 64)
    """
    check_platform()
    check_config(config)
    limit_mappings()
    rgb = as_pixels(rgb, "RGB", color_profile=config.color_profile)
    x = translate(encode(as_unit(rgb), config.variable), config.variable, config.network_input)
    return dict(extract_features(params, x, layers, config.network, precision=config.precision))


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
