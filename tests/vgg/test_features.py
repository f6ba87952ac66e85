"""The frozen networks: float64 oracles, gradients of convolution and pools, padding, and what is not computed."""

import functools
import itertools
from typing import get_args

import flax
import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest
from jax import lax
from jax.test_util import check_grads
from small import WIDTH, count_primitives, equations, picture, relative, small_params

from jnst import config
from jnst.config import NetworkConfig
from jnst.errors import ArrayError, ConfigError, JnstError, WeightsError
from jnst.loss.distances import gram_matrix
from jnst.vgg.convolution import frozen_convolution, prepare_params
from jnst.vgg.extent import Extent, beyond_the_border
from jnst.vgg.features import VGG, extract_features
from jnst.vgg.layers import convolutions, deepest, layer_names, layer_shape, minimum_size, scaled_channels
from jnst.vgg.pooling import average_pool, max_pool

RNG = np.random.default_rng(0)
# Before and after a pool, before and after a ReLU; 37 × 45 is odd again after a pool, whichever way it is rounded.
LAYERS = ("conv1_1", "relu2_2", "pool2", "conv3_1")
POOLED = [(4, 6), (5, 7), (5, 6), (1, 3), (2, 2)]
OPTIONS = list(
    itertools.product(get_args(config.Pooling), get_args(config.PoolRounding), get_args(config.FirstPadding))
)


def network(pooling="max", rounding="floor", first="zero", architecture="vgg16"):
    return NetworkConfig(architecture, WIDTH, pooling, rounding, first)


def pixels(height=37, width=45):
    """A picture on the 0–255 scale around zero; both sides odd, and odd again after a pool."""
    return picture("shapes", height, width) * 255 - 120


@functools.partial(jax.jit, static_argnames="options")
def loss_features_gradient(x, extent, options):
    def loss(x):
        features = extract_features(small_params("vgg16"), x, LAYERS, network(*options), extent=extent)
        return sum(jnp.sum(jnp.square(feature)) for feature in features.values()), features

    return jax.value_and_grad(loss, has_aux=True)(x)


# --- the table of layers ---


@pytest.mark.parametrize("architecture", ["vgg16", "vgg19"])
def test_layer_table_is_the_papers(architecture):
    names = layer_names(architecture)
    assert names == tuple(oracles.layer_names(architecture))
    assert len(convolutions(architecture)) == {"vgg16": 13, "vgg19": 16}[architecture]
    assert names[-1] == "pool5"
    assert list(convolutions(architecture).values())[:5] == [64, 64, 128, 128, 256]


def test_channels_scale_with_the_width():
    assert [scaled_channels(64, width) for width in (1.0, 0.25, 1 / 16, 1 / 1000)] == [64, 16, 4, 1]


def test_deepest_and_smallest():
    assert deepest([], "vgg19") == -1
    assert deepest(["relu2_1", "conv1_1"], "vgg19") == layer_names("vgg19").index("relu2_1")
    assert minimum_size(["relu1_2"], network()) == 1
    assert minimum_size(["relu5_1", "relu1_1"], network()) == 16
    assert minimum_size(["pool5"], network()) == 32
    assert minimum_size(["pool5"], network(rounding="ceil")) == 1


def test_odd_sizes_round_as_the_original_did():
    """533 → 266 → 133 → 66 → 33 by floor, 533 → 267 → 134 → 67 → 34 by ceil."""
    assert [layer_shape(f"pool{block}", 533, 1, network())[0] for block in range(1, 5)] == [266, 133, 66, 33]
    assert layer_shape("relu5_1", 533, 400, network(rounding="ceil")) == (34, 25)
    assert layer_shape("relu1_2", 533, 400, network()) == (533, 400)


# --- features ---


@pytest.mark.parametrize("options", OPTIONS)
def test_features_are_the_oracles(options):
    pooling, rounding, first = options
    expected = oracles.extract_features(
        oracles.random_params("vgg16", WIDTH, 0),
        np.asarray(pixels()),
        "vgg16",
        layers=LAYERS,
        pooling=pooling,
        rounding=rounding,
        first_padding=first,
    )
    (_, features), _ = loss_features_gradient(pixels(), None, options)
    assert set(features) == set(LAYERS)
    for layer in LAYERS:
        assert features[layer].shape == (*layer_shape(layer, 37, 45, network(*options)), expected[layer].shape[2])
        assert relative(features[layer], expected[layer]) < 1e-5, layer


def test_the_same_plain_and_under_vmap():
    images = jnp.stack([pixels(), -pixels()])
    extract = functools.partial(
        extract_features, small_params(), layers=("relu2_2",), network=network(architecture="vgg19")
    )
    mapped = jax.jit(jax.vmap(lambda x: extract(x)))(images)["relu2_2"]
    for image, features in zip(images, mapped, strict=True):
        assert relative(features, extract(image)["relu2_2"]) < 1e-6


@pytest.mark.parametrize(
    ("layers", "count"),
    [((), 0), (("conv1_1",), 1), (("relu2_1", "relu1_1"), 3), (("pool4",), 10), (("relu5_1", "conv1_2"), 11)],
)
def test_nothing_deeper_than_the_deepest_is_computed(layers, count):
    jaxpr = jax.make_jaxpr(lambda x: extract_features(small_params("vgg16"), x, layers, network()))(pixels())
    assert count_primitives(jaxpr.jaxpr, "conv_general_dilated") == count


def test_flax_initialises_the_same_tree():
    init = functools.partial(VGG(network()).init, layers=("relu2_1",))
    variables = jax.eval_shape(init, jax.random.key(0), jnp.zeros((16, 16, 3)))["params"]
    assert list(variables) == ["conv1_1", "conv1_2", "conv2_1"]
    for name, layer in variables.items():
        prepared = small_params()[name]
        assert {part: array.shape for part, array in layer.items()} == {
            part: prepared[part].shape for part in ("kernel", "kernel_flipped", "bias")
        }


def test_flax_refuses_a_parameter_of_another_shape():
    for part in ("kernel", "kernel_flipped", "bias"):
        given = {name: dict(layer) for name, layer in small_params().items()}
        given["conv1_2"][part] = given["conv1_2"][part][..., :-1]
        with pytest.raises(flax.errors.ScopeParamShapeError, match=f"{part}.*conv1_2"):
            VGG(network()).apply({"params": given}, pixels(), ("relu2_1",))


def test_prepared_parameters_are_float32_and_stay_what_they_are():
    raw = {"conv1_1": {"kernel": RNG.normal(size=(3, 3, 3, 4)).astype(np.float16), "bias": np.ones(4)}}
    once = prepare_params(raw)
    assert all(array.dtype == jnp.float32 for array in once["conv1_1"].values())
    assert once["conv1_1"]["kernel_flipped"].shape == (3, 3, 4, 3)
    assert once["conv1_1"]["kernel_flipped"][0, 1, 2, 1] == once["conv1_1"]["kernel"][2, 1, 1, 2]
    again = prepare_params(once)
    assert jax.tree.all(jax.tree.map(lambda a, b: bool((a == b).all()), once, again))


# --- precision ---


def test_half_precision_goes_through_features_gram_and_gradient():
    @functools.partial(jax.jit, static_argnames="precision")
    def evaluate(x, precision):
        def loss(x):
            features = extract_features(
                small_params("vgg16"), x, ("relu1_1", "relu2_1"), network(), precision=precision
            )
            grams = [gram_matrix(feature, divisor="pixels") for feature in features.values()]
            return sum(jnp.mean(jnp.square(gram)) for gram in grams), features

        return jax.value_and_grad(loss, has_aux=True)(x)

    (value, features), gradient = evaluate(pixels(), "bfloat16")
    (exact, _), expected = evaluate(pixels(), "float32")
    assert all(feature.dtype == jnp.bfloat16 for feature in features.values())
    assert gradient.dtype == jnp.float32
    assert value.item() == pytest.approx(exact.item(), rel=0.05)
    cosine = jnp.vdot(gradient, expected) / jnp.linalg.norm(gradient) / jnp.linalg.norm(expected)
    assert cosine > 0.98


@pytest.mark.parametrize("platform", ["cpu", "tpu", "cuda"])
@pytest.mark.parametrize("precision", get_args(config.Precision))
def test_every_convolution_says_its_precision(precision, platform):
    def loss(x):
        return jnp.sum(
            extract_features(small_params("vgg16"), x, ("conv1_2",), network(), precision=precision)["conv1_2"]
        )

    jaxpr = jax.make_jaxpr(jax.grad(loss))(pixels(8, 8))
    said = lax.Precision.HIGHEST if precision == "float32" else lax.Precision.DEFAULT
    found = [one.params for one in equations(jaxpr.jaxpr, platform) if one.primitive.name == "conv_general_dilated"]
    assert [params["precision"] for params in found] == [(said, said)] * 4


# --- gradients ---


def naive_convolution(x, kernel, bias, padding):
    return (
        lax.conv_general_dilated(
            x[None],
            kernel,
            (1, 1),
            [(padding, padding)] * 2,
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
            precision="highest",
        )[0]
        + bias[None, None]
    )


@pytest.mark.parametrize("padding", [0, 1])
def test_convolutions_own_gradient_is_autodiffs(padding):
    layer = prepare_params({"c": {"kernel": RNG.normal(size=(3, 3, 4, 6)), "bias": RNG.normal(size=6)}})["c"]
    x = jnp.asarray(RNG.normal(size=(7, 9, 4)), jnp.float32)
    ours, pull = jax.vjp(lambda x: frozen_convolution(x, layer, padding, "float32"), x)
    theirs, expected = jax.vjp(lambda x: naive_convolution(x, layer["kernel"], layer["bias"], padding), x)
    cotangent = jnp.asarray(RNG.normal(size=ours.shape), jnp.float32)
    assert relative(ours, theirs) < 1e-6
    assert relative(pull(cotangent)[0], expected(cotangent)[0]) < 1e-6
    check_grads(
        lambda x: frozen_convolution(jnp.asarray(x), layer, padding, "float32"),
        (x,),
        order=1,
        modes=["rev"],
        eps=1e-2,
        rtol=1e-2,
    )


def first_winner(x, rounding, cotangent):
    """The gradient of max pooling, slowly: each window's goes to its first largest pixel in row order."""
    gradient = np.zeros(x.shape)
    for row, column, channel in np.ndindex(cotangent.shape):
        window = x[2 * row : 2 * row + 2, 2 * column : 2 * column + 2, channel]
        down, across = np.unravel_index(np.argmax(window), window.shape)
        gradient[2 * row + down, 2 * column + across, channel] += cotangent[row, column, channel]
    return gradient


def plain(function):
    return function


def mapped(function):
    return jax.jit(lambda *arrays: jax.vmap(function)(*(array[None] for array in arrays))[0])


@pytest.mark.parametrize("rounding", get_args(config.PoolRounding))
@pytest.mark.parametrize(
    ("size", "transform"), [(size, jax.jit) for size in POOLED] + [((5, 7), plain), ((5, 7), mapped)]
)
def test_max_pool_and_its_gradient(size, transform, rounding):
    x = RNG.integers(0, 3, (*size, 2)).astype(np.float32)  # three values: ties in most windows
    expected = oracles.pool(x, pooling="max", rounding=rounding)
    cotangent = RNG.normal(size=expected.shape).astype(np.float32)

    def value_and_pull(x, cotangent):
        value, pull = jax.vjp(lambda x: max_pool(x, rounding), x)
        return jnp.concatenate([value.ravel(), pull(cotangent)[0].ravel()])

    result = np.asarray(transform(value_and_pull)(jnp.asarray(x), jnp.asarray(cotangent)))
    np.testing.assert_array_equal(result[: expected.size], expected.ravel())
    np.testing.assert_array_equal(result[expected.size :], first_winner(x, rounding, cotangent).ravel())


def test_max_pool_of_equals_pulls_on_the_first():
    gradient = jax.grad(lambda x: jnp.sum(max_pool(x, "floor")))(jnp.ones((4, 4, 1)))
    assert gradient[..., 0].tolist() == [[1, 0, 1, 0], [0, 0, 0, 0], [1, 0, 1, 0], [0, 0, 0, 0]]


@pytest.mark.parametrize("rounding", get_args(config.PoolRounding))
@pytest.mark.parametrize(
    ("size", "transform"), [(size, jax.jit) for size in POOLED] + [((5, 7), plain), ((5, 7), mapped)]
)
def test_average_pool_and_its_gradient(size, transform, rounding):
    x = RNG.normal(size=(*size, 2)).astype(np.float32)
    expected = oracles.pool(x, pooling="average", rounding=rounding)
    # The pool is linear: its gradient is the transpose of it, which the oracle gives pixel by pixel.
    gradient = np.zeros_like(x)
    for place in np.ndindex(x.shape):
        unit = np.zeros_like(x)
        unit[place] = 1
        gradient[place] = oracles.pool(unit, pooling="average", rounding=rounding).sum()

    def value_and_gradient(x):
        value, pull = jax.vjp(lambda x: average_pool(x, rounding), x)
        return jnp.concatenate([value.ravel(), pull(jnp.ones_like(value))[0].ravel()])

    result = transform(value_and_gradient)(jnp.asarray(x))
    np.testing.assert_allclose(result, [*expected.ravel(), *gradient.ravel()], rtol=1e-5, atol=1e-6)


# --- a padded image ---


@pytest.mark.parametrize("options", OPTIONS)
def test_padding_changes_nothing(options):
    """Whatever lies outside the true image: features, loss and gradient are those of the image alone."""
    height, width = 37, 45
    (loss, features), gradient = loss_features_gradient(pixels(), None, options)
    # One place for each case, for compilation's sake: within a border, or with borders below and to the right only.
    (top, left), shape = ((-16, -32), (64, 80)) if options[1] == "ceil" else ((0, 0), (height, 48))
    noise = jnp.asarray(RNG.normal(0, 300, (*shape, 3)), jnp.float32)
    rows, columns = slice(-top, height - top), slice(-left, width - left)
    padded = noise.at[rows, columns].set(pixels())
    extent = Extent((jnp.int32(top), jnp.int32(left)), (jnp.int32(height), jnp.int32(width)))
    (wide_loss, wide_features), wide_gradient = loss_features_gradient(padded, extent, options)
    assert wide_loss.item() == pytest.approx(loss.item(), rel=5e-6)
    assert relative(wide_gradient[rows, columns], gradient) < 5e-6
    assert jnp.count_nonzero(wide_gradient) == jnp.count_nonzero(wide_gradient[rows, columns])
    for layer, feature in features.items():
        factor = 2 ** sum(name.startswith("pool") for name in layer_names("vgg16")[: deepest([layer], "vgg16") + 1])
        tall, broad = feature.shape[:2]
        inner = (slice(-top // factor, -top // factor + tall), slice(-left // factor, -left // factor + broad))
        assert relative(wide_features[layer][inner], feature) < 5e-6, layer
        assert jnp.count_nonzero(wide_features[layer]) == jnp.count_nonzero(wide_features[layer][inner]), layer


def test_what_lies_outside_may_even_be_infinite():
    padded = jnp.full((37, 48, 3), jnp.inf).at[:, :45].set(pixels())
    extent = Extent((jnp.int32(0), jnp.int32(0)), (jnp.int32(37), jnp.int32(45)))
    (loss, _), gradient = loss_features_gradient(padded, extent, ("max", "floor", "zero"))
    assert jnp.isfinite(loss)
    assert jnp.all(jnp.isfinite(gradient))


# --- the frozen parameters ---


def tiny_loss(params, x):
    return jnp.sum(extract_features(params, x, ("relu1_2",), network())["relu1_2"])


WRAPPED = {
    "plain": lambda f: f,
    "jit": jax.jit,
    "checkpoint": jax.checkpoint,
    "vmap": lambda f: lambda p, x: jnp.sum(jax.vmap(f, (None, 0))(p, x[None])),
    "scan": lambda f: lambda p, x: lax.scan(lambda c, _: (c + f(p, x), None), 0.0, length=2)[0],
    "jit of scan of checkpoint": lambda f: jax.jit(
        lambda p, x: lax.scan(lambda c, _: (c + jax.checkpoint(f)(p, x), None), 0.0, length=2)[0]
    ),
}


@pytest.mark.parametrize("wrap", WRAPPED)
def test_gradient_of_the_image_passes_and_that_of_the_parameters_is_refused(wrap):
    function, x = WRAPPED[wrap](tiny_loss), pixels(6, 8)
    times = 2 if "scan" in wrap else 1
    gradient = jax.grad(function, argnums=1)(small_params("vgg16"), x)
    assert relative(gradient, times * jax.grad(tiny_loss, argnums=1)(small_params("vgg16"), x)) < 1e-5
    with pytest.raises(JnstError, match="frozen; differentiate with respect to the image"):
        jax.grad(function)(small_params("vgg16"), x)
    with pytest.raises(JnstError, match="frozen"):
        jax.grad(function, argnums=(0, 1))(small_params("vgg16"), x)


@pytest.mark.parametrize("part", ["kernel", "kernel_flipped", "bias"])
def test_every_part_is_frozen(part):
    params, x = small_params("vgg16"), pixels(6, 8)

    def loss(value):
        return tiny_loss({**params, "conv1_1": {**params["conv1_1"], part: value}}, x)

    with pytest.raises(JnstError, match="frozen"):
        jax.grad(loss)(params["conv1_1"][part])


def test_an_image_made_by_a_foreign_network_gets_its_gradient():
    """The image may depend on parameters of someone else's; those are not frozen."""
    colour = jnp.ones(3)
    gradient = jax.grad(lambda c: tiny_loss(small_params("vgg16"), pixels(6, 8) * c[None, None]))(colour)
    assert jnp.all(jnp.isfinite(gradient))
    assert jnp.all(gradient != 0)


# --- bad input ---


@pytest.mark.usefixtures("unchecked_shapes")
@pytest.mark.parametrize(
    ("shape", "layers", "message"),
    [
        ((37, 45, 3), ("relu4_22",), "unknown layer of vgg16 'relu4_22'; did you mean 'relu4_2'?"),
        ((37, 45, 3), ("relu3_4",), "unknown layer of vgg16 'relu3_4'"),
        ((15, 45, 3), ("relu5_1",), "image of shape (15, 45, 3); expected height × width × 3 with at least 16 pixels"),
        ((37, 45, 4), ("relu1_1",), "image of shape (37, 45, 4); expected height × width × 3"),
        ((37, 45), ("relu1_1",), "image has shape (37, 45); expected height × width × 3"),
        (
            (1, 37, 45, 3),
            ("relu1_1",),
            "image has shape (1, 37, 45, 3); expected height × width × 3; for several use jax.vmap",
        ),
        ((0, 45, 3), ("relu1_1",), "image has shape (0, 45, 3); expected height × width × 3, and one or more of each"),
    ],
)
def test_bad_images_and_layers_are_refused(shape, layers, message):
    with pytest.raises((ConfigError, ArrayError)) as error:
        extract_features(small_params("vgg16"), jnp.zeros(shape), layers, network())
    assert message in str(error.value)


def test_weights_that_do_not_fit_are_refused():
    few = {name: small_params("vgg16")[name] for name in ("conv1_1", "conv1_2")}
    with pytest.raises(WeightsError, match="no conv2_1, which relu2_1 need; they hold conv1_1, conv1_2"):
        extract_features(few, pixels(), ("relu2_1",), network())
    assert extract_features(few, pixels(), ("relu1_2",), network())["relu1_2"].shape == (37, 45, 4)
    with pytest.raises(WeightsError, match=r"kernel of conv1_1 has shape \(3, 3, 3, 4\); vgg16 at width 0.5"):
        extract_features(small_params("vgg16"), pixels(), ("relu1_1",), NetworkConfig("vgg16", width=0.5))
    raw = jax.tree.map(jnp.asarray, oracles.random_params("vgg16", WIDTH, 0))
    with pytest.raises(WeightsError, match="conv1_1 are not prepared; pass them through"):
        extract_features(raw, pixels(), ("relu1_1",), network())


@pytest.mark.parametrize("size", [(5, 7), (1, 3), (2, 1)])
def test_beyond_the_border_is_what_repeated_pixels_add(size):
    x = jnp.asarray(RNG.normal(size=(*size, 3)), jnp.float32)
    kernel = jnp.asarray(RNG.normal(size=(3, 3, 3, 4)), jnp.float32)

    def convolve(x, padding):
        return jax.lax.conv_general_dilated(
            x[None], kernel, (1, 1), padding, dimension_numbers=("NHWC", "HWIO", "NHWC"), precision="highest"
        )[0]

    repeated = convolve(jnp.pad(x, ((1, 1), (1, 1), (0, 0)), mode="edge"), "VALID")
    added, pull = jax.vjp(lambda x: convolve(x, "SAME") + beyond_the_border(x, kernel), x)
    np.testing.assert_allclose(added, repeated, atol=2e-5)
    expected = jax.vjp(lambda x: convolve(jnp.pad(x, ((1, 1), (1, 1), (0, 0)), mode="edge"), "VALID"), x)[1]
    np.testing.assert_allclose(pull(repeated)[0], expected(repeated)[0], atol=2e-4)
