"""The pieces of the loss, each for one feature map or one image, with every divisor and reduction explicit.

Where the map is part of a padded array, positions outside the true image are zero and `pixels` gives the true count.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from jnst.arrays import FeatureMap, Gram, Scalar
from jnst.config import ContentReduction, GramDivisor, StyleReduction, VariationNorm, VariationReduction


def _check_same_shape(kind: str, value: jax.Array, target: jax.Array) -> None:
    """Refuses silent broadcasting."""
    if value.shape != target.shape:
        raise ValueError(f"{kind} has shape {value.shape} and its target {target.shape}; expected the same")


@jax.custom_vjp
def channel_products(features: FeatureMap) -> Gram:
    """Σ over pixels of f fᵀ, accumulated in float32 at highest precision; symmetric, channels × channels."""
    # One matrix product over flattened pixels: given two pixel axes to sum over, XLA on CPU first copies the transposed
    # map, which takes seven times as long as the product.
    pixels = features.reshape(-1, features.shape[2])
    return jnp.einsum("pc,pd->cd", pixels, pixels, precision=lax.Precision.HIGHEST, preferred_element_type=jnp.float32)


def _products_forward(features: FeatureMap) -> Any:
    return channel_products(features), features


def _products_backward(features: FeatureMap, gradient: Any) -> Any:
    # d(FᵀF) = dFᵀF + FᵀdF, so one product with the symmetrised gradient serves where autodiff takes two.
    symmetric = (gradient + gradient.T).astype(features.dtype)
    back = jnp.einsum(
        "hwc,cd->hwd", features, symmetric, precision=lax.Precision.HIGHEST, preferred_element_type=jnp.float32
    )
    return (back.astype(features.dtype),)


channel_products.defvjp(_products_forward, _products_backward)


def gram_matrix(features: FeatureMap, *, divisor: GramDivisor, pixels: Any = None) -> Gram:
    """Channel correlations of a feature map (Gatys et al. 2015, arXiv 1508.06576, eq. 3).

    G = Σ f fᵀ / divisor, the sum over all pixels; the divisor is 1 (the paper), the number of pixels, or pixels times
    channels. Always float32 at highest precision, whatever the convolutions used.

    >>> gram_matrix(jnp.ones((2, 3, 1)), divisor="none").item()
    6.0
    """
    count = math.prod(features.shape[:2]) if pixels is None else pixels
    return divide_products(channel_products(features), divisor=divisor, pixels=count)


def divide_products(products: Gram, *, divisor: GramDivisor, pixels: Any) -> Gram:
    """The Gram matrix of Σ f fᵀ over `pixels` positions."""
    if divisor == "none":
        return products
    return products / (pixels * products.shape[0] if divisor == "pixels_channels" else pixels)


def content_loss(
    features: FeatureMap, target: FeatureMap, *, reduction: ContentReduction, pixels: Any = None
) -> Scalar:
    """Squared distance of two feature maps (Gatys et al. 2015, eq. 1).

    Mean over pixels and channels, sum, or half the sum (the paper's form).
    """
    _check_same_shape("feature map", features, target)
    total = jnp.sum(jnp.square(features.astype(jnp.float32) - target.astype(jnp.float32)))
    if reduction == "mean":
        count = math.prod(features.shape[:2]) if pixels is None else pixels
        return total / (count * features.shape[2])
    return 0.5 * total if reduction == "half_sum" else total


def style_loss(gram: Gram, target: Gram, *, reduction: StyleReduction) -> Scalar:
    """Squared distance of two Gram matrices: sum, mean, or a quarter of the mean.

    A quarter of the mean of Gram matrices divided by their pixels is the paper's 1 / (4 N² M²) · Σ (Gatys et al. 2015,
    eq. 4) with N channels and M pixels, where style and result have different sizes as well.
    """
    _check_same_shape("Gram matrix", gram, target)
    squares = jnp.square(gram - target)
    if reduction == "sum":
        return jnp.sum(squares)
    return jnp.mean(squares) * (0.25 if reduction == "quarter_mean" else 1.0)


def total_variation(
    image: jax.Array, *, norm: VariationNorm, reduction: VariationReduction, size: tuple[Any, Any] | None = None
) -> Scalar:
    """Differences between neighbouring pixels, down and across, over all valid pairs and channels.

    Absolute differences (l1, anisotropic) or their squares (l2). The mean is that of the vertical pairs plus that of
    the horizontal ones. `size` is the true height and width of a padded image.

    >>> board = jnp.indices((2, 2)).sum(0)[..., None] % 2.0
    >>> total_variation(board, norm="l1", reduction="sum").item()
    4.0
    """
    image = image.astype(jnp.float32)
    down, across = image[1:] - image[:-1], image[:, 1:] - image[:, :-1]
    if size is not None:
        rows, columns = jnp.arange(image.shape[0]), jnp.arange(image.shape[1])
        down = jnp.where((rows[1:] < size[0])[:, None, None] & (columns < size[1])[None, :, None], down, 0)
        across = jnp.where((rows < size[0])[:, None, None] & (columns[1:] < size[1])[None, :, None], across, 0)
    # x · sign(x), not abs(x): jax gives abs the slope 1 at zero, where PyTorch, TensorFlow and symmetry say 0, and
    # every flat area of a picture is full of zeros.
    measure = (lambda x: x * jnp.sign(x)) if norm == "l1" else jnp.square
    vertical, horizontal = jnp.sum(measure(down)), jnp.sum(measure(across))
    if reduction == "sum":
        return vertical + horizontal
    height, width = image.shape[:2] if size is None else size
    channels = image.shape[2]
    # An image one pixel high has no vertical pairs; their mean is then zero.
    return vertical / (jnp.maximum(height - 1, 1) * width * channels) + horizontal / (
        height * jnp.maximum(width - 1, 1) * channels
    )
