"""Other programs' weights into ours: PyTorch, safetensors and Keras files, recognised by their content.

A layer is recognised by its name, the architecture by which layers there are, the width by the first layer's channels;
then every shape must fit. Classifiers are left out, all convolutions are kept.
"""

import hashlib
import math
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from jnst.config import Architecture
from jnst.errors import WeightsError, describe_unknown, one_line
from jnst.files import check_readable, disk_errors, exclusive
from jnst.vgg.layers import convolutions, layer_names
from jnst.weights.download import Download, Patience, Progress, fetch, received
from jnst.weights.foreign_files import StoredTensor, read_pytorch, read_safetensors
from jnst.weights.hdf5 import array_shape, find_arrays, is_hdf5, open_hdf5, read_array
from jnst.weights.registry import CATALOGUE, Entry, WeightsLineage, cached_path, find_entry, locate_weights
from jnst.weights.store import (
    Weights,
    WeightsInfo,
    check_layers,
    describe_weights,
    is_weights_file,
    read_weights,
    verify_weights,
    write_weights,
)

# torchvision counts all layers: features.0.weight is conv1_1's. Some programs put a prefix before it or drop the word.
_TORCHVISION = re.compile(r"(?:.*\.)?features\.([0-9]{1,4})\.(weight|bias)|([0-9]{1,4})\.(weight|bias)")
_CAFFE = re.compile(r"(?:.*\.)?conv([1-5])_([1-4])\.(weight|bias)")
_KERAS = re.compile(r"(?:^|/)block([1-5])_conv([1-4])/")
_KERAS_COUNTED = re.compile(r"(?:^|/)conv2d(?:_([0-9]{1,4}))?/")
# Oxford's networks under torchvision's names, converted by Johnson (github.com/jcjohnson/pytorch-vgg): the beginning
# of the file's hash is part of its name.
_CAFFE_HASHES = ("d01eb7cb", "00b39a1b")

_Found = dict[str, dict[str, StoredTensor]]


def convert_weights(
    source: str | Path,
    destination: str | Path,
    *,
    name: str = "",
    lineage: WeightsLineage | None = None,
    origin: str = "",
    licence: str = "",
    dtype: Literal["float32", "float16"] = "float32",
    notes: Mapping[str, str] | None = None,
) -> WeightsInfo:
    """Reads a file of another program (or of ours) and writes it as a weights file.

    Args:
        source: PyTorch's .pth in either format, .safetensors, or Keras's .h5; the suffix does not matter.
        destination: the weights file to write; what is there is replaced.
        name: what to call the weights; the destination's name without its suffix if empty.
        lineage: which pixels the network was trained on, where the layer names do not tell it rightly.
        origin: where the file came from; its own name if empty.
        licence: of the weights.
        dtype: of the storage; float16 is shuffled and deflated as well.
        notes: what else the file is to say about its origin, by name.

    Returns:
        What the new file says about itself.

    Raises:
        WeightsError: for a damaged or malicious file, or one that is not VGG16 or VGG19, saying which layer is wrong.
    """
    source, destination = Path(source), Path(destination)
    if destination.exists() and source.exists() and source.samefile(destination):
        raise WeightsError(f"{source} would be overwritten by its own conversion; choose another destination")
    params, info = read_foreign(source, lineage=lineage)
    info = replace(info, name=name or destination.stem, source=origin or info.source, licence=licence or info.licence)
    if notes:
        info = replace(info, notes={**info.notes, **notes})
    return write_weights(destination, params, info, dtype=dtype, compress=dtype == "float16")


def fetch_weights(
    name: str,
    *,
    progress: Progress | None = None,
    cache_dir: Path | None = None,
    catalogue: Mapping[str, Entry] = CATALOGUE,
    patience: Patience = Patience(),  # noqa: B008 (immutable)
) -> Path:
    """Brings named weights into the cache unless they are there, and returns the weights file.

    The official file is downloaded and verified, its convolutions are converted, and the download is removed.

    Args:
        name: of the catalogue.
        progress: told about the bytes as they come.
        cache_dir: in place of the user's cache.
        catalogue: in place of ours, for mirrors: `dataclasses.replace(CATALOGUE["vgg19"], url=…)`.
        patience: with a slow or failing server.

    Raises:
        WeightsError: for an unknown name, or as `jnst.weights.download.fetch` and `convert_weights` do.
    """
    entry = find_entry(name, catalogue)
    if not entry.url:
        return locate_weights(entry, cache_dir)
    target = cached_path(entry, cache_dir)
    raw = target.parent.parent / "downloads" / entry.url.rsplit("/", 1)[-1]

    def wait() -> None:
        if progress is not None:
            progress(received(raw), entry.size or None)

    with exclusive(target, waiting=wait):
        if _is_sound(target):
            _clear(raw.parent, entry)
            return target
        download = Download(entry.url, entry.size, entry.checksum)
        # The converted file is smaller than the download, whichever it is.
        fetch(download, raw, progress=progress, reserve=min(entry.size, 100_000_000), patience=patience)
        convert_weights(raw, target, name=entry.name, lineage=entry.lineage, origin=entry.url, licence=entry.licence)
        _clear(raw.parent, entry)
    return target


def _clear(folder: Path, entry: Entry) -> None:
    """Removes the download, and what earlier attempts left of it, from here or from the official address."""
    official = CATALOGUE.get(entry.name, entry)
    for url in {entry.url, official.url}:
        name = url.rsplit("/", 1)[-1]
        for path in (folder / name, folder / f"{name}.part", folder / f"{name}.lock"):
            with disk_errors(path):
                path.unlink(missing_ok=True)
    with suppress(OSError):  # other downloads are in it, or there were none
        folder.rmdir()


def _is_sound(path: Path) -> bool:
    if not path.exists():
        return False
    try:
        verify_weights(path)
    except WeightsError:
        return False
    return True


def read_foreign(path: str | Path, *, lineage: WeightsLineage | None = None) -> Weights:
    """The convolutions of another program's file (or of ours), with what can be told about them.

    Raises:
        WeightsError: as `convert_weights` does.
    """
    path = Path(path)
    if lineage not in (None, *get_args(WeightsLineage)):
        raise WeightsError(describe_unknown("lineage", str(lineage), get_args(WeightsLineage)))
    check_readable(path)
    if is_hdf5(path):
        if is_weights_file(path):
            return _reread(path, lineage)
        with open_hdf5(path) as file:
            weights = _assemble(path, _name_keras(find_arrays(file)), lineage or "caffe")
    else:
        try:
            found, guess = _name_tensors(_read_tensors(path))
            weights = _assemble(path, found, lineage or guess)
        except WeightsError as error:
            raise WeightsError(f"{path}: {error}") from error
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    info = weights.info
    if lineage is None and digest.startswith(_CAFFE_HASHES):
        info = describe_weights(info.name, info.architecture, info.width, "caffe", source=info.source)
    return Weights(weights.params, replace(info, source_sha256=digest))


def _reread(path: Path, lineage: WeightsLineage | None) -> Weights:
    weights = read_weights(path)
    if lineage not in (None, weights.info.lineage):
        raise WeightsError(f"{path} is a weights file of {weights.info.lineage} lineage already, not of {lineage}")
    return weights


def _read_tensors(path: Path) -> dict[str, StoredTensor]:
    with path.open("rb") as file:
        beginning = file.read(512)
    if beginning[:4] == b"PK\x03\x04" or beginning[:1] == b"\x80":
        return read_pytorch(path)
    if beginning[8:9] == b"{":
        return read_safetensors(path)
    raise WeightsError(f"not a weights file: {_describe(beginning)}")


def _describe(beginning: bytes) -> str:
    if not beginning.strip(b"\0"):
        return "it is empty"
    if beginning.startswith(b"version https://git-lfs"):
        return "it is a Git LFS pointer; fetch the file itself with `git lfs pull`"
    if beginning.lstrip().lower().startswith((b"<!doctype html", b"<html")):
        return "it is a web page; the address it came from is not that of the file"
    if beginning[257:262] == b"ustar":
        return "it is a tar archive, perhaps of PyTorch before 0.2; save it again with a newer PyTorch"
    return "expected PyTorch's .pth, .safetensors, or Keras's .h5"


def _name_tensors(tensors: Mapping[str, StoredTensor]) -> tuple[_Found, WeightsLineage]:
    """Convolutions by our names from PyTorch's, and the lineage that the naming suggests."""
    if any(name.endswith(".running_mean") for name in tensors):
        raise WeightsError("a VGG with batch normalisation; only the plain VGG16 and VGG19 are supported")
    indexed: dict[int, dict[str, StoredTensor]] = {}
    named: _Found = {}
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


def _name_keras(arrays: Mapping) -> _Found:
    """Convolutions by our names, from Keras's layer names wherever in the path they stand.

    Keras 1 and 2 have block1_conv1/block1_conv1_W_1:0 or block1_conv1/block1_conv1/kernel:0, whole models put
    model_weights/ before it, Keras 3 has layers/block1_conv1/vars/0 or counts: layers/conv2d_12/vars/0.
    """
    arrays = {path: array for path, array in arrays.items() if not path.startswith("optimizer")}
    found: _Found = {}
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


def _assemble(path: Path, found: _Found, lineage: WeightsLineage) -> Weights:
    """Recognises the network, checks every shape, and only then reads the values."""
    architecture = _recognise(found)
    for name, layer in found.items():
        for part in ("kernel", "bias"):
            if part not in layer:
                raise WeightsError(f"the {part} of {name} is missing")
    channels = math.prod(found["conv1_1"]["bias"].shape)
    width = channels / convolutions(architecture)["conv1_1"]
    info = describe_weights(path.stem, architecture, width, lineage, source=path.name)
    shapes = {name: {part: tensor.shape for part, tensor in layer.items()} for name, layer in found.items()}
    check_layers(shapes, architecture, width)
    names = [name for name in convolutions(architecture) if name in found]
    return Weights({name: {part: found[name][part].read() for part in ("kernel", "bias")} for name in names}, info)


def _recognise(found: _Found) -> Architecture:
    """The only architecture of which these are the first convolutions, without a gap."""
    fitting = [
        architecture
        for architecture in get_args(Architecture)
        if set(found) == set(list(convolutions(architecture))[: len(found)])
    ]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise WeightsError(f"too few layers to tell VGG16 from VGG19: {', '.join(found)}")
    raise WeightsError(f"the first layers of neither VGG16 nor VGG19: {', '.join(sorted(found))}")


def _name_some(arrays: Mapping[str, object]) -> str:
    """The first names of what a file holds, in one line."""
    return f"{one_line(', '.join(list(arrays)[:5]))[:200]}, …" if arrays else "no arrays"
