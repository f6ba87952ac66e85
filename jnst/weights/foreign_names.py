"""What other programs call VGG's convolutions: torchvision, Johnson's Caffe conversions, Keras."""

import re
from collections.abc import Mapping
from functools import partial
from typing import get_args

import numpy as np

from jnst.config import Architecture
from jnst.errors import WeightsError, one_line
from jnst.vgg.layers import convolutions, layer_names
from jnst.weights.foreign_files import StoredTensor
from jnst.weights.hdf5 import array_shape, read_array
from jnst.weights.registry import WeightsLineage

# torchvision counts all layers: features.0.weight is conv1_1's. Some programs put a prefix before it or drop the word.
_TORCHVISION = re.compile(r"(?:.*\.)?features\.([0-9]{1,4})\.(weight|bias)|([0-9]{1,4})\.(weight|bias)")
_CAFFE = re.compile(r"(?:.*\.)?conv([1-5])_([1-4])\.(weight|bias)")
_KERAS = re.compile(r"(?:^|/)block([1-5])_conv([1-4])/")
_KERAS_COUNTED = re.compile(r"(?:^|/)conv2d(?:_([0-9]{1,4}))?/")
Found = dict[str, dict[str, StoredTensor]]


def name_tensors(tensors: Mapping[str, StoredTensor]) -> tuple[Found, WeightsLineage]:
    """Convolutions by our names from PyTorch's, and the lineage that the naming suggests."""
    if any(name.endswith(".running_mean") for name in tensors):
        raise WeightsError("a VGG with batch normalisation; only the plain VGG16 and VGG19 are supported")
    indexed: dict[int, dict[str, StoredTensor]] = {}
    named: Found = {}
    for name, tensor in tensors.items():
        if match := _CAFFE.fullmatch(name):
            _add(named, f"conv{match[1]}_{match[2]}", match[3], tensor)
        elif match := _TORCHVISION.fullmatch(name):
            _add(indexed, int(match[1] or match[3]), match[2] or match[4], tensor)
    if named:
        return named, "caffe"
    for architecture in get_args(Architecture):
        numbers = {layer_names(architecture).index(name): name for name in convolutions(architecture)}
        if indexed and set(indexed) == set(list(numbers)[: len(indexed)]):
            return {numbers[index]: indexed[index] for index in sorted(indexed)}, "torchvision"
    if indexed:
        positions = ", ".join(map(str, sorted(indexed)[:20]))
        raise WeightsError(f"not VGG16 or VGG19, or incomplete: it has convolutions at positions {positions}")
    raise WeightsError(f"no layers of VGG16 or VGG19; it holds {_name_some(tensors)}")


def _add(found: dict, layer: object, part: str, tensor: StoredTensor) -> None:
    """PyTorch's OIHW kernels become HWIO."""
    if part == "weight":
        part = "kernel"
        if len(tensor.shape) == 4:
            outputs, inputs, height, width = tensor.shape
            tensor = StoredTensor((height, width, inputs, outputs), partial(_transposed, tensor))
    if part in found.setdefault(layer, {}):
        raise WeightsError(f"two tensors are the {part} of layer {layer}")
    found[layer][part] = tensor


def _transposed(tensor: StoredTensor) -> np.ndarray:
    return np.ascontiguousarray(tensor.read().transpose(2, 3, 1, 0))


def name_keras(arrays: Mapping) -> Found:
    """Convolutions by our names, from Keras's layer names wherever in the path they stand.

    Keras 1 and 2 have block1_conv1/block1_conv1_W_1:0 or block1_conv1/block1_conv1/kernel:0, whole models put
    model_weights/ before it, Keras 3 has layers/block1_conv1/vars/0 or counts: layers/conv2d_12/vars/0.
    """
    arrays = {path: array for path, array in arrays.items() if not path.startswith("optimizer")}
    found: Found = {}
    for path, array in arrays.items():
        if match := _KERAS.search(path):
            _add_keras(found, f"conv{match[1]}_{match[2]}", array)
    if found:
        return found
    counted: dict[int, dict[str, StoredTensor]] = {}
    for path, array in arrays.items():
        if match := _KERAS_COUNTED.search(path):
            _add_keras(counted, int(match[1] or 0), array)
    for architecture in get_args(Architecture):
        names = list(convolutions(architecture))
        if len(names) == len(counted):
            return {name: counted[number] for name, number in zip(names, sorted(counted), strict=True)}
    raise WeightsError(f"no layers of VGG16 or VGG19; it holds {_name_some(arrays)}")


def _add_keras(found: dict, layer: object, array: object) -> None:
    shape = array_shape(array)
    part = {4: "kernel", 1: "bias"}.get(len(shape), "")
    if not part or part in found.setdefault(layer, {}):
        raise WeightsError(f"layer {layer} has an array of shape {shape} besides its kernel and bias")
    found[layer][part] = StoredTensor(shape, partial(read_array, array))


def _name_some(arrays: Mapping[str, object]) -> str:
    """The first names of what a file holds, in one line."""
    return f"{one_line(', '.join(list(arrays)[:5]))[:200]}, …" if arrays else "no arrays"
