"""L-BFGS pairs: their bits, the algorithm, the forgetting."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jnst.config import OptimizerConfig
from jnst.errors import ConfigError
from jnst.optim.lbfgs_history import _pack, _unpack, accept_pairs, add_pair, apply_inverse, no_pairs


def test_numbers_survive_as_bfloat16():
    values = jnp.array([0.0, -1.0, 1 + 2**-7, 3e38, 1e-38, jnp.inf])
    packed = _pack(values, jnp.uint16)
    assert packed.dtype == jnp.uint16
    np.testing.assert_array_equal(_unpack(packed), values.astype(jnp.bfloat16).astype(jnp.float32))


def test_an_empty_memory_is_the_identity():
    gradient = jnp.arange(12.0).reshape(2, 2, 3)
    np.testing.assert_array_equal(apply_inverse(no_pairs(gradient, 4, "bfloat16"), gradient)[0], gradient)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize(("history", "made"), [(3, 1), (3, 3), (3, 5), (11, 13)])
def test_the_inverse_is_that_of_the_bfgs_formula(history, made, precision):
    """Against the dense recursion H ← (1 − ρsyᵀ)H(1 − ρysᵀ) + ρssᵀ, in float64, from the pairs as stored."""
    rng = np.random.default_rng(0)
    shape = (2, 19, 3)  # rows that do not divide into the parts a dot product is made of
    count = np.prod(shape)
    apply = jax.jit(apply_inverse)

    def stored(values):
        """As a pair of that precision holds them, so that the gradients' differences are what is remembered."""
        return np.asarray(_unpack(_pack(jnp.asarray(values, jnp.float32), pairs.steps.dtype)))

    pairs, kept = no_pairs(jnp.zeros(shape), history, precision), []
    gradient = np.zeros(shape)
    for _ in range(made):
        _, pairs = apply(pairs, jnp.asarray(gradient, jnp.float32))
        step = stored(rng.standard_normal(shape))
        change = stored(step * rng.uniform(0.5, 2.0, shape))
        pairs = add_pair(pairs, jnp.asarray(step), jnp.asarray(change))
        gradient = gradient + change
        kept = [*kept, [np.asarray(x, np.float64).ravel() for x in (step, change)]][-history:]
    s, y = kept[-1]
    inverse = np.eye(count) * (s @ y) / (y @ y)
    for s, y in kept:
        rho = 1 / (s @ y)
        left = np.eye(count) - rho * np.outer(s, y)
        inverse = left @ inverse @ left.T + rho * np.outer(s, s)
    found, _ = apply(pairs, jnp.asarray(gradient, jnp.float32))
    expected = inverse @ gradient.ravel()
    np.testing.assert_allclose(np.ravel(found), expected, rtol=0, atol=1e-4 * np.abs(expected).max())


def test_a_pair_without_curvature_is_not_used():
    step = jnp.ones((1, 1, 3))
    pairs = add_pair(no_pairs(step, 2, "bfloat16"), step, -step)
    np.testing.assert_array_equal(apply_inverse(pairs, 2 * step)[0], 2 * step)


def test_what_is_forgotten_leaves_no_trace():
    step = jnp.ones((1, 1, 3))
    pairs = add_pair(no_pairs(step, 2, "bfloat16"), step * jnp.nan, step)
    emptied = accept_pairs(no_pairs(step, 2, "bfloat16"), pairs, jnp.array(False), jnp.array(True))
    for found, expected in zip(emptied, no_pairs(step, 2, "bfloat16"), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_line_searches_are_refused():
    with pytest.raises(ConfigError, match="goes with line search none alone"):
        OptimizerConfig(history_precision="bfloat16", line_search="zoom")
    for method in ("jaxopt-lbfgs", "optax-lbfgs"):
        with pytest.raises(ConfigError, match=f"not {method}"):
            OptimizerConfig(method=method, history_precision="bfloat16")
