"""What is minimised: feature maps and a config become four loss terms, their weighted sum, and its gradient."""

import dataclasses
import functools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jnst.arrays import FeatureMap, Gram, Image, LossTerms, LossWeights, Params, Scalar, StyleImage
from jnst.config import Config
from jnst.edges import edge_loss, outline
from jnst.errors import ConfigError
from jnst.extents import Extent
from jnst.layers import layer_shape
from jnst.losses import content_loss, gram_matrix, style_loss, total_variation
from jnst.preprocessing import as_unit, decode, encode, translate
from jnst.vgg import extract_features


class Targets(NamedTuple):
    """What an image is compared with: data only, so that `vmap` over many contents, styles or weights just works.

    The two scales are what each layer's term is multiplied by: one, or the inverse of the target's own size where the
    config asks for normalised terms. `extent` says where the true image lies in a padded one; None for a whole image.
    `content_image` (in variable space) stands in for `content` where a tiled run computes those maps anew tile by tile.
    `outline` is the photo's (`jnst.edges.outline`) where edges have a weight.
    """

    content: dict[str, FeatureMap]
    content_scale: dict[str, Scalar]
    grams: dict[str, Gram]
    style_scale: dict[str, Scalar]
    weights: LossWeights
    extent: Extent | None = None
    content_image: Image | None = None
    outline: jax.Array | None = None


# Factor on the style weight from strength 0 to strength 1: 2 for every tenth.
STRENGTH_RANGE = 1024.0


def loss_weights(config: Config) -> LossWeights:
    """The four factors of the weighted sum, from the config; the strength is a factor on the style weight alone."""
    loss = config.loss
    style_weight = loss.style_weight * STRENGTH_RANGE ** (loss.strength - 0.5)
    return LossWeights(
        *(jnp.float32(weight) for weight in (loss.content_weight, style_weight, loss.tv_weight, loss.edge_weight))
    )


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
    image: Image | None = None,
    extent: Extent | None = None,
) -> Targets:
    """Targets from ready feature maps and Gram matrices; `image` (RGB, [0, 1]) is the content image, for its edges."""
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
    edges = outline(image) if loss.edge_weight and image is not None else None
    return Targets(content, content_scale, grams, style_scale, loss_weights(config), extent, outline=edges)


@functools.partial(jax.jit, static_argnames="config")
def _style_grams(params: Params, style: StyleImage, config: Config) -> dict[str, Gram]:
    return style_grams(params, style, config)


@functools.partial(jax.jit, static_argnames="config")
def _content_targets(params: Params, content: Image, grams: dict[str, Gram], config: Config) -> Targets:
    return combine_targets(content_maps(params, content, config), grams, config, image=content)


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


def style_term(grams: dict[str, Gram], targets: Targets, config: Config) -> Scalar:
    """The unweighted style term: Σ over layers of weight × scale × distance of the Gram matrices."""
    style = jnp.float32(0.0)
    for layer, weight in config.loss.style_layers:
        distance = style_loss(grams[layer], targets.grams[layer], reduction=config.loss.style_reduction)
        style += weight * targets.style_scale[layer] * distance
    return style


def loss_terms(params: Params, image: Image, targets: Targets, config: Config) -> LossTerms:
    """The unweighted terms for one image.

    Args:
        params: from `prepare_params`.
        image: height × width × 3 in the config's variable space (`jnst.encode(rgb, config.variable)`).
        targets: from `make_targets`.
        config: layers, divisors, reductions, spaces.

    Content and style are sums over layers of weight × distance (× scale where terms are normalised); total variation is
    on the variable's own pixel scale; edges are zero where they have no weight.
    """
    loss, extent = config.loss, targets.extent
    maps = feature_maps(params, image, loss.layers, config, extent)
    content = jnp.float32(0.0)
    for layer, weight in loss.content_layers:
        pixels = count_pixels(layer, maps[layer], config, extent)
        distance = content_loss(maps[layer], targets.content[layer], reduction=loss.content_reduction, pixels=pixels)
        content += weight * targets.content_scale[layer] * distance
    grams = {
        layer: gram_matrix(
            maps[layer], divisor=loss.gram_divisor, pixels=count_pixels(layer, maps[layer], config, extent)
        )
        for layer, _ in loss.style_layers
    }
    style = style_term(grams, targets, config)
    return LossTerms(content, style, *picture_terms(image, targets, config))


def picture_terms(image: Image, targets: Targets, config: Config) -> tuple[Scalar, Scalar]:
    """The two unweighted terms that need no network: total variation, and edges where they have a weight.

    Raises:
        ConfigError: where edges have a weight and the targets were made without the content image.
    """
    loss, extent = config.loss, targets.extent
    size = None if extent is None else extent.size
    variation = total_variation(image, norm=loss.tv_norm, reduction=loss.tv_reduction, size=size)
    if not loss.edge_weight:
        return variation, jnp.float32(0.0)
    if targets.outline is None:
        raise ConfigError(
            "edges have a weight, but the targets hold no outline; make them with this config, and with the content "
            "image where they are combined by hand"
        )
    return variation, edge_loss(
        outline(decode(image, config.variable)), targets.outline, size or (image.shape[0], image.shape[1])
    )


def weigh(terms: LossTerms, weights: LossWeights) -> Scalar:
    """content_weight · content + style_weight · style + tv_weight · total_variation + edge_weight · edges."""
    total = (
        weights.content * terms.content + weights.style * terms.style + weights.total_variation * terms.total_variation
    )
    return total + weights.edges * terms.edges


def evaluate(params: Params, image: Image, targets: Targets, config: Config) -> tuple[tuple[Scalar, LossTerms], Image]:
    """((weighted loss, terms), gradient with respect to the image in variable space)."""

    def weighted(image: Image) -> tuple[Scalar, LossTerms]:
        terms = loss_terms(params, image, targets, config)
        return weigh(terms, targets.weights), terms

    return jax.value_and_grad(weighted, has_aux=True)(image)


def compile_key(config: Config) -> Config:
    """The config with everything reset that does not change the compiled computation.

    Runs that differ only in weights, steps, size rules or seed then share one compilation; but for edges, which are
    left out of it where they have no weight.
    """
    plain, edges = Config(), float(config.loss.edge_weight > 0)
    return dataclasses.replace(
        config,
        preset=plain.preset,
        lineage=plain.lineage,
        init=plain.init,
        noise=plain.noise,
        size=plain.size,
        run=plain.run,
        loss=dataclasses.replace(
            config.loss,
            content_weight=1.0,
            style_weight=1.0,
            tv_weight=1.0,
            edge_weight=edges,
            strength=plain.loss.strength,
        ),
    )
