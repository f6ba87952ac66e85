"""Terms of the loss from outside the package: they are used, and seen wherever the package's own are."""

from dataclasses import replace
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small import picture, relative, shallow, small_params

import jnst
from jnst.errors import ConfigError
from jnst.jobs import plots
from jnst.jobs.job import Job
from jnst.jobs.record import make_record
from jnst.loss.objective import evaluate
from jnst.loss.tiled import evaluate_tiled
from jnst.transfer import loop

CONTENT, STYLE, IMAGE = picture("shapes", 21, 31), picture("marble", 27, 18, 3), picture("weave", 21, 31)


def mean_square(image, wanted, context):
    del context
    return jnp.mean(jnp.square(image - wanted))


def maps_apart(ours, theirs, context):
    return jnp.sum(jnp.square(ours["conv1_2"] - theirs["conv1_2"])) / context.pixels("conv1_2")


def traces_apart(ours, theirs, context):
    del context
    return jnp.square(jnp.trace(ours["relu1_2"]) - jnp.trace(theirs["relu1_2"]))


GREY = jnst.Term("grey", 3.0, "image", mean_square, target=lambda content, config: jnp.full_like(content, 0.5))
MAPS = jnst.Term("maps", 2.0, "maps", maps_apart, layers=("conv1_2",))
TRACES = jnst.Term("gram_traces", 5.0, "grams", traces_apart, layers=("relu1_2",))
ALL = (GREY, MAPS, TRACES)


def targets_of(config, terms=ALL):
    return jnst.make_targets(small_params(), CONTENT, STYLE, config, extra_terms=terms)


def test_a_term_of_each_kind_is_what_it_says():
    config = shallow()
    terms = jnst.loss_terms(small_params(), IMAGE, targets_of(config), config)
    maps = {
        name: jnst.extract_features(
            small_params(), jnst.encode(image, config.network_input), ["conv1_2", "relu1_2"], config.network
        )
        for name, image in (("image", IMAGE), ("content", CONTENT), ("style", STYLE))
    }
    ours, theirs = (float(jnp.sum(jnp.square(maps[name]["relu1_2"]))) for name in ("image", "style"))
    apart = np.sum(np.square(maps["image"]["conv1_2"] - maps["content"]["conv1_2"]), dtype=np.float64) / (21 * 31)
    assert set(terms) == {"content", "style", "total_variation", "grey", "maps", "gram_traces"}
    assert float(terms["grey"]) == pytest.approx(np.mean(np.square(np.asarray(IMAGE) - 0.5)), rel=1e-5)
    assert float(terms["maps"]) == pytest.approx(apart, rel=1e-4)
    assert float(terms["gram_traces"]) == pytest.approx((ours / (21 * 31) - theirs / (27 * 18)) ** 2, rel=1e-3)


def test_extra_terms_leave_the_others_as_they_are_and_add_up():
    config = shallow()
    plain, more = (
        jax.jit(lambda targets: evaluate(small_params(), IMAGE, targets, config))(targets_of(config, terms))
        for terms in ((), ALL)
    )
    (total, terms), _ = plain
    (whole, others), _ = more
    for name, term in terms.items():
        assert float(others[name]) == pytest.approx(float(term), rel=1e-6)
    extra = 3 * others["grey"] + 2 * others["maps"] + 5 * others["gram_traces"]
    assert float(whole) == pytest.approx(float(total) + float(extra), rel=1e-5)


def test_the_gradient_is_that_of_the_whole_sum():
    config = shallow()
    targets = targets_of(config)
    gradient = evaluate(small_params(), IMAGE, targets, config)[1]
    only = targets._replace(weights={name: jnp.float32(name == "grey") for name in targets.weights})
    slope = evaluate(small_params(), IMAGE, only, config)[1]
    assert relative(slope, 2 * (np.asarray(IMAGE) - 0.5) / IMAGE.size) < 1e-5
    assert relative(gradient, slope) > 0.01


def test_tiles_give_the_same_terms_and_gradient():
    config = shallow()
    tiled = replace(config, tile=16)
    (total, terms), gradient = evaluate(small_params(), IMAGE, targets_of(config), config)
    for content in ("keep", "recompute"):
        one = replace(tiled, tiled_content=content)
        (value, found), slope = evaluate_tiled(small_params(), IMAGE, targets_of(one), one)
        assert float(value) == pytest.approx(float(total), rel=1e-5)
        for name, term in terms.items():
            assert float(found[name]) == pytest.approx(float(term), rel=1e-5), name
        assert relative(slope, gradient) < 1e-5


def test_it_is_seen_in_trace_progress_record_and_plot(tmp_path, monkeypatch):
    config, seen, labels = shallow(steps=3), [], []
    result = jnst.stylize(
        small_params(), CONTENT, STYLE, config, extra_terms=[GREY], callback=lambda shown: seen.append(shown.progress)
    )
    grey = result.trace["grey"]
    assert grey[0] == pytest.approx(np.mean(np.square(np.asarray(CONTENT) - 0.5)), rel=1e-5)
    assert [progress.terms["grey"] for progress in seen] == [grey[progress.step] for progress in seen]
    for row in range(4):
        value = {name: values[row] for name, values in result.trace.items()}
        weighted = value["content"] + 10 * value["style"] + value["total_variation"] + 3 * value["grey"]
        assert value["total"] == pytest.approx(weighted, rel=1e-5)
    file = tmp_path / "content.png"
    jnst.write_image(file, CONTENT)
    weights = SimpleNamespace(info=SimpleNamespace(name="narrow", sha256="0"))
    record = make_record(Job(file, (file,), tmp_path / "out.png", config), weights, result, interrupted=False)
    assert record["trace"]["grey"] == grey
    draw = plots._draw
    monkeypatch.setattr(plots, "_draw", lambda *parts: (labels.extend(line[1] for line in parts[2]), draw(*parts)))
    plots.plot_losses(result.trace, tmp_path / "losses.png")
    assert labels == ["weighted total", "content", "grey", "style", "total variation"]


def test_a_batch_has_it_as_a_single_image_has():
    config, params, square = shallow(steps=2), small_params(), picture("hills", 32, 32)
    results = jnst.stylize_batch(params, [square, 1 - square], STYLE, config, extra_terms=ALL, batch_size=2)
    alone = jnst.stylize(params, 1 - square, STYLE, config, extra_terms=ALL)
    for name, values in alone.trace.items():
        np.testing.assert_allclose(results[1].trace[name], values, rtol=2e-3)


def test_another_weight_compiles_nothing_anew():
    config, compiled = shallow(), []
    for weight in (1.0, 2.0):
        terms = [GREY._replace(weight=weight)]
        state = jnst.init_state(CONTENT, config, extra_terms=terms)
        jnst.advance(small_params(), targets_of(config, terms), state, config, num_steps=1)
        compiled.append(loop._advance._cache_size())
    assert compiled[0] == compiled[1]


def test_a_state_of_other_terms_is_refused():
    config = shallow()
    state = jnst.init_state(CONTENT, config)
    with pytest.raises(ConfigError, match="begun with the terms content, style, total_variation, the targets have"):
        jnst.advance(small_params(), targets_of(config), state, config, num_steps=1)


@pytest.mark.parametrize(
    ("term", "message"),
    [
        (GREY._replace(name="style"), "an extra term is called 'style'; expected a name of letters"),
        (GREY._replace(name="total"), "an extra term is called 'total'"),
        (GREY._replace(name="my term"), "an extra term is called 'my term'"),
        (GREY._replace(weight=-1.0), "weight of term grey is -1.0; expected a finite number that is zero or more"),
        (MAPS._replace(layers=("relu9_1",)), "unknown layer of vgg19 'relu9_1'"),
    ],
)
def test_terms_that_cannot_be_used_are_refused(term, message):
    with pytest.raises(ConfigError, match=message):
        targets_of(shallow(), [term])


def test_a_term_deeper_than_the_tiles_border_is_refused():
    deep = MAPS._replace(layers=("conv3_1",))
    with pytest.raises(ConfigError, match=r"term maps looks at conv3_1, which is deeper .* set tile to 0"):
        targets_of(replace(shallow(), tile=16), [deep])
