"""The optimisers on losses whose minimum is known: what they compute, what it costs, what they forget."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import oracles
import pytest
from optax import contrib

from jnst.config import OptimizerConfig
from jnst.optim.from_optax import optax_optimizer
from jnst.optim.optimizer import Evaluation
from jnst.optim.registry import make_optimizer

RNG = np.random.default_rng(0)
SHAPE = (4, 5, 3)
CURVATURE = (10 ** RNG.uniform(-1.5, 1.5, SHAPE)).astype(np.float32)
MINIMUM = RNG.normal(size=SHAPE).astype(np.float32)
SCALE = 2.0**-6  # below one over the largest curvature, so that the first step along the gradient goes down


def gradient(x):
    return CURVATURE * (x - MINIMUM)


class Hill:
    """½ Σ c (x − m)², and how often it was evaluated."""

    def __init__(self):
        self.count = 0

    def hit(self, _):
        self.count += 1

    def __call__(self, x):
        value = 0.5 * jnp.sum(CURVATURE * jnp.square(x - MINIMUM))
        jax.debug.callback(self.hit, value)
        return Evaluation(value, {"content": value}, gradient(x))


def run(optimizer, *, steps, start=None):
    """Points, losses, evaluations that the optimiser reports, evaluations that were made."""
    hill = Hill()
    scale = jnp.float32(SCALE if optimizer.scaled else 1)

    @jax.jit
    def step(point, evaluation, opt_state):
        move = optimizer.move(hill, point, evaluation, opt_state, scale, jnp.float32(1))
        opt_state = optimizer.accept(opt_state, move.opt_state, jnp.bool_(True), jnp.bool_(False))
        return move.point, move.evaluation, opt_state, move.evaluations

    point = jnp.zeros(SHAPE) if start is None else start
    evaluation, opt_state = hill(point), optimizer.init(point)
    points, losses, reported, made = [point], [float(evaluation.value)], [], []
    for _ in range(steps):
        jax.effects_barrier()
        before = hill.count
        point, evaluation, opt_state, evaluations = jax.block_until_ready(step(point, evaluation, opt_state))
        jax.effects_barrier()
        points.append(point)
        losses.append(float(evaluation.value))
        reported.append(int(evaluations))
        made.append(hill.count - before)
    return points, losses, reported, made


def identity(x):
    return x


# --- what they cost and reach ---

SEARCHING = {
    "zoom": OptimizerConfig(line_search="zoom"),
    "backtracking": OptimizerConfig(line_search="backtracking"),
    "hager-zhang": OptimizerConfig(line_search="hager-zhang"),
    "optax-zoom": OptimizerConfig(method="optax-lbfgs", line_search="zoom"),
}
FIXED = {
    "lbfgs": OptimizerConfig(),
    "lbfgs-2": OptimizerConfig(history=2),
    "lbfgs-half": OptimizerConfig(history_precision="bfloat16"),
    "lbfgs-longer": OptimizerConfig(inverse_scale=3.0),
    "jaxopt-lbfgs": OptimizerConfig(method="jaxopt-lbfgs"),
    "optax-lbfgs": OptimizerConfig(method="optax-lbfgs"),
    "adam": OptimizerConfig(method="adam", learning_rate=0.3),
    "adam-hat": OptimizerConfig(method="adam", learning_rate=0.3, epsilon_hat=True),
}


@pytest.mark.parametrize("name", [*SEARCHING, *FIXED])
def test_evaluations_are_counted_as_made_and_the_loss_falls(name):
    config = {**SEARCHING, **FIXED}[name]
    _, losses, reported, made = run(make_optimizer(config, identity), steps=25)
    assert reported == made
    if name in FIXED:
        assert set(made) == {1}
    assert losses[-1] < 0.02 * losses[0]


def lbfgs_points(start, steps, history):
    """Nocedal and Wright 2006, algorithms 7.4 and 7.5 with unit steps, on the scaled loss, in float64."""
    x, pairs, points = start.astype(np.float64), [], [start]
    slope = SCALE * gradient(x)
    for _ in range(steps):
        q, alphas = slope.copy(), []
        for s, y in reversed(pairs):
            alphas.append(np.sum(s * q) / np.sum(s * y))
            q -= alphas[-1] * y
        r = q * (np.sum(pairs[-1][0] * pairs[-1][1]) / np.sum(pairs[-1][1] ** 2) if pairs else 1.0)
        for (s, y), alpha in zip(pairs, reversed(alphas), strict=True):
            r += s * (alpha - np.sum(y * r) / np.sum(s * y))
        new = x - r
        new_slope = SCALE * gradient(new)
        pairs = [*pairs, (new - x, new_slope - slope)][-history:]
        x, slope = new, new_slope
        points.append(x)
    return points


@pytest.mark.parametrize("history", [1, 3, 10])
def test_fixed_steps_are_the_textbooks(history):
    expected = lbfgs_points(np.zeros(SHAPE), 8, history)
    for method, precision, tolerance in (
        ("lbfgs", "float32", 1e-3),
        ("lbfgs", "bfloat16", 0.1),
        ("jaxopt-lbfgs", "float32", 1e-3),
    ):
        config = OptimizerConfig(method=method, history=history, history_precision=precision)
        points = run(make_optimizer(config, identity), steps=8)[0]
        for ours, theirs in zip(points, expected, strict=True):
            np.testing.assert_allclose(ours, theirs, atol=tolerance * np.abs(theirs).max() + 1e-6)


@pytest.mark.parametrize("epsilon_hat", [False, True])
@pytest.mark.parametrize("epsilon", [1e-8, 0.1])
def test_adam_is_the_oracles(epsilon, epsilon_hat):
    config = OptimizerConfig(
        method="adam", learning_rate=0.05, beta1=0.99, epsilon=epsilon, epsilon_hat=epsilon_hat, clip=True
    )
    points = run(make_optimizer(config, lambda x: jnp.clip(x, -0.3, 0.5)), steps=20)[0]
    expected = oracles.adam(
        gradient,
        np.zeros(SHAPE),
        steps=20,
        learning_rate=0.05,
        beta1=0.99,
        epsilon=epsilon,
        epsilon_hat=epsilon_hat,
        clip=(-0.3, 0.5),
    )
    for ours, theirs in zip(points, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=2e-4)
    assert np.asarray(points[-1]).min() == np.float32(-0.3)  # the clip at work


def test_the_two_epsilons_differ_at_the_first_step():
    """m̂ / (√v̂ + ε) moves by g / (|g| + ε); with the hat ε counts 31.6 times, √(1 / (1 − β₂))."""
    start = jnp.asarray(MINIMUM + 1 / CURVATURE)  # a gradient of one everywhere
    for epsilon_hat, expected in ((False, 0.05 / 1.1), (True, 0.05 / (1 + 0.1 / np.sqrt(0.001)))):
        config = OptimizerConfig(method="adam", learning_rate=0.05, epsilon=0.1, epsilon_hat=epsilon_hat)
        points = run(make_optimizer(config, identity), steps=1, start=start)[0]
        np.testing.assert_allclose(points[0] - points[1], expected, rtol=1e-3)


# --- any optax transformation ---

TRANSFORMATIONS = {
    "momentum": lambda: optax.sgd(0.01, momentum=0.9),
    "scheduled": lambda: optax.adam(optax.cosine_decay_schedule(0.5, 40)),
    "clipped": lambda: optax.chain(optax.clip_by_global_norm(1.0), optax.sgd(0.3)),
    "injected": lambda: optax.inject_hyperparams(optax.adam)(learning_rate=0.3),
    "weights": lambda: optax.adamw(0.3),  # wants the point
    "polyak": lambda: optax.polyak_sgd(),  # wants the loss
    "plateau": lambda: optax.chain(optax.adam(0.3), contrib.reduce_on_plateau(patience=3)),
    "lbfgs": lambda: optax.lbfgs(),  # wants a function to search with
    "backtracking": lambda: optax.chain(
        optax.sgd(1.0), optax.scale_by_backtracking_linesearch(max_backtracking_steps=15)
    ),
}


@pytest.mark.parametrize("name", TRANSFORMATIONS)
def test_transformations_of_every_kind(name):
    optimizer = make_optimizer(OptimizerConfig(), identity, TRANSFORMATIONS[name]())
    _, losses, reported, made = run(optimizer, steps=20)
    assert reported == made
    assert losses[-1] < 0.7 * losses[0]
    assert (optimizer.scaled, optimizer.growth, optimizer.patience) == (False, float("inf"), 0)


def test_projection_follows_every_step():
    optimizer = optax_optimizer(optax.sgd(1.0), lambda x: jnp.clip(x, 0.0, 0.01))
    points = run(optimizer, steps=1)[0]
    np.testing.assert_array_equal(points[1], np.where(MINIMUM > 0, np.clip(CURVATURE * MINIMUM, 0, 0.01), 0))


# --- going on from where a move was taken back ---


@functools.cache
def compiled(name):
    """An optimiser, and its move on the hill, compiled once for all the tests of its state."""
    optimizer = make_optimizer({**SEARCHING, **FIXED}[name], identity)

    @jax.jit
    def move(point, evaluation, opt_state, step_scale=1.0):
        return optimizer.move(Hill(), point, evaluation, opt_state, jnp.float32(SCALE), jnp.float32(step_scale))

    point = jnp.zeros(SHAPE)
    return optimizer, move, point, Hill()(point), optimizer.init(point)


@functools.cache
def two_moves(name):
    """State after the first move, the second move, where it led, and where the first leads with an empty state."""
    optimizer, move, point, evaluation, empty = compiled(name)
    first = move(point, evaluation, empty)
    known = optimizer.accept(empty, first.opt_state, jnp.bool_(True), jnp.bool_(False))
    again = lambda opt_state: move(first.point, first.evaluation, opt_state).point  # noqa: E731
    return known, move(first.point, first.evaluation, known), again, again(empty)


@pytest.mark.parametrize("name", ["lbfgs", "lbfgs-half", "jaxopt-lbfgs", "optax-lbfgs", "adam"])
def test_memory_of_a_move_taken_back_is_as_if_it_had_not_been_made(name):
    known, second, again, _ = two_moves(name)
    opt_state = compiled(name)[0].accept(known, second.opt_state, jnp.bool_(False), jnp.bool_(False))
    np.testing.assert_array_equal(again(opt_state), second.point)


@pytest.mark.parametrize("name", ["lbfgs", "lbfgs-half", "jaxopt-lbfgs", "optax-lbfgs", "zoom"])
def test_forgetting_begins_anew(name):
    known, second, again, anew = two_moves(name)
    assert jnp.any(second.point != anew)
    for keep in (False, True):
        opt_state = compiled(name)[0].accept(known, second.opt_state, jnp.bool_(keep), jnp.bool_(True))
        np.testing.assert_array_equal(again(opt_state), anew)


@pytest.mark.parametrize("name", ["lbfgs", "lbfgs-half", "jaxopt-lbfgs", "optax-lbfgs", "adam"])
def test_numbers_that_are_not_finite_do_not_stay_in_memory(name):
    optimizer, move, point, evaluation, empty = compiled(name)

    @jax.jit
    def poisoned(bad):
        value = jnp.float32(bad)
        poison = Evaluation(value, {"content": value}, jnp.full(SHAPE, bad))
        return optimizer.move(lambda _: poison, point, evaluation, empty, jnp.float32(SCALE), jnp.float32(1)).opt_state

    for bad, forget in itertools.product((jnp.nan, jnp.inf), (False, True)):
        left = optimizer.accept(empty, poisoned(bad), jnp.bool_(False), jnp.bool_(forget))
        after = move(point, evaluation, left)
        assert jnp.all(jnp.isfinite(after.point))
        assert after.evaluation.value < evaluation.value


@pytest.mark.parametrize("name", ["lbfgs", "lbfgs-half", "jaxopt-lbfgs", "optax-lbfgs"])
def test_shrinking_shortens_the_step(name):
    _, move, point, evaluation, empty = compiled(name)
    whole, quarter = (move(point, evaluation, empty, jnp.float32(step_scale)).point for step_scale in (1, 0.25))
    np.testing.assert_allclose(quarter, 0.25 * whole, rtol=1e-5)


@pytest.mark.parametrize("name", FIXED)
def test_at_the_minimum_nothing_moves(name):
    optimizer = make_optimizer(FIXED[name], identity)
    points, losses, *_ = run(optimizer, steps=3, start=jnp.asarray(MINIMUM))
    np.testing.assert_array_equal(points[-1], MINIMUM)
    assert losses[-1] == 0


# --- many at once ---


@pytest.mark.parametrize("name", ["lbfgs", "zoom", "optax-zoom", "adam"])
def test_each_element_gets_what_it_gets_alone(name):
    """Also where a line search keeps the elements waiting for one another."""
    optimizer = make_optimizer({**SEARCHING, **FIXED}[name], identity)
    starts = jnp.stack([jnp.zeros(SHAPE), jnp.asarray(3 * RNG.normal(size=SHAPE), jnp.float32)])

    def descend(point):
        def evaluate(x):
            value = 0.5 * jnp.sum(CURVATURE * jnp.square(x - MINIMUM) + jnp.square(jnp.square(x)))
            return Evaluation(value, {"content": value}, gradient(x) + 2 * x**3)

        def step(carry, _):
            move = optimizer.move(evaluate, *carry, jnp.float32(SCALE / 16), jnp.float32(1))
            return (move.point, move.evaluation, move.opt_state), move.evaluations

        carry, counts = jax.lax.scan(step, (point, evaluate(point), optimizer.init(point)), length=4)
        return carry[0], counts

    points, counts = jax.jit(jax.vmap(descend))(starts)
    descend = jax.jit(descend)
    for element, start in enumerate(starts):
        alone, count = descend(start)
        np.testing.assert_allclose(points[element], alone, rtol=1e-4, atol=1e-5)
        np.testing.assert_array_equal(counts[element], count)
