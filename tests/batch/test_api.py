"""Many images at once: they do not affect one another, padding changes nothing, out of memory halves the batch."""

import dataclasses
import functools
import math

import jax
import numpy as np
import pytest
from material import paint, random_params
from small import shallow, small_params

import jnst
from jnst.batch import scheduler as scheduling
from jnst.batch import style_cache
from jnst.batch.api import stylize_batch
from jnst.batch.batch_scale import BatchScale
from jnst.batch.loop import Problem, advance_batch, begin_batch
from jnst.batch.requests import Task, prepare
from jnst.batch.scheduler import BatchScheduler, Plan
from jnst.config import Config, LossConfig, NetworkConfig, OptimizerConfig, RunConfig, SizeConfig, compile_key
from jnst.errors import ConfigError, JnstError
from jnst.images.padding import pad_image, padded_side
from jnst.presets.presets import PRESETS
from jnst.transfer.driver import stylize
from jnst.transfer.inspection import inspect
from jnst.transfer.memory import batch_size_that_fits, compiled_bytes, element_bytes, params_bytes
from jnst.transfer.stopping import StopRule
from jnst.transfer.style_targets import picture_grams, prepare_style
from jnst.transfer.texture import reconstruct
from jnst.vgg.convolution import prepare_params
from jnst.vgg.layers import convolutions, scaled_channels
from jnst.vgg.winograd import winograd_pays

WIDTH = 1 / 16
CONFIG = Config(
    network=NetworkConfig(width=WIDTH),
    size=SizeConfig(rule="keep"),
    loss=LossConfig(
        style_weight=100.0,
        tv_weight=1.0,
        tv_norm="l2",  # a sign has no gradient to compare where neighbours are equal
        content_layers=(("relu2_2", 1.0),),
        style_layers=(("relu1_1", 0.5), ("relu2_1", 0.5)),
        content_normalization="target_variance",
        style_normalization="target_norm",
    ),
    run=RunConfig(steps=6, chunk=2),
)
STYLE = paint("weave", 32, 32)
SQUARES = [paint("hills", 32, 32), paint("shapes", 32, 32), paint("marble", 32, 32)]


def vary(config: Config = CONFIG, **parts) -> Config:
    """The config with fields of its parts replaced: vary(run={"steps": 3})."""
    return dataclasses.replace(
        config,
        **{
            name: dataclasses.replace(getattr(config, name), **value) if isinstance(value, dict) else value
            for name, value in parts.items()
        },
    )


@pytest.fixture(scope="module")
def params():
    return prepare_params(random_params("vgg19", WIDTH, 0))


@pytest.fixture(scope="module")
def together(params):
    """Three images in a batch of four elements."""
    return stylize_batch(params, SQUARES, STYLE, CONFIG, batch_size=4)


def test_padded_sides_are_few_and_little_longer():
    assert [padded_side(length) for length in (1, 16, 17, 225, 256, 257, 341, 400, 512, 683)] == [
        *(16, 16, 32, 240, 256, 288, 352, 416, 512, 704)
    ]
    assert len({padded_side(length) for length in range(257, 513)}) == 8
    assert max(padded_side(length) / length for length in range(128, 4096)) < 1.13


def test_padding_goes_below_and_to_the_right():
    padded = pad_image(np.ones((2, 3, 3), np.float32), (4, 4))
    assert padded[..., 0].tolist() == [[1, 1, 1, 0], [1, 1, 1, 0], [0, 0, 0, 0], [0, 0, 0, 0]]


def test_result_is_the_same_to_the_bit_alone_first_last_and_beside_infinity(params, together):
    # Pictures that hold NaN are refused at once; a loss beyond float32 still is not finite.
    broken = vary(loss={"tv_weight": 3e38})
    alone = stylize_batch(params, [SQUARES[0]], STYLE, CONFIG, batch_size=4)
    contents, configs = [SQUARES[1], SQUARES[2], SQUARES[1], SQUARES[0]], [broken, CONFIG, CONFIG, CONFIG]
    last = stylize_batch(params, contents, STYLE, configs, batch_size=4)
    assert np.array_equal(alone[0].image, together[0].image)
    assert np.array_equal(last[3].image, together[0].image)
    assert np.array_equal(last[2].image, together[1].image)
    assert last[3].trace == together[0].trace
    assert last[0].stopped == "stuck"
    assert last[0].trace["total"] == [math.inf]
    assert [result.stopped for result in last[1:]] == ["steps"] * 3


def test_batch_agrees_with_single_runs(params, together):
    single = stylize(params, SQUARES[0], STYLE, CONFIG)
    # Another number of elements is another program, whose sums are rounded differently; the descent amplifies that.
    np.testing.assert_allclose(together[0].image, single.image, atol=2e-5)
    np.testing.assert_allclose(together[0].trace["total"], single.trace["total"], rtol=1e-4)
    assert together[0].trace["evaluation"] == single.trace["evaluation"] == list(range(1, 8))
    assert together[0].best_step == single.best_step


@pytest.mark.parametrize(
    ("pooling", "rounding", "border", "compared"), [("max", "floor", "zero", 0), ("average", "ceil", "replicate", 1)]
)
def test_padded_images_equal_unpadded_ones(params, pooling, rounding, border, compared):
    config = vary(
        network={"pooling": pooling, "pool_rounding": rounding, "first_padding": border},
        optimizer={"frequency_exponent": 0.5} if pooling == "max" else {"method": "adam"},
        run={"steps": 4},
    )
    contents, style = [paint("hills", 33, 45), paint("marble", 47, 37)], paint("weave", 35, 41)
    result = stylize_batch(params, contents, style, config)[compared]
    single = stylize(params, contents[compared], style, config)
    assert result.image.shape == contents[compared].shape
    np.testing.assert_allclose(result.trace["total"], single.trace["total"], rtol=2e-5)
    np.testing.assert_allclose(result.image, single.image, atol=2e-5)


def test_coarse_to_fine_agrees_with_a_single_run(params):
    config = vary(
        optimizer={"method": "adam"},
        run={"steps": 2, "scales": 2},
        loss={"content_layers": (), "style_layers": (("relu1_1", 1.0),)},
    )
    (result,) = stylize_batch(params, SQUARES[0], STYLE, config)
    single = stylize(params, SQUARES[0], STYLE, config)
    np.testing.assert_allclose(result.image, single.image, atol=1e-5)


def test_each_element_stops_by_its_own_tolerance_and_the_loop_ends_when_all_have(params):
    config = vary(run={"steps": 40, "chunk": 4, "tolerance": 0.2})
    results = stylize_batch(params, SQUARES, STYLE, config, batch_size=4)
    lengths = []
    for content, result in zip(SQUARES, results, strict=True):
        single = stylize(params, content, STYLE, config)
        assert result.stopped == single.stopped == "tolerance"
        assert len(result.trace["total"]) == len(single.trace["total"]) < 41
        np.testing.assert_allclose(result.trace["total"], single.trace["total"], rtol=0.02)
        lengths.append(len(result.trace["total"]))
    assert len(set(lengths)) > 1


def test_a_sweep_over_weights_and_seeds_is_one_compilation(params, together):
    before = advance_batch._cache_size()
    configs = [vary(loss={"style_weight": weight}) for weight in (1.0, 100.0, 1e4)]
    swept = stylize_batch(params, SQUARES[0], STYLE, configs, seeds=[0, 1, 2], batch_size=4)
    assert advance_batch._cache_size() == before
    assert np.array_equal(swept[1].image, together[0].image)
    content_terms = [result.trace["content"][-1] for result in swept]
    assert content_terms == sorted(content_terms)


def test_many_styles_for_one_content_and_blends(params, together):
    styles = [STYLE, (STYLE, SQUARES[1])]
    one, blend = stylize_batch(params, SQUARES[0], styles, CONFIG, batch_size=4)
    assert np.array_equal(one.image, together[0].image)
    single = stylize(params, SQUARES[0], [STYLE, SQUARES[1]], CONFIG)
    np.testing.assert_allclose(blend.image, single.image, atol=2e-5)


def test_a_callback_sees_all_elements_and_can_end_the_batch(params):
    seen = []

    def callback(snapshot):
        seen.append((snapshot.indices, [one.step for one in snapshot.progress], snapshot.image(1).shape))
        return True

    results = stylize_batch(params, SQUARES, STYLE, CONFIG, batch_size=4, callback=callback)
    assert seen == [((0, 1, 2), [0, 0, 0], (32, 32, 3))]
    assert [result.stopped for result in results] == ["callback"] * 3


def test_a_elements_picture_is_there_until_the_callback_returns(params):
    seen = []
    stylize_batch(params, SQUARES, STYLE, CONFIG, batch_size=4, callback=seen.append)
    with pytest.raises(JnstError, match="only until its callback returns"):
        seen[0].image(1)


def test_a_style_prepared_beforehand_gives_the_picture_that_the_painting_gives_at_every_scale(params):
    config = vary(run={"scales": 3, "steps": 3})
    photo = paint("hills", 67, 65)  # no coarser side is half of the finer one
    painting = np.rint(255 * paint("weave", 70, 90)).astype(np.uint8)
    prepared = prepare_style(params, painting, config)
    assert [gram["relu1_1"].shape for gram in prepared.grams] == 3 * [(4, 4)]
    of_file, of_picture = (stylize_batch(params, [photo], style, config)[0] for style in (prepared, painting))
    np.testing.assert_array_equal(of_file.image, of_picture.image)
    assert of_file.trace == of_picture.trace


def test_contents_of_all_sizes_share_the_gram_matrices_of_a_style(params, monkeypatch):
    made = []

    def counted(*arguments, **options):
        made.append(arguments[1].shape)
        return picture_grams(*arguments, **options)

    monkeypatch.setattr(style_cache, "picture_grams", counted)
    photos = [paint("hills", *sides) for sides in ((66, 64), (67, 65), (64, 69))]
    stylize_batch(params, photos, paint("weave", 70, 90), vary(run={"scales": 3, "steps": 1}))
    assert sorted(made) == [(18, 22, 3), (35, 45, 3), (70, 90, 3)]


def make_batch(params, config, count):
    items = [prepare(Task(SQUARES[index % 3], (STYLE,), config)) for index in range(count)]
    scale = BatchScale(items, 0, list(range(count)), {"start": 0.0})
    grams = picture_grams(params, STYLE, config)
    problems = scale.problems([item.full for item in items], [grams] * count, count)
    targets, elements = begin_batch(params, problems, config=scale.key)
    return scale, targets, elements


def test_the_state_is_donated(params):
    scale, targets, elements = make_batch(params, CONFIG, 4)
    arguments = (params, scale.rule, np.int32(0), targets, elements)
    report = advance_batch.lower(*arguments, config=scale.key).compile().memory_analysis()
    advance_batch(*arguments, config=scale.key)
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves(elements.state))
    assert not any(leaf.is_deleted() for leaf in jax.tree.leaves(targets))
    state_bytes = sum(leaf.nbytes for leaf in jax.tree.leaves(elements.state))
    assert report.alias_size_in_bytes > 0.95 * state_bytes


def compile_batch(config: Config, side: int, count: int):
    """The compiled loop for so many elements, from shapes alone: nothing is allocated."""
    channels = {
        name: scaled_channels(base, config.network.width)
        for name, base in convolutions(config.network.architecture).items()
    }
    params, inputs = {}, 3
    for name, outputs in channels.items():
        params[name] = {
            "kernel": jax.ShapeDtypeStruct((3, 3, inputs, outputs), np.float32),
            "kernel_flipped": jax.ShapeDtypeStruct((3, 3, outputs, inputs), np.float32),
            "bias": jax.ShapeDtypeStruct((outputs,), np.float32),
        }
        if winograd_pays(name, inputs, outputs):
            params[name]["winograd"] = jax.ShapeDtypeStruct((36, inputs, outputs), np.float32)
            params[name]["winograd_flipped"] = jax.ShapeDtypeStruct((36, outputs, inputs), np.float32)
        inputs = outputs
    image, number = jax.ShapeDtypeStruct((count, side, side, 3), np.float32), jax.ShapeDtypeStruct((count,), np.float32)
    widths = {layer: channels[layer.replace("relu", "conv")] for layer, _ in config.loss.style_layers}
    grams = {layer: jax.ShapeDtypeStruct((count, width, width), np.float32) for layer, width in widths.items()}
    used = jax.ShapeDtypeStruct((count,), np.bool_)
    problems = Problem(image, image, grams, dict.fromkeys(("content", "style", "total_variation"), number), None, used)  # type: ignore[arg-type]
    key = compile_key(config)
    targets, elements = jax.eval_shape(functools.partial(begin_batch, config=key), params, problems)
    rule = StopRule(*(jax.ShapeDtypeStruct((), kind) for kind in (np.int32, np.int32, np.float32)))  # type: ignore[arg-type]
    steps = jax.ShapeDtypeStruct((), np.int32)
    return advance_batch.lower(params, rule, steps, targets, elements, config=key).compile()


def test_the_default_on_vgg19_needs_what_the_model_says_and_keeps_every_fast_convolution():
    config = PRESETS["default"]
    compiled = compile_batch(config, 256, 4)
    predicted = params_bytes(config) + 4 * element_bytes(config, 256, 256)
    assert 0.95 < predicted / compiled_bytes(compiled) < 1.3
    # On CPU a convolution that XLA does not recognise runs twenty times slower, and says nothing. Up to relu5_1 there
    # are thirteen forward and thirteen backward, some as Winograd's products; those and Gram matrices are fast as well.
    assert compiled.as_text().count("__ynn_fusion") >= 26


def test_elements_are_a_power_of_two_that_fits():
    config = Config()
    one = element_bytes(config, 512, 512)
    assert 0.5e9 < one < 1e9
    assert batch_size_that_fits(config, 512, 512, available=params_bytes(config) + 7 * one, platform="gpu") == 4
    assert batch_size_that_fits(config, 512, 512, available=0, platform="gpu") == 1
    assert batch_size_that_fits(config, 512, 512, available=10**15, platform="gpu") == 64


def test_out_of_memory_halves_the_batch_and_goes_on(params, monkeypatch):
    tried = []

    def small_device(*arguments, **settings):
        tried.append(arguments[-1].reason.shape[0])
        if tried[-1] > 2:
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 99 bytes")
        return advance_batch(*arguments, **settings)

    small_device.compile = advance_batch.compile
    monkeypatch.setattr(scheduling, "advance_batch", small_device)
    contents = [*SQUARES, SQUARES[0], SQUARES[1]]
    results = stylize_batch(params, contents, STYLE, vary(run={"steps": 1}), batch_size=4)
    assert sorted(set(tried), reverse=True) == [4, 2]
    assert tried.count(4) == 1
    assert len(results) == 5
    np.testing.assert_array_equal(results[0].image, results[3].image)


def test_out_of_memory_with_a_single_image_says_what_it_needs(params, monkeypatch):
    def no_memory(*_, **__):
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory")

    no_memory.compile = advance_batch.compile
    monkeypatch.setattr(scheduling, "advance_batch", no_memory)
    with pytest.raises(ConfigError, match=r"single image of 32 × 32 pixels.*tiles"):
        stylize_batch(params, SQUARES[0], STYLE, CONFIG, batch_size=1)


def test_other_errors_are_passed_on(params):
    with pytest.raises(ConfigError, match="needs at least 2 a side"):
        stylize_batch(params, np.zeros((1, 40, 3)), STYLE, CONFIG)


@pytest.mark.parametrize(("shape", "told"), [((1, 1, 3), "1 × 1"), ((1, 40, 3), "40 × 1"), ((40, 1, 3), "1 × 40")])
def test_a_point_or_a_line_is_enlarged_nowhere(params, shape, told):
    point, config = np.zeros(shape, np.uint8), dataclasses.replace(CONFIG, size=SizeConfig(pixels=32))
    message = f"image is {told} pixels; a side of one pixel is not enlarged.* and 2 at working size"
    for paint_it in (
        lambda: stylize_batch(params, [point], STYLE, config),
        lambda: stylize(params, point, STYLE, config),
        lambda: reconstruct(params, point, config, layers=["relu2_2"]),
        lambda: inspect(params, point, config, layers=["relu2_2"]),
        lambda: prepare(Task(point, (STYLE,), config)),
    ):
        with pytest.raises(ConfigError, match=message):
            paint_it()


def test_lists_of_unequal_length_are_refused(params):
    with pytest.raises(ConfigError, match="there are 2 styles for 3 images"):
        stylize_batch(params, SQUARES, [STYLE, STYLE], CONFIG)


def test_what_a_batch_needs_is_reported_once_for_each_size(params):
    plans: list[Plan] = []
    scheduler = BatchScheduler(params, batch_size=4, report=plans.append)
    items = [prepare(Task(content, (STYLE,), CONFIG)) for content in SQUARES]
    scheduler.run(items)
    scheduler.run(items[:1])
    assert [(plan.size, plan.batch_size, plan.devices) for plan in plans] == [((32, 32), 4, 1)]
    assert plans[0].compiled
    assert plans[0].compiled < plans[0].available


def test_a_batch_size_that_was_asked_for_is_kept(params):
    item = prepare(Task(SQUARES[0], (STYLE,), CONFIG))
    fixed = BatchScheduler(params, batch_size=8)
    assert [fixed._choose_batch_size(item, waiting) for waiting in (20, 3)] == [8, 8]


def test_optimizer_settings_reach_every_element(params):
    config = vary(optimizer=OptimizerConfig(method="adam", learning_rate=0.25), run={"steps": 1, "keep": "last"})
    (result,) = stylize_batch(params, np.full((32, 32, 3), 0.5), STYLE, config, batch_size=1)
    moved = np.abs(result.image - 0.5)
    # Adam's first step has the length of the learning rate wherever there is a gradient.
    assert 0.2499 < moved.max() < 0.2501


def test_content_leads_in_every_element(params):
    config = vary(optimizer={"content_lead": 16.0}, run={"steps": 300, "chunk": 102})
    at_once = stylize_batch(params, SQUARES[:2], STYLE, config, batch_size=2)
    single = stylize(params, SQUARES[1], STYLE, config)
    # Turns 100 and 200 stay where they are, and their entries tell the same loss twice.
    for result in (*at_once, single):
        (still,) = np.nonzero(np.diff(result.trace["total"]) == 0)
        assert {99, 199} <= set(still.tolist())
    np.testing.assert_allclose(at_once[1].trace["total"][:20], single.trace["total"][:20], rtol=1e-4)


def test_tiled_images_are_painted_one_at_a_time(params):
    config = vary(run={"steps": 1}, optimizer={"method": "adam"}, tile=16)
    seen = []
    results = stylize_batch(params, SQUARES[:2], STYLE, config, callback=lambda shown: seen.append(shown.indices))
    single = stylize(params, SQUARES[1], STYLE, config)
    assert np.array_equal(results[1].image, single.image)
    assert set(seen) == {(0,), (1,)}


def test_a_batch_whose_pictures_do_not_fit_is_refused():
    """One that is not full holds copies, so that a single picture would take all memory."""
    picture = np.full((32, 32, 3), 0.5, np.float32)
    with pytest.raises(ConfigError, match="batch size is 1000000000, whose pictures alone need"):
        jnst.stylize_batch(small_params(), [picture], picture, shallow(steps=1), batch_size=10**9)


def test_regions_may_come_one_by_one():
    """A generator gives each but once, and a look at it for the checks would leave nothing."""
    picture = np.random.default_rng(0).random((32, 32, 3), np.float32)
    region, config = jnst.Region("all", picture), shallow(steps=1)
    listed = jnst.stylize(small_params(), picture, None, config, regions=[region])
    once = jnst.stylize(small_params(), picture, None, config, regions=(one for one in [region]))
    np.testing.assert_array_equal(once.image, listed.image)
    (batch,) = jnst.stylize_batch(small_params(), [picture], None, config, regions=(one for one in [[region]]))
    np.testing.assert_allclose(batch.image, listed.image, atol=1e-5)
