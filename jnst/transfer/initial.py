"""The picture that optimisation begins with."""

import jax
import jax.numpy as jnp
from jax import lax

from jnst.arrays import Image, StyleImage
from jnst.config import Init, PixelSpace
from jnst.images.pixel_space import decode, translate


def _product(subscripts: str, *operands: jax.Array) -> jax.Array:
    return jnp.einsum(subscripts, *operands, precision=lax.Precision.HIGHEST)


def _root(matrix: jax.Array, power: float) -> jax.Array:
    """Symmetric power of a positive semi-definite 3×3 matrix; directions without variance are left out."""
    values, vectors = jnp.linalg.eigh(matrix)
    usable = values > 1e-6
    powers = jnp.where(usable, jnp.where(usable, values, 1.0) ** power, 0.0)
    return _product("ij,j,kj->ik", vectors, powers, vectors)


def _moments(image: StyleImage) -> tuple[jax.Array, jax.Array]:
    """Mean colour (1 × 1 × 3) and covariance (3 × 3) over all pixels."""
    mean = image.mean((0, 1), keepdims=True)
    centred = image - mean
    # Channels stay last: other orders of this product are computed wrongly by jax 0.10.2 on CPU.
    return mean, _product("hwc,hwd->cd", centred, centred) / (image.shape[0] * image.shape[1])


@jax.jit
def recolor(content: Image, style: StyleImage) -> Image:
    """The content image with the colour mean and covariance of the style image (RGB, clipped to [0, 1]).

    The symmetric transport of Gatys et al. 2017 (arXiv 1611.07865, section 5.1): x ↦ A(x − μ) + μ', A = Σ'^½ Σ^−½.
    """
    mean, covariance = _moments(content)
    target_mean, target = _moments(style)
    transport = _product("ij,jk->ik", _root(target, 0.5), _root(covariance, -0.5))
    return jnp.clip(_product("hwc,dc->hwd", content - mean, transport) + target_mean, 0.0, 1.0)


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
