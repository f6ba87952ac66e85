"""What weights are: a network's parameters by convolution, what is known about them, and their hash."""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, NamedTuple, get_args

import numpy as np

from jnst.config import Architecture, NetworkConfig, PixelSpace, check_channels
from jnst.errors import ConfigError, WeightsError, describe_unknown
from jnst.vgg.layers import channel_counts, describe_width
from jnst.weights.registry import INPUT_SPACES, WeightsLineage

PARTS = ("kernel", "bias")
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


def check_values(params: Mapping[str, Mapping[str, np.ndarray]]) -> None:
    """Raises WeightsError for values that are not finite."""
    for name, layer in params.items():
        for part in PARTS:
            if not np.isfinite(layer[part]).all():
                raise WeightsError(f"the {part} of {name} has values that are not finite")


def hash_layer(layer: Mapping[str, np.ndarray]) -> str:
    """SHA-256 over shape and float32 values (little-endian) of a convolution's kernel and bias."""
    digest = hashlib.sha256()
    for part in PARTS:
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
