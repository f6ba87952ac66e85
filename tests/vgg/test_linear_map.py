"""A transpose of one's own in every mode of differentiation; then the network and the losses in forward mode."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads
from small import picture, relative, shallow, small_params

import jnst
from jnst.loss.distances import channel_products
from jnst.loss.objective import evaluate
from jnst.vgg.convolution import frozen_convolution
from jnst.vgg.linear_map import linear_map
from jnst.vgg.pooling import max_pool

pytestmark = pytest.mark.usefixtures("unchecked_shapes")

RNG = np.random.default_rng(3)
X = jnp.asarray(RNG.normal(size=(4, 3)), jnp.float32)
MATRIX = jnp.asarray(RNG.normal(size=(3, 5)), jnp.float32)
WEIGHTS = jnp.asarray(RNG.normal(size=(4, 5)), jnp.float32)


def forward(x, matrix):
    return x @ matrix


def seven_times_the_transpose(y, matrix):
    """Wrong on purpose, so that a gradient says which rule it came by."""
    return 7 * (y @ matrix.T)


def product(x, matrix=MATRIX):
    return linear_map(forward, seven_times_the_transpose, x, matrix, like=jax.ShapeDtypeStruct((4, 5), jnp.float32))


def near(value, expected):
    np.testing.assert_allclose(value, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("transform", [lambda f: f, jax.jit], ids=["plain", "jit"])
def test_gradients_come_by_the_transpose_and_tangents_by_the_function(transform) -> None:
    near(transform(product)(X), X @ MATRIX)
    near(transform(jax.grad(lambda x: jnp.sum(WEIGHTS * product(x))))(X), 7 * WEIGHTS @ MATRIX.T)
    value, tangent = transform(lambda x, dx: jax.jvp(product, (x,), (dx,)))(X, 2 * X)
    near(value, X @ MATRIX)
    near(tangent, 2 * X @ MATRIX)


@pytest.mark.parametrize(("mapped", "fixed"), [(True, True), (True, False), (False, True)])
def test_vmap_over_either_argument(mapped: bool, fixed: bool) -> None:
    x = jnp.stack([X, 2 * X]) if mapped else X
    matrix = jnp.stack([MATRIX, 3 * MATRIX], axis=1) if fixed else MATRIX
    axes = (0 if mapped else None, 1 if fixed else None)

    def slope(x, matrix):
        return jax.grad(lambda x: jnp.sum(WEIGHTS * product(x, matrix)))(x)

    def tangent(x, matrix):
        return jax.jvp(lambda x: product(x, matrix), (x,), (x,))[1]

    for element, (m, f) in enumerate(zip((1, 2) if mapped else (1, 1), (1, 3) if fixed else (1, 1), strict=True)):
        near(jax.vmap(product, axes)(x, matrix)[element], m * f * X @ MATRIX)
        near(jax.vmap(tangent, axes)(x, matrix)[element], m * f * X @ MATRIX)
        near(jax.vmap(slope, axes)(x, matrix)[element], 7 * f * WEIGHTS @ MATRIX.T)


def test_what_is_fixed_is_differentiated_by_jax() -> None:
    near(jax.grad(lambda matrix: jnp.sum(WEIGHTS * product(X, matrix)))(MATRIX), X.T @ WEIGHTS)
    near(jax.jvp(lambda x, m: product(x, m), (X, MATRIX), (X, MATRIX))[1], 2 * X @ MATRIX)


def tilted(shape):
    """A picture without ties and far from them, so that no maximum changes within a finite difference."""
    return jnp.asarray(RNG.permutation(np.prod(shape)).reshape(shape) / 8, jnp.float32)


FUNCTIONS = {
    "convolution": (
        lambda x: jnp.square(frozen_convolution(x, small_params()["conv1_1"], 1, "float32")),
        jnp.asarray(RNG.normal(size=(6, 7, 3)), jnp.float32),
    ),
    "max pool, floor": (lambda x: jnp.square(max_pool(x, "floor")), tilted((5, 6, 2))),
    "max pool, ceil": (lambda x: jnp.square(max_pool(x, "ceil")), tilted((5, 7, 2))),
    "Gram products": (lambda x: jnp.square(channel_products(x)), jnp.asarray(RNG.normal(size=(4, 5, 3)), jnp.float32)),
    "total variation": (
        lambda x: jnst.total_variation(x, norm="l2", reduction="mean"),
        jnp.asarray(RNG.normal(size=(4, 5, 3)), jnp.float32),
    ),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_both_modes_agree_with_differences(name: str) -> None:
    function, x = FUNCTIONS[name]
    check_grads(function, (x,), order=1, modes=["fwd", "rev"], eps=1e-2, rtol=2e-2, atol=2e-2)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_forward_mode_is_the_transpose_of_reverse_mode(name: str) -> None:
    """⟨J v, w⟩ = ⟨v, Jᵀ w⟩ for random v and w."""
    function, x = FUNCTIONS[name]
    direction = jnp.asarray(RNG.normal(size=x.shape), jnp.float32)
    y, tangent = jax.jvp(function, (x,), (direction,))
    weights = jnp.asarray(RNG.normal(size=y.shape), jnp.float32)
    (back,) = jax.vjp(function, x)[1](weights)
    scale = float(jnp.linalg.norm(tangent) * jnp.linalg.norm(weights)) + 1e-6
    assert float(jnp.abs(jnp.vdot(tangent, weights) - jnp.vdot(direction, back))) < 1e-5 * scale


@pytest.mark.parametrize(("pooling", "precision"), [("max", "float32"), ("average", "tf32")])
def test_hessian_products_of_the_loss(pooling: str, precision: str) -> None:
    """Forward over reverse against reverse over reverse, and against the difference of two gradients."""
    config = shallow(precision=precision)
    # Without total variation, whose absolute differences have a kink wherever neighbours are equal.
    config = dataclasses.replace(
        config,
        network=dataclasses.replace(config.network, pooling=pooling),
        loss=dataclasses.replace(config.loss, tv_weight=0.0),
    )
    targets = jnst.make_targets(small_params(), picture("shapes", 16, 20), picture("marble", 16, 16), config)
    x, direction = (jnp.asarray(make(size=(16, 20, 3)), jnp.float32) for make in (RNG.random, RNG.normal))

    @jax.jit
    def slope(x):
        return evaluate(small_params(), x, targets, config)[1]

    value, tangent = jax.jit(lambda x: jax.jvp(slope, (x,), (direction,)))(x)
    np.testing.assert_allclose(value, slope(x), rtol=1e-5, atol=1e-6)
    backwards = jax.jit(jax.grad(lambda x: jnp.vdot(slope(x), direction)))(x)
    assert relative(tangent, backwards) < 1e-4
    # So small a step that no unit of the network, whose input is on the 0-255 scale, passes its kink.
    step = 1e-5
    difference = (slope(x + step * direction) - slope(x - step * direction)) / (2 * step)
    assert relative(difference, tangent) < 0.02


def test_a_directional_derivative_of_the_loss_is_the_gradients() -> None:
    config = shallow()
    targets = jnst.make_targets(small_params(), picture("shapes", 16, 20), picture("marble", 16, 16), config)
    x, direction = picture("shapes", 16, 20, 5), jnp.asarray(RNG.normal(size=(16, 20, 3)), jnp.float32)

    def loss(x):
        return jnst.weigh(jnst.loss_terms(small_params(), x, targets, config), targets.weights)

    _, tangent = jax.jit(lambda x: jax.jvp(loss, (x,), (direction,)))(x)
    assert float(tangent) == pytest.approx(float(jnp.vdot(jax.jit(jax.grad(loss))(x), direction)), rel=1e-4)


def test_forward_mode_refuses_frozen_parameters_too() -> None:
    def of_kernel(kernel):
        return frozen_convolution(jnp.ones((4, 4, 3)), small_params()["conv1_1"] | {"kernel": kernel}, 1, "tf32")

    kernel = small_params()["conv1_1"]["kernel"]
    with pytest.raises(jnst.JnstError, match="they are frozen; differentiate with respect to the image"):
        jax.jvp(of_kernel, (kernel,), (kernel,))
