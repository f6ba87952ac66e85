"""The edge term: known values, the oracle, its gradient, padding."""

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest
from material import paint

from jnst.loss.edges import edge_loss, outline

PHOTO, PICTURE = paint("shapes", 21, 30), paint("weave", 21, 30, 1)


def edges(picture, photo=PHOTO):
    return edge_loss(outline(jnp.asarray(picture)), outline(jnp.asarray(photo)), photo.shape[:2])


def test_outline_is_the_luminance_of_blocks():
    image = np.zeros((3, 5, 3), np.float32)
    image[:2, :2] = [1, 0, 0]
    image[0, 2] = [0, 1, 0]
    np.testing.assert_allclose(outline(jnp.asarray(image)), [[[0.2126], [0.7152 / 4]]], rtol=1e-6)


@pytest.mark.parametrize("shape", [(21, 30), (8, 9), (5, 4), (4, 2)])
def test_the_oracles_value(shape):
    photo, picture = paint("shapes", *shape), paint("weave", *shape, 1)
    assert edges(picture, photo).item() == pytest.approx(oracles.edge_loss(picture, photo), abs=1e-5)


def test_contrast_and_colours_are_free_and_places_are_not():
    assert edges(PHOTO).item() == pytest.approx(0, abs=1e-4)
    assert edges(0.2 + 0.5 * PHOTO).item() == pytest.approx(0, abs=3e-4)
    grey = np.repeat((PHOTO @ np.array([0.2126, 0.7152, 0.0722]))[..., None], 3, axis=-1).astype(np.float32)
    assert edges(grey).item() == pytest.approx(0, abs=1e-4)
    assert edges(1 - PHOTO).item() == pytest.approx(2, abs=1e-3)
    assert edges(np.roll(PHOTO, 8, axis=1)).item() > 0.3


def test_flat_pictures_have_a_loss_of_one_and_a_slope_towards_the_photo():
    flat = np.full_like(PHOTO, 0.5)
    loss, slope = jax.value_and_grad(edges)(jnp.asarray(flat))
    assert loss.item() == pytest.approx(1)
    assert np.vdot(slope, PHOTO) < 0
    loss, slope = jax.value_and_grad(lambda x: edges(x, flat))(jnp.asarray(PICTURE))
    assert loss.item() == 1
    np.testing.assert_array_equal(slope, 0)


def test_the_gradient_is_that_of_the_oracle():
    direction = np.random.default_rng(0).standard_normal(PICTURE.shape)
    slope = np.vdot(jax.grad(edges)(jnp.asarray(PICTURE)), direction)
    step = 1e-5
    ahead, behind = (oracles.edge_loss(PICTURE + sign * step * direction, PHOTO) for sign in (1, -1))
    assert slope == pytest.approx((ahead - behind) / (2 * step), rel=1e-3)


def test_padding_changes_nothing():
    rng = np.random.default_rng(0)
    padded = [rng.random((32, 48, 3)).astype(np.float32) for _ in range(2)]
    for image, true in zip(padded, (PICTURE, PHOTO), strict=True):
        image[:21, :30] = true

    @jax.jit
    def loss(picture, photo, size):
        return edge_loss(outline(picture), outline(photo), size)

    value, slope = jax.value_and_grad(loss)(*padded, (jnp.int32(21), jnp.int32(30)))
    assert value.item() == pytest.approx(edges(PICTURE).item(), rel=1e-5)
    assert not np.any(slope[21:])
    assert not np.any(slope[:, 30:])
