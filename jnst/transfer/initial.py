"""The picture that optimisation begins with."""

import jax
import jax.numpy as jnp
import numpy as np

from jnst.array_types import Image, StyleImage
from jnst.config import Init, PixelSpace
from jnst.images.colors import match_colors
from jnst.images.pixel_space import decode, translate


def recolor(content: Image | np.ndarray, style: StyleImage | np.ndarray) -> Image:
    """The content image with the colour mean and covariance of the style image (RGB, clipped to [0, 1])."""
    return jnp.clip(match_colors(np.asarray(content), np.asarray(style)), 0.0, 1.0)


def initial_image(
    key: jax.Array,
    content: Image,
    style: StyleImage,
    init: Init,
    *,
    noise: float,
    variable: PixelSpace,
    network_input: PixelSpace,
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
    """
    if init == "content":
        return content
    if init == "style":
        return style
    if init == "recolored":
        return recolor(content, style)
    grey = translate(jnp.zeros((1, 1, 3), jnp.float32), network_input, variable)
    return decode(grey + noise * jax.random.normal(key, content.shape, jnp.float32), variable)
