"""Other programs' weights into ours: PyTorch, safetensors and Keras files, recognised by their content.

A layer is recognised by its name, the architecture by which layers there are, the width by the first layer's channels;
then every shape must fit. Classifiers are left out, all convolutions are kept.
"""

import hashlib
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Literal, get_args

from jnst.config import Architecture
from jnst.errors import WeightsError, describe_unknown, quote
from jnst.files import check_readable
from jnst.vgg.layers import convolutions
from jnst.weights.foreign_files import StoredTensor, read_pytorch, read_safetensors
from jnst.weights.foreign_names import Found, name_keras, name_tensors
from jnst.weights.hdf5 import find_arrays, is_hdf5, open_hdf5
from jnst.weights.network import Weights, WeightsInfo, check_layers, describe_weights
from jnst.weights.registry import WeightsLineage
from jnst.weights.store import is_weights_file, read_weights, write_weights

# Oxford's networks under torchvision's names, converted by Johnson (github.com/jcjohnson/pytorch-vgg): the beginning
# of the file's hash is part of its name.
_CAFFE_HASHES = ("d01eb7cb", "00b39a1b")


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
    told = {"name": name or destination.stem, "origin": origin, "licence": licence, **(notes or {})}
    for what, text in told.items():
        if "\0" in f"{what}{text}":
            raise WeightsError(f"{quote(what)[1:-1]} is {quote(text)}; expected text without NUL characters")
    if destination.exists() and source.exists() and source.samefile(destination):
        raise WeightsError(f"{source} would be overwritten by its own conversion; choose another destination")
    params, info = read_foreign(source, lineage=lineage)
    info = replace(info, name=name or destination.stem, source=origin or info.source, licence=licence or info.licence)
    if notes:
        info = replace(info, notes={**info.notes, **notes})
    return write_weights(destination, params, info, dtype=dtype, compress=dtype == "float16")


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
            weights = _assemble(path, name_keras(find_arrays(file)), lineage or "caffe")
    else:
        try:
            found, guess = name_tensors(_read_tensors(path))
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
        return "it begins with zeros" if beginning else "it is empty"
    if beginning.startswith(b"version https://git-lfs"):
        return "it is a Git LFS pointer; fetch the file itself with `git lfs pull`"
    if beginning.lstrip().lower().startswith((b"<!doctype html", b"<html")):
        return "it is a web page; the address it came from is not that of the file"
    if beginning[257:262] == b"ustar":
        return "it is a tar archive, perhaps of PyTorch before 0.2; save it again with a newer PyTorch"
    return "expected PyTorch's .pth, .safetensors, or Keras's .h5"


def _assemble(path: Path, found: Found, lineage: WeightsLineage) -> Weights:
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


def _recognise(found: Found) -> Architecture:
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
