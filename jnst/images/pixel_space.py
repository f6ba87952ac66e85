"""Between RGB in [0, 1] and the spaces that optimisers and networks use."""

from typing import Any

import jax
import jax.numpy as jnp

from jnst.argument_checks import check_space
from jnst.array_types import Image, check_array, to_jax
from jnst.config import PixelSpace
from jnst.errors import ArrayError, ImageError


def _per_channel(values: tuple[float, float, float]) -> jax.Array:
    return jnp.asarray(values, jnp.float32).reshape(1, 1, 3)


def as_unit(image: Any) -> jax.Array:
    """RGB in [0, 1] as float32: whole numbers, such as a file's, are divided by the largest of their type.

    As `jnst.images.resizing.to_unit`, but in JAX, so that it can be part of a compiled program.

    Raises:
        ImageError: for numbers that are neither floating point nor 8 or 16 bits.

    >>> import numpy as np
    >>> as_unit(np.array([0, 255], np.uint8)).tolist()
    [0.0, 1.0]
    """
    array = to_jax(image, "picture", "height × width × 3", ImageError)
    if array.dtype in (jnp.uint8, jnp.uint16):
        return array.astype(jnp.float32) / jnp.float32(jnp.iinfo(array.dtype).max)
    if not jnp.issubdtype(array.dtype, jnp.floating):
        raise ImageError(f"picture holds {array.dtype}; expected uint8, uint16 or floating point in [0, 1]")
    return array.astype(jnp.float32)


def _three_channels(kind: str, image: Any) -> jax.Array:
    """The array as float32, refused where it is not one image of three channels, which broadcasting would hide."""
    array = check_array(kind, image, axes="height × width × 3")
    if array.shape[2] != 3:
        raise ArrayError(f"{kind} has shape {tuple(array.shape)}; expected height × width × 3")
    return array.astype(jnp.float32)


def encode(image: Image, space: PixelSpace) -> Image:
    """RGB in [0, 1] to `space`: (scale · rgb − mean) / std, then the channel order.

    A config has two spaces. Optimisers and `loss_terms` work in `config.variable`; the network, and so
    `extract_features`, wants `config.network_input`, which is another space in most presets. From a picture straight
    to its feature maps leads `jnst.features`.

    Args:
        image: height × width × 3, RGB, floating point in [0, 1]; or uint8 or uint16, which are brought there.
        space: `config.variable` or `config.network_input`.

    Returns:
        height × width × 3, float32.

    Raises:
        ArrayError: for another shape; for several images use `jax.vmap`.
        ImageError: for whole numbers of another type.
    """
    check_space(space)
    rgb = _three_channels("the image", as_unit(image))
    mean, std = _per_channel(space.mean), _per_channel(space.std)
    encoded = (space.scale * rgb - mean) / std
    return encoded[..., ::-1] if space.order == "bgr" else encoded


def decode(encoded: Image, space: PixelSpace) -> Image:
    """The inverse of `encode`: rgb = (std · x + mean) / scale, after the channel order is RGB again.

    Args:
        encoded: height × width × 3, floating point, in `space`.
        space: `config.variable` or `config.network_input`.

    Returns:
        height × width × 3, RGB, float32, in [0, 1] as far as the encoded values are; not clipped.

    Raises:
        ArrayError: for another shape (for several images use `jax.vmap`), or whole numbers.
    """
    check_space(space)
    encoded = _three_channels("the encoded image", encoded)
    mean, std = _per_channel(space.mean), _per_channel(space.std)
    ordered = encoded[..., ::-1] if space.order == "bgr" else encoded
    return (ordered * std + mean) / space.scale


def translate(image: Image, source: PixelSpace, target: PixelSpace) -> Image:
    """From one space to another; the identity, to the bit, where they are the same."""
    if source == target:
        return image
    if (source.scale, source.mean, source.std) == (target.scale, target.mean, target.std):
        return image[..., ::-1]
    return encode(decode(image, source), target)
