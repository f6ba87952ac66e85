"""The form of a computation follows the device that a program is compiled for, not the one where it is traced.

Lowering for a TPU needs none, and no compiler for one.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles import random_params
from small import count_primitives, lowered_text

from jnst.devices import ROWS, by_platform, default_platform, row_parts
from jnst.optim import lbfgs_history
from jnst.vgg.convolution import cast_kernels, frozen_convolution, prepare_params
from jnst.vgg.pooling import _largest_of_slices, _largest_of_windows, _Pick, _Spread, _spread_by_place, max_pool
from jnst.vgg.row_batch import convolve_rows


def layer(inputs, outputs, name="conv3_1", **options):
    kernel = np.random.default_rng(0).standard_normal((3, 3, inputs, outputs)).astype(np.float32)
    return prepare_params({name: {"kernel": kernel, "bias": np.zeros(outputs, np.float32)}}, **options)[name]


@pytest.mark.parametrize(
    ("inputs", "outputs", "precision", "sign"),
    [
        (64, 128, "float32", "optimization_barrier"),  # Winograd's form
        (3, 16, "float32", "stride = [1, 4]"),  # several columns at once
        (64, 64, "bfloat16", "dot_general"),  # products
    ],
)
def test_convolutions_take_a_cpus_form_on_a_cpu_alone(inputs, outputs, precision, sign):
    weights, x = layer(inputs, outputs), jnp.zeros((8, 8, inputs))
    compute = lambda x, weights: frozen_convolution(x, weights, 1, precision)  # noqa: E731
    assert sign in lowered_text(compute, x, weights, platform="cpu")
    text = lowered_text(compute, x, weights, platform="tpu")
    assert sign not in text
    assert text.count("stablehlo.convolution(") == 1


def test_weights_prepared_for_a_tpu_have_no_kernels_for_a_cpu():
    assert set(layer(64, 128)) - set(layer(64, 128, platform="tpu")) == {"winograd", "winograd_flipped"}
    assert set(layer(3, 16, platform="tpu")) == {"kernel", "kernel_flipped", "bias"}


def test_a_pool_and_its_gradient_have_no_windows_as_axes_on_an_accelerator():
    x, y, first = jnp.ones((8, 6, 4)), jnp.ones((4, 3, 4)), jnp.zeros((4, 3, 4), jnp.uint8)
    for platform, windows in [("cpu", True), ("tpu", False), ("cuda", False)]:
        pooled = lowered_text(lambda x: max_pool(x, "floor"), x, platform=platform)
        spread = lowered_text(_Spread("floor"), y, first, x, platform=platform)
        assert ("tensor<4x2x3x2x4xf32>" in pooled) == windows
        assert ("tensor<4x2x3x2x4xf32>" in spread) == windows


@pytest.mark.parametrize("padding", [0, 1, 2])
@pytest.mark.parametrize("shape", [(5, 7, 3), (1, 2, 4)])
def test_rows_as_a_batch_are_the_plain_convolution(shape, padding):
    if min(shape[:2]) + 2 * padding < 3:
        pytest.skip("no position is left")
    rng = np.random.default_rng(0)
    x, kernel = (jnp.asarray(rng.standard_normal(each), jnp.float32) for each in (shape, (3, 3, shape[2], 5)))
    plain = jax.lax.conv_general_dilated(
        x[None],
        kernel,
        (1, 1),
        [(padding, padding)] * 2,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        precision="highest",
    )[0]
    found = convolve_rows(x, kernel, padding, jax.lax.Precision.HIGHEST)
    np.testing.assert_allclose(found, plain, rtol=1e-5, atol=1e-5)


def test_rows_are_a_batch_on_a_tpu_alone_and_not_where_devices_share_them():
    weights, x = layer(64, 64), jnp.zeros((8, 8, 64))
    compute = lambda x, weights: frozen_convolution(x, weights, 1, "tf32")  # noqa: E731
    assert "[b, 0, f]" in lowered_text(compute, x, weights, platform="tpu")
    assert "[b, 0, 1, f]" in lowered_text(compute, x, weights, platform="cuda")
    with jax.set_mesh(jax.sharding.Mesh(np.array(jax.devices()[:1]), (ROWS,))):
        assert row_parts() == 1
        assert "[b, 0, f]" in lowered_text(compute, x, weights, platform="tpu")


@pytest.mark.parametrize("rounding", ["floor", "ceil"])
@pytest.mark.parametrize("shape", [(8, 6, 3), (7, 5, 3)])
def test_both_forms_of_a_pool_are_the_same_to_the_bit(shape, rounding):
    """With many equal numbers in a window, too: the first maximum in row order has the whole gradient."""
    x = jnp.asarray(np.random.default_rng(0).integers(0, 3, shape), jnp.float32)
    y = _largest_of_slices(x, rounding)
    np.testing.assert_array_equal(_largest_of_windows(x, rounding), y)
    gradient = jnp.arange(1, y.size + 1, dtype=jnp.float32).reshape(y.shape)
    by_windows = _Spread(rounding)._spread_by_windows(gradient, jnp.zeros(y.shape, jnp.uint8), x)
    (pulled,) = jax.vjp(lambda x: max_pool(x, rounding), x)[1](gradient)
    np.testing.assert_array_equal(by_windows, pulled)
    assert float(jnp.sum(pulled)) == float(jnp.sum(gradient))
    picked = jax.linear_transpose(lambda g: _spread_by_place(g, first_of(x, y, rounding), x), gradient)(pulled)[0]
    np.testing.assert_array_equal(picked, _Pick(rounding)(pulled, first_of(x, y, rounding), x))


def first_of(x, y, rounding):
    """By a loop: the place of the first maximum of each window, from 0 to 3 in row order."""
    x, place = np.asarray(x), np.zeros(y.shape, np.uint8)
    for row, column, channel in np.ndindex(*y.shape):
        window = x[2 * row : 2 * row + 2, 2 * column : 2 * column + 2, channel]
        down, right = np.unravel_index(np.argmax(window), window.shape)
        place[row, column, channel] = 2 * down + right
    return jnp.asarray(place)


def test_the_history_is_read_as_it_lies_on_an_accelerator():
    rng = np.random.default_rng(0)
    history = lbfgs_history._pack(jnp.asarray(rng.standard_normal((11, 6, 19, 3)), jnp.float32), jnp.uint16)
    image, factors = jnp.asarray(rng.standard_normal((6, 19, 3)), jnp.float32), jnp.arange(11.0)
    pairs = [
        (lbfgs_history._dots_at_once(history, image), lbfgs_history._dots_in_parts(history, image)),
        (
            lbfgs_history._combine_at_once(history, factors, image),
            lbfgs_history._combine_in_parts(history, factors, image),
        ),
    ]
    for once, parts in pairs:
        np.testing.assert_allclose(once, parts, rtol=1e-5, atol=1e-4)
    text = lowered_text(lbfgs_history._dots, history, image, platform="tpu")
    assert "stablehlo.while" not in text
    assert "stablehlo.while" in lowered_text(lbfgs_history._dots, history, image, platform="cpu")


def test_kernels_are_cast_before_a_loop_reads_them():
    params = prepare_params(random_params("vgg16", 1 / 16, 0))
    assert cast_kernels(params, "float32") is params
    cast = cast_kernels(params, "bfloat16")
    kinds = {part: array.dtype for part, array in cast["conv1_2"].items()}
    assert kinds == {"kernel": jnp.bfloat16, "kernel_flipped": jnp.bfloat16, "bias": jnp.float32}
    jaxpr = jax.make_jaxpr(lambda x: frozen_convolution(x, cast["conv1_2"], 1, "bfloat16"))(
        jnp.zeros((4, 4, 4), jnp.bfloat16)
    )
    assert count_primitives(jaxpr.jaxpr, "convert_element_type") <= 1  # the bias


def test_the_default_platform_is_that_of_the_default_device():
    with jax.default_device(jax.devices("cpu")[0]):
        assert default_platform() == "cpu"
    assert default_platform() == jax.devices()[0].platform
    assert by_platform(jnp.float32(1), cpu=lambda x: x + 1, other=lambda x: x) == 2
