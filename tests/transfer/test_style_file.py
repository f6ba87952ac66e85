"""A prepared style keeps which part of its picture is seen, for runs that begin in its colours."""

import dataclasses

import numpy as np
import pytest
from small import SHALLOW, shallow, small_params

import jnst
from jnst.errors import TargetsError
from jnst.images.reading import Picture
from jnst.transfer.style_targets import StyleTargets

RED, BLUE = (np.tile(np.array(color, np.uint8), (24, 24, 1)) for color in ([230, 20, 20], [20, 20, 230]))
OPACITY = np.pad(np.full((24, 24), 255, np.uint8), ((0, 0), (0, 24)))
# The right half is hidden, and its colour with it.
HALF = Picture(np.concatenate([RED, BLUE], 1), OPACITY, "PNG", ())
GRAMS = ({"relu1_1": np.eye(4, dtype=np.float32)},)


def stored(mask):
    return StyleTargets(GRAMS, HALF.pixels, {"precision": "float32"}, "", mask)


@pytest.mark.parametrize("mask", [None, OPACITY])
def test_the_opacity_comes_back(tmp_path, mask):
    jnst.write_style(tmp_path / "style.h5", stored(mask))
    found = jnst.read_style(tmp_path / "style.h5")
    np.testing.assert_array_equal(found.shown.pixels, HALF.pixels)
    assert (found.shown.mask is None) == (mask is None)
    if mask is not None:
        np.testing.assert_array_equal(found.shown.mask, mask / np.float32(255))


@pytest.mark.parametrize("mask", [OPACITY[:3], np.zeros_like(OPACITY), OPACITY[..., None]])
def test_an_opacity_that_fits_no_picture_is_refused(tmp_path, mask):
    jnst.write_style(tmp_path / "style.h5", stored(mask))
    with pytest.raises(TargetsError, match=r"opacity|array of bytes"):
        jnst.read_style(tmp_path / "style.h5")


def test_a_run_begins_in_the_same_colours_with_the_picture_and_with_what_was_prepared():
    config = dataclasses.replace(shallow(steps=0, loss=SHALLOW), init="recolored")
    content = np.random.default_rng(0).random((24, 32, 3))
    prepared = jnst.prepare_style(small_params(), [RED, HALF], config, style_weights=[0, 1])
    np.testing.assert_array_equal(prepared.mask, OPACITY)
    one, other = (jnst.stylize_batch(small_params(), content, style, config)[0].image for style in (HALF, prepared))
    np.testing.assert_allclose(one, other, atol=1e-2)
    np.testing.assert_allclose(one.mean((0, 1)), RED[0, 0] / 255, atol=0.05)
