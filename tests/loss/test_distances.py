"""The pieces of the loss: values one can do in one's head, float64 oracles, gradients, transformations."""

import itertools
from typing import get_args

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest
from jax.test_util import check_grads

from jnst import config
from jnst.errors import ConfigError
from jnst.loss.distances import (
    channel_products,
    content_loss,
    divide_products,
    gram_matrix,
    style_loss,
    total_variation,
)

RNG = np.random.default_rng(0)
MAP = RNG.normal(size=(5, 7, 3)).astype(np.float32)
OTHER = RNG.normal(size=(5, 7, 3)).astype(np.float32)
GRAM = RNG.normal(size=(4, 4)).astype(np.float32)
TARGET = RNG.normal(size=(4, 4)).astype(np.float32)

# Every loss with every option: name, function of its arrays, the oracle, the arrays.
CASES = {
    **{
        f"gram_matrix-{divisor}": (
            lambda x, d=divisor: gram_matrix(x, divisor=d),
            lambda x, d=divisor: oracles.gram_matrix(x, divisor=d),
            (MAP,),
        )
        for divisor in get_args(config.GramDivisor)
    },
    **{
        f"content_loss-{reduction}": (
            lambda x, y, r=reduction: content_loss(x, y, reduction=r),
            lambda x, y, r=reduction: oracles.content_loss(x, y, reduction=r),
            (MAP, OTHER),
        )
        for reduction in get_args(config.ContentReduction)
    },
    **{
        f"style_loss-{reduction}": (
            lambda x, y, r=reduction: style_loss(x, y, reduction=r),
            lambda x, y, r=reduction: oracles.style_loss(x, y, reduction=r),
            (GRAM, TARGET),
        )
        for reduction in get_args(config.StyleReduction)
    },
    **{
        f"total_variation-{norm}-{reduction}": (
            lambda x, n=norm, r=reduction: total_variation(x, norm=n, reduction=r),
            lambda x, n=norm, r=reduction: oracles.total_variation(x, norm=n, reduction=r),
            (MAP,),
        )
        for norm, reduction in itertools.product(get_args(config.VariationNorm), get_args(config.VariationReduction))
    },
}


def plain(function):
    return lambda *arrays: function(*map(jnp.asarray, arrays))


def jitted(function):
    return jax.jit(function)


def mapped(function):
    """Over three elements of which the middle one is the case; the others are there to disturb it."""

    def middle(*arrays):
        elements = [
            jnp.stack([jnp.zeros_like(array), jnp.asarray(array), 9 * jnp.ones_like(array)]) for array in arrays
        ]
        return jax.vmap(function)(*elements)[1]

    return middle


@pytest.mark.parametrize("transform", [plain, jitted, mapped])
@pytest.mark.parametrize("case", CASES)
def test_oracle(case, transform):
    function, oracle, arrays = CASES[case]
    value = transform(function)(*arrays)
    assert value.dtype == jnp.float32
    np.testing.assert_allclose(value, oracle(*arrays), rtol=2e-6, atol=1e-6)


@pytest.mark.parametrize("case", CASES)
def test_gradient(case):
    function, _, arrays = CASES[case]

    def in_float32(*arrays):
        return function(*(jnp.asarray(array, jnp.float32) for array in arrays))

    check_grads(in_float32, arrays, order=1, modes=["rev"], eps=2e-3, rtol=1e-2, atol=2e-2)


def test_gram_of_ones_counts_the_pixels():
    ones = jnp.ones((2, 3, 4))
    assert gram_matrix(ones, divisor="none").tolist() == [[6.0] * 4] * 4
    assert gram_matrix(ones, divisor="pixels").tolist() == [[1.0] * 4] * 4
    assert gram_matrix(ones, divisor="pixels_channels").tolist() == [[0.25] * 4] * 4
    assert divide_products(6 * jnp.ones((4, 4)), divisor="pixels", pixels=6).tolist() == [[1.0] * 4] * 4


def test_gram_forgets_where_a_pixel_was():
    shuffled = RNG.permutation(MAP.reshape(-1, 3)).reshape(MAP.shape)
    np.testing.assert_allclose(
        gram_matrix(jnp.asarray(shuffled), divisor="none"), gram_matrix(jnp.asarray(MAP), divisor="none"), rtol=1e-5
    )


def test_gram_is_float32_whatever_comes_in():
    half = jnp.asarray(MAP, jnp.bfloat16)
    assert channel_products(half).dtype == jnp.float32
    np.testing.assert_allclose(
        channel_products(half), oracles.gram_matrix(np.asarray(half, np.float64), divisor="none"), rtol=1e-6
    )
    gradient = jax.grad(lambda x: jnp.sum(channel_products(x)))(half)
    assert gradient.dtype == jnp.bfloat16
    # d/dx_c of Σ_ab x_a x_b is twice the pixel's sum over channels.
    np.testing.assert_allclose(
        np.asarray(gradient, np.float64)[..., 0], 2 * np.asarray(half, np.float64).sum(-1), atol=0.05
    )


def test_gram_keeps_its_digits_over_many_pixels():
    """A mean over 65,536 pixels of products near one: accumulating in half precision would stop at 256."""
    ones = jnp.ones((256, 256, 2), jnp.bfloat16)
    assert gram_matrix(ones, divisor="none").tolist() == [[65536.0] * 2] * 2


def test_the_papers_style_factor():
    """Gatys et al. 2015, eq. 4: Σ (G − A)² / (4 N² M²) with Gram matrices that are plain sums over M pixels."""
    feature, other = jnp.asarray(MAP), jnp.asarray(OTHER)
    pixels, channels = 35, 3
    whole = style_loss(gram_matrix(feature, divisor="none"), gram_matrix(other, divisor="none"), reduction="sum") / (
        4 * channels**2 * pixels**2
    )
    ours = style_loss(
        gram_matrix(feature, divisor="pixels"), gram_matrix(other, divisor="pixels"), reduction="quarter_mean"
    )
    assert ours.item() == pytest.approx(whole.item(), rel=1e-5)


@pytest.mark.parametrize("norm", get_args(config.VariationNorm))
def test_variation_of_a_checkerboard(norm):
    """Every one of the 3·3 vertical and 4·2 horizontal neighbours of a 4 × 3 board differs by one."""
    board = (jnp.indices((4, 3)).sum(0) % 2.0)[..., None]
    assert total_variation(board, norm=norm, reduction="sum").item() == 9 + 8
    assert total_variation(board, norm=norm, reduction="mean").item() == 2
    assert total_variation(3 * board, norm=norm, reduction="mean").item() == {"l1": 6, "l2": 18}[norm]


@pytest.mark.parametrize("norm", get_args(config.VariationNorm))
@pytest.mark.parametrize("reduction", get_args(config.VariationReduction))
@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 5, 3), (5, 1, 3)])
def test_variation_of_thin_images(shape, norm, reduction):
    image = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    value = total_variation(jnp.asarray(image), norm=norm, reduction=reduction)
    assert value.item() == pytest.approx(oracles.total_variation(image, norm=norm, reduction=reduction))


def test_variation_is_flat_where_neighbours_are_equal():
    gradient = jax.grad(lambda x: total_variation(x, norm="l1", reduction="sum"))(jnp.ones((4, 5, 3)))
    assert not jnp.any(gradient)
    step = jnp.zeros((1, 4, 1)).at[:, 2:].set(1.0)  # one edge: only the two pixels beside it have a slope
    gradient = jax.grad(lambda x: total_variation(x, norm="l1", reduction="sum"))(step)
    assert gradient.ravel().tolist() == [0, -1, 1, 0]


def test_padding_stays_out():
    """A padded map gives what the map alone gives, in value and gradient, when it is told the true size."""
    height, width = MAP.shape[:2]
    padded = jnp.zeros((8, 16, 3)).at[:height, :width].set(MAP)
    dirty = jnp.full((8, 16, 3), 77.0).at[:height, :width].set(MAP)
    other = jnp.zeros((8, 16, 3)).at[:height, :width].set(OTHER)
    pixels = jnp.int32(height * width)
    pairs = [
        (lambda x, t, p: gram_matrix(x, divisor="pixels_channels", pixels=p), padded),
        (lambda x, t, p: content_loss(x, t, reduction="mean", pixels=p), padded),
        (lambda x, t, p: content_loss(x, t, reduction="half_sum", pixels=p), padded),
    ]
    for function, image in pairs:
        np.testing.assert_allclose(
            jax.jit(function)(image, other, pixels),
            function(jnp.asarray(MAP), jnp.asarray(OTHER), None),
            rtol=1e-5,
            atol=1e-6,
        )
    for norm, reduction in itertools.product(get_args(config.VariationNorm), get_args(config.VariationReduction)):

        def variation(x, size, norm=norm, reduction=reduction):
            return total_variation(x, norm=norm, reduction=reduction, size=size)

        value, gradient = jax.jit(jax.value_and_grad(variation))(dirty, (jnp.int32(height), jnp.int32(width)))
        alone, expected = jax.value_and_grad(variation)(jnp.asarray(MAP), None)
        assert value.item() == pytest.approx(alone.item(), rel=1e-6)
        np.testing.assert_allclose(gradient[:height, :width], expected, rtol=1e-5, atol=1e-6)
        assert not jnp.any(gradient[height:]) and not jnp.any(gradient[:, width:])  # noqa: PT018


def test_shapes_that_differ_are_refused():
    with pytest.raises(ValueError, match=r"feature map has shape \(5, 7, 3\) and its target \(5, 7, 1\)"):
        content_loss(jnp.asarray(MAP), jnp.ones((5, 7, 1)), reduction="mean")
    with pytest.raises((ValueError, TypeError), match=r"Gram matrix has shape|channels channels"):
        style_loss(jnp.asarray(GRAM), jnp.ones((1, 1)), reduction="mean")


@pytest.mark.parametrize("count", [0, -1, np.nan, np.inf, "3", True, (5,), np.zeros(2), 1j, type])
def test_a_count_that_divides_by_nothing_is_refused(count, unchecked_shapes):
    for loss in (
        lambda: gram_matrix(jnp.asarray(MAP), divisor="pixels", pixels=count),
        lambda: gram_matrix(jnp.asarray(MAP), divisor="none", pixels=count),
        lambda: content_loss(jnp.asarray(MAP), jnp.asarray(OTHER), reduction="mean", pixels=count),
        lambda: content_loss(jnp.asarray(MAP), jnp.asarray(OTHER), reduction="sum", pixels=count),
    ):
        with pytest.raises(ConfigError, match=r"^pixels is .*; expected a number above zero"):
            loss()


@pytest.mark.parametrize(
    "size", [(0, 0), (-1, 5), (6, 7), (5, 8), (5, 7, 3), (5,), "57", 5, (2.5, 3), (np.nan, 3), ("5", 7)]
)
@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_a_size_that_is_none_of_the_image_is_refused(size, reduction, unchecked_shapes):
    with pytest.raises(ConfigError, match="size"):
        total_variation(jnp.asarray(MAP), norm="l1", reduction=reduction, size=size)


def test_a_padded_image_has_no_neighbours_across_its_borders(unchecked_shapes):
    with pytest.raises(ConfigError, match="circular"):
        total_variation(jnp.asarray(MAP), norm="l1", reduction="sum", size=(4, 4), circular=True)


def test_counts_may_be_numbers_of_any_library_and_traced(unchecked_shapes):
    expected = total_variation(jnp.asarray(MAP[:4, :6]), norm="l1", reduction="mean")
    for size in ((4, 6), (np.int32(4), np.int64(6)), (jnp.int32(4), jnp.int32(6)), [4, 6]):
        np.testing.assert_allclose(
            total_variation(jnp.asarray(MAP), norm="l1", reduction="mean", size=size), expected, rtol=1e-6
        )
    traced = jax.jit(lambda *size: total_variation(jnp.asarray(MAP), norm="l1", reduction="mean", size=size))(4, 6)
    np.testing.assert_allclose(traced, expected, rtol=1e-6)
    whole = gram_matrix(jnp.asarray(MAP), divisor="pixels")
    for count in (35, 35.0, np.float32(35), jnp.int32(35), np.asarray(35)):
        np.testing.assert_allclose(gram_matrix(jnp.asarray(MAP), divisor="pixels", pixels=count), whole, rtol=1e-6)
    traced = jax.jit(lambda count: gram_matrix(jnp.asarray(MAP), divisor="pixels", pixels=count))(35)
    np.testing.assert_allclose(traced, whole, rtol=1e-6)


def test_losses_of_bright_hot_features_stay_finite():
    """N_S_T's first loss is near 7e11; its Gram matrices hold squares of thousands."""
    hot = jnp.asarray(MAP) * 1e6
    loss = lambda x: style_loss(gram_matrix(x, divisor="pixels_channels"), jnp.zeros((3, 3)), reduction="sum")  # noqa: E731
    value, gradient = jax.value_and_grad(loss)(hot)
    assert jnp.isfinite(value) and jnp.all(jnp.isfinite(gradient))  # noqa: PT018
    assert value.item() == pytest.approx(
        oracles.style_loss(
            oracles.gram_matrix(MAP * 1e6, divisor="pixels_channels"), np.zeros((3, 3)), reduction="sum"
        ),
        rel=1e-5,
    )
