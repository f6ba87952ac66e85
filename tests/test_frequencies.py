"""The cosine transform against SciPy's, its adjoint, its weights, and padding that changes nothing."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.fft import dctn, idctn

from jnst.frequencies import analyze, make_basis, synthesize

pytestmark = pytest.mark.usefixtures("quick_compilation")

RNG = np.random.default_rng(0)
SHAPES = [(32, 48), (33, 47), (1, 7), (7, 1), (1, 1), (2, 2)]


def frequency_weights(height, width, exponent):
    """f to minus the exponent, f in cycles per pixel, all below 1/64 alike; mean square one. Float64."""
    frequency = np.hypot(*np.meshgrid(np.arange(height) / (2 * height), np.arange(width) / (2 * width), indexing="ij"))
    frequency[0, 0] = 0.5 / max(height, width)
    weights = np.maximum(frequency, max(0.5 / max(height, width), 1 / 64)) ** -exponent
    return weights / np.sqrt(np.mean(weights**2))


@functools.partial(jax.jit, static_argnames=("shape", "exponent"))
def transform(z, *, shape, exponent=0.5):
    """Weights, pixels and the adjoint's coefficients, compiled once for all."""
    basis = make_basis(shape, exponent)
    return basis, synthesize(z, basis), analyze(z, basis)


@pytest.mark.parametrize(("shape", "exponent"), [*((shape, 0.5) for shape in SHAPES), ((33, 47), 2.0)])
def test_oracle(shape, exponent):
    z = RNG.normal(size=(*shape, 3)).astype(np.float32)
    weights = frequency_weights(*shape, exponent)
    pixels = idctn(weights[..., None] * z.astype(np.float64), norm="ortho", axes=(0, 1))
    coefficients = weights[..., None] * dctn(z.astype(np.float64), norm="ortho", axes=(0, 1))
    basis, synthesized, analyzed = transform(z, shape=shape, exponent=exponent)
    np.testing.assert_allclose(basis.weights, weights, rtol=1e-5)
    np.testing.assert_allclose(synthesized, pixels, atol=2e-5 * np.abs(pixels).max())
    np.testing.assert_allclose(analyzed, coefficients, atol=2e-5 * np.abs(coefficients).max())


def test_a_constant_moves_every_pixel_alike():
    constant = np.zeros((8, 12, 3), np.float32)
    constant[0, 0] = 1
    basis, moved, _ = transform(constant, shape=(8, 12))
    np.testing.assert_allclose(moved, np.full((8, 12, 3), basis.weights[0, 0] / np.sqrt(96)), rtol=1e-5)


def test_coarse_frequencies_are_amplified():
    weights = np.asarray(transform(np.zeros((64, 64, 3), np.float32), shape=(64, 64))[0].weights)
    assert weights[2, 0] / weights[8, 0] == pytest.approx(2)
    assert weights[0, 0] == weights[1, 0] == weights[2, 0]  # waves of 64 pixels and longer are alike
    assert np.mean(weights**2) == pytest.approx(1, rel=1e-5)


def test_analysis_is_the_gradient_of_synthesis():
    z, g = (jnp.asarray(RNG.normal(size=(9, 7, 3)), jnp.float32) for _ in range(2))

    @jax.jit
    def both(z, g):
        basis = make_basis((9, 7), 0.5)
        return analyze(g, basis), jax.grad(lambda z: jnp.sum(synthesize(z, basis) * g))(z)

    np.testing.assert_allclose(*both(z, g), rtol=1e-4, atol=1e-5)


def test_padding_changes_nothing():
    """Zeros around the coefficients give the image alone and zeros around it; the true size may be traced."""

    @jax.jit
    def padded(z, size):
        basis = make_basis((32, 48), 0.5, size=size)
        return synthesize(z, basis), analyze(z, basis)

    z = jnp.asarray(RNG.normal(size=(32, 48, 3)), jnp.float32)
    for wide, narrow in zip(padded(z, (21, 30)), transform(z[:21, :30], shape=(21, 30))[1:], strict=True):
        np.testing.assert_allclose(wide[:21, :30], narrow, atol=2e-5)
        assert not np.any(np.asarray(wide)[21:])
        assert not np.any(np.asarray(wide)[:, 30:])


def test_the_same_under_jit_and_vmap():
    z = jnp.asarray(RNG.normal(size=(2, 9, 7, 3)), jnp.float32)
    basis = make_basis((9, 7), 0.5)
    for function in (synthesize, analyze):
        plain = jnp.stack([function(one, basis) for one in z])
        np.testing.assert_allclose(jax.jit(jax.vmap(function, (0, None)))(z, basis), plain, atol=1e-5)


def test_a_large_transform_keeps_its_digits():
    """The phase is taken modulo the period in whole numbers: at 4096 a float32 phase would be off by a thousandth."""
    length = 4096
    rows = np.asarray(jax.jit(lambda: make_basis((length, 1), 0.5).rows[-3:])())
    k, n = np.arange(length - 3, length), np.arange(length)
    exact = np.sqrt(2 / length) * np.cos(np.pi * (2 * n + 1) * k[:, None] / (2 * length))
    np.testing.assert_allclose(rows, exact, atol=1e-5 * np.sqrt(2 / length))
