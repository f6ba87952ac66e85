"""VGG16 in plain JAX, differentiable in its parameters, for any number of channels per convolution."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

Params = Mapping[str, Mapping[str, Any]]
BLOCKS = (2, 2, 3, 3, 1)  # to conv5_1, the deepest layer that the losses use
NAMES = tuple(f"conv{block}_{index}" for block, depth in enumerate(BLOCKS, 1) for index in range(1, depth + 1))
AREAS = {name: 4.0 ** (1 - int(name[4])) for name in NAMES}  # positions per pixel of the image
MEAN = (123.68, 116.779, 103.939)  # red, green, blue; Oxford's


def network_input(pictures: Any) -> jax.Array:
    """uint8 RGB pictures, … × 3, as the network sees them: BGR, 0–255 minus the mean."""
    return (jnp.asarray(pictures, jnp.float32) - jnp.asarray(MEAN))[..., ::-1]


def pool(x: jax.Array, kind: str) -> jax.Array:
    """2×2 pooling, "max" or "average", of count × height × width × channels."""
    blocks = [x[:, i::2, j::2] for i in (0, 1) for j in (0, 1)]
    if kind == "max":
        return jnp.maximum(jnp.maximum(blocks[0], blocks[1]), jnp.maximum(blocks[2], blocks[3]))
    return (blocks[0] + blocks[1] + blocks[2] + blocks[3]) / 4


def convolve(x: jax.Array, layer: Mapping[str, Any]) -> jax.Array:
    """3×3 convolution with zero padding, as one matrix product, whose gradients are matrix products as well."""
    height, width, inputs = x.shape[1:]
    padded = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    columns = [padded[:, i : i + height, j : j + width] for i in range(3) for j in range(3)]
    kernel = layer["kernel"].reshape(9 * inputs, -1)
    return jnp.concatenate(columns, -1) @ kernel + layer["bias"]


def before_layer(x: jax.Array, name: str, pooling: str) -> jax.Array:
    """What a convolution sees of the map x before the ReLU of the convolution below."""
    if name == NAMES[0]:
        return x
    x = jax.nn.relu(x)
    return pool(x, pooling) if name.endswith("_1") else x


def all_maps(params: Params, x: jax.Array, pooling: str) -> dict[str, jax.Array]:
    """Every convolution's map before its ReLU, for a batch of inputs."""
    maps = {}
    for name in NAMES:
        x = maps[name] = convolve(before_layer(x, name, pooling), params[name])
    return maps
