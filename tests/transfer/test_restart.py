"""Going on under other weights is beginning anew from the same picture."""

from dataclasses import replace

import numpy as np
import pytest
from small import picture, shallow, small_params

from jnst.config import OptimizerConfig
from jnst.loss.targets import loss_weights, make_targets
from jnst.transfer.loop import advance
from jnst.transfer.restart import restart
from jnst.transfer.state import init_state, to_image

METHODS = {
    "lbfgs": OptimizerConfig(),
    "line search": OptimizerConfig(line_search="zoom"),
    "optax": OptimizerConfig(method="optax-lbfgs"),
}


def paint_on(optimizer: OptimizerConfig):
    config = shallow(optimizer=optimizer)
    targets = make_targets(small_params(), picture("shapes"), picture("marble", seed=3), config)
    state, _ = advance(small_params(), targets, init_state(picture("weave"), config), config, num_steps=6)
    heavier = replace(config, loss=replace(config.loss, style_weight=5 * config.loss.style_weight))
    return config, targets._replace(weights=loss_weights(heavier)), state


@pytest.mark.parametrize("method", METHODS)
def test_a_restarted_state_goes_on_like_a_fresh_one_from_the_same_image(method):
    config, heavier, state = paint_on(METHODS[method])
    # The variable is RGB in [0, 1] here, so the point is the image itself, unclipped.
    fresh, expected = advance(small_params(), heavier, init_state(state.point, config), config, num_steps=5)
    again, trace = advance(small_params(), heavier, restart(state), config, num_steps=5)
    np.testing.assert_array_equal(trace.total, expected.total)
    np.testing.assert_array_equal(again.point, fresh.point)
    assert int(again.best_step) == int(fresh.best_step)


def test_the_picture_stays_with_frequency_preconditioning():
    config, heavier, state = paint_on(OptimizerConfig(frequency_exponent=0.5))
    before = np.asarray(to_image(state.point, state.start, state.basis))
    again, trace = advance(small_params(), heavier, restart(state), config, num_steps=1)
    np.testing.assert_array_equal(np.asarray(to_image(again.point, again.start, again.basis)), before)
    _, further = advance(small_params(), heavier, again, config, num_steps=8)
    assert float(further.total[-1]) < float(trace.total[0])


def test_nothing_is_believed_that_the_former_weights_measured():
    _, _, state = paint_on(OptimizerConfig())
    again = restart(state)
    assert np.isinf(again.best_value)
    assert np.isinf(again.evaluation.value)
    assert not np.any(again.evaluation.gradient)
    assert (int(again.step), int(again.rejected)) == (0, 0)
    assert int(again.evaluations) == int(state.evaluations)  # what was spent stays spent
