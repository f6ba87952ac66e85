"""Between RGB in [0, 1] and the spaces that optimisers and networks use."""

import jax.numpy as jnp

from jnst.arrays import Image
from jnst.config import PixelSpace


def encode(image: Image, space: PixelSpace) -> Image:
    """RGB in [0, 1] to `space`: (scale · rgb − mean) / std, then the channel order."""
    mean, std = jnp.asarray(space.mean, jnp.float32), jnp.asarray(space.std, jnp.float32)
    encoded = (space.scale * image - mean) / std
    return encoded[..., ::-1] if space.order == "bgr" else encoded


def decode(encoded: Image, space: PixelSpace) -> Image:
    """The inverse of `encode`; not clipped."""
    mean, std = jnp.asarray(space.mean, jnp.float32), jnp.asarray(space.std, jnp.float32)
    ordered = encoded[..., ::-1] if space.order == "bgr" else encoded
    return (ordered * std + mean) / space.scale


def translate(image: Image, source: PixelSpace, target: PixelSpace) -> Image:
    """From one space to another; the identity, to the bit, where they are the same."""
    if source == target:
        return image
    if (source.scale, source.mean, source.std) == (target.scale, target.mean, target.std):
        return image[..., ::-1]
    return encode(decode(image, source), target)
