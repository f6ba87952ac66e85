"""A short training of the pruned network, all layers together, towards the teacher's kept maps and Gram matrices."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from vgg_in_jax import NAMES, Params, all_maps, network_input

CROP, BATCH, WARM_UP = 128, 2, 20


def relative_errors(student: Any, teacher: Any, weights: Any) -> jax.Array:
    """Mean over a batch of the relative squared error of a map plus that of its Gram matrix, both after the ReLU.

    Args:
        student: count × height × width × channels, before the ReLU.
        teacher: the same of the teacher's kept channels.
        weights: of the channels in inner products, as `pruning.gram_weights` gives them.
    """
    root = jnp.sqrt(weights)
    ours, theirs = jax.nn.relu(student) * root, jax.nn.relu(teacher) * root
    ours, theirs = (x.reshape(x.shape[0], -1, x.shape[-1]) for x in (ours, theirs))
    maps = jnp.square(ours - theirs).sum((1, 2)) / jnp.square(theirs).sum((1, 2))
    gram, wanted = (jnp.einsum("npc,npd->ncd", x, x) for x in (ours, theirs))
    return jnp.mean(maps + jnp.square(gram - wanted).sum((1, 2)) / jnp.square(wanted).sum((1, 2)))


def tune(
    params: Params,
    teacher: Params,
    kept: Mapping[str, np.ndarray],
    weights: Mapping[str, np.ndarray],
    pictures: np.ndarray,
    *,
    steps: int,
    rate: float,
    seed: int,
    report: Callable[[str], None],
) -> Any:
    """The parameters after so many steps of Adam, each parameter at a rate relative to its layer's own size.

    A layer's kernel moves by at most `rate` times its root mean square a step, falling to zero as a half cosine.
    """
    kept = {name: np.asarray(kept[name]) for name in NAMES}
    weights = {name: jnp.asarray(weights[name], jnp.float32) for name in NAMES}
    params = jax.tree.map(jnp.asarray, {name: dict(params[name]) for name in NAMES})
    teacher = jax.tree.map(jnp.asarray, {name: dict(teacher[name]) for name in NAMES})
    sizes = jax.tree.map(lambda array: jnp.sqrt(jnp.mean(jnp.square(array))), params)

    def loss(params: Any, crops: Any, pooling: str) -> jax.Array:
        x = network_input(crops)
        ours, theirs = all_maps(params, x, pooling), all_maps(teacher, x, pooling)
        errors = [relative_errors(ours[name], theirs[name][..., kept[name]], weights[name]) for name in NAMES]
        return sum(errors) / len(errors)  # pyright: ignore[reportReturnType]

    def step(params: Any, moments: Any, crops: Any, number: Any, rate: Any, pooling: str) -> Any:
        value, gradient = jax.value_and_grad(loss)(params, crops, pooling)
        first = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, moments[0], gradient)
        second = jax.tree.map(lambda v, g: 0.99 * v + 0.01 * g * g, moments[1], gradient)
        scales = (1 / (1 - 0.9**number), 1 / (1 - 0.99**number))
        params = jax.tree.map(
            lambda p, m, v, size: p - rate * size * (m * scales[0]) / (jnp.sqrt(v * scales[1]) + 1e-12),
            params,
            first,
            second,
            sizes,
        )
        return params, (first, second), value

    step = jax.jit(step, static_argnums=5, donate_argnums=(0, 1))
    zeros = jax.tree.map(jnp.zeros_like, params)
    moments, recent = (zeros, jax.tree.map(jnp.zeros_like, params)), []
    rng = np.random.default_rng([seed, 2])
    for number in range(1, steps + 1):
        chosen = rng.integers(len(pictures), size=BATCH)
        corner = rng.integers(pictures.shape[1] - CROP + 1, size=(BATCH, 2))
        crops = np.stack([pictures[i][y : y + CROP, x : x + CROP] for i, (y, x) in zip(chosen, corner, strict=True)])
        now = rate * min(1.0, number / WARM_UP) * 0.5 * (1 + np.cos(np.pi * number / steps))
        pooling = ("max", "average")[number % 2]
        params, moments, value = step(params, moments, crops, float(number), now, pooling)
        recent.append(float(value))
        if number % 10 == 0:
            report(f"step {number}: mean error of the last ten {np.mean(recent[-10:]):.4f}")
    return jax.tree.map(np.asarray, params)
