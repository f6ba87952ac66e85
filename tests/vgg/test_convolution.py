"""Every fast path against the slow one that it stands in for: plain autodiff, plain lax, float64 NumPy."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from small import lowered_text

from jnst.config import Config, LossConfig, NetworkConfig
from jnst.devices import ROWS
from jnst.loss.objective import evaluate
from jnst.loss.targets import make_targets
from jnst.loss.terms import channel_products
from jnst.vgg.convolution import flip_kernel, frozen_convolution, prepare_params
from jnst.vgg.packed_columns import columns_at_once, convolve_columns, pack_kernel
from jnst.vgg.row_matmul import convolve_by_products, products_pay
from jnst.vgg.winograd import transform_kernel, winograd_convolution, winograd_pays

RNG = np.random.default_rng(5)


def plain_convolution(x, kernel):
    """Zero-padded 3×3 convolution, tap by tap in float64."""
    height, width, _ = x.shape
    padded = np.pad(np.asarray(x, np.float64), ((1, 1), (1, 1), (0, 0)))
    return sum(padded[i : i + height, j : j + width] @ kernel[i, j].astype(np.float64) for i, j in np.ndindex(3, 3))


def kernels(inputs, outputs):
    return RNG.normal(0, np.sqrt(2 / (9 * inputs)), (3, 3, inputs, outputs)).astype(np.float32)


@pytest.mark.parametrize("shape", [(1, 1, 3), (7, 9, 2), (12, 17, 16)])
def test_winograd_is_the_plain_convolution_at_every_size(shape):
    x, kernel = RNG.normal(size=shape).astype(np.float32), kernels(shape[2], 5)
    y = winograd_convolution(jnp.asarray(x), transform_kernel(kernel))
    np.testing.assert_allclose(y, plain_convolution(x, kernel), rtol=0, atol=2e-5)


def test_winograd_of_one_pixel_is_the_kernel_turned():
    kernel = np.arange(9.0).reshape(3, 3, 1, 1)
    spot = jnp.zeros((3, 3, 1)).at[1, 1].set(1)
    y = winograd_convolution(spot, transform_kernel(kernel))
    np.testing.assert_allclose(y[..., 0], kernel[::-1, ::-1, 0, 0], atol=1e-5)


def test_winograd_rounding_stays_where_float32_belongs():
    """Its error is ten times that of the plain sum, at VGG's own width."""
    x, kernel = np.maximum(RNG.normal(size=(16, 16, 256)), 0).astype(np.float32), kernels(256, 128)
    exact = plain_convolution(x, kernel)
    y = np.asarray(jax.jit(winograd_convolution)(jnp.asarray(x), transform_kernel(kernel)), np.float64)
    assert np.sqrt(np.mean((y - exact) ** 2)) < 1e-5 * exact.std()
    assert np.abs(y - exact).max() < 5e-5 * np.abs(exact).max()


@pytest.mark.parametrize("columns", [2, 4, 8])
@pytest.mark.parametrize("shape", [(1, 1, 3), (7, 9, 2), (5, 16, 4)])
def test_columns_at_once_are_the_plain_convolution_at_every_width(shape, columns):
    x, kernel = RNG.normal(size=shape).astype(np.float32), kernels(shape[2], 5)
    expected = plain_convolution(x, kernel)
    y = convolve_columns(jnp.asarray(x), pack_kernel(kernel, columns), 1)
    np.testing.assert_allclose(y, expected, rtol=0, atol=1e-5)
    surrounded = jnp.pad(jnp.asarray(x), ((1, 1), (1, 1), (0, 0)))
    np.testing.assert_allclose(convolve_columns(surrounded, pack_kernel(kernel, columns), 0), expected, atol=1e-5)


def test_columns_at_once_round_alike_wherever_a_pixel_lies():
    """Tiles rely on it: the same neighbourhood gives the same bits in any column."""
    x, kernel = jnp.asarray(RNG.normal(size=(9, 40, 16)), jnp.float32), pack_kernel(kernels(16, 16), 2)
    y = convolve_columns(x, kernel, 0)
    for shift in (1, 2, 3):
        np.testing.assert_array_equal(convolve_columns(x[:, shift:], kernel, 0), y[:, shift:])


def test_preparing_compiles_no_program_per_shape(caplog):
    """Sixteen small ones were a twentieth of the command's start."""
    layer = {"kernel": kernels(5, 11), "bias": np.zeros(11)}
    with jax.log_compiles():
        jnp.flip(jnp.ones((3, 13)))
        assert "Compiling" in caplog.text
        caplog.clear()
        prepare_params({"conv1_1": layer})
        assert "Compiling" not in caplog.text


@pytest.mark.parametrize("attempt", range(4))
def test_prepared_kernels_are_not_the_callers_memory(attempt):
    """What is computed of the caller's array may still be under way when the caller changes it; not every time."""
    kernel, bias = kernels(256, 512), np.ones(512, np.float32)
    expected = kernel.copy()
    prepared = prepare_params({"conv4_1": {"kernel": kernel, "bias": bias}}, winograd=True)["conv4_1"]
    kernel[:], bias[:] = 7, 7
    np.testing.assert_array_equal(prepared["kernel"], expected)
    np.testing.assert_array_equal(prepared["kernel_flipped"], flip_kernel(expected))
    np.testing.assert_array_equal(prepared["winograd"], transform_kernel(expected))
    np.testing.assert_array_equal(prepared["bias"], 1)


@pytest.mark.parametrize(("inputs", "outputs"), [(3, 16), (16, 16)])
@pytest.mark.parametrize("padding", [0, 1])
def test_narrow_layers_and_their_gradient_are_the_plain_ones(inputs, outputs, padding):
    layer = prepare_params({"conv1_1": {"kernel": kernels(inputs, outputs), "bias": RNG.normal(size=outputs)}})
    plain = {part: layer["conv1_1"][part] for part in ("kernel", "kernel_flipped", "bias")}
    x = jnp.asarray(RNG.normal(size=(9, 11, inputs)), jnp.float32)
    weights = jnp.asarray(RNG.normal(size=(7 + 2 * padding, 9 + 2 * padding, outputs)), jnp.float32)

    @jax.jit
    def both(layer, x):
        y, back = jax.vjp(lambda x: frozen_convolution(x, layer, padding, "float32"), x)
        return y, back(weights)[0]

    for fast, slow in zip(both(layer["conv1_1"], x), both(plain, x), strict=True):
        np.testing.assert_allclose(fast, slow, rtol=0, atol=2e-5)


def test_narrow_layers_alone_take_several_columns():
    chosen = {
        (3, 16): 4,
        (16, 3): 8,
        (16, 16): 2,
        (8, 8): 4,
        (3, 32): 2,
        (3, 64): 1,
        (64, 3): 1,
        (16, 32): 1,
        (32, 16): 1,
    }
    assert {pair: columns_at_once(*pair) for pair in chosen} == chosen
    raw = {
        "conv1_1": {"kernel": kernels(3, 16), "bias": np.zeros(16)},
        "conv2_1": {"kernel": kernels(16, 32), "bias": np.zeros(32)},
    }
    layers = prepare_params(raw)
    on_cpu = jax.default_backend() == "cpu"
    assert [name for name, layer in layers.items() if "columns" in layer] == (["conv1_1"] if on_cpu else [])
    text = {
        precision: lowered_text(
            lambda x, p=precision: frozen_convolution(x, layers["conv1_1"], 1, p), np.zeros((8, 8, 3), np.float32)
        )
        for precision in ("float32", "tf32")
    }
    assert ("stride = [1, 4]" in text["float32"]) == on_cpu
    assert "stride = [1, 1]" in text["tf32"]


@pytest.mark.parametrize("strip", [2**15, 20, 1])
@pytest.mark.parametrize("shape", [(1, 1, 3), (7, 9, 4)])
@pytest.mark.parametrize(("dtype", "tolerance"), [(jnp.float32, 1e-5), (jnp.bfloat16, 0.03)])
def test_products_are_the_plain_convolution(shape, dtype, tolerance, strip, monkeypatch):
    monkeypatch.setattr("jnst.vgg.row_matmul._STRIP_PIXELS", strip)
    x, kernel = jnp.asarray(RNG.normal(size=shape), dtype), jnp.asarray(kernels(shape[2], 5), dtype)
    expected = plain_convolution(x, np.asarray(kernel))
    together = jax.vmap(convolve_by_products, (0, None))(jnp.stack([-x, x]), kernel)[1]
    for y in (convolve_by_products(x, kernel), together):
        assert y.dtype == dtype
        np.testing.assert_allclose(y.astype(jnp.float32), expected, rtol=tolerance, atol=tolerance)


@pytest.fixture(scope="module")
def wide_layer():
    raw = {"conv3_1": {"kernel": kernels(128, 256), "bias": RNG.normal(size=256)}}
    return prepare_params(raw, winograd=True)["conv3_1"]


def test_gradient_through_winograd_is_autodiff_of_the_plain_convolution(wide_layer):
    x = jnp.asarray(RNG.normal(size=(9, 10, 128)), jnp.float32)
    weights = jnp.asarray(RNG.normal(size=(9, 10, 256)), jnp.float32)

    def fast(x):
        return jnp.sum(weights * frozen_convolution(x, wide_layer, 1, "float32"))

    def slow(x):
        y = lax.conv_general_dilated(
            x[None],
            wide_layer["kernel"],
            (1, 1),
            "SAME",
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
            precision="highest",
        )
        return jnp.sum(weights * (y[0] + wide_layer["bias"][None, None]))

    value, gradient = jax.jit(jax.value_and_grad(fast))(x)
    expected_value, expected = jax.jit(jax.value_and_grad(slow))(x)
    np.testing.assert_allclose(value, expected_value, rtol=1e-4)
    np.testing.assert_allclose(gradient, expected, rtol=0, atol=3e-5 * float(jnp.abs(expected).max()))
    # The same for many at once.
    together = jax.jit(jax.vmap(jax.grad(fast)))(jnp.stack([x, 2 * x]))
    np.testing.assert_allclose(together[0], gradient, rtol=0, atol=1e-5 * float(jnp.abs(expected).max()))


def test_wide_layers_alone_take_the_fast_forms(wide_layer):
    widths = {(64, 128): True, (96, 48): True, (512, 512): True, (64, 64): False, (24, 96): False}
    assert {pair: winograd_pays("conv3_1", *pair) for pair in widths} == widths
    assert not any(winograd_pays(layer, 512, 512) for layer in ("conv1_2", "conv5_1"))
    widths = {(64, 64): True, (96, 48): True, (512, 512): True, (48, 48): False, (24, 96): False}
    assert {pair: products_pay(*pair) for pair in widths} == widths
    x = jnp.asarray(RNG.normal(size=(8, 8, 128)), jnp.float32)

    def products(precision):
        return lowered_text(lambda x: frozen_convolution(x, wide_layer, 1, precision), x)

    for precision in ("float32", "bfloat16"):
        assert "dot_general" in products(precision)
        assert "stablehlo.convolution(" not in products(precision)
    assert "stablehlo.convolution(" in products("tf32")
    assert "bf16" in products("bfloat16")
    # Where rows are divided, the product's strips would make the compiler gather the map.
    with jax.sharding.use_abstract_mesh(jax.sharding.AbstractMesh((4,), (ROWS,))):
        assert "stablehlo.convolution(" in products("bfloat16")
    raw = {name: {"kernel": kernels(128, 256), "bias": np.zeros(256)} for name in ("conv1_2", "conv3_1", "conv5_1")}
    assert [name for name, layer in prepare_params(raw, winograd=True).items() if "winograd" in layer] == ["conv3_1"]
    assert not any("winograd" in layer for layer in prepare_params(raw, winograd=False).values())
    np.testing.assert_array_equal(wide_layer["winograd_flipped"], transform_kernel(flip_kernel(wide_layer["kernel"])))


def test_a_whole_evaluation_agrees_with_and_without_winograd():
    config = Config(
        network=NetworkConfig(pooling="average"),
        loss=LossConfig(content_layers=(("relu3_2", 1.0),), style_layers=(("relu3_1", 1.0),)),
    )
    sizes = [3, 64, 64, 128, 128, 256, 256]
    names = ["conv1_1", "conv1_2", "conv2_1", "conv2_2", "conv3_1", "conv3_2"]
    raw = {
        name: {"kernel": kernels(a, b), "bias": RNG.normal(0, 0.1, b)}
        for name, a, b in zip(names, sizes, sizes[1:], strict=False)
    }
    content, style, image = (jnp.asarray(RNG.random((20, 28, 3)), jnp.float32) for _ in range(3))
    results = []
    for winograd in (True, False):
        params = prepare_params(raw, winograd=winograd)
        assert ("winograd" in params["conv3_2"]) == winograd
        targets = make_targets(params, content, style, config)
        results.append(jax.jit(lambda p, x, t: evaluate(p, x, t, config))(params, image, targets))
    ((fast, _), fast_gradient), ((slow, _), slow_gradient) = results
    np.testing.assert_allclose(fast, slow, rtol=1e-5)
    np.testing.assert_allclose(fast_gradient, slow_gradient, rtol=0, atol=1e-4 * float(jnp.abs(slow_gradient).max()))


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_gram_products_are_the_sum_over_both_pixel_axes(dtype):
    features = jnp.asarray(RNG.normal(size=(5, 7, 6)), dtype)
    weights = jnp.asarray(RNG.normal(size=(6, 6)), jnp.float32)

    def slow(features):
        return jnp.einsum(
            "hwc,hwd->cd", features, features, precision=lax.Precision.HIGHEST, preferred_element_type=jnp.float32
        )

    exact = np.einsum("hwc,hwd->cd", np.asarray(features, np.float64), np.asarray(features, np.float64))
    np.testing.assert_allclose(channel_products(features), exact, rtol=0, atol=2e-5)
    tolerance = 1e-5 if dtype == jnp.float32 else 0.05
    gradients = [
        jax.grad(lambda x, f=function: jnp.sum(weights * f(x)))(features).astype(jnp.float32)
        for function in (channel_products, slow)
    ]
    np.testing.assert_allclose(*gradients, rtol=tolerance, atol=tolerance)


def test_gram_products_copy_no_transposed_map():
    """The trap is silent: the copy takes longer than the product."""
    features = jnp.zeros((64, 64, 32))
    text = jax.jit(lambda x: channel_products(jnp.exp(x))).lower(features).compile().as_text()
    assert "f32[32,4096]" not in text


def test_evaluation_in_the_loop_uses_the_same_products_as_outside():
    """XLA once moved a kernel's reversal out of the loop and then took a path twenty times slower."""
    config = dataclasses.replace(
        Config(), loss=LossConfig(content_layers=(("relu2_1", 1.0),), style_layers=(("relu1_1", 1.0),))
    )
    sizes = [3, 8, 8, 16]
    raw = {
        name: {"kernel": kernels(a, b), "bias": np.zeros(b)}
        for name, a, b in zip(["conv1_1", "conv1_2", "conv2_1"], sizes, sizes[1:], strict=False)
    }
    config = dataclasses.replace(config, network=NetworkConfig(width=1 / 8))
    params = prepare_params(raw)
    image = jnp.asarray(RNG.random((32, 32, 3)), jnp.float32)
    targets = make_targets(params, image, image, config)

    def once(params, x, targets):
        return evaluate(params, x, targets, config)[1]

    def loop(params, x, targets, count):
        return lax.fori_loop(0, count, lambda _, x: x - once(params, x, targets), x)

    outside = jax.jit(once).lower(params, image, targets).compile().as_text()
    inside = jax.jit(loop).lower(params, image, targets, 3).compile().as_text()
    fast = '"kind":"__ynn_fusion"'
    assert outside.count(fast) > 0
    assert inside.count(fast) == outside.count(fast)
