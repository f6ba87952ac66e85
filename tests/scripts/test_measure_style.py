"""The judge, on pictures whose verdict is known."""

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))
import measure_style
import style_judge as judge_room


@pytest.fixture(scope="module")
def waves() -> np.ndarray:
    """A picture with structure: diagonal waves over a gradient, 96 × 112."""
    vertical, horizontal = np.mgrid[0:96, 0:112]
    wave = 0.5 + 0.3 * np.sin(0.25 * vertical + 0.15 * horizontal)
    return np.stack([wave, 0.2 + 0.6 * horizontal / 112, 1 - wave * vertical / 96], -1)


@pytest.fixture(scope="module")
def discs() -> np.ndarray:
    """Another: dark discs on a light ground, 96 × 112."""
    vertical, horizontal = np.mgrid[0:96, 0:112]
    inside = (vertical % 24 - 12) ** 2 + (horizontal % 28 - 14) ** 2 < 60
    return np.where(inside[..., None], [0.1, 0.2, 0.4], [0.9, 0.8, 0.6])


def test_style_itself_is_at_distance_zero_and_content_at_one(waves, discs):
    assert judge_room.judge(discs, discs, discs) == pytest.approx((0, 1, 1, 1), abs=1e-9)
    assert judge_room.style_distance(discs, discs, waves) == 0
    assert judge_room.style_distance(waves, discs, waves) == pytest.approx(1)


def test_shuffled_pixels_keep_the_colours_and_lose_the_rest(waves, discs):
    shuffled = np.random.default_rng(0).permutation(discs.reshape(-1, 3)).reshape(discs.shape)
    *levels, colours = judge_room.style_distances(shuffled, discs)
    assert colours < 0.01  # the sampled pixels differ, their distribution does not
    assert levels[0] > 0.1
    verdict = judge_room.judge(shuffled, discs, waves)
    assert abs(verdict.structure) < 0.1
    assert verdict.grain > 3


def test_two_parts_of_one_texture_are_close_and_another_texture_is_far(waves, discs):
    moved = np.roll(discs, (11, 9), (0, 1))
    assert judge_room.style_distance(moved, discs, waves) < 0.25
    noise = np.random.default_rng(0).random(discs.shape)
    assert judge_room.style_distance(noise, discs, waves) > 1


def test_more_of_the_style_is_nearer_to_it(waves, discs):
    distances = [judge_room.style_distance((1 - t) * waves + t * discs, discs, waves) for t in (0.2, 0.5, 0.8, 1)]
    assert distances == sorted(distances, reverse=True)


def test_structure_survives_recolouring_and_inversion(waves, discs):
    assert judge_room.structure_kept(0.3 + 0.5 * waves, waves) == pytest.approx(1)
    assert judge_room.structure_kept(1 - waves, waves) == pytest.approx(1)
    assert judge_room.structure_kept(discs, waves) < 0.5
    assert judge_room.structure_kept(np.full_like(waves, 0.5), waves) == 0


def test_noise_level_is_the_standard_deviation_of_white_noise():
    noise = np.random.default_rng(0).normal(0, 0.05, (200, 200, 3))
    assert judge_room.noise_level(noise) == pytest.approx(0.05, rel=0.03)
    vertical, horizontal = np.mgrid[0:64, 0:64] / 64
    ramps = np.stack([vertical, horizontal, vertical > 0.5], -1)
    assert judge_room.noise_level(ramps) == pytest.approx(0, abs=1e-12)  # straight edges and ramps are no noise


def test_chroma_grain_sees_coloured_speckle_alone(waves):
    rng = np.random.default_rng(0)
    grey = np.repeat(waves[..., :1], 3, axis=-1)
    speckle = rng.normal(0, 0.05, grey.shape)
    speckle -= (speckle @ judge_room.LUMINANCE)[..., None]
    assert judge_room.chroma_noise(grey + rng.normal(0, 0.05, grey.shape[:2])[..., None]) == pytest.approx(0, abs=1e-12)
    assert judge_room.chroma_noise(grey + speckle) == pytest.approx(judge_room.chroma_noise(speckle))
    verdict = judge_room.judge(waves + 3 * speckle, waves + speckle, waves)
    assert verdict.chroma_grain == pytest.approx(3, rel=0.02)


def test_wasserstein_of_a_shifted_cloud_is_the_projected_shift():
    cloud = np.random.default_rng(0).standard_normal((4000, 1))
    assert judge_room.sliced_wasserstein(cloud, cloud + 0.7) == pytest.approx(0.7)
    assert judge_room.sliced_wasserstein(cloud, cloud[::-1]) == 0


def test_pyramid_levels_add_up_and_end_in_time(waves):
    levels = judge_room.gaussian_pyramid(waves)
    assert [level.shape[:2] for level in levels] == [(96, 112), (48, 56), (24, 28)]
    laplacian = judge_room.laplacian_pyramid(waves)
    np.testing.assert_allclose(laplacian[0] + judge_room.blur(levels[0]), levels[0])
    np.testing.assert_allclose(judge_room.blur(np.ones((20, 20, 3))), 1)


def test_result_of_another_size_is_refused(waves):
    with pytest.raises(ValueError, match=r"result has shape \(90, 112, 3\)"):
        judge_room.judge(waves[:90], waves, waves)


# ---- the comparison of networks


def make_trial(factor: float, structure: float, style_distance: float = 0.5, grain: float = 1.0) -> measure_style.Trial:
    return measure_style.Trial(factor, judge_room.Verdict(style_distance, structure, grain, 1.0), None)


def make_attempt(middle: float) -> tuple[list[float], Callable[[float], measure_style.Trial]]:
    """A search's trials, and a way to make one: structure and style distance grow with the factor, 0.5 at `middle`."""
    tried: list[float] = []

    def attempt(factor: float) -> measure_style.Trial:
        tried.append(factor)
        share = factor / (factor + middle)
        return make_trial(factor, share, share)

    return tried, attempt


def test_search_finds_the_least_edge_weight_that_keeps_the_structure():
    tried, attempt = make_attempt(20)
    found = measure_style.match_structure(attempt, attempt(1), 0.5)
    assert tried == pytest.approx([1, 10, 100, 10**1.5, 10**1.25])
    assert found.factor == pytest.approx(10**1.5)


def test_search_gives_up_structure_that_is_not_wanted_for_style():
    tried, attempt = make_attempt(0.1)
    found = measure_style.match_structure(attempt, attempt(1), 0.5)
    assert tried == pytest.approx([1, 10**-1, 10**-1.5, 10**-1.25, 10**-1.125])
    assert found.factor == pytest.approx(0.1)


def test_search_takes_the_most_structure_where_there_is_never_enough():
    never = measure_style.match_structure(
        lambda factor: make_trial(factor, 0.1 * np.log10(factor)), make_trial(1, 0), 0.9
    )
    assert never.factor == pytest.approx(1e4)


def test_search_downward_finds_the_edge_weight_that_keeps_no_more():
    tried, attempt = make_attempt(0.1)
    found = measure_style.match_structure(attempt, attempt(1), 0.5, side="lower")
    assert tried == pytest.approx([1, 0, 10**-1.5, 10**-0.75, 10**-1.125])
    assert found.factor == 0  # nearest to the style of those that keep no more
    kept = measure_style.match_structure(lambda factor: make_trial(factor, 0), make_trial(1, 0.4), 0.5, side="lower")
    assert kept.factor == 1  # low enough at the preset's weight


def test_search_downward_takes_the_least_structure_where_it_stays_too_high():
    trial = measure_style.match_structure(lambda factor: make_trial(factor, 0.8), make_trial(1, 0.9), 0.5, side="lower")
    assert (trial.factor, trial.verdict.structure) == (0, 0.8)
    assert not measure_style.is_matched(trial, 0.5, "lower")
    assert measure_style.is_matched(trial, 0.8, "lower")


def test_both_weights_rise_until_structure_and_grain_are_matched():
    tried = []

    def attempt(factor: float, smoothing: float) -> measure_style.Trial:
        tried.append((factor, smoothing))
        return make_trial(factor, 0.5 + 0.1 * factor - 0.05 * smoothing, grain=1 / smoothing)._replace(
            smoothing=smoothing
        )

    wanted = make_trial(1, 0.7, grain=0.3).verdict
    found = measure_style.match_grain(attempt, attempt(1, 1), wanted)
    np.testing.assert_allclose(tried, [(factor, factor) for factor in 2 ** np.arange(0, 2.5, 0.5)])
    assert (found.factor, found.smoothing, found.verdict.grain) == pytest.approx((4, 4, 0.25))
    kept = make_trial(1, 0.8, grain=0.2)
    assert measure_style.match_grain(attempt, kept, wanted) == kept
    never = measure_style.match_grain(lambda *factors: make_trial(factors[0], 0.1), make_trial(1, 0.1), wanted)
    assert never.factor == pytest.approx(measure_style.RAISE**measure_style.REPAIRS)


def test_wins_are_counted_pair_by_pair():
    ours = [make_trial(1, 0.9, 0.3, 1.1).verdict, make_trial(1, 0.7, 0.3, 0.5).verdict]
    theirs = [make_trial(1, 0.9, 0.4, 1.2).verdict, make_trial(1, 0.8, 0.4, 0.9).verdict]
    assert measure_style.count_wins(ours, theirs) == (
        "lower style distance in 2, equal or better structure in 1, both in 1, less grain in 2, "
        "grain nearer to the style's in 1, less chroma grain in 0 of 2"
    )


def test_random_filters_keep_the_held_ones_of_the_first_layer():
    rng = np.random.default_rng(1)
    shapes = {"conv1_1": (3, 3, 3, 8), "conv1_2": (3, 3, 8, 8), "conv2_1": (3, 3, 8, 12)}
    params = {
        name: {"kernel": rng.standard_normal(shape).astype(np.float32), "bias": np.zeros(shape[-1], np.float32)}
        for name, shape in shapes.items()
    }
    drawn, with_colours = (measure_style.random_params(params, held=held) for held in (0, 3))
    assert {name: layer["kernel"].shape for name, layer in with_colours.items()} == shapes
    first, given = with_colours["conv1_1"]["kernel"], params["conv1_1"]["kernel"]
    for index in range(3):
        ratio = first[..., index] / given[..., index]
        np.testing.assert_allclose(ratio, ratio[0, 0, 0], rtol=1e-4)
        assert ratio[0, 0, 0] > 0
    others = first[..., 3:] / drawn["conv1_1"]["kernel"][..., 3:]
    np.testing.assert_allclose(others, others[0, 0, 0, 0], rtol=1e-4)
    np.testing.assert_allclose(drawn["conv1_2"]["kernel"].mean((0, 1, 2)), 0, atol=1e-6)  # blind to flat areas
