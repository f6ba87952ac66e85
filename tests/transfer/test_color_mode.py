"""Four ways with colours: what a run works on, and whose colours come out, alone and in batches."""

import dataclasses

import numpy as np
import pytest
from small import picture, shallow, small_params

from jnst import Region
from jnst.batch.api import stylize_batch
from jnst.errors import ConfigError, TargetsError
from jnst.images.colors import color_moments, to_grey
from jnst.images.inputs import StylePicture
from jnst.transfer.color_mode import canvas_of, prepare_styles
from jnst.transfer.driver import stylize
from jnst.transfer.regions import prepare_regions
from jnst.transfer.style_targets import prepare_style

CONTENT, STYLE = np.asarray(picture("shapes", 32, 40)), np.asarray(picture("marble", 27, 36, 3))
PARAMS = small_params()


def config(colors, **run):
    return shallow(steps=4, run={"colors": colors, **run})


def test_styles_are_changed_where_the_way_with_colours_says_so():
    for colors in ("style", "content"):
        (same,) = prepare_styles([StylePicture(STYLE)], CONTENT, colors)
        assert same.pixels is STYLE
        assert canvas_of(CONTENT, colors) is CONTENT
    (matched,) = prepare_styles([StylePicture(STYLE)], CONTENT, "match")
    mean, _ = color_moments(matched.pixels)
    np.testing.assert_allclose(mean, color_moments(CONTENT)[0], atol=0.02)  # but for what is clipped
    (grey,) = prepare_styles([StylePicture(STYLE)], CONTENT, "luminance")
    for image in (grey.pixels, canvas_of(CONTENT, "luminance")):
        assert np.ptp(image, axis=2).max() == 0
        assert 0 <= image.min() <= image.max() <= 1


def test_a_region_gives_its_colours_to_its_own_style():
    mask = np.zeros((32, 40))
    mask[:16] = 1
    regions = [Region(mask, STYLE), Region("rest", STYLE)]
    masks = prepare_regions(CONTENT, [STYLE, STYLE], regions, None)
    matched = prepare_styles([StylePicture(STYLE)] * 2, CONTENT, "match", masks)
    for style, part in zip(matched, (mask, 1 - mask), strict=True):
        np.testing.assert_allclose(color_moments(style.pixels)[0], color_moments(CONTENT, part)[0], atol=0.03)


def test_luminance_moves_no_colour():
    result = stylize(PARAMS, CONTENT, STYLE, config("luminance", scales=2))
    moved = result.image - CONTENT
    unclipped = ((result.image > 0) & (result.image < 1)).all(2)
    assert np.ptp(moved, axis=2)[unclipped].max() < 1e-5
    assert np.abs(moved).max() > 0.02
    coloured = stylize(PARAMS, CONTENT, STYLE, config("style", scales=2))
    assert coloured.trace["style"][0] != pytest.approx(result.trace["style"][0], rel=1e-3)


def test_match_runs_on_the_matched_style():
    (matched,) = prepare_styles([StylePicture(STYLE)], CONTENT, "match")
    expected = stylize(PARAMS, CONTENT, matched.pixels, config("style"))
    result = stylize(PARAMS, CONTENT, STYLE, config("match"))
    assert result.trace == expected.trace
    np.testing.assert_array_equal(result.image, expected.image)


@pytest.mark.parametrize("colors", ["match", "luminance"])
def test_a_batch_does_as_single_runs_do(colors):
    other = np.asarray(picture("weave", 32, 40))
    batch = stylize_batch(PARAMS, [CONTENT, other], STYLE, config(colors))
    for content, result in zip((CONTENT, other), batch, strict=True):
        alone = stylize(PARAMS, content, STYLE, config(colors))
        assert result.trace["total"] == pytest.approx(alone.trace["total"], rel=1e-4)
        np.testing.assert_allclose(result.image, alone.image, atol=2e-3)


@pytest.mark.parametrize("colors", ["match", "luminance"])
def test_what_is_kept_stays_with_every_way(colors):
    keep = np.zeros((32, 40), bool)
    keep[4:12, 10:30] = True
    result = stylize(PARAMS, CONTENT, STYLE, config(colors), keep=keep)
    np.testing.assert_allclose(result.image[keep], CONTENT[keep], atol=1e-7)
    assert np.abs(to_grey(result.image) - to_grey(CONTENT))[~keep].max() > 0.02


@pytest.mark.parametrize("colors", ["match", "luminance"])
def test_a_prepared_style_is_refused(colors):
    with pytest.raises(ConfigError, match=f"colors {colors} prepares the style for each content"):
        prepare_style(PARAMS, STYLE, config(colors))
    prepared = prepare_style(PARAMS, STYLE, config("style"))
    with pytest.raises(TargetsError, match="a saved style keeps its colours"):
        stylize_batch(PARAMS, [CONTENT], prepared, config(colors))
    kept = stylize_batch(PARAMS, [CONTENT], prepared, config("content"), keeps=[np.eye(32, 40)])[0]
    np.testing.assert_allclose(kept.image[np.eye(32, 40, dtype=bool)], CONTENT[np.eye(32, 40, dtype=bool)], atol=1e-7)
    assert dataclasses.replace(config("style")).run.colors == "style"
