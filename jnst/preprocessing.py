"""Between RGB in [0, 1] and the spaces that optimisers and networks use."""

import jax
import jax.numpy as jnp

from jnst.arrays import Image
from jnst.config import PixelSpace


def _per_channel(values: tuple[float, float, float]) -> jax.Array:
    return jnp.asarray(values, jnp.float32).reshape(1, 1, 3)


def encode(image: Image, space: PixelSpace) -> Image:
    """RGB in [0, 1] to `space`: (scale · rgb − mean) / std, then the channel order."""
    mean, std = _per_channel(space.mean), _per_channel(space.std)
    encoded = (space.scale * image - mean) / std
    return encoded[..., ::-1] if space.order == "bgr" else encoded


def decode(encoded: Image, space: PixelSpace) -> Image:
    """The inverse of `encode`; not clipped."""
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
