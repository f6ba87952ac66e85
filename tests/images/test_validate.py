"""Single runs and batches refuse the same pictures, in the same words."""

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from small import shallow, small_params

import jnst
from jnst.errors import ImageError
from jnst.images.inputs import as_picture
from jnst.images.resizing import resize
from jnst.images.validate import validate_image

pytestmark = pytest.mark.usefixtures("unchecked_shapes")

GOOD = np.random.default_rng(0).random((20, 24, 3)).astype(np.float32)
WRONG = {
    "0 to 255": (255 * GOOD, r"holds numbers from \S+ to 25\S+; expected \[0, 1\]"),
    "0 to 255 in bfloat16": ((255 * GOOD).astype(ml_dtypes.bfloat16), "holds numbers from"),
    "0 to 255 in float16": ((255 * GOOD).astype(np.float16), "holds numbers from"),
    "minus one to one, twice": (4 * GOOD - 2, "holds numbers from -"),
    "NaN": (np.where(GOOD > 0.9, np.nan, GOOD), "holds numbers from nan"),
    "infinity": (np.where(GOOD > 0.9, np.inf, GOOD), "to inf"),
    "grey": (GOOD[..., 0], r"shape \(20, 24\); .*np.stack\(\[grey, grey, grey\]"),
    "grey with an axis": (GOOD[..., :1], r"shape \(20, 24, 1\); .*np.stack"),
    "RGBA": (np.concatenate([GOOD, GOOD[..., :1]], 2), r"shape \(20, 24, 4\); .*rgba\[..., :3\]"),
    "channels first": (GOOD.transpose(2, 0, 1), r"shape \(3, 20, 24\); .*transpose\(1, 2, 0\)"),
    "one row": (GOOD[0, 0], r"shape \(3,\); expected height × width × 3"),
    "five axes": (GOOD[None, None], "expected height × width × 3"),
    "empty": (GOOD[:0], "expected height × width × 3"),
    "whole numbers": ((255 * GOOD).astype(np.int32), "holds int32; expected uint8, uint16 or floating point"),
    "truth values": (GOOD > 0.5, "holds bool"),
    "a path": ("nowhere.jpg", r"cannot be used: there is no picture at nowhere\.jpg"),
}


def said(function) -> str:
    with pytest.raises(jnst.ImageError) as caught:
        function()
    return str(caught.value)


@pytest.mark.parametrize("name", WRONG)
def test_one_run_and_many_give_the_same_message(name: str) -> None:
    wrong, pattern = WRONG[name]
    config, params = shallow(), small_params()
    for kind in ("content", "style", "initial"):
        pictures = {"content": GOOD, "style": GOOD, "initial": None} | {kind: wrong}
        one = said(lambda p=pictures: jnst.stylize(params, p["content"], p["style"], config, initial=p["initial"]))
        many = said(
            lambda p=pictures: jnst.stylize_batch(params, p["content"], p["style"], config, initials=[p["initial"]])
        )
        assert one == many
        assert one.startswith(f"the {kind} image ")
    with pytest.raises(jnst.ImageError, match=pattern):
        as_picture(wrong, "content")


@pytest.mark.parametrize("wrong", [255 * GOOD, GOOD[..., 0], np.nan * GOOD], ids=["0 to 255", "grey", "NaN"])
def test_targets_and_prepared_styles_refuse_them_too(wrong) -> None:
    message = said(lambda: jnst.stylize(small_params(), GOOD, wrong, shallow()))
    assert said(lambda: jnst.make_targets(small_params(), GOOD, wrong, shallow())) == message
    assert said(lambda: jnst.prepare_style(small_params(), wrong, shallow())) == message


def test_no_style_is_no_run() -> None:
    for function, styles in ((jnst.stylize, []), (jnst.stylize_batch, [()])):
        with pytest.raises(jnst.ConfigError, match="there are 0 styles; expected one or more style images"):
            function(small_params(), GOOD, styles, shallow())


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float16", "bfloat16", "float32", "float64"])
def test_pictures_of_every_usual_type_are_taken(dtype: str) -> None:
    levels = {"uint8": 255, "uint16": 65535}.get(dtype, 1)
    validate_image((levels * GOOD).astype(jnp.dtype(dtype)), "content")


def test_a_little_overshoot_is_what_resampling_does() -> None:
    validate_image(1.4 * GOOD - 0.2, "content")


def test_while_jax_traces_only_shape_and_type_are_known() -> None:
    def check(x):
        validate_image(x, "content")
        return x

    assert jax.jit(check)(300 * GOOD).shape == GOOD.shape
    with pytest.raises(jnst.ImageError, match=r"shape \(20, 24\)"):
        jax.jit(check)(GOOD[..., 0])


@pytest.mark.parametrize("low", [-1.0, -0.8])
def test_pictures_from_minus_one_to_one_are_refused_and_told_how_to_become_pictures(low):
    """Other programs hold pictures so; taken as they are, their dark half would be black."""
    with pytest.raises(ImageError, match=r"holds numbers from -.*; \(image \+ 1\) / 2 brings"):
        validate_image(np.linspace(low, 1, 48).reshape(4, 4, 3), "content")


def test_what_resampling_overshoots_is_a_picture():
    board = np.indices((16, 16)).sum(0)[..., None] % 4 // 2 * np.ones(3)
    for kernel in ("opencv-cubic", "pillow-bicubic", "pillow-lanczos"):
        for size in (7, 13, 23, 64):
            validate_image(resize(board, size, size, kernel), "content")
