"""L-BFGS pairs: their bits, the algorithm, the forgetting."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jnst.config import OptimizerConfig
from jnst.errors import ConfigError
from jnst.pairs import _pack, _unpack, apply_inverse, no_pairs, remember, settle_pairs


def test_numbers_survive_as_bfloat16():
    values = jnp.array([0.0, -1.0, 1 + 2**-7, 3e38, 1e-38, jnp.inf])
    packed = _pack(values, jnp.uint16)
    assert packed.dtype == jnp.uint16
    np.testing.assert_array_equal(_unpack(packed), values.astype(jnp.bfloat16).astype(jnp.float32))


def test_an_empty_memory_is_the_identity():
    gradient = jnp.arange(12.0).reshape(2, 2, 3)
    np.testing.assert_array_equal(apply_inverse(no_pairs(gradient, 4, "bfloat16"), gradient), gradient)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("made", [1, 3, 5])
def test_the_inverse_is_that_of_the_bfgs_formula(made, precision):
    """Against the dense recursion H ← (1 − ρsyᵀ)H(1 − ρysᵀ) + ρssᵀ, in float64, from the pairs as stored."""
    rng = np.random.default_rng(0)
    history, shape = 3, (2, 2, 3)
    pairs, kept = no_pairs(jnp.zeros(shape), history, precision), []
    for _ in range(made):
        step = rng.standard_normal(shape)
        change = step * rng.uniform(0.5, 2.0, shape)
        pairs = remember(pairs, jnp.asarray(step, jnp.float32), jnp.asarray(change, jnp.float32))
        packed = (_pack(jnp.asarray(x, jnp.float32), pairs.steps.dtype) for x in (step, change))
        rounded = [np.asarray(_unpack(x), np.float64).ravel() for x in packed]
        kept = [*kept, rounded][-history:]
    s, y = kept[-1]
    inverse = np.eye(12) * (s @ y) / (y @ y)
    for s, y in kept:
        rho = 1 / (s @ y)
        left = np.eye(12) - rho * np.outer(s, y)
        inverse = left @ inverse @ left.T + rho * np.outer(s, s)
    gradient = rng.standard_normal(12)
    found = jax.jit(apply_inverse)(pairs, jnp.asarray(gradient.reshape(shape), jnp.float32))
    np.testing.assert_allclose(np.ravel(found), inverse @ gradient, rtol=1e-4, atol=1e-5)


def test_a_pair_without_curvature_is_not_used():
    step = jnp.ones((1, 1, 3))
    pairs = remember(no_pairs(step, 2, "bfloat16"), step, -step)
    np.testing.assert_array_equal(apply_inverse(pairs, 2 * step), 2 * step)


def test_what_is_forgotten_leaves_no_trace():
    step = jnp.ones((1, 1, 3))
    pairs = remember(no_pairs(step, 2, "bfloat16"), step * jnp.nan, step)
    emptied = settle_pairs(no_pairs(step, 2, "bfloat16"), pairs, jnp.array(False), jnp.array(True))
    for found, expected in zip(emptied, no_pairs(step, 2, "bfloat16"), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_line_searches_are_refused():
    with pytest.raises(ConfigError, match="goes with line search none alone"):
        OptimizerConfig(history_precision="bfloat16", line_search="zoom")
    for method in ("jaxopt-lbfgs", "optax-lbfgs"):
        with pytest.raises(ConfigError, match=f"not {method}"):
            OptimizerConfig(method=method, history_precision="bfloat16")
