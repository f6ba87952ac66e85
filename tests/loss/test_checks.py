"""What the public losses refuse: misspelt options, other ranks, whole numbers; many arrays go through vmap."""

import functools
import itertools
from typing import get_args

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jnst
from jnst import config

pytestmark = pytest.mark.usefixtures("unchecked_shapes")

RNG = np.random.default_rng(0)
SPACE = config.PixelSpace(scale=255.0, mean=(120.0, 115.0, 105.0), order="bgr")
MAPS = RNG.random((2, 5, 7, 3)).astype(np.float32)
GRAMS = RNG.random((2, 3, 3)).astype(np.float32)

# Each public function of one array: itself, and two good arrays for it.
FUNCTIONS = {
    "gram_matrix": (lambda x: jnst.gram_matrix(x, divisor="pixels"), MAPS),
    "content_loss": (lambda x: jnst.content_loss(x, x[::-1], reduction="mean"), MAPS),
    "style_loss": (lambda x: jnst.style_loss(x, 0 * x, reduction="sum"), GRAMS),
    "total_variation": (lambda x: jnst.total_variation(x, norm="l2", reduction="mean"), MAPS),
    "encode": (lambda x: jnst.encode(x, SPACE), MAPS),
    "decode": (lambda x: jnst.decode(x, SPACE), MAPS),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_leading_batch_axis_is_refused_and_vmap_is_right(name: str) -> None:
    function, batch = FUNCTIONS[name]
    with pytest.raises(jnst.ArrayError, match=r"has shape .*expected .*; for several use jax.vmap"):
        function(batch)
    with pytest.raises(jnst.ArrayError, match="has shape"):
        function(batch[0, 0])
    together = jax.vmap(function)(jnp.asarray(batch))
    for one, alone in zip(together, batch, strict=True):
        np.testing.assert_allclose(one, function(alone), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("name", "dtype"), [*itertools.product(FUNCTIONS, ("int32", "bool", "complex64"))])
def test_numbers_that_are_not_floating_point_are_refused(name: str, dtype: str) -> None:
    function, batch = FUNCTIONS[name]
    with pytest.raises((jnst.ArrayError, jnst.ImageError), match=f"holds {dtype}; expected .*floating point"):
        function(jnp.asarray(batch[0] > 0.5).astype(dtype))


def test_bytes_are_encoded_as_the_picture_that_they_are() -> None:
    levels = RNG.integers(0, 256, (4, 6, 3), dtype=np.uint8)
    np.testing.assert_allclose(jnst.encode(levels, SPACE), jnst.encode(levels / 255, SPACE), atol=1e-4)
    with pytest.raises(jnst.ArrayError, match="the encoded image holds uint8"):
        jnst.decode(levels, SPACE)


@pytest.mark.parametrize("name", ["encode", "decode"])
def test_grey_is_not_spread_over_three_channels(name: str) -> None:
    with pytest.raises(jnst.ArrayError, match=r"has shape \(5, 7, 1\); expected height × width × 3"):
        FUNCTIONS[name][0](MAPS[0, :, :, :1])


@pytest.mark.parametrize("name", FUNCTIONS)
def test_what_is_no_array_is_refused(name: str) -> None:
    with pytest.raises((jnst.ArrayError, jnst.ImageError)):
        FUNCTIONS[name][0]("photo.jpg")


ONE, GRAM = MAPS[0], GRAMS[0]
OPTIONS = {
    "Gram divisor": (lambda x: jnst.gram_matrix(ONE, divisor=x), config.GramDivisor, "pixel", "pixels"),
    "content reduction": (lambda x: jnst.content_loss(ONE, ONE, reduction=x), config.ContentReduction, "men", "mean"),
    "style reduction": (
        lambda x: jnst.style_loss(GRAM, GRAM, reduction=x), config.StyleReduction, "quarter", "quarter_mean",
    ),
    "variation norm": (
        lambda x: jnst.total_variation(ONE, norm=x, reduction="sum"), config.VariationNorm, "L1", "l1",
    ),
    "variation reduction": (
        lambda x: jnst.total_variation(ONE, norm="l1", reduction=x), config.VariationReduction, "summ", "sum",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", OPTIONS)
def test_a_misspelt_option_is_refused(kind: str) -> None:
    function, choices, misspelt, meant = OPTIONS[kind]
    with pytest.raises(jnst.ConfigError, match=f"unknown {kind} '{misspelt}'; did you mean '{meant}'"):
        function(misspelt)
    known = ", ".join(get_args(choices))
    with pytest.raises(jnst.ConfigError, match=f"unknown {kind} 'qqqqq'; known are: {known}"):
        function("qqqqq")
    with pytest.raises(jnst.ConfigError, match=f"{kind} is NoneType, not text; known are: {known}"):
        function(None)


def test_a_gram_matrix_is_square() -> None:
    with pytest.raises(jnst.ArrayError, match=r"shape \(5, 3\); expected channels × channels"):
        jnst.style_loss(ONE[:, 0], ONE[:, 0], reduction="mean")


@functools.cache
def wide_params():
    """Random weights of the first three convolutions at full width."""
    kernels = {"conv1_1": (3, 64), "conv1_2": (64, 64), "conv2_1": (64, 128)}
    return jnst.prepare_params(
        {
            name: {"kernel": RNG.normal(0, 0.1, (3, 3, *channels)), "bias": RNG.normal(size=channels[1])}
            for name, channels in kernels.items()
        }
    )


class TestFeatures:
    """`jnst.features` and the network's own check."""

    # The variable is [0, 1] and the network wants another space, as in most presets.
    CONFIG = config.Config(network_input=SPACE)

    def test_from_a_picture_to_the_maps_that_the_loss_sees(self) -> None:
        layers, network = ["relu1_1", "relu2_1"], self.CONFIG.network
        found = jnst.features(wide_params(), ONE, layers, self.CONFIG)
        right = jnst.extract_features(wide_params(), jnst.encode(ONE, self.CONFIG.network_input), layers, network)
        wrong = jnst.extract_features(wide_params(), jnst.encode(ONE, self.CONFIG.variable), layers, network)
        assert {layer: map_.shape for layer, map_ in found.items()} == {"relu1_1": (5, 7, 64), "relu2_1": (2, 3, 128)}
        for layer in layers:
            scale = float(jnp.abs(right[layer]).max())
            np.testing.assert_allclose(found[layer], right[layer], atol=1e-5 * scale)
            assert jnp.abs(found[layer] - wrong[layer]).max() > 0.1 * scale

    def test_bytes_batches_and_gradients(self) -> None:
        levels = np.round(255 * ONE).astype(np.uint8)
        one = jnst.features(wide_params(), levels, ["relu1_1"], self.CONFIG)["relu1_1"]
        floats = (levels / np.float32(255)).astype(np.float32)
        alone = jnst.features(wide_params(), floats, ["relu1_1"], self.CONFIG)["relu1_1"]
        np.testing.assert_allclose(one, alone, rtol=1e-4, atol=1e-3)
        many = jax.vmap(lambda x: jnst.features(wide_params(), x, ["relu1_1"], self.CONFIG)["relu1_1"])(
            np.stack([floats] * 2)
        )
        np.testing.assert_allclose(many[1], one, rtol=1e-4, atol=1e-3)
        slope = jax.grad(lambda x: jnp.sum(jnst.features(wide_params(), x, ["relu1_1"], self.CONFIG)["relu1_1"]))(
            floats
        )
        assert slope.shape == floats.shape
        assert jnp.any(slope != 0)

    @pytest.mark.parametrize("wrong", [255 * ONE, ONE * np.nan, ONE[..., 0], ONE.astype(np.int32), MAPS])
    def test_what_is_no_picture_is_refused(self, wrong) -> None:
        with pytest.raises(jnst.ImageError, match="the RGB image"):
            jnst.features(wide_params(), wrong, ["relu1_1"], self.CONFIG)

    def test_wrong_arguments_of_the_network_say_what_is_meant(self) -> None:
        x, network = jnst.encode(ONE, SPACE), self.CONFIG.network
        for message, arguments, options in (
            ("layers is the text 'relu1_1'; expected a list of names", (x, "relu1_1", network), {}),
            ("network is Config; expected a NetworkConfig, such as config.network", (x, ["relu1_1"], self.CONFIG), {}),
            ("did you mean 'relu1_1'", (x, ["relu11"], network), {}),
            ("unknown precision 'float16'; did you mean", (x, ["relu1_1"], network), {"precision": "float16"}),
            ("for several use jax.vmap", (jnp.stack([x, x]), ["relu1_1"], network), {}),
            ("holds uint8; expected floating point", (np.zeros((4, 4, 3), np.uint8), ["relu1_1"], network), {}),
        ):
            with pytest.raises((jnst.ConfigError, jnst.ArrayError), match=message):
                jnst.extract_features(wide_params(), *arguments, **options)
        with pytest.raises(jnst.ConfigError, match="unknown architecture 'vgg-19'; did you mean 'vgg19'"):
            jnst.layer_names("vgg-19")  # pyright: ignore[reportArgumentType]
