"""The planner: its memory model against the compiler's own figures, its choices, its advice."""

import dataclasses

import jax
import jax.numpy as jnp
import pytest
from PIL import Image
from small import tiny_weights

from jnst.cli.main import main
from jnst.config import Config, NetworkConfig, OptimizerConfig, RunConfig, compile_key
from jnst.loss.guidance import Guidance
from jnst.loss.targets import make_targets
from jnst.loss.tiling import Grid
from jnst.presets.presets import PRESETS
from jnst.presets.resolve import resolve_run
from jnst.transfer.loop import _advance_in_place
from jnst.transfer.memory import estimate_memory, format_bytes, params_bytes
from jnst.transfer.planning import describe_plan, expected_seconds, overhead, plan_run
from jnst.transfer.state import init_state
from jnst.vgg.convolution import prepare_params
from jnst.weights.network import random_weights

ADAM = OptimizerConfig(method="adam")
COMPACT = OptimizerConfig(history=5, history_precision="bfloat16", frequency_exponent=0.5)
NARROW = dataclasses.replace(PRESETS["default"], network=NetworkConfig("vgg19", 0.375, "average"))
GIGABYTE = 10**9


@pytest.mark.parametrize(
    ("optimizer", "tile", "regions"),
    [(ADAM, 256, 0), (COMPACT, 256, 0), (ADAM, 0, 0), (ADAM, 0, 2), (ADAM, 256, 2)],
    ids=["adam", "compact lbfgs", "adam, the whole image", "two regions", "two regions in tiles"],
)
def test_the_model_is_near_the_compilers_own_figures(optimizer, tile, regions):
    """Nothing is run: the compiler is asked for a large image, and answers in seconds."""
    config = dataclasses.replace(NARROW, tile=tile, optimizer=optimizer)
    size, key = (2048, 1536), compile_key(config)
    picture, masks, weights, keep = (
        jax.ShapeDtypeStruct(shape, jnp.float32) for shape in ((*size, 3), (*size, regions), (regions,), (*size, 1))
    )
    params = prepare_params(random_weights("vgg19", 0.375, 0))
    if regions:
        targets = jax.eval_shape(
            lambda x, *guidance: make_targets(params, x, [x] * regions, config, guidance=Guidance(*guidance)),
            *(picture, masks, weights, keep),
        )
    else:
        targets = jax.eval_shape(lambda x: make_targets(params, x, x, config), picture)
    state = jax.eval_shape(lambda x: init_state(x, config), picture)
    steps = jax.ShapeDtypeStruct((), jnp.int32)
    compiled = _advance_in_place.lower(params, targets, state, steps, config=key, optimizer=None, capacity=1).compile()
    report = compiled.memory_analysis()
    true = report.argument_size_in_bytes + report.temp_size_in_bytes
    memory = estimate_memory(size, config, regions=regions)
    model = memory.total - memory.fixed - memory.pictures + params_bytes(config)
    assert 0.95 <= model / true <= 1.35


def test_what_fits_is_run_whole():
    plan = plan_run((512, 512), NARROW, available=16 * GIGABYTE)
    assert plan.fits
    assert (plan.config.tile, plan.grid) == (0, None)


def test_what_does_not_fit_is_tiled_with_the_largest_tile_that_does():
    config = dataclasses.replace(PRESETS["default"], optimizer=ADAM)
    roomy, tight = (plan_run((4096, 4096), config, available=limit * GIGABYTE) for limit in (10, 5))
    assert roomy.fits
    assert tight.fits
    assert roomy.config.tile > tight.config.tile > 0
    assert tight.memory.total <= 5 * GIGABYTE < tight.whole.total


def test_content_targets_are_recomputed_where_they_would_not_fit():
    config = dataclasses.replace(PRESETS["default"], optimizer=ADAM)
    smallest = estimate_memory((4096, 4096), dataclasses.replace(config, tile=128)).total
    plan = plan_run((4096, 4096), config, available=smallest - 1)
    assert plan.config.tiled_content == "recompute"
    assert plan.fits


def test_a_given_tile_is_taken():
    assert plan_run((512, 512), Config(), tile=64, available=GIGABYTE).config.tile == 64


def test_what_never_fits_comes_with_advice_that_works():
    config = dataclasses.replace(PRESETS["default"], optimizer=OptimizerConfig(history=100))
    plan = plan_run((6000, 4000), config, available=8 * GIGABYTE)
    assert not plan.fits
    assert [advice.split(" (")[0] for advice in plan.advice[:-1]] == [
        "--history 5 --history-precision bfloat16",
        "--optimizer adam",
    ]
    long = int(plan.advice[-1].removeprefix("--size "))
    assert plan_run((long, long * 2 // 3), config, available=8 * GIGABYTE).fits
    assert not plan_run((long * 5 // 4, long * 5 // 6), config, available=8 * GIGABYTE).fits
    assert "does not fit; these would: --history 5" in describe_plan(plan)[-1]


def test_advice_repeats_nothing_that_is_already_so():
    config = dataclasses.replace(PRESETS["default"], optimizer=dataclasses.replace(COMPACT, history=40))
    plan = plan_run((6000, 4000), config, available=12 * GIGABYTE)
    assert not plan.fits
    assert [advice.split(" (")[0] for advice in plan.advice[:-1]] == [
        "--history 10 --history-precision bfloat16",
        "--history 5 --history-precision bfloat16",
        "--optimizer adam",
    ]


def test_devices_share_the_work_and_the_memory():
    """Four bands of 1504 rows (94 × 16); in tiles of 512, 1536 rows, three tiles each."""
    config = dataclasses.replace(NARROW, optimizer=COMPACT)
    alone, four = (plan_run((6000, 4000), config, tile=512, available=GIGABYTE, devices=count) for count in (1, 4))
    assert four.grid == Grid((512, 512), 80, (3, 8))
    assert 0.25 <= four.memory.optimizer / alone.memory.optimizer <= 0.30  # each has the cosines whole
    assert 0.24 <= four.whole.features / alone.whole.features <= 0.27
    size = [(6000, 4000)]
    assert expected_seconds(four, size, 1e-6) == pytest.approx(expected_seconds(alone, size, 1e-6) / 4, rel=0.01)
    assert "devices: 4, each with a band of rows" in describe_plan(four)[1]


def test_overhead_is_the_halo_and_the_second_forward_pass():
    # Three passes instead of two, over 672² instead of 512² pixels.
    assert overhead((1024, 1024), Grid((512, 512), 80, (2, 2))) == pytest.approx(1.5 * 672**2 / 512**2)


def test_expected_time_counts_every_scale_and_the_first_evaluation():
    config = dataclasses.replace(Config(), run=RunConfig(steps=9))
    plan = plan_run((200, 100), config, tile=0, available=GIGABYTE)
    assert expected_seconds(plan, [(100, 50), (200, 100)], 1e-6) == pytest.approx(10 * 25_000 * 1e-6)


def test_the_command_says_what_would_make_it_fit(tmp_path, capsys):
    from jnst.images.writing import write_image

    path = tmp_path / "photo.png"
    write_image(path, jnp.zeros((30, 40, 3)))
    command = ["plan", str(path), "--weights", tiny_weights(), "--size", "4000", "--no-probe"]
    assert main([*command, "--memory", "4.5"]) == 1
    said = capsys.readouterr().out
    assert "size: 4000 × 3000 (12.0 megapixels)" in said
    assert "these would: --history 5 --history-precision bfloat16" in said
    assert "scales: 250 × 188, 500 × 375, 1000 × 750, 2000 × 1500, 4000 × 3000" in said
    assert main([*command, "--memory", "40"]) == 0
    assert "tiles: none" in capsys.readouterr().out


def test_bad_flags_are_refused(tmp_path, capsys):
    assert main(["plan", "photo.png", "--tile", "100"]) == 2
    assert "expected auto, 0, or a multiple of 16" in capsys.readouterr().err
    assert main(["plan", "photo.png", "--memory", "-1"]) == 2
    assert "expected a number above zero" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--weights", "vgg91"], "unknown weights 'vgg91'; did you mean 'vgg19'"),
        (["--weights", "damaged.h5"], "damaged.h5"),
        (["--memory", "inf"], "memory is inf GB; expected a number above zero, below a million"),
    ],
)
def test_a_plan_is_of_what_was_named(tmp_path, monkeypatch, words, message, capsys):
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (40, 30)).save("photo.png")
    (tmp_path / "damaged.h5").write_bytes(b"no weights")
    assert main(["plan", "photo.png", "--no-probe", *words]) == 2
    assert message in capsys.readouterr().err
    assert main(["plan", "photo.png", "--no-probe", "--size", "64", "--weights", "later.h5"]) == 0
    assert "the weights are not there yet" in capsys.readouterr().out


@pytest.mark.parametrize(("size", "message"), [((1, 1), "1 × 1 pixels; a side"), ((40, 1), "40 × 1 pixels; a side")])
def test_a_point_is_not_planned(tmp_path, size, message, capsys):
    Image.new("RGB", size).save(tmp_path / "point.png")
    assert main(["plan", str(tmp_path / "point.png"), "--no-probe", "--weights", "later.h5"]) == 2
    assert message in capsys.readouterr().err


def test_masks_are_counted_and_checked(tmp_path, capsys):
    from jnst.images.writing import write_image

    for name, size in (("photo", (30, 40)), ("mask", (15, 20)), ("square", (30, 30))):
        write_image(tmp_path / f"{name}.png", jnp.zeros((*size, 3)).at[: size[0] // 2].set(1))
    photo, mask, square = (str(tmp_path / f"{name}.png") for name in ("photo", "mask", "square"))
    command = ["plan", photo, "--weights", tiny_weights(), "--size", "3000", "--no-probe", "--memory", "90"]
    said, needs = "", []
    for words in ([], ["--keep", mask, "--keep", "last"], ["--mask", mask, "--mask", "rest"]):
        assert main([*command, *words]) == 0
        said = capsys.readouterr().out
        needs.append(said.partition("memory, whole: ")[2].partition(" (")[0])
    config = resolve_run("default", weights=tiny_weights()).config
    assert needs == [format_bytes(estimate_memory((2250, 3000), config, regions=count).total) for count in range(3)]
    assert len(set(needs)) == 3
    assert "the mask is resized" in said
    for words, message in (
        (["--mask", square], "expected the same aspect ratio"),
        (["--mask", "lost.png"], "there is no picture at lost.png"),
        (["--mask", "rest", "--mask", "rest"], "two masks are 'rest'"),
        (["--mask", mask, "--style-mask", "all", "--style-mask", "all"], "masks: 1, styles: 2"),
        (["--region-weights", "1"], "region weights: 1, masks: 0"),
        (["--mask", mask, "--region-weights", "a"], "region weights is 'a'"),
    ):
        assert main([*command, *words]) == 2
        assert message in capsys.readouterr().err
