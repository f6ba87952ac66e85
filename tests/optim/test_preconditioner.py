"""The cosine transform against SciPy's, its adjoint, its weights, and padding that changes nothing."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.fft import dctn, idctn

from jnst.optim.preconditioner import analyze, make_basis, synthesize

RNG = np.random.default_rng(0)
SHAPES = [(32, 48), (33, 47), (1, 7), (7, 1), (1, 1), (2, 2), (2, 5), (48, 1)]
PADDED = [(21, 30), (20, 31), (32, 47), (31, 48), (15, 16), (2, 1), (1, 2), (1, 1), (3, 2)]


def ordered(coefficients):
    """Coefficients of rising frequency in the transform's order: even waves first, then odd ones, along both axes."""
    height, width = coefficients.shape[:2]
    return coefficients[[*range(0, height, 2), *range(1, height, 2)]][:, [*range(0, width, 2), *range(1, width, 2)]]


def pad(image, shape):
    return np.pad(image, [*((0, long - short) for short, long in zip(image.shape, shape, strict=False)), (0, 0)])


def frequency_weights(height, width, exponent):
    """f to minus the exponent, f in cycles per pixel, all below 1/16 alike; mean square one. Float64."""
    frequency = np.hypot(*np.meshgrid(np.arange(height) / (2 * height), np.arange(width) / (2 * width), indexing="ij"))
    frequency[0, 0] = 0.5 / max(height, width)
    weights = np.maximum(frequency, max(0.5 / max(height, width), 1 / 16)) ** -exponent
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
    coefficients = ordered(weights[..., None] * dctn(z.astype(np.float64), norm="ortho", axes=(0, 1)))
    basis, synthesized, _ = transform(ordered(z), shape=shape, exponent=exponent)
    analyzed = transform(z, shape=shape, exponent=exponent)[2]
    np.testing.assert_allclose(basis.weights, ordered(weights), rtol=1e-5)
    np.testing.assert_allclose(synthesized, pixels, atol=2e-5 * np.abs(pixels).max())
    np.testing.assert_allclose(analyzed, coefficients, atol=2e-5 * np.abs(coefficients).max())


def test_a_constant_moves_every_pixel_alike():
    constant = np.zeros((8, 12, 3), np.float32)
    constant[0, 0] = 1
    basis, moved, _ = transform(constant, shape=(8, 12))
    np.testing.assert_allclose(moved, np.full((8, 12, 3), basis.weights[0, 0] / np.sqrt(96)), rtol=1e-5)


def test_coarse_frequencies_are_amplified():
    weights = np.asarray(transform(np.zeros((64, 64, 3), np.float32), shape=(64, 64))[0].weights)
    constant, eighth, thirty_second, first = weights[[0, 4, 16, 32], 0]
    assert eighth / thirty_second == pytest.approx(2)
    assert constant == first == eighth  # waves of 16 pixels and longer are alike
    assert np.mean(weights**2) == pytest.approx(1, rel=1e-5)


def test_analysis_is_the_gradient_of_synthesis():
    z, g = (jnp.asarray(RNG.normal(size=(9, 7, 3)), jnp.float32) for _ in range(2))

    @jax.jit
    def both(z, g):
        basis = make_basis((9, 7), 0.5)
        return analyze(g, basis), jax.grad(lambda z: jnp.sum(synthesize(z, basis) * g))(z)

    np.testing.assert_allclose(*both(z, g), rtol=1e-4, atol=1e-5)


@functools.partial(jax.jit, static_argnames="shape")
def transform_padded(z, size, *, shape):
    """The same for an image in the top left corner of one of `shape`; its true size is traced."""
    basis = make_basis(shape, 0.5, size=size)
    return basis, synthesize(z, basis), analyze(z, basis)


@pytest.mark.parametrize("shape", [(32, 48), (33, 49)])
@pytest.mark.parametrize("size", PADDED)
def test_padding_changes_nothing(size, shape):
    """The weights, pixels and coefficients of the image alone, and zeros besides; what lies beyond it is not seen."""
    z = RNG.normal(size=(*size, 3)).astype(np.float32)
    alone = frequency_weights(*size, 0.5)
    pixels = idctn(alone[..., None] * z.astype(np.float64), norm="ortho", axes=(0, 1))
    coefficients = alone[..., None] * dctn(z.astype(np.float64), norm="ortho", axes=(0, 1))
    basis, _, analyzed = transform_padded(pad(z, shape), size, shape=shape)
    np.testing.assert_allclose(basis.weights, ordered(pad(alone[..., None], shape))[..., 0], rtol=1e-5)
    np.testing.assert_allclose(analyzed, ordered(pad(coefficients, shape)), atol=1e-5)
    synthesized = np.asarray(transform_padded(ordered(pad(z, shape)), size, shape=shape)[1])
    np.testing.assert_allclose(synthesized, pad(pixels, shape), atol=2e-5)
    assert not np.any(synthesized[size[0] :])
    assert not np.any(synthesized[:, size[1] :])


def test_elements_of_different_sizes_do_not_see_each_other():
    z = jnp.asarray(RNG.normal(size=(3, 8, 12, 3)), jnp.float32)

    @jax.jit
    @jax.vmap
    def both(z, size):
        basis = make_basis((8, 12), 0.5, size=(size[0], size[1]))
        return synthesize(z, basis), analyze(z, basis)

    first, second = (both(z, jnp.array([other, (7, 10), (5, 12)])) for other in [(8, 12), (2, 3)])
    for one, other in zip(first, second, strict=True):
        assert np.array_equal(one[1:], other[1:])


def test_the_same_under_vmap():
    z = jnp.asarray(RNG.normal(size=(2, 9, 7, 3)), jnp.float32)
    basis = jax.jit(lambda: make_basis((9, 7), 0.5))()
    for function in (synthesize, analyze):
        alone = jnp.stack([jax.jit(function)(one, basis) for one in z])
        np.testing.assert_allclose(jax.jit(jax.vmap(function, (0, None)))(z, basis), alone, atol=1e-5)


def test_a_large_transform_keeps_its_digits():
    """The phase is taken modulo the period in whole numbers: at 4096 a float32 phase would be off by a thousandth."""
    length = 4096
    rows = jax.jit(lambda: make_basis((length, 1), 0.5).rows)()
    n = np.arange(length // 2)
    for waves, k in ((rows.even, length - 2), (rows.odd, length - 1)):
        exact = np.sqrt(2 / length) * np.cos(np.pi * (2 * n + 1) * k / (2 * length))
        np.testing.assert_allclose(waves[-1], exact, atol=1e-5 * np.sqrt(2 / length))
