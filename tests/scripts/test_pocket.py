"""The bundled network: the shipped file, the pictures it was trained on, and its training in small."""

import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jnst.config import NetworkConfig
from jnst.images.pixel_space import encode
from jnst.vgg.convolution import prepare_params
from jnst.vgg.features import extract_features
from jnst.weights.store import read_weights

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))
import painted_pictures
import train_pocket

POCKET = Path(__file__).parents[2] / "weights" / "pocket.h5"
SHA256 = "b0a41eef80b81c4b4ce1609db0601e5655fe3ee9195d787e4816cec0b49adc7a"
# One block: compiling is what takes time.
TOY = train_pocket.Training(
    width=1 / 16, blocks=1, styles=4, each=2, picture=40, crop=32, batch=4, steps=3, colours=2, details=1
)


@pytest.fixture(scope="module")
def pocket():
    return read_weights(POCKET)


@pytest.fixture(scope="module")
def toy_pictures() -> np.ndarray:
    return train_pocket.training_pictures(TOY)


@pytest.fixture(autouse=True)
def _broadcasting_allowed():
    """The training script and Flax's layers broadcast as NumPy does; the package itself does not."""
    with jax.numpy_rank_promotion("allow"):
        yield


def features_of(weights, picture: np.ndarray, layers: list[str]):
    info = weights.info
    network = NetworkConfig(info.architecture, info.width, "average")
    return extract_features(prepare_params(weights.params), encode(jnp.asarray(picture), info.space), layers, network)


# ---- the shipped file


def test_shipped_file_is_the_one_described(pocket):
    info = pocket.info
    assert info.sha256 == SHA256
    assert POCKET.stat().st_size < 8_000_000
    assert (info.name, info.architecture, info.width, info.lineage) == ("pocket", "vgg19", 0.375, "jnst")
    assert (info.order, info.scale, info.licence) == ("rgb", 1.0, "Apache-2.0")
    assert info.mean == pytest.approx((0.485, 0.456, 0.406))
    assert info.std == pytest.approx((0.229, 0.224, 0.225))


def test_shipped_file_says_how_it_was_made(pocket):
    notes = pocket.info.notes
    assert notes["script_version"] == train_pocket.VERSION
    assert (notes["seed"], notes["steps"], notes["objective"]) == (0, 400, "both")
    assert (notes["colours"], notes["details"]) == (6, 3)
    assert notes["accuracy"] == pytest.approx(0.125, abs=0.001)


def test_golden_features(pocket):
    vertical, horizontal = np.mgrid[0:48, 0:64] / 64
    picture = np.stack([vertical, horizontal, 0.5 + 0.5 * np.sin(40 * vertical * horizontal)], -1).astype(np.float32)
    features = features_of(pocket, picture, ["relu1_1", "relu3_1", "relu5_1"])
    assert [features[layer].shape for layer in features] == [(48, 64, 24), (12, 16, 96), (3, 4, 192)]
    means = [float(features[layer].mean()) for layer in features]
    assert means == pytest.approx([1.53683, 1.03040, 0.66656], rel=1e-3)
    middles = [float(features[layer][features[layer].shape[0] // 2, 1].max()) for layer in features]
    assert middles == pytest.approx([10.53421, 5.46830, 4.36825], rel=1e-3)


def test_mean_activations_are_about_one_on_pictures_not_trained_on(pocket):
    layers = [f"relu{block}_{index}" for block, depth in enumerate((2, 2, 4, 4, 4), 1) for index in range(1, depth + 1)]
    pictures = painted_pictures.paint_pictures(7, range(6), 1, 96)[:, 0] / np.float32(255)
    means = np.mean(
        [[float(value.mean()) for value in features_of(pocket, one, layers).values()] for one in pictures], 0
    )
    assert means == pytest.approx(1, abs=0.35)


# ---- its pictures


def test_a_picture_depends_on_its_seeds_alone():
    together = painted_pictures.paint_pictures(3, range(5), 2, 32)
    alone = painted_pictures.paint_pictures(3, range(4, 5), 1, 32)
    np.testing.assert_array_equal(together[4, 0], alone[0, 0])
    assert together.shape == (5, 2, 32, 32, 3)
    assert not np.array_equal(together[0, 0], together[0, 1])


@pytest.mark.parametrize("name", painted_pictures.HANDS)
def test_every_hand_changes_the_picture(name):
    rng = np.random.default_rng(5)
    ground = painted_pictures.through_palette(np.mgrid[0:48, 0:48][0] + 0.0, np.eye(3), bands=False)
    hand = {**painted_pictures.random_hand(rng, name), "ink": 1.0, "width": 4.0}
    painted = painted_pictures.HANDS[name](rng, hand, ground, np.array([[0.0, 0, 0], [0.5, 0, 0], [1, 1, 1]]))
    assert painted.shape == ground.shape
    assert np.isfinite(painted).all()
    assert np.abs(painted - ground).mean() > 0.01


def test_noise_falls_with_frequency_as_asked():
    field = painted_pictures.coloured_noise(np.random.default_rng(0), 128, 1.5)
    power = np.abs(np.fft.fft(field, axis=1)) ** 2
    assert field.std() == pytest.approx(1)
    # along one axis at frequency k the amplitude, summed over the other axis, falls as k^(1/2 − exponent)
    slope = np.polyfit(np.log(np.arange(2, 20)), np.log(power.mean(0)[2:20]), 1)[0]
    assert slope == pytest.approx(1 - 2 * 1.5, abs=0.3)


# ---- its training in small


def test_resumed_training_gives_the_same_bytes(toy_pictures, tmp_path):
    straight = train_pocket.train(TOY, toy_pictures)
    checkpoint = tmp_path / "checkpoint.msgpack"
    train_pocket.train(TOY, toy_pictures, until=1, checkpoint=checkpoint, log=tmp_path / "log.jsonl")
    resumed = train_pocket.train(TOY, toy_pictures, checkpoint=checkpoint, log=tmp_path / "log.jsonl")
    assert int(resumed.step) == 3
    jax.tree.map(np.testing.assert_array_equal, straight, resumed)
    assert len((tmp_path / "log.jsonl").read_text().splitlines()) == 2
    before = train_pocket.init_training(TOY).params["trunk"]["conv1_1"]["kernel"]
    assert np.abs(resumed.params["trunk"]["conv1_1"]["kernel"] - before).max() > 1e-5


def test_written_network_is_normalised_layer_by_layer(toy_pictures, tmp_path):
    params = train_pocket.finish(TOY, train_pocket.init_training(TOY))
    train_pocket.write(tmp_path / "toy.h5", TOY, params, 0.5)
    weights = read_weights(tmp_path / "toy.h5")
    assert weights.info.notes["steps"] == 3
    unseen = painted_pictures.paint_pictures(1, range(64), 1, 40)[:, 0] / np.float32(255)
    maps = [features_of(weights, one, ["conv1_1", "relu1_1", "relu1_2"]) for one in unseen]
    np.testing.assert_allclose(np.mean([one["conv1_1"] for one in maps], (0, 1, 2)), 0, atol=5e-3)
    deviations = np.std([one["conv1_1"] for one in maps], (0, 1, 2))
    np.testing.assert_allclose(deviations, deviations[0], rtol=5e-3)
    assert np.mean([one["relu1_1"] for one in maps]) == pytest.approx(1, abs=5e-3)
    assert np.mean([one["relu1_2"] for one in maps]) == pytest.approx(1, abs=2e-2)


def test_held_filters_see_colours_alone():
    lightness, dark, red, green, yellow, blue = np.moveaxis(train_pocket.colour_filters(6), -1, 0)
    for one, other in ((lightness, dark), (red, green), (yellow, blue)):
        np.testing.assert_array_equal(one, -other)
    np.testing.assert_allclose(lightness.sum((0, 1)), 1, rtol=1e-6)
    np.testing.assert_allclose(red.sum(), 0, atol=1e-6)  # grey has no colour
    np.testing.assert_allclose(yellow.sum((0, 1)), [1, 1, -2], rtol=1e-6)


def test_detail_filters_see_single_pixels_alone():
    lightness, red, yellow = np.moveaxis(train_pocket.detail_filters(3), -1, 0)
    for one in (lightness, red, yellow):
        np.testing.assert_allclose(one.sum((0, 1)), 0, atol=1e-6)  # flat areas
        np.testing.assert_allclose(np.einsum("ijc,i->c", one, [-1, 0, 1]), 0, atol=1e-6)  # slopes
    np.testing.assert_allclose(lightness[1, 1], [1, 1, 1])
    for one in (red, yellow):
        np.testing.assert_allclose(one.sum(-1), 0, atol=1e-6)  # grey


def test_written_network_begins_with_the_filters_for_colours_and_details():
    trunk = train_pocket.init_training(TOY).params["trunk"]
    heeded = np.square(trunk["conv1_2"]["kernel"][:, :, 2:]).sum((0, 1, 3))
    params = train_pocket.finish(TOY, train_pocket.init_training(TOY))
    kernel = params["conv1_1"]["kernel"]
    assert kernel.shape == (3, 3, 3, 4)
    np.testing.assert_allclose(kernel[..., 0], kernel[0, 0, 0, 0], rtol=1e-5)
    np.testing.assert_allclose(kernel[..., 1], -kernel[..., 0], rtol=1e-5)
    np.testing.assert_allclose(kernel[..., 2] / kernel[1, 1, 0, 2], train_pocket.detail_filters(1)[..., 0], rtol=1e-5)
    learned = trunk["conv1_1"]["kernel"][..., heeded.argmax()]
    np.testing.assert_allclose(kernel[..., 3] / learned, kernel[0, 0, 0, 3] / learned[0, 0, 0], rtol=1e-4)
    unheeding = params["conv1_2"]["kernel"][:, :, 2]
    np.testing.assert_array_equal(unheeding, 0)
    assert (np.abs(params["conv1_2"]["kernel"][:, :, [0, 1, 3]]).max((0, 1, 3)) > 0).all()


def test_crops_come_in_pairs_of_one_style(toy_pictures):
    crops, labels = train_pocket.draw_batch(TOY, toy_pictures, 5)
    assert crops.shape == (4, 32, 32, 3)
    np.testing.assert_array_equal(labels[::2], labels[1::2])
    again, _ = train_pocket.draw_batch(TOY, toy_pictures, 5)
    np.testing.assert_array_equal(crops, again)


def test_contrast_loss_is_low_only_where_twins_agree():
    twins = np.repeat(np.eye(4, dtype=np.float32), 2, axis=0)
    assert float(train_pocket.contrast_loss(twins)) == pytest.approx(np.log(1 + 6 * np.exp(-10)), abs=1e-5)
    assert float(train_pocket.contrast_loss(np.ones((8, 4), np.float32) / 2)) == pytest.approx(np.log(7))
