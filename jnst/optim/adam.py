"""Adam."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import optax

from jnst.optim.optimizer import standard_promotion


def _one_minus_power(beta: float, count: jax.Array) -> jax.Array:
    """1 − βᵗ to float32's last digit: subtracting from one loses four digits while βᵗ is near it (β₂ = 0.999)."""
    return -jnp.expm1(count * jnp.float32(math.log(beta))) if beta > 0 else jnp.ones_like(count)


def scale_by_adam(
    beta1: float, beta2: float, epsilon: float, *, epsilon_hat: bool = False
) -> optax.GradientTransformation:
    """Adam (Kingma and Ba 2014, arXiv 1412.6980): optax's moments, the bias corrections to the last digit.

    optax subtracts βᵗ from one in float32, which makes the first steps wrong by 3·10⁻⁵; PyTorch computes the
    corrections in double precision.

    Args:
        beta1: β₁, decay of the mean gradient m.
        beta2: β₂, decay of the mean squared gradient v.
        epsilon: guard in the divisor.
        epsilon_hat: whether it is added before bias correction, √(1 − β₂ᵗ) / (1 − β₁ᵗ) · m / (√v + ε), the remark to
            section 2 and the order of TensorFlow and Keras; by default after it, as Algorithm 1 and PyTorch do.
    """
    base = optax.scale_by_adam(beta1, beta2)

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        with standard_promotion():
            _, state = base.update(updates, state, params)
        count = state.count.astype(jnp.float32)
        mean, root = _one_minus_power(beta1, count), jnp.sqrt(_one_minus_power(beta2, count))

        def step(m: jax.Array, v: jax.Array) -> jax.Array:
            # Without epsilon_hat m̂ / (√v̂ + ε), with m̂ = m / (1 − β₁ᵗ) and v̂ = v / (1 − β₂ᵗ).
            if epsilon_hat:
                return root / mean * m / (jnp.sqrt(v) + epsilon)
            return m / mean / (jnp.sqrt(v) / root + epsilon)

        return jax.tree.map(step, state.mu, state.nu), state

    return optax.GradientTransformation(base.init, update)
