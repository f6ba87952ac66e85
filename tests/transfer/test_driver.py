"""`stylize` as a whole: what comes out, when it stops, and what it is told on the way."""

import time
from dataclasses import replace

import numpy as np
import optax
import pytest
from oracles import paint
from small import SHALLOW, shallow, small_params

from jnst.config import OptimizerConfig, RunConfig, SizeConfig
from jnst.errors import ConfigError, ImageError, JnstError
from jnst.images import sizing
from jnst.images.sizing import scale_count
from jnst.progress.callbacks import Snapshot
from jnst.transfer.driver import stylize
from jnst.transfer.scales import at_scale, smallest_scale, style_at_scale
from jnst.transfer.style_targets import prepare_style

CONTENT, STYLE = paint("shapes", 20, 28), paint("marble", 24, 24, 3)


def run(config=None, content=CONTENT, style=STYLE, **options):
    return stylize(small_params(), content, style, shallow() if config is None else config, **options)


def with_run(**fields):
    return replace(shallow(), run=RunConfig(**fields))


def test_result():
    result = run(with_run(steps=6))
    assert (result.image.shape, result.image.dtype) == ((20, 28, 3), np.float32)
    assert result.image.min() >= 0
    assert result.image.max() <= 1
    assert {name: len(values) for name, values in result.trace.items()} == dict.fromkeys(
        ("evaluation", "total", "content", "style", "total_variation"), 7
    )
    assert result.trace["evaluation"] == [1, 2, 3, 4, 5, 6, 7]
    assert result.trace["total"][-1] < 0.5 * result.trace["total"][0]
    assert result.trace["content"][0] == pytest.approx(0, abs=1e-10)  # entry 0 is the initial image, here the content
    assert result.best_step == int(np.argmin(result.trace["total"]))
    assert result.stopped == "steps"
    assert set(result.seconds) == {"compile", "run"}
    assert min(result.seconds.values()) >= 0


def test_the_same_again_is_the_same_to_the_last_bit():
    config = replace(with_run(steps=5), init="random")
    one, two, other = run(config, seed=1), run(config, seed=1), run(config, seed=2)
    np.testing.assert_array_equal(one.image, two.image)
    assert one.trace == two.trace
    assert np.any(one.image != other.image)


def test_bytes_and_floats_of_the_same_picture_give_the_same():
    as_bytes = [np.round(image * 255).astype(np.uint8) for image in (CONTENT, STYLE)]
    np.testing.assert_array_equal(run(with_run(steps=3), *as_bytes).image, run(with_run(steps=3)).image)
    wide = run(with_run(steps=3), as_bytes[0].astype(np.uint16) * 257, STYLE)
    np.testing.assert_allclose(wide.image, run(with_run(steps=3)).image, atol=1e-4)


def test_no_steps_give_the_initial_image_and_its_loss():
    result = run(with_run(steps=0))
    np.testing.assert_allclose(result.image, CONTENT, atol=1e-6)
    assert len(result.trace["total"]) == 1
    assert result.stopped == "steps"


# --- when it stops ---


def test_the_callback_sees_progress_and_picture_and_may_stop():
    seen = []

    def callback(snapshot):
        assert isinstance(snapshot, Snapshot)
        seen.append((snapshot.progress, snapshot.image()))
        return len(seen) == 3

    result = run(with_run(steps=50, chunk=2), callback=callback)
    assert result.stopped == "callback"
    assert [progress.step for progress, _ in seen] == [0, 2, 4]
    assert len(result.trace["total"]) == 5
    progress, picture = seen[-1]
    assert (progress.steps, progress.size, progress.scale, progress.scales) == (50, (20, 28), 1, 1)
    assert progress.evaluations == result.trace["evaluation"][-1] == 5
    assert progress.total == result.trace["total"][-1]
    assert progress.best == min(result.trace["total"])
    np.testing.assert_array_equal(picture, result.image)
    np.testing.assert_allclose(seen[0][1], CONTENT, atol=1e-6)


def test_a_picture_is_there_until_its_callback_returns():
    seen = []
    run(with_run(steps=2, chunk=1), callback=seen.append)
    with pytest.raises(JnstError, match="only until its callback returns"):
        seen[0].image()
    assert [snapshot.progress.step for snapshot in seen] == [0, 1, 2]


def test_tolerance():
    """Stops at the first chunk over which the loss falls by less than the fraction, and not before."""
    result = run(with_run(steps=200, chunk=4, tolerance=0.3))
    totals = np.minimum.accumulate(result.trace["total"])
    steps = len(totals) - 1
    assert result.stopped == "tolerance"
    assert steps % 4 == 0
    assert totals[-1] > 0.7 * totals[-5]
    assert all(totals[k] <= 0.7 * totals[k - 4] for k in range(4, steps, 4))


def test_time_limit():
    run(with_run(steps=1))  # compiles
    start = time.monotonic()
    result = run(with_run(steps=10**6, max_time=2.0))
    assert result.stopped == "time"
    assert len(result.trace["total"]) < 10**6
    assert time.monotonic() - start < 30


def test_time_that_ends_before_the_first_step_and_a_loss_that_never_falls_are_told():
    result = run(with_run(steps=5, max_time=1e-9))
    assert (result.stopped, len(result.trace["total"])) == ("no step", 1)
    away = optax.GradientTransformation(lambda _: (), lambda g, s, _: (g, s))  # uphill
    result = run(with_run(steps=3), optimizer=away)
    assert min(result.trace["total"][1:]) >= result.trace["total"][0]
    assert result.stopped == "no descent"
    assert run(with_run(steps=0)).stopped == "steps"


def test_stuck():
    nowhere = optax.GradientTransformation(lambda _: (), lambda g, s, _: (g * np.float32(np.nan), s))
    result = run(with_run(steps=100, chunk=5), optimizer=nowhere)
    assert result.stopped == "stuck"
    assert len(result.trace["total"]) < 30
    assert set(result.trace["total"]) == {result.trace["total"][0]}
    np.testing.assert_allclose(result.image, CONTENT, atol=1e-6)


def test_a_loss_that_overflows_at_once_is_stuck():
    config = replace(with_run(steps=5), loss=replace(SHALLOW, tv_weight=3e38, tv_reduction="sum"))
    result = run(config)
    assert result.stopped == "stuck"
    assert result.trace["total"][0] == np.inf
    np.testing.assert_allclose(result.image, CONTENT, atol=1e-6)


# --- best or last, where to begin, which optimiser ---


def test_keep():
    restless = OptimizerConfig(method="adam", learning_rate=0.5)
    best, last = (
        run(replace(shallow(optimizer=restless), run=RunConfig(steps=7, keep=keep))) for keep in ("best", "last")
    )
    assert best.trace == last.trace
    assert best.best_step == last.best_step == int(np.argmin(best.trace["total"])) < 7
    assert np.any(best.image != last.image)


def test_an_initial_image_of_any_size():
    start = paint("hills", 40, 56)
    result = run(with_run(steps=0), initial=start)
    assert result.image.shape == (20, 28, 3)
    assert np.abs(result.image - CONTENT).max() > 0.1
    same = run(with_run(steps=0), initial=np.round(CONTENT * 255).astype(np.uint8))
    np.testing.assert_allclose(same.image, CONTENT, atol=1e-6)


def test_initial_images_by_name():
    for init in ("content", "style", "random", "recolored"):
        result = run(replace(with_run(steps=0), init=init, noise=0.2))
        assert result.image.shape == (20, 28, 3)
        assert (np.abs(result.image - CONTENT).max() < 1e-5) == (init == "content")


def test_an_optax_optimiser_from_outside():
    result = run(with_run(steps=5), optimizer=optax.sgd(1e-3))
    assert result.trace["total"][-1] < result.trace["total"][0]
    assert result.trace["evaluation"] == [1, 2, 3, 4, 5, 6]


# --- several styles, sizes, scales ---


def test_later_scales_are_preconditioned_half_as_much():
    config = replace(shallow(), optimizer=OptimizerConfig(frequency_exponent=0.5))
    assert at_scale(config, 0) == config
    assert at_scale(config, 2) == replace(config, optimizer=OptimizerConfig(frequency_exponent=0.25))


def test_several_styles_with_weights():
    other = paint("weave", 20, 20)
    config = with_run(steps=2)
    first = run(config).trace["style"][0]
    second = run(config, style=other).trace["style"][0]
    one = run(config, style=[STYLE, other], style_weights=[1, 0]).trace["style"][0]
    two = run(config, style=(STYLE, other), style_weights=[0, 2]).trace["style"][0]
    assert (one, two) == (pytest.approx(first, rel=1e-5), pytest.approx(second, rel=1e-5))
    both = run(config, style=[STYLE, other])
    assert both.trace["style"][0] not in (one, two)


def test_size_rules_are_obeyed():
    config = replace(with_run(steps=0), size=SizeConfig(rule="height", pixels=10))
    assert run(config).image.shape == (10, 14, 3)
    config = replace(with_run(steps=0), size=SizeConfig(rule="long", pixels=14, style="content"))
    assert run(config).image.shape == (10, 14, 3)
    assert style_at_scale(STYLE, config, (10, 14), (10, 14)).shape == (10, 14, 3)


def test_coarse_to_fine():
    seen = []
    config = replace(with_run(steps=3, scales=2, chunk=3), size=SizeConfig(rule="keep"))
    result = run(config, callback=lambda snapshot: seen.append(snapshot.progress))
    assert [(progress.scale, progress.size) for progress in seen] == [(1, (10, 14))] * 2 + [(2, (20, 28))] * 2
    assert [progress.step for progress in seen] == [0, 3, 3, 6]
    assert seen[-1].fraction == 1
    assert [progress.fraction for progress in seen] == sorted(progress.fraction for progress in seen)
    assert len(result.trace["total"]) == 4  # the full size alone
    assert result.image.shape == (20, 28, 3)
    alone = run(with_run(steps=3))
    assert result.trace["content"][0] > alone.trace["content"][0]  # it begins with the coarse picture


def test_no_number_of_scales_is_as_many_as_the_size_asks_for(monkeypatch):
    config = replace(with_run(steps=1, scales=0, chunk=1), size=SizeConfig(rule="keep"))

    def sizes():
        seen = []
        run(config, callback=lambda snapshot: seen.append(snapshot.progress.size))
        return sorted(set(seen))

    assert sizes() == [(10, 14), (20, 28)]  # at least two
    monkeypatch.setattr(sizing, "FIRST_SCALE", 7)
    assert scale_count(28, 0) == 3
    assert sizes() == [(10, 14), (20, 28)]  # 5 × 7 leaves the layers no room
    # A style that is prepared beforehand has as many as a content picture of its size can need.
    assert len(prepare_style(small_params(), STYLE, config).grams) == scale_count(24, 0) == 3


def test_a_style_at_a_coarse_scale_shrinks_with_the_content():
    assert style_at_scale(STYLE, shallow(), (20, 28), (10, 14)).shape == (12, 12, 3)
    assert smallest_scale(shallow()) == 8


def test_stopping_at_a_coarse_scale_still_gives_a_picture_of_full_size():
    result = run(with_run(steps=3, scales=2), callback=lambda _: True)
    assert result.stopped == "callback"
    assert result.image.shape == (20, 28, 3)


# --- bad input ---


@pytest.mark.parametrize(
    ("pictures", "message"),
    [
        ((CONTENT[..., 0], STYLE), "the content image has shape (20, 28); expected height × width × 3, RGB"),
        ((CONTENT, np.ones((24, 24, 4))), "the style image has shape (24, 24, 4)"),
        ((CONTENT[:0], STYLE), "the content image has shape (0, 28, 3)"),
        ((CONTENT * 255, STYLE), "the content image holds numbers from 1 to 250; expected [0, 1] in floating point"),
        ((CONTENT, np.full((24, 24, 3), np.nan)), "the style image holds numbers from nan to nan"),
        ((CONTENT.astype(np.int32), STYLE), "the content image holds int32; expected uint8, uint16 or floating point"),
    ],
)
def test_what_is_no_picture_is_refused(pictures, message):
    with pytest.raises(ImageError) as error:
        run(None, *pictures)
    assert message in str(error.value)


def test_pictures_too_small_for_the_layers_are_refused():
    deep = shallow(loss=replace(SHALLOW, content_layers=(("relu5_1", 1.0),)))
    with pytest.raises(
        ConfigError, match="the content image is 28 × 12 pixels at working size; relu5_1 needs at least 16"
    ):
        run(deep, CONTENT[:12])
    with pytest.raises(
        ConfigError, match="the style image is 9 × 24 pixels at working size; relu5_1 needs at least 16"
    ):
        run(deep, style=STYLE[:, :9])


def test_styles_and_weights_that_do_not_match_are_refused():
    with pytest.raises(ConfigError, match="2 styles with weights"):
        run(style=[STYLE, STYLE], style_weights=[1.0])
    with pytest.raises(ConfigError, match="0 styles"):
        run(style=[])
