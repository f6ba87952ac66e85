"""Weights files: one HDF5 group per convolution, and attributes that say what the network is and expects to see.

Parameters are NumPy arrays here; whoever computes with them puts them on a device. The stored hash covers the float32
values, so that a file in half precision and one in full precision of the same values have the same hash.
"""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import numpy as np

from jnst.config import Architecture, NetworkConfig, PixelSpace, check_channels
from jnst.errors import ConfigError, WeightsError, describe_unknown, quote
from jnst.files import disk_errors, write_atomically
from jnst.vgg.layers import channel_counts, convolutions, describe_width
from jnst.weights.hdf5 import array_shape, hdf5_bytes, member, open_hdf5, read_array, remember
from jnst.weights.registry import INPUT_SPACES, WeightsLineage, resolve_weights

FORMAT = "jnst-weights"
FORMAT_VERSION = 1
_PARTS = ("kernel", "bias")

Shapes = Mapping[str, Mapping[str, tuple[int, ...]]]


@dataclass(frozen=True)
class WeightsInfo:
    """What a weights file says about itself.

    The network expects x = (scale · rgb − mean) / std with its channels in `order`; mean and std are in RGB order
    whatever `order` is. `sha256` is the hash of the content (see `hash_content`), empty until the file is written.
    `channels` are the output channels of each convolution that the file holds, in order; empty where they are the
    standard table's times `width`.
    """

    name: str
    architecture: Architecture
    width: float
    lineage: WeightsLineage
    order: Literal["rgb", "bgr"]
    scale: float
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    source: str = ""
    source_sha256: str = ""
    licence: str = ""
    notes: Mapping[str, Any] = field(default_factory=dict, hash=False)
    sha256: str = ""
    channels: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        for label, value, known in (
            ("architecture", self.architecture, get_args(Architecture)),
            ("lineage", self.lineage, get_args(WeightsLineage)),
        ):
            if value not in known:
                raise WeightsError(describe_unknown(label, str(value), known))
        if not 0 < self.width <= 4:
            raise WeightsError(f"width is {self.width}; expected a multiplier above 0 and at most 4")
        if not all(math.isfinite(number) for number in (self.scale, *self.mean, *self.std)):
            raise WeightsError(f"scale {self.scale}, mean {self.mean} and std {self.std} must be finite")
        try:
            check_channels(self.channels)
            _ = self.space
        except ConfigError as error:
            raise WeightsError(str(error)) from error

    @property
    def space(self) -> PixelSpace:
        """The network's input space."""
        return PixelSpace(scale=self.scale, mean=self.mean, std=self.std, order=self.order)


class Weights(NamedTuple):
    """Parameters by convolution, each a `kernel` (HWIO) and a `bias`, float32, and what is known about them."""

    params: dict[str, dict[str, np.ndarray]]
    info: WeightsInfo


def describe_weights(
    name: str, architecture: Architecture, width: float, lineage: WeightsLineage, **rest: Any
) -> WeightsInfo:
    """The description of a network that sees what its lineage sees; `rest` are further fields of `WeightsInfo`.

    >>> describe_weights("mine", "vgg19", 0.25, "caffe").space.order
    'bgr'
    """
    return WeightsInfo(name, architecture, width, lineage, **(asdict(INPUT_SPACES[lineage]) | rest))


def random_weights(
    architecture: Architecture, width: float, seed: int, channels: tuple[int, ...] = ()
) -> dict[str, dict[str, np.ndarray]]:
    """Zero-mean normal filters of variance 2 / inputs, and zero biases (He et al. 2015, arXiv 1502.01852, eq. 10).

    They keep a signal's size through all the layers, which is as much as an untrained network can do.
    """
    generator = np.random.default_rng(seed)
    params, inputs = {}, 3
    for name, outputs in channel_counts(architecture, width, channels).items():
        deviation = np.float32(math.sqrt(2 / (9 * inputs)))
        kernel = deviation * generator.standard_normal((3, 3, inputs, outputs), np.float32)
        params[name] = {"kernel": kernel, "bias": np.zeros(outputs, np.float32)}
        inputs = outputs
    return params


def check_layers(shapes: Shapes, architecture: Architecture, width: float, channels: tuple[int, ...] = ()) -> None:
    """Raises WeightsError unless the shapes are those of the network's first convolutions at that width.

    A file may end early (some networks are only good as far as conv5_1), but it has no gaps. Where `channels` are
    given, there is one for each convolution that it holds.
    """
    table = channel_counts(architecture, width, channels)
    for name in shapes:
        if name not in table:
            raise WeightsError(describe_unknown(f"convolution of {architecture}", name, table))
    if channels and len(channels) != len(shapes):
        raise WeightsError(f"there are {len(shapes)} convolutions, but channels names {len(channels)}: {channels}")
    inputs = 3
    for name in list(table)[: max(len(shapes), 1)]:
        if name not in shapes:
            raise WeightsError(f"{name} is missing; there are {', '.join(shapes) or 'no convolutions at all'}")
        outputs = table[name]
        for part, expected in (("kernel", (3, 3, inputs, outputs)), ("bias", (outputs,))):
            found = shapes[name][part]
            if found != expected:
                raise WeightsError(
                    f"the {part} of {name} has shape {found}; "
                    f"{describe_width(NetworkConfig(architecture, width, channels=channels))} has {expected}"
                )
        inputs = outputs


def _check_values(params: Mapping[str, Mapping[str, np.ndarray]]) -> None:
    for name, layer in params.items():
        for part in _PARTS:
            if not np.isfinite(layer[part]).all():
                raise WeightsError(f"the {part} of {name} has values that are not finite")


def hash_layer(layer: Mapping[str, np.ndarray]) -> str:
    """SHA-256 over shape and float32 values (little-endian) of a convolution's kernel and bias."""
    digest = hashlib.sha256()
    for part in _PARTS:
        values = np.ascontiguousarray(layer[part], "<f4")
        digest.update(f"{part} {values.shape}\n".encode())
        digest.update(values.data)
    return digest.hexdigest()


def hash_content(digests: Mapping[str, str], info: WeightsInfo) -> str:
    """SHA-256 over everything that changes a picture: architecture, input space, each layer's name and hash."""
    numbers = [float(number) for number in (info.scale, *info.mean, *info.std)]
    lines = [json.dumps([info.architecture, info.order, numbers])]
    lines += [f"{name} {digest}" for name, digest in digests.items()]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


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
        {name: {part: np.shape(layer[part]) for part in _PARTS} for name, layer in params.items()},
        info.architecture,
        info.width,
        info.channels,
    )
    with np.errstate(over="ignore"):  # a value too large for float16 becomes infinite and is refused below
        stored = {
            name: {part: np.asarray(params[name][part]).astype(dtype) for part in _PARTS}
            for name in convolutions(info.architecture)
            if name in params
        }
    _check_values(stored)
    digests = {name: hash_layer(layer) for name, layer in stored.items()}
    info = replace(info, sha256=hash_content(digests, info))
    attributes: dict[str, dict[str, Any]] = {name: {"sha256": digest} for name, digest in digests.items()}
    attributes["/"] = {"format": FORMAT, "format_version": FORMAT_VERSION}
    attributes["/"] |= asdict(info) | {"notes": json.dumps(dict(info.notes))}
    if not info.channels:  # files of one width have no such attribute
        del attributes["/"]["channels"]
    path = Path(path)
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
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
        arrays = {name: {part: member(group, part) for part in _PARTS} for name, group in groups.items()}
        check_layers(
            {name: {part: array_shape(array) for part, array in layer.items()} for name, layer in arrays.items()},
            info.architecture,
            info.width,
            info.channels,
        )
        names = [name for name in convolutions(info.architecture) if name in arrays]
        params = {name: {part: read_array(arrays[name][part]) for part in _PARTS} for name in names}
        _check_values(params)
        digests = {name: hash_layer(layer) for name, layer in params.items()}
        for name, digest in digests.items():
            if groups[name].attrs.get("sha256") != digest:
                raise WeightsError(f"the values of {name} do not match their hash; the file is damaged")
        if hash_content(digests, info) != info.sha256:
            raise WeightsError("the content does not match its hash; a layer is missing or an attribute was changed")
    return Weights(params, info)


def verify_weights(path: str | Path) -> WeightsInfo:
    """Reads the whole file and returns what it says about itself; raises WeightsError as `read_weights` does."""
    return read_weights(path).info


def load_weights(name_or_path: str | Path = "auto") -> Weights:
    """The weights of that name or in that file. See `resolve_weights`, which also tells whether "auto" fell back.

    Raises:
        WeightsError: for an unknown name, one that was not fetched, or a damaged file.
    """
    return read_weights(resolve_weights(name_or_path).path)
