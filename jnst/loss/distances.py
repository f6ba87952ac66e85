"""The pieces of the loss, each for one feature map or one image, with every divisor and reduction explicit.

Where the map is part of a padded array, positions outside the true image are zero and `pixels` gives the true count.
"""

import math
from typing import Any, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.core import Tracer

from jnst.array_types import FeatureMap, Gram, Moment, Scalar, check_array
from jnst.config import ContentReduction, GramDivisor, StyleReduction, VariationNorm, VariationReduction
from jnst.errors import ArrayError, ConfigError, check_choice, quote
from jnst.vgg.linear_map import linear_map


def _check_same_shape(kind: str, value: jax.Array, target: jax.Array) -> None:
    """Refuses silent broadcasting."""
    if value.shape != target.shape:
        raise ArrayError(f"{kind} has shape {value.shape} and its target {target.shape}; expected the same")


def _check_number(name: str, value: Any, most: int | None = None) -> None:
    """Raises ConfigError for what is no number above zero, or no whole number up to the most; traced ones pass."""
    kinds = (jnp.integer,) if most is not None else (jnp.integer, jnp.floating)
    largest = np.finfo(np.float32).max if most is None else most
    if isinstance(value, Tracer):
        right = value.shape == ()
    else:
        try:
            array = np.asarray(value)
            right = array.shape == () and any(jnp.issubdtype(array.dtype, kind) for kind in kinds)
            right = right and bool(0 < array <= largest)
        except (TypeError, ValueError):
            right = False
    if not right:
        expected = "a number above zero" if most is None else f"a whole number from 1 to {most}"
        raise ConfigError(f"{name} is {quote(value)}; expected {expected}")


def _check_size(size: Any, image: jax.Array, circular: bool) -> None:
    """Raises ConfigError unless that is the height and width of a part of the image."""
    if circular:
        raise ConfigError(
            f"size is {quote(size)} with circular=True; a padded image has no neighbours across its borders"
        )
    if not isinstance(size, tuple | list) or len(size) != 2:
        raise ConfigError(f"size is {quote(size)}; expected (height, width)")
    for name, length, most in zip(("height", "width"), size, image.shape, strict=False):
        _check_number(f"the {name} in size", length, most)


def as_divisor(number: Any) -> Any:
    """A count of pixels to divide by: exact where it is known, float32 where it is traced."""
    return number if isinstance(number, int | float) else jnp.asarray(number).astype(jnp.float32)


@jax.custom_jvp
def channel_products(features: FeatureMap) -> Gram:
    """Σ over pixels of f fᵀ, accumulated in float32 at highest precision; symmetric, channels × channels."""
    # Gᵢⱼ = Σₖ Fᵢₖ Fⱼₖ over pixels k; our F is the paper's transposed, pixels × channels.
    # One matrix product over flattened pixels: given two pixel axes to sum over, XLA on CPU first copies the transposed
    # map, which takes seven times as long as the product.
    pixels = features.reshape(-1, features.shape[2])
    return jnp.einsum("pc,pd->cd", pixels, pixels, precision=lax.Precision.HIGHEST, preferred_element_type=jnp.float32)


@channel_products.defjvp
def _products_tangent(primals: Any, tangents: Any) -> Any:
    pixels, change = (part[0].reshape(-1, part[0].shape[2]) for part in (primals, tangents))
    products = channel_products(primals[0])
    return products, linear_map(_change_of_products, _products_gradient, change, pixels, like=products)


def _change_of_products(change: Any, pixels: Any) -> Gram:
    """d(FᵀF) = FᵀdF + dFᵀF, of pixels × channels; the second is the first one transposed."""
    half = jnp.einsum("pc,pd->cd", pixels, change, precision=lax.Precision.HIGHEST, preferred_element_type=jnp.float32)
    return half + half.T


def _products_gradient(gradient: Any, pixels: Any) -> jax.Array:
    """The transpose: one product with the symmetrised gradient serves where autodiff takes two."""
    symmetric = (gradient + gradient.T).astype(pixels.dtype)
    back = jnp.einsum(
        "pc,cd->pd", pixels, symmetric, precision=lax.Precision.HIGHEST, preferred_element_type=jnp.float32
    )
    return back.astype(pixels.dtype)


def gram_matrix(features: FeatureMap, *, divisor: GramDivisor, pixels: Any = None) -> Gram:
    """Channel correlations of a feature map (Gatys et al. 2015, arXiv 1508.06576, eq. 3).

    G = Σ f fᵀ / divisor, the sum over all pixels; the divisor is 1 (the paper), the number of pixels, or pixels times
    channels. Always float32 at highest precision, whatever the convolutions used.

    Args:
        features: height × width × channels; for several maps use `jax.vmap`.
        divisor: "none", "pixels" or "pixels_channels".
        pixels: true number of pixels of a padded map; by default all.

    Returns:
        channels × channels.

    Raises:
        ConfigError: for an unknown divisor, or pixels that are no number above zero.
        ArrayError: for a map of another rank, or of whole numbers.

    >>> gram_matrix(jnp.ones((2, 3, 1)), divisor="none").item()
    6.0
    """
    check_choice("Gram divisor", divisor, get_args(GramDivisor))
    features = check_array("the feature map", features)
    if pixels is not None:
        _check_number("pixels", pixels)
    # bfloat16 is multiplied as it is, and added up in float32.
    features = features if features.dtype == jnp.bfloat16 else features.astype(jnp.float32)
    count = math.prod(features.shape[:2]) if pixels is None else pixels
    return divide_products(channel_products(features), divisor=divisor, pixels=count)


def divide_products(products: Moment, *, divisor: GramDivisor, pixels: Any) -> Moment:
    """The Gram matrix of Σ f fᵀ over `pixels` positions; of Σ f their mean, where the divisor is their number."""
    if divisor == "none":
        return products
    pixels = as_divisor(pixels)
    return products / (pixels * products.shape[0] if divisor == "pixels_channels" else pixels)


def content_loss(
    features: FeatureMap, target: FeatureMap, *, reduction: ContentReduction, pixels: Any = None
) -> Scalar:
    """Squared distance of two feature maps (Gatys et al. 2015, eq. 1).

    Args:
        features: height × width × channels; for several maps use `jax.vmap`.
        target: of the same shape.
        reduction: "mean" over pixels and channels, "sum", or "half_sum" (the paper's form).
        pixels: true number of pixels of a padded map; by default all.

    Returns:
        A scalar, float32.

    Raises:
        ConfigError: for an unknown reduction, or pixels that are no number above zero.
        ArrayError: for maps of another rank or of whole numbers, or that differ in shape.
    """
    check_choice("content reduction", reduction, get_args(ContentReduction))
    features, target = check_array("the feature map", features), check_array("the target", target)
    _check_same_shape("feature map", features, target)
    if pixels is not None:
        _check_number("pixels", pixels)
    # The paper's ½ Σ (F − P)²; "mean" divides the sum by the M · N entries of the map instead.
    total = jnp.sum(jnp.square(features.astype(jnp.float32) - target.astype(jnp.float32)))
    if reduction == "mean":
        count = as_divisor(math.prod(features.shape[:2]) if pixels is None else pixels)
        return total / (count * features.shape[2])
    return 0.5 * total if reduction == "half_sum" else total


def style_loss(gram: Gram, target: Gram, *, reduction: StyleReduction) -> Scalar:
    """Squared distance of two Gram matrices: sum, mean, or a quarter of the mean.

    A quarter of the mean of Gram matrices divided by their pixels is the paper's 1 / (4 N² M²) · Σ (Gatys et al. 2015,
    eq. 4) with N channels and M pixels, where style and result have different sizes as well.

    Args:
        gram: from `gram_matrix`, channels × channels; for several use `jax.vmap`.
        target: of the same shape.
        reduction: "sum", "mean" or "quarter_mean".

    Returns:
        A scalar, float32.

    Raises:
        ConfigError: for an unknown reduction.
        ArrayError: for matrices that are not square, hold whole numbers, or differ in shape.
    """
    check_choice("style reduction", reduction, get_args(StyleReduction))
    square = "channels × channels"
    gram, target = check_array("the Gram matrix", gram, axes=square), check_array("the target", target, axes=square)
    _check_same_shape("Gram matrix", gram, target)
    if gram.shape[0] != gram.shape[1]:
        raise ArrayError(f"the Gram matrix has shape {gram.shape}; expected {square}, from jnst.gram_matrix")
    # The paper's Eₗ = Σ (G − A)² / (4 N² M²): its G has no divisor, so that M² is in ours where that is the pixels.
    return reduce_squares(gram.astype(jnp.float32) - target.astype(jnp.float32), reduction=reduction)


def reduce_squares(difference: jax.Array, *, reduction: StyleReduction) -> Scalar:
    """Sum, mean or a quarter of the mean of the squares of an array of any shape."""
    squares = jnp.square(difference)
    if reduction == "sum":
        return jnp.sum(squares)
    return jnp.mean(squares) * (0.25 if reduction == "quarter_mean" else 1.0)


def covariance_matrix(gram: Gram, mean: jax.Array) -> Gram:
    """E[f fᵀ] − E[f] E[f]ᵀ from the Gram matrix, divided by the number of positions, and the mean of each channel."""
    return gram - jnp.outer(mean, mean)


def total_variation(
    image: jax.Array,
    *,
    norm: VariationNorm,
    reduction: VariationReduction,
    size: tuple[Any, Any] | None = None,
    circular: bool = False,
) -> Scalar:
    """Differences between neighbouring pixels, down and across, over all valid pairs and channels.

    Args:
        image: height × width × channels; for several images use `jax.vmap`.
        norm: "l1" takes absolute differences (anisotropic), "l2" their squares.
        reduction: "sum", or "mean", which is that of the vertical pairs plus that of the horizontal ones.
        size: true height and width of a padded image.
        circular: whether the first row and column are neighbours of the last ones; not for a padded image.

    Returns:
        A scalar, float32, in units of the image's values (their squares with "l2").

    Raises:
        ConfigError: for an unknown norm or reduction, or a size that is none of a part of the image.
        ArrayError: for an image of another rank, or of whole numbers.

    >>> board = jnp.indices((2, 2)).sum(0)[..., None] % 2.0
    >>> total_variation(board, norm="l1", reduction="sum").item()
    4.0
    """
    check_choice("variation norm", norm, get_args(VariationNorm))
    check_choice("variation reduction", reduction, get_args(VariationReduction))
    image = check_array("the image", image).astype(jnp.float32)
    if size is not None:
        _check_size(size, image, circular)
    # Σ |x[i + 1, j] − x[i, j]| + Σ |x[i, j + 1] − x[i, j]|, or squares.
    down, across = image[1:] - image[:-1], image[:, 1:] - image[:, :-1]
    if circular:
        down, across = (jnp.roll(image, -1, axis) - image for axis in (0, 1))
    if size is not None:
        rows, columns = (jnp.arange(length, dtype=jnp.int32) for length in image.shape[:2])
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
    lines = (height, width) if circular else (jnp.maximum(height - 1, 1), jnp.maximum(width - 1, 1))
    pairs = jnp.int32(lines[0]) * width * channels, height * jnp.int32(lines[1]) * channels
    return vertical / pairs[0].astype(jnp.float32) + horizontal / pairs[1].astype(jnp.float32)
