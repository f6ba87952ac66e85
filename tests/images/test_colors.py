"""Colours brought to those of another picture: known mean and covariance, and what cannot be matched."""

import material
import numpy as np
import pytest

from jnst.images.colors import color_moments, match_colors, match_luminance, to_grey
from jnst.images.sizing import finish

PHOTO, STYLE = material.paint("shapes", 40, 52), material.paint("marble", 31, 27)


def moments(image: np.ndarray, weights: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Slowly, pixel by pixel."""
    pixels = image.astype(np.float64).reshape(-1, 3)
    share = np.ones(len(pixels)) if weights is None else weights.astype(np.float64).ravel()
    mean, covariance = np.zeros(3), np.zeros((3, 3))
    for pixel, weight in zip(pixels, share, strict=True):
        mean += weight * pixel / share.sum()
    for pixel, weight in zip(pixels, share, strict=True):
        covariance += weight * np.outer(pixel - mean, pixel - mean) / share.sum()
    return mean, covariance


def test_moments_are_the_oracles():
    weights = np.linspace(0, 1, 40 * 52).reshape(40, 52)
    for given in (None, weights):
        for ours, theirs in zip(color_moments(PHOTO, given), moments(PHOTO, given), strict=True):
            np.testing.assert_allclose(ours, theirs, atol=1e-12)


@pytest.mark.parametrize("rows", [31, 700])  # more than are added at once
def test_mean_and_covariance_become_the_photos(rows):
    style = np.resize(STYLE, (rows, 27, 3))
    for ours, theirs in zip(moments(match_colors(style, PHOTO)), moments(PHOTO), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_the_map_is_that_of_symmetric_roots():
    def root(matrix, power):
        values, vectors = np.linalg.eigh(matrix)
        return vectors @ np.diag(values**power) @ vectors.T

    (mean, covariance), (wanted_mean, wanted) = moments(STYLE), moments(PHOTO)
    matrix = root(wanted, 0.5) @ root(covariance, -0.5)
    expected = np.array([[matrix @ (pixel - mean) + wanted_mean for pixel in row] for row in STYLE.astype(np.float64)])
    np.testing.assert_allclose(match_colors(STYLE, PHOTO), expected, atol=1e-5)


def test_weights_say_which_pixels_are_matched_to_which():
    seen, place = np.tri(31, 27), np.zeros((40, 52))
    place[:20] = 1
    matched = match_colors(STYLE, PHOTO, weights=seen, like_weights=place)
    for ours, theirs in zip(moments(matched, seen), moments(PHOTO, place), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_a_picture_has_its_own_colours_and_bytes_are_as_good():
    np.testing.assert_allclose(match_colors(PHOTO, PHOTO), PHOTO, atol=1e-5)
    np.testing.assert_allclose(
        match_colors((STYLE * 255).astype(np.uint8), PHOTO),
        match_colors((STYLE * 255).astype(np.uint8) / 255, PHOTO),
        atol=1e-6,
    )


def test_colours_that_do_not_vary_stay_without_variance():
    flat = match_colors(np.full((5, 7, 3), 0.3, np.float32), PHOTO)
    np.testing.assert_allclose(flat, np.broadcast_to(moments(PHOTO)[0], flat.shape), atol=1e-6)
    grey = moments(match_colors(to_grey(STYLE), PHOTO))[1]
    assert np.linalg.matrix_rank(grey, tol=1e-8) == 1


def test_luminance_gets_mean_and_deviation():
    matched = match_luminance(STYLE, PHOTO)
    assert np.ptp(matched, axis=2).max() == 0
    luminance = PHOTO @ np.array([0.299, 0.587, 0.114])
    assert matched.mean() == pytest.approx(luminance.mean(), abs=1e-6)
    assert matched.std() == pytest.approx(luminance.std(), abs=1e-5)
    flat = match_luminance(np.full((5, 7, 3), 0.9, np.float32), PHOTO)
    np.testing.assert_allclose(flat, luminance.mean(), atol=1e-6)


@pytest.mark.parametrize("colors", ["content", "luminance"])
def test_the_end_of_a_run_has_the_photos_differences_of_colour(colors):
    grey = to_grey(material.paint("weave", 40, 52)) * 0.2 + 0.4
    soft = PHOTO * 0.2 + 0.4
    image = finish(grey, soft, colors)
    for channel in (0, 2):
        difference = soft[..., channel] - soft[..., 1]
        np.testing.assert_allclose(image[..., channel] - image[..., 1], difference, atol=1e-6)
    np.testing.assert_allclose(to_grey(image), to_grey(grey), atol=1e-5)
