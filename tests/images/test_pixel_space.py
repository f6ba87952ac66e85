"""Spaces of pixels: known values, the way back, and no change where there is nothing to do."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jnst.config import PixelSpace
from jnst.errors import ImageError
from jnst.images.pixel_space import as_unit, decode, encode, translate
from jnst.images.resizing import to_unit
from jnst.presets.presets import CAFFE, PRESETS, TORCHVISION

IMAGE = np.random.default_rng(0).random((4, 5, 3)).astype(np.float32)
SPACES = {
    "unit": PixelSpace(),
    "torchvision": TORCHVISION,
    "caffe": CAFFE,
    "gordic": PRESETS["gordic"].variable,
    "odd": PixelSpace(scale=2.0, mean=(1.0, 2.0, 3.0), std=(0.5, 4.0, 8.0), order="bgr"),
}


def encode_in_float64(image, space):
    encoded = (space.scale * image.astype(np.float64) - space.mean) / space.std
    return encoded[..., ::-1] if space.order == "bgr" else encoded


def test_white_and_black_by_hand():
    white, black = jnp.ones((1, 1, 3)), jnp.zeros((1, 1, 3))
    np.testing.assert_allclose(encode(white, CAFFE)[0, 0], [255 - 103.939, 255 - 116.779, 255 - 123.68], rtol=1e-6)
    np.testing.assert_allclose(encode(black, PRESETS["gordic"].variable)[0, 0], [-123.675, -116.28, -103.53])
    np.testing.assert_allclose(encode(white, TORCHVISION)[0, 0], [2.2489083, 2.4285714, 2.64], rtol=1e-6)


@pytest.mark.parametrize("name", SPACES)
def test_oracle_and_the_way_back(name):
    space = SPACES[name]
    expected = encode_in_float64(IMAGE, space)
    for value in (
        encode(jnp.asarray(IMAGE), space),
        jax.jit(lambda x: encode(x, space))(IMAGE),
        jax.vmap(lambda x: encode(x, space))(jnp.stack([0 * IMAGE, IMAGE]))[1],
    ):
        np.testing.assert_allclose(value, expected, rtol=1e-5, atol=2e-5)
    for function in (decode, jax.jit(decode, static_argnums=1)):
        np.testing.assert_allclose(function(encode(jnp.asarray(IMAGE), space), space), IMAGE, atol=1e-6)
    np.testing.assert_allclose(
        jax.vmap(lambda x: decode(x, space))(encode(jnp.asarray(IMAGE), space)[None])[0], IMAGE, atol=1e-6
    )


@pytest.mark.parametrize("source", SPACES)
@pytest.mark.parametrize("target", SPACES)
def test_translation(source, target):
    start = encode(jnp.asarray(IMAGE), SPACES[source])
    moved = translate(start, SPACES[source], SPACES[target])
    np.testing.assert_allclose(moved, encode_in_float64(IMAGE, SPACES[target]), rtol=1e-4, atol=1e-4)
    if source == target:
        assert moved is start


def test_a_change_of_order_is_exact():
    start = jnp.asarray(IMAGE) * 255
    rgb, bgr = PRESETS["gatys"].variable, PRESETS["gatys"].network_input
    assert (rgb.order, bgr.order) == ("rgb", "bgr")
    np.testing.assert_array_equal(translate(start, rgb, bgr), start[..., ::-1])
    np.testing.assert_array_equal(translate(translate(start, rgb, bgr), bgr, rgb), start)


def test_values_beyond_black_and_white_are_kept():
    assert decode(encode(jnp.full((1, 1, 3), 1.5), CAFFE), CAFFE) == pytest.approx(np.full((1, 1, 3), 1.5))


@pytest.mark.parametrize(("kind", "largest"), [(np.uint8, 255), (np.uint16, 65535)])
def test_whole_numbers_are_a_files_and_white_is_one(kind, largest):
    pixels = np.array([[[0, largest, largest // 5]]], kind)
    expected = [[[0, 1, (largest // 5) / largest]]]
    for function in (as_unit, jax.jit(as_unit), lambda x: jax.vmap(as_unit)(x[None])[0]):
        np.testing.assert_allclose(function(pixels), expected, rtol=1e-6)
    np.testing.assert_allclose(as_unit(pixels), to_unit(pixels), rtol=2e-7)


def test_floating_point_is_taken_as_it_is():
    np.testing.assert_array_equal(as_unit(IMAGE), IMAGE)
    assert as_unit(IMAGE.astype(np.float16)).dtype == jnp.float32
    with pytest.raises(ImageError, match="picture holds int32; expected uint8, uint16 or floating point"):
        as_unit(np.ones((1, 1, 3), np.int32))
