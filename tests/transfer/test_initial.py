"""Where optimisation begins."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small import picture, shallow

from jnst.config import PixelSpace
from jnst.images.inputs import as_styles
from jnst.images.pixel_space import encode
from jnst.images.reading import Picture
from jnst.presets.presets import PRESETS
from jnst.transfer.initial import initial_image, recolor
from jnst.transfer.regions import Region, mask_styles, prepare_regions
from jnst.transfer.scales import first_image

CONTENT, STYLE = picture("hills", 20, 30), picture("marble", 20, 30, 3)
UNIT = PixelSpace()


def start(init, *, seed=0, noise=0.1, content=CONTENT, style=STYLE, variable=UNIT, network_input=UNIT):
    key = jax.random.key(seed)
    return initial_image(key, content, style, init, noise=noise, variable=variable, network_input=network_input)


def recolor_in_float64(content, style):
    """Both clouds' moments by NumPy, the transport by its eigenvectors."""
    pixels, palette = (np.asarray(image, np.float64).reshape(-1, 3) for image in (content, style))

    def root(matrix, power):
        values, vectors = np.linalg.eigh(matrix)
        powers = np.where(values > 1e-6, np.maximum(values, 1e-6) ** power, 0)
        return (vectors * powers) @ vectors.T

    transport = root(np.cov(palette.T, bias=True), 0.5) @ root(np.cov(pixels.T, bias=True), -0.5)
    moved = (pixels - pixels.mean(0)) @ transport.T + palette.mean(0)
    return np.clip(moved, 0, 1).reshape(np.asarray(content).shape)


def test_content_and_style_are_themselves():
    assert start("content") is CONTENT
    assert start("style") is STYLE


@pytest.mark.parametrize("size", [(20, 30), (7, 5), (190, 190)])
def test_recoloring_is_the_oracles(size):
    content, style = picture("hills", *size), picture("marble", 31, 17, 3)
    expected = recolor_in_float64(content, style)
    np.testing.assert_allclose(recolor(content, style), expected, atol=1e-4)
    np.testing.assert_array_equal(start("recolored", content=content, style=style), recolor(content, style))


def test_recolored_content_has_the_styles_mean_and_covariance():
    pale = 0.5 + 0.2 * (STYLE - 0.5)  # far from black and white, so that nothing is clipped
    pixels, palette = (np.asarray(image, np.float64).reshape(-1, 3) for image in (recolor(CONTENT, pale), pale))
    np.testing.assert_allclose(pixels.mean(0), palette.mean(0), atol=1e-5)
    np.testing.assert_allclose(np.cov(pixels.T), np.cov(palette.T), atol=1e-5)


def test_recoloring_with_oneself_changes_nothing():
    np.testing.assert_allclose(recolor(CONTENT, CONTENT), CONTENT, atol=1e-4)


@pytest.mark.parametrize("level", [0.0, 0.3, 1.0])
def test_recoloring_of_a_constant_picture_is_the_styles_mean(level):
    result = recolor(jnp.full((4, 5, 3), level), STYLE)
    np.testing.assert_allclose(result, np.broadcast_to(np.asarray(STYLE).mean((0, 1)), (4, 5, 3)), atol=1e-5)


def test_recoloring_of_a_grey_picture_stays_on_one_line():
    grey = jnp.repeat(CONTENT[..., :1], 3, axis=-1)
    result = np.asarray(recolor(grey, 0.5 + 0.2 * (STYLE - 0.5)), np.float64).reshape(-1, 3)
    assert np.all(np.isfinite(result))
    spread = np.linalg.svd(result - result.mean(0), compute_uv=False)
    assert spread[1] < 1e-4 * spread[0]
    np.testing.assert_allclose(recolor(grey, STYLE), recolor_in_float64(grey, STYLE), atol=1e-3)


def test_recoloring_in_a_constant_style_is_that_colour():
    result = recolor(CONTENT, jnp.full((3, 3, 3), 0.25))
    np.testing.assert_allclose(result, 0.25, atol=1e-3)


def test_random_start_has_the_noise_asked_for():
    """N_S_T draws normal numbers of deviation 90 in the space whose zero is the mean colour."""
    gordic = PRESETS["gordic"]
    large = jnp.zeros((100, 120, 3))
    spaces = {"variable": gordic.variable, "network_input": gordic.network_input}
    image = encode(start("random", noise=gordic.noise, content=large, **spaces), gordic.variable)
    assert float(image.mean()) == pytest.approx(0, abs=1.5)
    assert float(image.std()) == pytest.approx(90, rel=0.01)


def test_random_start_lies_around_what_the_network_sees_as_zero():
    paper = PRESETS["paper"]
    spaces = {"variable": paper.variable, "network_input": paper.network_input}
    image = start("random", noise=0.0, **spaces)
    np.testing.assert_allclose(image * 255, np.broadcast_to([123.68, 116.779, 103.939], image.shape), rtol=1e-5)
    image = start("random", noise=0.0, variable=UNIT, network_input=paper.network_input)
    np.testing.assert_allclose(image * 255, np.broadcast_to([123.68, 116.779, 103.939], image.shape), rtol=1e-5)


def test_random_start_is_the_seeds():
    np.testing.assert_array_equal(start("random", seed=1), start("random", seed=1))
    assert jnp.any(start("random", seed=1) != start("random", seed=2))


LEFT = np.zeros((20, 30), np.float32)
LEFT[:, :15] = 1
RED, BLUE = (np.full((8, 8, 3), color, np.float32) for color in ([0.9, 0.1, 0.1], [0.1, 0.1, 0.9]))


def first(styles, init="recolored", *, regions=None, keep=None, style_weights=None, content=CONTENT):
    """What a run of one scale begins with."""
    pictures = as_styles(styles)
    masks = prepare_regions(content, pictures, regions, keep)
    return first_image(
        shallow(init=init),
        np.asarray(content),
        mask_styles(pictures, masks),
        before=None,
        initial=None,
        seed=0,
        style_weights=style_weights,
        masks=masks,
    )


@pytest.mark.parametrize("init", ["recolored", "style"])
def test_each_region_begins_in_its_own_style_and_what_has_none_as_the_content(init):
    regions = [Region(LEFT, RED), Region(np.pad(LEFT[:, :10], ((0, 0), (20, 0))), BLUE)]
    picture = first([RED, BLUE], init, regions=regions)
    np.testing.assert_allclose(picture[:, :15].mean((0, 1)), RED[0, 0], atol=1e-3)
    np.testing.assert_allclose(picture[:, 20:].mean((0, 1)), BLUE[0, 0], atol=1e-3)
    np.testing.assert_array_equal(picture[:, 15:20], np.asarray(CONTENT)[:, 15:20])


@pytest.mark.parametrize("init", ["recolored", "style"])
def test_one_region_that_covers_everything_begins_as_the_plain_run(init):
    plain = first([STYLE], init)
    np.testing.assert_allclose(first([STYLE], init, regions=[Region("all", STYLE)]), plain, atol=1e-6)
    np.testing.assert_allclose(first([STYLE], init, keep=LEFT), plain, atol=1e-6)


def test_colours_come_from_the_part_of_a_style_that_is_looked_at():
    both = np.concatenate([RED, BLUE], 1)
    half = np.pad(np.ones((8, 8)), ((0, 0), (0, 8)))
    masked = first([both], regions=[Region("all", both, style_mask=half)])
    np.testing.assert_allclose(masked.mean((0, 1)), RED[0, 0], atol=0.05)
    hidden = Picture((255 * both).astype(np.uint8), (255 * half).astype(np.uint8), "PNG", ())
    np.testing.assert_allclose(first([hidden]).mean((0, 1)), RED[0, 0], atol=0.05)


def test_of_several_styles_the_one_with_the_largest_weight_counts_whatever_their_order():
    for styles, weights in (([RED, BLUE], [0, 1]), ([BLUE, RED], [3, 1])):
        np.testing.assert_array_equal(first(styles, style_weights=weights), first([BLUE]))
    np.testing.assert_array_equal(first([RED, BLUE]), first([RED]))
