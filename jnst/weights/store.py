"""Weights files: one HDF5 group per convolution, and attributes that say what the network is and expects to see.

Parameters are NumPy arrays here; whoever computes with them puts them on a device. The stored hash covers the float32
values, so that a file in half precision and one in full precision of the same values have the same hash.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from jnst.errors import WeightsError, quote
from jnst.files import disk_errors, making_folder, write_atomically
from jnst.vgg.layers import convolutions
from jnst.weights.hdf5 import array_shape, hdf5_bytes, member, open_hdf5, read_array, remember
from jnst.weights.network import PARTS, Weights, WeightsInfo, check_layers, check_values, hash_content, hash_layer

FORMAT = "jnst-weights"
FORMAT_VERSION = 1


def write_weights(
    path: str | Path,
    params: Mapping[str, Any],
    info: WeightsInfo,
    *,
    dtype: Literal["float32", "float16"] = "float32",
    compress: bool = False,
) -> WeightsInfo:
    """Writes a weights file; it appears whole, replacing what was there, or not at all.

    Args:
        path: where to; missing directories are made.
        params: for each convolution a kernel (HWIO) and a bias; what else a layer has is left out.
        info: what the file is to say about itself; its sha256 is computed here.
        dtype: of the storage. Values are rounded to it before they are hashed.
        compress: shuffle and deflate kernels, which saves a seventh in half precision.

    Returns:
        `info` with the content's hash.

    Raises:
        WeightsError: for layers that are no network of that width, values that are not finite (once rounded), a full
            disk or an unwritable place.
    """
    check_layers(
        {name: {part: np.shape(layer[part]) for part in PARTS} for name, layer in params.items()},
        info.architecture,
        info.width,
        info.channels,
    )
    with np.errstate(over="ignore"):  # a value too large for float16 becomes infinite and is refused below
        stored = {
            name: {part: np.asarray(params[name][part]).astype(dtype) for part in PARTS}
            for name in convolutions(info.architecture)
            if name in params
        }
    check_values(stored)
    digests = {name: hash_layer(layer) for name, layer in stored.items()}
    info = replace(info, sha256=hash_content(digests, info))
    attributes: dict[str, dict[str, Any]] = {name: {"sha256": digest} for name, digest in digests.items()}
    attributes["/"] = {"format": FORMAT, "format_version": FORMAT_VERSION}
    attributes["/"] |= asdict(info) | {"notes": json.dumps(dict(info.notes))}
    if not info.channels:  # files of one width have no such attribute
        del attributes["/"]["channels"]
    path = Path(path)
    with disk_errors(path), making_folder(path.parent):
        write_atomically(path, hdf5_bytes(stored, attributes, compress=compress))
    remember(path)
    return info


def is_weights_file(path: Path) -> bool:
    """Whether an HDF5 file is one of jnst's own."""
    with open_hdf5(path) as file:
        return file.attrs.get("format") == FORMAT


def read_info(path: str | Path) -> WeightsInfo:
    """What a file says about itself; its values are not read.

    Raises:
        WeightsError: when there is no file, it is no weights file, or one of its attributes is wrong.
    """
    with open_hdf5(Path(path)) as file:
        return _read_attributes(file)


def _read_attributes(file: Any) -> WeightsInfo:
    found = dict(file.attrs)
    if found.pop("format", None) != FORMAT:
        raise WeightsError("an HDF5 file, but not jnst's own; `jnst weights convert` reads Keras files")
    version = int(found.pop("format_version", 0))
    if version != FORMAT_VERSION:
        raise WeightsError(f"weights format {version}; this jnst reads format {FORMAT_VERSION}; update jnst")
    found.setdefault("channels", ())
    missing = {key for key in WeightsInfo.__dataclass_fields__ if key not in found}
    if missing:
        raise WeightsError(f"attribute {min(missing)} is missing")
    values: dict[str, Any] = {key: str(found[key]) for key in WeightsInfo.__dataclass_fields__}
    for key in ("width", "scale"):
        values[key] = float(found[key])
    for key in ("mean", "std"):
        if np.shape(found[key]) != (3,):
            raise WeightsError(f"attribute {key} is {quote(found[key])}; expected three numbers")
        values[key] = tuple(float(number) for number in found[key])
    values["channels"] = tuple(int(count) for count in found["channels"])
    values["notes"] = json.loads(values["notes"])
    return WeightsInfo(**values)


def read_weights(path: str | Path) -> Weights:
    """Reads a weights file and verifies it: names, shapes, finite values, and the hash of every layer.

    Returns:
        float32 arrays, whatever the storage, in the network's order.

    Raises:
        WeightsError: saying what is wrong and with which layer.
    """
    with open_hdf5(Path(path)) as file:
        info = _read_attributes(file)
        groups = {name: member(file, name) for name in map(str, file)}
        arrays = {name: {part: member(group, part) for part in PARTS} for name, group in groups.items()}
        check_layers(
            {name: {part: array_shape(array) for part, array in layer.items()} for name, layer in arrays.items()},
            info.architecture,
            info.width,
            info.channels,
        )
        names = [name for name in convolutions(info.architecture) if name in arrays]
        params = {name: {part: read_array(arrays[name][part]) for part in PARTS} for name in names}
        check_values(params)
        digests = {name: hash_layer(layer) for name, layer in params.items()}
        for name, digest in digests.items():
            if groups[name].attrs.get("sha256") != digest:
                raise WeightsError(f"the values of {name} do not match their hash; the file is damaged")
        if hash_content(digests, info) != info.sha256:
            raise WeightsError("the content does not match its hash; a layer is missing or an attribute was changed")
    return Weights(params, info)
