"""The picture that optimisation begins with."""

import jax
import jax.numpy as jnp

from jnst.arrays import Image
from jnst.config import Init, PixelSpace
from jnst.preprocessing import decode, translate


def _root(matrix: jax.Array, power: float) -> jax.Array:
    """Symmetric power of a positive semi-definite 3×3 matrix; directions without variance are left out."""
    values, vectors = jnp.linalg.eigh(matrix)
    usable = values > 1e-6
    powers = jnp.where(usable, jnp.where(usable, values, 1.0) ** power, 0.0)
    return jnp.einsum("ij,j,kj->ik", vectors, powers, vectors)


def recolor(content: Image, style: Image) -> Image:
    """The content image with the colour mean and covariance of the style image (RGB, clipped to [0, 1]).

    The symmetric transport of Gatys et al. 2017 (arXiv 1611.07865, section 5.1): x ↦ A(x − μ) + μ', A = Σ'^½ Σ^−½.
    """
    pixels, palette = content.reshape(-1, 3), style.reshape(-1, 3)
    mean, target_mean = pixels.mean(0), palette.mean(0)
    # Channels stay last: other orders of this product are computed wrongly by jax 0.10.2 on CPU.
    covariance = jnp.cov(pixels, rowvar=False, bias=True)
    target = jnp.cov(palette, rowvar=False, bias=True)
    transport = _root(target, 0.5) @ _root(covariance, -0.5)
    return jnp.clip((content - mean) @ transport.T + target_mean, 0.0, 1.0)


def initial_image(
    key: jax.Array,
    content: Image,
    style: Image,
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
    grey = translate(jnp.zeros(3), network_input, variable)
    return decode(grey + noise * jax.random.normal(key, content.shape, jnp.float32), variable)
