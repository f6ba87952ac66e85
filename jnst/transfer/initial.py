"""The picture that optimisation begins with."""

import jax
import jax.numpy as jnp
import numpy as np

from jnst.array_types import Image, StyleImage
from jnst.config import Init, PixelSpace
from jnst.images.colors import match_colors
from jnst.images.masks import Mask
from jnst.images.pixel_space import decode, translate


def recolor(
    content: Image | np.ndarray,
    style: StyleImage | np.ndarray,
    *,
    content_mask: Mask | None = None,
    style_mask: Mask | None = None,
) -> Image:
    """The content image with the colour mean and covariance of the style image (RGB, clipped to [0, 1]).

    The masks, height × width, say which part of each the colours are taken from; by default all of it.
    """
    matched = match_colors(np.asarray(content), np.asarray(style), weights=content_mask, like_weights=style_mask)
    return jnp.clip(matched, 0.0, 1.0)


def initial_image(
    key: jax.Array,
    content: Image,
    style: StyleImage,
    init: Init,
    *,
    noise: float,
    variable: PixelSpace,
    network_input: PixelSpace,
    content_mask: Mask | None = None,
    style_mask: Mask | None = None,
) -> Image:
    """RGB image of the content's size to begin with.

    Args:
        key: randomness of the random start.
        content: RGB in [0, 1], height × width × 3.
        style: the style image; for init "style" already at the content's size.
        init: content, style, random (normal noise around the colour that the network sees as zero, as in N_S_T) or
            recolored (content in the style's colours).
        noise: standard deviation of the random start, in units of `variable`.
        variable: the space that the optimiser works in.
        network_input: the space whose zero is the middle of the noise.
        content_mask, style_mask: as in `recolor`.
    """
    if init == "content":
        return content
    if init == "style":
        return style
    if init == "recolored":
        return recolor(content, style, content_mask=content_mask, style_mask=style_mask)
    grey = translate(jnp.zeros((1, 1, 3), jnp.float32), network_input, variable)
    return decode(grey + noise * jax.random.normal(key, content.shape, jnp.float32), variable)
