"""Targets: what the feature maps and Gram matrices of an image are compared with."""

import functools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jnst.arrays import FeatureMap, Gram, Image, LossWeights, Params, Scalar, StyleImage
from jnst.config import Config, compile_key
from jnst.errors import ConfigError
from jnst.images.pixel_space import as_unit, encode, translate
from jnst.loss.terms import gram_matrix, style_loss
from jnst.vgg.features import extract_features
from jnst.vgg.layers import layer_shape
from jnst.vgg.valid_region import Extent


class Targets(NamedTuple):
    """What an image is compared with: data only, so that `vmap` over many contents, styles or weights just works.

    The two scales are what each layer's term is multiplied by: one, or the inverse of the target's own size where the
    config asks for normalised terms. `extent` says where the true image lies in a padded one; None for a whole image.
    `content_image` (in variable space) stands in for `content` where a tiled run computes those maps anew tile by tile.
    """

    content: dict[str, FeatureMap]
    content_scale: dict[str, Scalar]
    grams: dict[str, Gram]
    style_scale: dict[str, Scalar]
    weights: LossWeights
    extent: Extent | None = None
    content_image: Image | None = None


def loss_weights(config: Config) -> LossWeights:
    """The three factors of the weighted sum, from the config."""
    loss = config.loss
    return LossWeights(*(jnp.float32(weight) for weight in (loss.content_weight, loss.style_weight, loss.tv_weight)))


def layers_of(layers: Sequence[tuple[str, float]]) -> tuple[str, ...]:
    """The names of weighted layers."""
    return tuple(layer for layer, _ in layers)


def inverse_or_one(value: Scalar) -> Scalar:
    """1 / value, and one where the target is empty, so that a black image gives numbers and not NaN."""
    usable = value > 1e-20
    return jnp.where(usable, 1.0 / jnp.where(usable, value, 1.0), 1.0)


def feature_maps(params: Params, image: Image, layers: Sequence[str], config: Config, extent: Extent | None) -> Any:
    """Feature maps of an image in variable space."""
    if not layers:
        return {}
    x = translate(image, config.variable, config.network_input)
    return extract_features(params, x, layers, config.network, precision=config.precision, extent=extent)


def count_pixels(layer: str, features: FeatureMap, config: Config, extent: Extent | None) -> Any:
    """True number of positions of a layer's map."""
    if extent is None:
        return features.shape[0] * features.shape[1]
    height, width = layer_shape(layer, *extent.size, config.network)
    return height * width


def style_grams(params: Params, style: StyleImage, config: Config, *, extent: Extent | None = None) -> dict[str, Gram]:
    """Gram matrix of each style layer for one style image (RGB, [0, 1])."""
    maps = feature_maps(params, encode(style, config.variable), layers_of(config.loss.style_layers), config, extent)
    return {
        layer: gram_matrix(map_, divisor=config.loss.gram_divisor, pixels=count_pixels(layer, map_, config, extent))
        for layer, map_ in maps.items()
    }


def blend_grams(grams: Sequence[dict[str, Gram]], weights: Sequence[float] | None = None) -> dict[str, Gram]:
    """Weighted mean of the Gram matrices of several styles; weights are normalised to sum to one.

    Raises:
        ConfigError: where the weights do not fit the styles.
    """
    if weights is None:
        weights = [1.0] * len(grams)
    usable = all(math.isfinite(weight) and weight >= 0 for weight in weights) and sum(weights) > 0
    if not grams or len(weights) != len(grams) or not usable:
        raise ConfigError(
            f"{len(grams)} styles with weights {list(weights)}; expected one finite weight of zero or more per "
            "style, not all zero"
        )
    if len(grams) == 1:
        return grams[0]
    total = sum(weights)
    return {
        layer: sum((weight / total) * one[layer] for weight, one in zip(weights, grams, strict=True))  # pyright: ignore
        for layer in grams[0]
    }


def content_maps(
    params: Params, content: Image, config: Config, *, extent: Extent | None = None
) -> dict[str, FeatureMap]:
    """Feature map of each content layer for the content image (RGB, [0, 1])."""
    return feature_maps(params, encode(content, config.variable), layers_of(config.loss.content_layers), config, extent)


def combine_targets(
    content: dict[str, FeatureMap],
    grams: dict[str, Gram],
    config: Config,
    *,
    extent: Extent | None = None,
) -> Targets:
    """Targets from ready feature maps and Gram matrices."""
    loss = config.loss
    content_scale = {layer: jnp.float32(1.0) for layer in content}
    if loss.content_normalization == "target_variance":
        for layer, map_ in content.items():
            map_ = map_.astype(jnp.float32)
            count = count_pixels(layer, map_, config, extent) * map_.shape[2]
            mean = jnp.sum(map_) / count
            # Padding is zero and must stay out of the variance: E[x²] − E[x]².
            content_scale[layer] = inverse_or_one(jnp.sum(jnp.square(map_)) / count - jnp.square(mean))
    style_scale = {layer: jnp.float32(1.0) for layer in grams}
    if loss.style_normalization == "target_norm":
        for layer, gram in grams.items():
            style_scale[layer] = inverse_or_one(style_loss(gram, jnp.zeros_like(gram), reduction=loss.style_reduction))
    return Targets(content, content_scale, grams, style_scale, loss_weights(config), extent)


@functools.partial(jax.jit, static_argnames="config")
def _style_grams(params: Params, style: StyleImage, config: Config) -> dict[str, Gram]:
    return style_grams(params, style, config)


@functools.partial(jax.jit, static_argnames="config")
def _content_targets(params: Params, content: Image, grams: dict[str, Gram], config: Config) -> Targets:
    return combine_targets(content_maps(params, content, config), grams, config)


def make_targets(
    params: Params,
    content: Image | np.ndarray,
    styles: StyleImage | np.ndarray | Sequence[StyleImage | np.ndarray],
    config: Config,
    *,
    style_weights: Sequence[float] | None = None,
) -> Targets:
    """Feature maps of the content image and Gram matrices of the style image.

    Args:
        params: from `prepare_params`.
        content: RGB, uint8, uint16 or floating point in [0, 1], height × width × 3, at working size.
        styles: one style image, of any size, or several whose Gram matrices are averaged.
        config: layers, normalisation, spaces.
        style_weights: one per style where there are several; equal by default.

    Raises:
        ConfigError: for an unknown layer or an image too small for the deepest one.
    """
    several = list(styles) if isinstance(styles, list | tuple) else [styles]
    key = compile_key(config)
    grams = blend_grams([_style_grams(params, as_unit(style), key) for style in several], style_weights)
    targets = _content_targets(params, as_unit(content), grams, key)
    return targets._replace(weights=loss_weights(config))
