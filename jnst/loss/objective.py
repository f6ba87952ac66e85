"""What is minimised: feature maps and a config become three loss terms, their weighted sum, and its gradient."""

import jax
import jax.numpy as jnp

from jnst.arrays import Gram, Image, LossTerms, LossWeights, Params, Scalar
from jnst.config import Config
from jnst.loss.targets import Targets, count_pixels, feature_maps
from jnst.loss.terms import content_loss, gram_matrix, style_loss, total_variation


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
    on the variable's own pixel scale.
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
    return LossTerms(content, style, variation_term(image, targets, config))


def variation_term(image: Image, targets: Targets, config: Config) -> Scalar:
    """The unweighted total variation of the true image."""
    loss, extent = config.loss, targets.extent
    size = None if extent is None else extent.size
    return total_variation(image, norm=loss.tv_norm, reduction=loss.tv_reduction, size=size)


def weigh(terms: LossTerms, weights: LossWeights) -> Scalar:
    """content_weight · content + style_weight · style + tv_weight · total_variation."""
    content, style = weights.content * terms.content, weights.style * terms.style
    return content + style + weights.total_variation * terms.total_variation


def evaluate(params: Params, image: Image, targets: Targets, config: Config) -> tuple[tuple[Scalar, LossTerms], Image]:
    """((weighted loss, terms), gradient with respect to the image in variable space)."""

    def weighted(image: Image) -> tuple[Scalar, LossTerms]:
        terms = loss_terms(params, image, targets, config)
        return weigh(terms, targets.weights), terms

    return jax.value_and_grad(weighted, has_aux=True)(image)
