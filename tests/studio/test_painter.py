"""The stepwise painting: the driver's numbers, and knobs that act without a compilation."""

from dataclasses import replace
from typing import get_args

import jax
import numpy as np
import pytest
from oracles import paint
from small import SHALLOW, shallow, small_params

from jnst.config import Colors, SizeConfig
from jnst.errors import ConfigError
from jnst.images.sizing import finish
from jnst.loss.targets import make_targets
from jnst.studio.knobs import Knobs, change_knobs, first_knobs, turned
from jnst.studio.painter import Painter
from jnst.transfer import loop
from jnst.transfer.color_mode import show_colors
from jnst.transfer.driver import stylize
from jnst.transfer.scales import at_scale

CONTENT, STYLE, OTHER = paint("shapes", 24, 32), paint("marble", 24, 24, 3), paint("weave", 24, 24, 4)


def make(config=None, styles=(STYLE,), knobs=None, **options):
    config = shallow(steps=6) if config is None else config
    return Painter(small_params(), CONTENT, list(styles), config, knobs or first_knobs(config, len(styles)), **options)


@pytest.mark.parametrize("colors", get_args(Colors))
def test_untouched_it_makes_what_stylize_makes(colors):
    config = shallow(steps=6, init="recolored", run={"colors": colors})
    expected = stylize(small_params(), CONTENT, STYLE, config)
    painter = make(config)
    first, rest = painter.paint(1), painter.paint(6)
    for name in ("total", "content", "style", "total_variation"):
        np.testing.assert_array_equal([*first[name], *rest[name]], expected.trace[name])
    np.testing.assert_array_equal(finish(painter.picture(), CONTENT, colors), expected.image)


@pytest.mark.parametrize("after", get_args(Colors))
@pytest.mark.parametrize("before", get_args(Colors))
def test_another_way_with_colours_is_that_of_a_painting_begun_in_it(before, after):
    painter, fresh = make(knobs=Knobs(colors=before)), make(knobs=Knobs(colors=after))
    painter.paint(4)
    compiled = loop._advance_in_place._cache_size()
    shown = show_colors(painter.picture(), np.asarray(CONTENT), before)
    other = before != after and not {before, after} <= {"style", "content"}
    assert painter.set_knobs(Knobs(colors=after)) == other
    jax.tree.map(np.testing.assert_array_equal, painter._targets, fresh._targets)
    goes_on = painter.picture()
    grey = shown @ np.array([0.299, 0.587, 0.114])
    if after == "luminance" != before:
        np.testing.assert_allclose(goes_on, np.repeat(grey[..., None], 3, axis=2), atol=0.03)
    elif before == "luminance" != after:
        np.testing.assert_allclose(goes_on, shown, atol=1e-5)
    trace = painter.paint(4)
    assert trace["total"][-1] < trace["total"][0] or not other
    assert loop._advance_in_place._cache_size() == compiled


@pytest.mark.parametrize("blend", [(1.0, 0.0), (1.0, 1.0), (1.0, 3.0)])
def test_targets_are_those_of_stylize_to_the_bit_however_they_came_about(blend):
    # Rounded otherwise, the scales of one style in four would be off by one unit in the last place.
    for seed in range(6):
        styles = [paint("marble", 24, 24, seed), paint("weave", 24, 24, seed + 6)]
        expected = make_targets(small_params(), CONTENT, styles, shallow(), style_weights=blend)
        turned_later = make(styles=styles)
        turned_later.set_knobs(Knobs(blend=blend))
        for painter in (make(styles=styles, knobs=Knobs(blend=blend)), turned_later):
            jax.tree.map(np.testing.assert_array_equal, painter._targets, expected)


def test_a_random_beginning_follows_the_seed():
    config = replace(shallow(), init="random", noise=0.2)
    assert np.any(make(config, seed=1).picture() != make(config, seed=2).picture())
    np.testing.assert_array_equal(make(config, seed=1).picture(), make(config, seed=1).picture())


def test_strength_and_smoothness_weigh_the_same_terms_anew():
    painter = make()
    before = painter.paint(5)
    assert painter.set_knobs(Knobs(strength=0.7, smoothness=0.5))
    after = painter.paint(1)
    # The first step only evaluates: the same picture, so the same terms, in another sum.
    for name in ("content", "style", "total_variation"):
        np.testing.assert_allclose(after[name][0], before[name][-1], rtol=1e-5)
    total = (
        SHALLOW.content_weight * after["content"][0]
        + 4 * SHALLOW.style_weight * after["style"][0]
        + 0.5 * SHALLOW.tv_weight * after["total_variation"][0]
    )
    assert after["total"][0] == pytest.approx(total, rel=1e-5)


def test_more_strength_leads_to_less_style_loss_and_more_content_loss():
    plain, strong = make(shallow(steps=20)), make(shallow(steps=20))
    plain.paint(5)
    strong.paint(5)
    strong.set_knobs(Knobs(strength=0.9))
    plain_end, strong_end = plain.paint(20), strong.paint(20)
    assert strong_end["style"][-1] < 0.9 * plain_end["style"][-1]
    assert strong_end["content"][-1] > plain_end["content"][-1]


def test_more_smoothness_leads_to_less_variation():
    plain, smooth = make(shallow(steps=20)), make(shallow(steps=20))
    plain.paint(5)
    smooth.paint(5)
    smooth.set_knobs(Knobs(smoothness=32.0))
    assert smooth.paint(20)["total_variation"][-1] < 0.7 * plain.paint(20)["total_variation"][-1]


def test_the_blend_is_of_the_styles_own_gram_matrices():
    both = make(styles=(STYLE, OTHER), knobs=Knobs(blend=(0.0, 1.0)))
    alone = make(styles=(OTHER,))
    np.testing.assert_allclose(both.paint(5)["style"], alone.paint(5)["style"], rtol=1e-4)
    both = make(styles=(STYLE, OTHER), knobs=Knobs(blend=(1.0, 3.0)))
    expected = stylize(small_params(), CONTENT, [STYLE, OTHER], shallow(steps=4), style_weights=[1, 3])
    np.testing.assert_array_equal(both.paint(5)["style"], expected.trace["style"])


def test_turning_a_knob_compiles_nothing():
    painter = make(styles=(STYLE, OTHER))
    painter.paint(2)
    compiled = loop._advance_in_place._cache_size()
    painter.set_knobs(Knobs(strength=0.3, blend=(0.25, 0.75)))
    painter.paint(2)
    painter.set_knobs(Knobs(smoothness=0.0, blend=(1.0, 0.0), colors="content"))
    painter.paint(2)
    assert loop._advance_in_place._cache_size() == compiled


def test_colours_alone_are_no_other_loss():
    painter = make()
    painter.paint(3)
    assert not painter.set_knobs(Knobs(colors="content"))


def test_going_back_begins_with_the_earlier_picture():
    painter = make()
    painter.paint(2)
    early = painter.picture()
    late = painter.paint(5)
    painter.go_back(early)
    np.testing.assert_allclose(painter.picture(), early, atol=1e-6)
    assert painter.paint(1)["total"][0] > late["total"][-1]


def test_an_enlarged_picture_is_painted_as_a_finer_scale():
    config = shallow(steps=3)
    config = replace(config, optimizer=replace(config.optimizer, frequency_exponent=0.5))
    painter = make(config, initial=np.full((12, 16, 3), 0.5, np.float32), scale=1)
    assert painter.size == (24, 32)
    np.testing.assert_allclose(painter.picture(), 0.5, atol=1e-5)
    assert painter._config == at_scale(config, 1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"strenght": 1}, "did you mean 'strength'"),
        ({"strength": "1"}, "strength is '1'; expected a number"),
        ({"strength": -1}, "strength is -1.0; expected a number from 0 to 1"),
        ({"smoothness": float("nan")}, "smoothness is nan"),
        ({"smoothness": True}, "smoothness is True; expected a number"),
        ({"blend": [1]}, "blend has 1 weights; expected 2"),
        ({"blend": [0, 0]}, "not all zero"),
        ({"blend": [1, "x"]}, "expected a number per painting"),
        ({"colors": "red"}, "unknown colors 'red'; known are: style, content, match, luminance"),
        ({"colors": None}, "colors is NoneType, not text"),
    ],
)
def test_knobs_refuse(changes, message):
    with pytest.raises(ConfigError, match=message.replace("[", r"\[")):
        change_knobs(Knobs(blend=(1.0, 1.0)), changes)


def test_knobs_in_a_config():
    config = turned(shallow(), Knobs(strength=0.6, smoothness=3.0, colors="content"))
    assert (config.loss.strength, config.loss.tv_weight, config.run.colors) == (0.6, 3.0, "content")
    # A recipe without total variation gets some when asked, and none before.
    bare = shallow(loss=replace(SHALLOW, tv_weight=0.0))
    assert turned(bare, first_knobs(bare, 1)) == bare
    assert turned(bare, Knobs(smoothness=0.5)).loss.tv_weight == 0.5


def test_a_picture_too_small_is_refused():
    config = replace(shallow(), loss=replace(SHALLOW, content_layers=(("relu5_1", 1.0),)))
    with pytest.raises(ConfigError, match="relu5_1 needs at least 16 a side"):
        Painter(small_params(), CONTENT[:8], [STYLE], config, Knobs())
    with pytest.raises(ConfigError, match="1 × 1 pixels; a side of one pixel is not enlarged"):
        Painter(small_params(), CONTENT[:1, :1], [STYLE], replace(config, size=SizeConfig()), Knobs())
