"""Files of the official layouts become weights files; whatever is not VGG16 or VGG19 is refused with the reason."""

import hashlib
import json
import struct

import h5py
import jax.numpy as jnp
import numpy as np
import pytest
from golden_weights import CHECKPOINT, GOLDEN, LEGACY, ZIP, fill

from jnst.config import NetworkConfig
from jnst.errors import WeightsError
from jnst.vgg.convolution import prepare_params
from jnst.vgg.features import extract_features
from jnst.vgg.layers import convolutions, layer_names
from jnst.weights import convert as conversion
from jnst.weights.convert import convert_weights, read_foreign
from jnst.weights.network import describe_weights, random_weights
from jnst.weights.store import read_weights, write_weights

WIDTH = 1 / 32


@pytest.fixture(scope="module")
def params():
    made = random_weights("vgg19", WIDTH, seed=1)
    return {name: {"kernel": layer["kernel"], "bias": layer["kernel"].mean((0, 1, 2))} for name, layer in made.items()}


def equal(one, other):
    return list(one) == list(other) and all(
        np.array_equal(one[name][part], other[name][part]) for name in one for part in ("kernel", "bias")
    )


@pytest.mark.parametrize(
    ("path", "architecture"),
    [(LEGACY, "vgg16"), (ZIP, "vgg19"), (CHECKPOINT, "vgg16")],
    ids=lambda value: str(value)[-14:],
)
def test_torchvisions_files(path, architecture, tmp_path):
    info = convert_weights(path, tmp_path / "small.h5", origin="somewhere", licence="some licence")
    assert (info.name, info.architecture, info.width, info.lineage) == ("small", architecture, 1 / 64, "torchvision")
    assert (info.order, info.scale, info.mean, info.std) == ("rgb", 1, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    assert (info.source, info.licence) == ("somewhere", "some licence")
    assert info.source_sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    converted, read = read_weights(tmp_path / "small.h5")
    assert read == info
    assert list(converted) == list(convolutions(architecture))
    channels = 3
    for number, (name, layer) in enumerate(converted.items()):
        outputs = (1, 2, 4, 8, 8)[int(name[4]) - 1]
        # PyTorch's kernels are outputs × inputs × height × width.
        np.testing.assert_array_equal(layer["kernel"], fill((outputs, channels, 3, 3), number).transpose(2, 3, 1, 0))
        np.testing.assert_array_equal(layer["bias"], fill((outputs,), number + 100))
        channels = outputs


def test_converted_weights_can_be_used():
    params, info = read_foreign(ZIP)
    network = NetworkConfig(info.architecture, info.width)
    white = extract_features(prepare_params(params), jnp.ones((3, 3, 3)), ["conv1_1"], network)["conv1_1"]
    # In the middle every tap of the kernel counts once.
    assert white[1, 1, 0] == fill((1, 3, 3, 3), 0).sum() + fill((1,), 100)[0]


def official(file, params):
    """keras-applications' notop file: no group below the layer, and the pools are there, empty."""
    for name, layer in params.items():
        keras = keras_name(name)
        file[f"{keras}/{keras}_W_1:0"], file[f"{keras}/{keras}_b_1:0"] = layer["kernel"], layer["bias"]
        file[keras].attrs["weight_names"] = [f"{keras}_W_1:0".encode(), f"{keras}_b_1:0".encode()]
    file.create_group("block1_pool")
    file.create_group("input_1")
    file.attrs["layer_names"] = [keras_name(name).encode() for name in params]


def saved_weights(file, params, root=""):
    for name, layer in params.items():
        keras = keras_name(name)
        file[f"{root}{keras}/{keras}/kernel:0"] = layer["kernel"]
        file[f"{root}{keras}/{keras}/bias:0"] = layer["bias"]


def saved_model(file, params):
    saved_weights(file, params, "model_weights/")
    file["model_weights/fc1/fc1/kernel:0"] = np.zeros((8, 4), np.float32)
    for name, layer in params.items():
        file[f"optimizer_weights/Adam/m/{keras_name(name)}/kernel:0"] = layer["kernel"] + 1


def keras_3(file, params):
    for name, layer in params.items():
        file[f"layers/{keras_name(name)}/vars/0"], file[f"layers/{keras_name(name)}/vars/1"] = layer.values()


def keras_3_counted(file, params):
    for number, layer in enumerate(params.values()):
        counted = f"conv2d_{number}" if number else "conv2d"
        file[f"layers/{counted}/vars/0"], file[f"layers/{counted}/vars/1"] = layer.values()


def keras_name(name):
    return f"block{name[4]}_conv{name[6]}"


@pytest.mark.parametrize("layout", [official, saved_weights, saved_model, keras_3, keras_3_counted])
@pytest.mark.parametrize("suffix", [".h5", ".bin"])
def test_keras_files(layout, suffix, params, tmp_path):
    source = tmp_path / f"keras{suffix}"
    with h5py.File(source, "w") as file:
        layout(file, params)
    converted, info = read_foreign(source)
    assert equal(converted, params)
    assert (info.architecture, info.width, info.lineage, info.source) == ("vgg19", WIDTH, "caffe", source.name)
    # The first layer's inputs stay blue, green, red.
    assert (info.order, info.scale, info.mean, info.std) == ("bgr", 255, (123.68, 116.779, 103.939), (1, 1, 1))


def write_safetensors(path, tensors):
    """The format's reference: eight bytes of length, JSON, data."""
    header, data = {"__metadata__": {"format": "pt"}}, b""
    for name, (kind, values) in tensors.items():
        header[name] = {
            "dtype": kind,
            "shape": list(values.shape),
            "data_offsets": [len(data), len(data) + values.nbytes],
        }
        data += values.tobytes()
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    return path


def torch_names(params, architecture="vgg19", prefix="features."):
    names = layer_names(architecture)
    tensors = {}
    for name, layer in params.items():
        tensors[f"{prefix}{names.index(name)}.weight"] = layer["kernel"].transpose(3, 2, 0, 1).copy()
        tensors[f"{prefix}{names.index(name)}.bias"] = layer["bias"]
    return tensors


def as_f32(tensors):
    return {name: ("F32", values.astype("<f4")) for name, values in tensors.items()}


@pytest.mark.parametrize("prefix", ["features.", "", "backbone.features."])
def test_safetensors(params, tmp_path, prefix):
    tensors = as_f32(torch_names(params, prefix=prefix)) | {
        "pre_logits.fc1.weight": ("F32", np.zeros((4, 8, 7, 7), "<f4"))
    }
    converted, info = read_foreign(write_safetensors(tmp_path / "vgg.safetensors", tensors))
    assert equal(converted, params)
    assert (info.architecture, info.width, info.lineage) == ("vgg19", WIDTH, "torchvision")


@pytest.mark.parametrize("kind", ["F64", "F16", "BF16"])
def test_safetensors_of_other_precision(params, tmp_path, kind):
    def store(values):
        if kind == "BF16":
            return (np.ascontiguousarray(values).view(np.uint32) >> 16).astype("<u2")
        return values.astype({"F64": "<f8", "F16": "<f2"}[kind])

    tensors = {name: (kind, store(values)) for name, values in torch_names(params).items()}
    converted, _ = read_foreign(write_safetensors(tmp_path / "vgg.safetensors", tensors))
    tolerance = {"F64": 0, "F16": 2**-11, "BF16": 2**-7}[kind]
    for name in params:
        np.testing.assert_allclose(converted[name]["kernel"], params[name]["kernel"], rtol=tolerance, atol=1e-7)


def test_caffe_names_mean_caffe_pixels(params, tmp_path):
    """As in the file of Gatys's own notebook: conv1_1.weight."""
    tensors = {}
    for name, layer in params.items():
        tensors[f"{name}.weight"] = layer["kernel"].transpose(3, 2, 0, 1).copy()
        tensors[f"{name}.bias"] = layer["bias"]
    source = write_safetensors(tmp_path / "vgg_conv.safetensors", as_f32(tensors))
    converted, info = read_foreign(source)
    assert equal(converted, params)
    assert (info.lineage, info.order) == ("caffe", "bgr")
    assert read_foreign(source, lineage="torchvision").info.order == "rgb"
    with pytest.raises(WeightsError, match="unknown lineage 'cafe'; did you mean 'caffe'"):
        read_foreign(source, lineage="cafe")


def test_oxfords_networks_under_torchvisions_names_are_known_by_their_hash(monkeypatch):
    monkeypatch.setattr(conversion, "_CAFFE_HASHES", (hashlib.sha256(ZIP.read_bytes()).hexdigest()[:8],))
    assert read_foreign(ZIP).info.space.order == "bgr"
    assert read_foreign(ZIP, lineage="torchvision").info.space.order == "rgb"


def test_a_network_may_end_early_but_not_too_early(params, tmp_path):
    def read(count, name="first.safetensors"):
        first = dict(list(params.items())[:count])
        return read_foreign(write_safetensors(tmp_path / name, as_f32(torch_names(first))))

    assert list(read(13).params)[-1] == "conv5_1"
    with pytest.raises(WeightsError, match="too few layers to tell VGG16 from VGG19"):
        read(7)


def test_the_storage_of_ours_can_be_changed(params, tmp_path):
    source, target = tmp_path / "ours.h5", tmp_path / "half.h5"
    write_weights(
        source, params, describe_weights("ours", "vgg19", WIDTH, "torchvision", source="training", licence="ours")
    )
    info = convert_weights(source, target, dtype="float16")
    assert (info.name, info.source, info.licence, info.lineage) == ("half", "training", "ours", "torchvision")
    assert target.stat().st_size < 0.7 * source.stat().st_size
    with pytest.raises(WeightsError, match="of torchvision lineage already, not of caffe"):
        convert_weights(source, target, lineage="caffe")
    before = source.read_bytes()
    with pytest.raises(WeightsError, match="would be overwritten by its own conversion"):
        convert_weights(source, tmp_path / ".." / tmp_path.name / "ours.h5")
    assert source.read_bytes() == before


def drop_bias(tensors):
    del tensors["features.7.bias"]


def drop_layer(tensors):
    del tensors["features.7.weight"], tensors["features.7.bias"]


def widen_layer(tensors):
    tensors["features.10.weight"] = np.zeros((9, 4, 3, 3), np.float32)


def enlarge_kernel(tensors):
    tensors["features.0.weight"] = np.zeros((2, 3, 5, 5), np.float32)


def flatten_kernel(tensors):
    tensors["features.0.weight"] = np.zeros((2, 27), np.float32)


def spoil_value(tensors):
    tensors["features.19.weight"][0, 0, 0, 0] = np.nan


def add_normalisation(tensors):
    tensors["features.1.running_mean"] = np.zeros(2, np.float32)


def double_layer(tensors):
    tensors["other.features.0.bias"] = tensors["features.0.bias"]


def empty_layer(tensors):
    tensors["features.0.bias"] = np.zeros(0, np.float32)


def rename_all(tensors):
    for name in list(tensors):
        tensors[name.replace("features", "layer")] = tensors.pop(name)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (drop_bias, "the bias of conv2_2 is missing"),
        (drop_layer, "not VGG16 or VGG19, or incomplete: it has convolutions at positions 0, 2, 5, 10"),
        (widen_layer, r"kernel of conv3_1 has shape \(3, 3, 4, 9\); vgg19 at width 0.03125 has \(3, 3, 4, 8\)"),
        (enlarge_kernel, r"kernel of conv1_1 has shape \(5, 5, 3, 2\)"),
        (flatten_kernel, r"kernel of conv1_1 has shape \(2, 27\)"),
        (spoil_value, "kernel of conv4_1 has values that are not finite"),
        (add_normalisation, "batch normalisation"),
        (double_layer, "two tensors are the bias of layer 0"),
        (empty_layer, "width is 0"),
        (rename_all, r"no layers of VGG16 or VGG19; it holds layer\.0\.weight, layer\.0\.bias"),
    ],
)
def test_what_is_not_vgg_is_refused(change, message, params, tmp_path):
    tensors = torch_names(params)
    change(tensors)
    source = write_safetensors(tmp_path / "vgg.safetensors", as_f32(tensors))
    with pytest.raises(WeightsError, match=message):
        convert_weights(source, tmp_path / "converted.h5")
    assert not (tmp_path / "converted.h5").exists()


def drop_keras_layer(file):
    del file["block3_conv2"]


def theano_order(file):
    name = "block1_conv1/block1_conv1_W_1:0"
    kernel = file[name][()].transpose(3, 2, 0, 1)
    del file[name]
    file[name] = kernel


def compress(file):
    name = "block2_conv1/block2_conv1_b_1:0"
    del file[name]
    file.create_dataset(name, data=np.zeros(4, np.float32), compression="lzf")


def third_array(file):
    file["block2_conv1/gamma:0"] = np.zeros(4, np.float32)


def link_away(file):
    del file["block2_conv1"]
    file["block2_conv1"] = h5py.ExternalLink("elsewhere.h5", "/")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (drop_keras_layer, "the first layers of neither VGG16 nor VGG19"),
        (theano_order, r"kernel of conv1_1 has shape \(2, 3, 3, 3\)"),
        (compress, "is compressed by another filter than gzip"),
        (third_array, "besides its kernel and bias"),
        (link_away, "the first layers of neither VGG16 nor VGG19"),
        (lambda file: file.clear(), "it holds no arrays"),
    ],
)
def test_what_is_not_vgg_in_keras_is_refused(change, message, params, tmp_path):
    with h5py.File(tmp_path / "keras.h5", "w") as file:
        official(file, params)
        change(file)
    with pytest.raises(WeightsError, match=message) as caught:
        read_foreign(tmp_path / "keras.h5")
    assert str(caught.value).count("keras.h5") == 1


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "it is empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "Git LFS pointer"),
        (b"\n<!DOCTYPE html><html>not found</html>", "web page"),
        (bytes(257).replace(b"\0", b"a") + b"ustar" + bytes(300), "tar archive"),
        (b"hello world", "expected PyTorch's .pth"),
        (struct.pack("<Q", 1 << 60) + b"{" + bytes(100), "header too large"),
        (struct.pack("<Q", 8) + b"{" + bytes(100), "invalid JSON in header"),
        (struct.pack("<Q", 100_000) + b'{"a":' + b"[" * 99_995, "invalid JSON in header"),
        (struct.pack("<Q", 9) + b'{"a": 1 }' + bytes(100), "invalid JSON in header"),
    ],
)
def test_what_is_no_weights_file_is_told_apart(data, message, tmp_path):
    (tmp_path / "file.pth").write_bytes(data)
    with pytest.raises(WeightsError, match=message):
        read_foreign(tmp_path / "file.pth")


@pytest.mark.parametrize(
    "entry",
    [
        {"dtype": "F32", "shape": [4], "data_offsets": [0, 12]},
        {"dtype": "F32", "shape": [4], "data_offsets": [0, 1 << 50]},
        {"dtype": "F32", "shape": [1 << 50], "data_offsets": [0, 16]},
        {"dtype": "F32", "shape": [-4], "data_offsets": [0, 16]},
        {"dtype": "F32", "shape": [4], "data_offsets": [-16, 0]},
        {"dtype": "F32", "shape": [4], "data_offsets": [16, 0]},
        {"dtype": "F32", "shape": ["4"], "data_offsets": [0, 16]},
        {"dtype": "F32", "shape": [4], "data_offsets": [4, 20]},
        {"dtype": "F32", "shape": [4]},
    ],
)
def test_safetensors_that_do_not_fit_are_refused(entry, tmp_path):
    text = json.dumps({"features.0.bias": entry}).encode()
    (tmp_path / "file").write_bytes(struct.pack("<Q", len(text)) + text + bytes(16))
    with pytest.raises(WeightsError, match="damaged"):
        read_foreign(tmp_path / "file")


@pytest.mark.parametrize("ones", [8, 99])
def test_a_safetensor_of_many_dimensions_is_no_bias(ones, tmp_path, params):
    tensors = torch_names(params)
    tensors["features.0.bias"] = tensors["features.0.bias"].reshape([1] * 8 + [-1])
    path = write_safetensors(tmp_path / "file", as_f32(tensors))
    size, text = path.read_bytes()[:8], path.read_bytes()[8:]
    text = text.replace(b"[1, 1, 1, 1, 1, 1, 1, 1, ", b"[" + b"1, " * ones, 1)
    path.write_bytes(struct.pack("<Q", struct.unpack("<Q", size)[0] + 3 * (ones - 8)) + text)
    with pytest.raises(WeightsError, match="the bias of conv1_1 has shape"):
        read_foreign(path)


def test_a_safetensors_file_cut_short_anywhere_is_refused(params, tmp_path):
    path = write_safetensors(tmp_path / "vgg.safetensors", as_f32(torch_names(params)))
    data = path.read_bytes()
    for size in [*range(0, 64), *range(64, len(data), 1999), len(data) - 1]:
        path.write_bytes(data[:size])
        with pytest.raises(WeightsError):
            read_foreign(path)


def test_missing_files_and_directories(tmp_path):
    with pytest.raises(WeightsError, match="is not there"):
        convert_weights(tmp_path / "absent.pth", tmp_path / "out.h5")
    with pytest.raises(WeightsError, match="is a directory"):
        convert_weights(tmp_path, tmp_path / "out.h5")


@pytest.mark.parametrize("fields", [{"name": "a\0"}, {"origin": "\0"}, {"licence": "\0"}, {"notes": {"by\0": "x"}}])
def test_text_that_no_weights_file_can_hold_is_refused(fields, tmp_path):
    given = tmp_path / "tiny.h5"
    write_weights(given, random_weights("vgg16", 1 / 16, 0), describe_weights("a", "vgg16", 1 / 16, "caffe"))
    with pytest.raises(WeightsError, match="expected text without NUL characters"):
        convert_weights(given, tmp_path / "out.h5", **fields)
    assert not (tmp_path / "out.h5").exists()


def test_the_golden_files_stay_small():
    assert all(path.stat().st_size < 60_000 for path in GOLDEN.glob("*.pth"))
