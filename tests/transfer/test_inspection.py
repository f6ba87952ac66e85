"""What `inspect` tells of a picture: known answers, and sheets that hold what they say."""

import numpy as np
import oracles
import pytest
from PIL import Image
from small import WIDTH, picture, relative, shallow, small_params

import jnst
from jnst.errors import ConfigError, ImageError
from jnst.transfer.inspection import Inspection, check_place
from jnst.transfer.layer_view import LayerView, describe_statistics


def view(channels, name="relu1_1"):
    """A view of constant or given channels, 2 × 3 pixels each."""
    map_ = np.stack([np.broadcast_to(np.asarray(one, np.float32), (2, 3)) for one in channels], axis=-1)
    flat = map_.reshape(-1, len(channels))
    return LayerView(name, map_, flat.T @ flat / len(flat))


def test_channels_that_are_alike_are_as_good_as_one():
    one = view([2, 2, 2, 2]).statistics()
    assert (one["height"], one["width"], one["channels"]) == (2, 3, 4)
    assert (one["mean"], one["std"], one["largest"], one["zeros"], one["silent"]) == (2, 0, 2, 0, 0)
    assert (one["energy"], one["coupling"], one["dimensions"]) == (4, 1, 1)


def test_channels_that_never_answer_together_are_as_good_as_their_number():
    one = view([[[1, 0, 0], [0, 0, 0]], [[0, 0, 0], [0, 1, 0]], [[0, 1, 0], [0, 0, 0]]]).statistics()
    assert one["dimensions"] == pytest.approx(3)
    assert one["coupling"] == 0
    assert one["zeros"] == pytest.approx(15 / 18)
    assert one["energy"] == pytest.approx(1 / 6)


def test_a_silent_layer_gives_numbers():
    one = view([0, 0]).statistics()
    assert (one["silent"], one["energy"], one["coupling"], one["dimensions"]) == (2, 0, 0, 0)
    assert view([0, 0]).gram_picture(8).max() == 0


def test_the_strongest_come_first_and_are_labelled_with_their_largest_value():
    layer = view([1, 5, 0, -7])
    assert layer.strongest(3) == [3, 1, 0]
    pictures, labels = layer.maps(2, 20)
    assert labels == ["relu1_1 #3: -7", "relu1_1 #1: 5"]
    assert pictures[0].shape == (20, 30, 3)


def test_maps_and_grams_are_the_oracles():
    photo, config = picture("shapes", 32, 48), shallow()
    seen = jnst.inspect(small_params(), photo, config)
    assert list(seen.layers) == ["relu1_1", "relu2_1"]
    x = np.asarray(photo, np.float64) * 255 - np.array(config.network_input.mean)
    expected = oracles.extract_features(oracles.random_params("vgg19", WIDTH, 0), x, "vgg19", layers=list(seen.layers))
    for name, layer in seen.layers.items():
        assert relative(layer.map, expected[name]) < 2e-5
        assert relative(layer.gram, oracles.gram_matrix(expected[name], divisor="pixels")) < 2e-5
        assert seen.statistics()[name]["mean"] == pytest.approx(expected[name].mean(), rel=1e-4)


def test_sheets_hold_what_they_say(tmp_path):
    seen = jnst.inspect(small_params(), picture("shapes", 32, 48), shallow(), layers=["relu1_1", "pool2"])
    assert seen.sheet(channels=3, height=64).shape[1] > 4 * 64
    (written,) = seen.save(tmp_path / "sheet.png")
    with Image.open(written) as sheet:
        assert sheet.mode == "RGB"
    files = seen.save(tmp_path / "folder", channels=2)
    assert [file.name for file in files] == [
        f"{name}-{kind}.png" for name in ("relu1_1", "pool2") for kind in ("features", "gram")
    ]
    assert all(file.is_file() for file in files)
    with pytest.raises(ImageError, match="exists already"):
        seen.save(tmp_path / "folder")
    seen.save(tmp_path / "folder", overwrite=True)


def test_gram_pictures_are_symmetric_and_brightest_at_the_largest_entry():
    shown = view([[[1, 0, 0], [0, 0, 0]], [[3, 0, 0], [0, 0, 0]]]).gram_picture(2)
    np.testing.assert_array_equal(shown, shown.transpose(1, 0, 2))
    assert np.unravel_index(shown.sum(-1).argmax(), (2, 2)) == (1, 1)


def test_the_table_names_every_layer_once():
    seen = Inspection(np.zeros((2, 3, 3)), {"relu1_1": view([1, 2]), "relu2_1": view([3, 0], "relu2_1")})
    lines = repr(seen).splitlines()
    assert lines == describe_statistics(seen.statistics()).splitlines()
    assert lines[0].split()[:3] == ["layer", "size", "channels"]
    assert [line.split()[0] for line in lines[1:]] == ["relu1_1", "relu2_1"]
    assert len({len(line) for line in lines}) == 1


def test_bad_input(tmp_path):
    with pytest.raises(ConfigError, match="unknown layer of vgg19 'relu11'; did you mean"):
        jnst.inspect(small_params(), picture("shapes"), shallow(), layers=["relu11"])
    with pytest.raises(ConfigError, match="the inspected image is 9 × 8 pixels"):
        jnst.inspect(small_params(), picture("shapes", 8, 9), shallow(), layers=["relu5_1"])
    with pytest.raises(ImageError):
        jnst.inspect(small_params(), np.zeros((8, 9)), shallow())
    (tmp_path / "file").write_text("")
    for place, message in (
        ("out.gif", "neither a folder's name nor a picture's"),
        ("file", "is a file; expected the name of a folder"),
        ("a/b", "does not exist; make it first"),
    ):
        with pytest.raises(ImageError, match=message):
            check_place(tmp_path / place, ["relu1_1"], overwrite=False)
