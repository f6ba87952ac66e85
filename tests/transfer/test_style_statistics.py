"""Covariance matrices and means as the style: at the border, in saved styles, and what they leave alone."""

from dataclasses import replace

import numpy as np
import oracles
import pytest
from small import picture, shallow, small_params

import jnst
from jnst.config import LossConfig
from jnst.errors import ConfigError, TargetsError
from jnst.loss.circular import border_reach, borderless_grams
from jnst.transfer.style_targets import check_style_targets, pick_grams

GRAM = shallow(steps=1)
COVARIANCE = replace(GRAM, loss=replace(GRAM.loss, style_statistics="covariance"))
STYLE = picture("marble", 27, 18, 3)


def test_moments_without_the_border_are_those_of_the_middle():
    layer, map_ = "relu1_1", np.random.default_rng(0).random((9, 7, 3)).astype(np.float32)
    loss = LossConfig(style_layers=((layer, 1.0),), style_statistics="covariance")
    found = borderless_grams({layer: map_}, [layer], replace(GRAM, loss=loss), None)
    reach = border_reach(layer, GRAM.network)
    covariance, mean = oracles.channel_moments(map_[reach:-reach, reach:-reach])
    np.testing.assert_allclose(found[f"{layer} mean"], mean, rtol=1e-5)
    np.testing.assert_allclose(found[layer] - np.outer(mean, mean), covariance, atol=1e-6)


def test_a_saved_style_holds_the_means_where_they_are_compared(tmp_path):
    prepared, plain = (jnst.prepare_style(small_params(), STYLE, config) for config in (COVARIANCE, GRAM))
    jnst.write_style(tmp_path / "style.h5", prepared)
    read = jnst.read_style(tmp_path / "style.h5")
    check_style_targets(read, COVARIANCE)
    ours, theirs = (pick_grams(one, COVARIANCE, 0) for one in (read, prepared))
    layers = [layer for layer, _ in COVARIANCE.loss.style_layers]
    assert set(ours) == {*layers, *(f"{layer} mean" for layer in layers)}
    assert all(np.array_equal(ours[name], theirs[name]) for name in ours)
    # One with means serves a run that compares Gram matrices; one without does not serve a run that compares means.
    assert set(pick_grams(read, GRAM, 0)) == set(plain.grams[0]) == set(layers)
    with pytest.raises(TargetsError, match="no means of channels"):
        check_style_targets(plain, COVARIANCE)
    assert "mean" not in repr(prepared)


@pytest.mark.parametrize("divisor", ["none", "pixels_channels"])
def test_a_covariance_is_a_mean_over_positions(divisor):
    with pytest.raises(ConfigError, match="goes with Gram divisor pixels"):
        LossConfig(style_statistics="covariance", gram_divisor=divisor)
