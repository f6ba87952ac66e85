"""The weights that have names: where each comes from, what it must hash to, what it expects to see, where it lies."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from jnst.config import Architecture, Lineage, PixelSpace
from jnst.errors import WeightsError, describe_unknown, quote
from jnst.files import cache_directory, describe_missing

WeightsLineage = Literal["torchvision", "caffe"]

_IMAGENET = PixelSpace(scale=1.0, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225), order="rgb")
# What a network of each lineage was trained on.
INPUT_SPACES: dict[WeightsLineage, PixelSpace] = {
    "torchvision": _IMAGENET,
    "caffe": PixelSpace(scale=255.0, mean=(123.68, 116.779, 103.939), std=(1.0, 1.0, 1.0), order="bgr"),
}


@dataclass(frozen=True)
class Entry:
    """A named file. `size` in bytes and `checksum` ("sha256:…" or "md5:…") are those of the download at `url`.

    `bundled` is the name of the file that comes with jnst, if there is one: used until a download is in the cache;
    `bundled_sha256` is the hash of that file.
    """

    name: str
    architecture: Architecture
    lineage: WeightsLineage
    summary: str
    licence: str
    url: str = ""
    size: int = 0
    checksum: str = ""
    bundled: str = ""
    bundled_sha256: str = ""


_TORCHVISION_LICENCE = "BSD-3-Clause (torchvision); trained on ImageNet"
_OXFORD_LICENCE = "CC BY 4.0 (Visual Geometry Group, University of Oxford)"
_KERAS = "https://storage.googleapis.com/tensorflow/keras-applications"

CATALOGUE: dict[str, Entry] = {
    entry.name: entry
    for entry in (
        Entry(
            "vgg19",
            "vgg19",
            "torchvision",
            "VGG19 as torchvision trained it",
            _TORCHVISION_LICENCE,
            "https://download.pytorch.org/models/vgg19-dcbb9e9d.pth",
            574_673_361,
            "sha256:dcbb9e9dad569fff7a846263a77324fc34978fea2bfb039c012d710e1776ae44",
        ),
        Entry(
            "vgg16",
            "vgg16",
            "torchvision",
            "VGG16 as torchvision trained it",
            _TORCHVISION_LICENCE,
            "https://download.pytorch.org/models/vgg16-397923af.pth",
            553_433_881,
            "sha256:397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0",
        ),
        Entry(
            "vgg19-caffe",
            "vgg19",
            "caffe",
            "Oxford's original VGG19, from Keras",
            _OXFORD_LICENCE,
            f"{_KERAS}/vgg19/vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5",
            80_134_624,
            "md5:253f8cb515780f3b799900260a226db6",
        ),
        Entry(
            "vgg16-caffe",
            "vgg16",
            "caffe",
            "Oxford's original VGG16, bundled in half precision; fetched in float32 from Keras",
            _OXFORD_LICENCE,
            f"{_KERAS}/vgg16/vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5",
            58_889_256,
            "md5:6d6bbae143d832006294945121d1f1fc",
            bundled="vgg16.h5",
            bundled_sha256="0d91e4858193b7a0aa32f1a1cdf4ba5176dac66ad78359c661150b475cd4e22c",
        ),
        Entry(
            "vgg16-small",
            "vgg16",
            "caffe",
            "pruned from Oxford's VGG16, bundled: about a third of its time a step",
            _OXFORD_LICENCE,
            bundled="vgg16-small.h5",
            bundled_sha256="6a797d80b963e0481efca9dc38f7a06d9258fc5cda5b953f5f98cffa7d3cb6b2",
        ),
    )
}
# What `auto` takes where the weights that a preset asks for have not been fetched.
BUNDLED = CATALOGUE["vgg16-caffe"]


def find_entry(name: str, catalogue: Mapping[str, Entry] = CATALOGUE) -> Entry:
    """The entry of that name.

    Raises:
        WeightsError: for an unknown name, with the closest known one.
    """
    if name not in catalogue:
        raise WeightsError(describe_unknown("weights", name, ("auto", *catalogue)))
    return catalogue[name]


def locate_weights(entry: Entry, cache_dir: Path | None = None) -> Path:
    """Where an entry's weights file lies: what was fetched, else what is bundled, else where it would be fetched to."""
    fetched = cached_path(entry, cache_dir)
    if not entry.bundled or (entry.url and fetched.exists()):
        return fetched
    package = Path(__file__).parents[1]
    installed = package / "data" / "weights" / entry.bundled
    return installed if installed.exists() else package.parent / "weights" / entry.bundled


def cached_path(entry: Entry, cache_dir: Path | None = None) -> Path:
    """Where `jnst weights fetch` puts an entry's weights file."""
    return (cache_dir or cache_directory()) / "weights" / f"{entry.name}.h5"


class Resolved(NamedTuple):
    """A weights file by name or path. `missing` names the weights that "auto" looked for and did not find."""

    name: str
    path: Path
    missing: str = ""


def resolve_weights(
    name_or_path: str | Path = "auto",
    *,
    architecture: Architecture = "vgg16",
    lineage: Lineage = "any",
    cache_dir: Path | None = None,
) -> Resolved:
    """Finds a weights file; nothing is downloaded and nothing is read.

    Args:
        name_or_path: a name of the catalogue, a path, or "auto": weights of that architecture and lineage where they
            are on this machine, else the bundled VGG16.
        architecture: what "auto" looks for.
        lineage: what "auto" looks for.
        cache_dir: in place of the user's cache.

    Raises:
        WeightsError: for an unknown name, or with the command that fetches what is missing.
    """
    try:
        given = os.fspath(name_or_path)
    except TypeError:
        given = name_or_path
    if not isinstance(given, str):
        raise WeightsError(f"the weights are {quote(name_or_path)}; expected the name or the path of a file, as text")
    name = str(name_or_path)
    if not name:
        raise WeightsError('the weights are ""; expected "auto", a name of the catalogue, or the path of a file')
    if name == "auto":
        return _choose(architecture, lineage, cache_dir)
    if name in CATALOGUE:
        path = locate_weights(CATALOGUE[name], cache_dir)
        if not path.exists():
            raise WeightsError(f"the weights {name} are not on this machine; `jnst weights fetch {name}` brings them")
        return Resolved(name, path)
    try:
        path = Path(name_or_path).expanduser()
    except RuntimeError as error:  # of ~somebody who is not known here
        raise WeightsError(f"weights file {quote(name)} is in a home directory that is not known here") from error
    if not path.exists():
        if isinstance(name_or_path, str) and not path.suffix and len(path.parts) == 1:
            find_entry(name)
        raise WeightsError(f"weights file {path} is {describe_missing(path)}")
    return Resolved(path.stem, path)


def _choose(architecture: Architecture, lineage: Lineage, cache_dir: Path | None) -> Resolved:
    fitting = [
        entry
        for entry in CATALOGUE.values()
        if entry.architecture == architecture and lineage in ("any", entry.lineage) and entry.url
    ]
    if BUNDLED in fitting and lineage == "any":  # the same picture, whatever else has been fetched
        fitting = [BUNDLED]
    for entry in fitting:
        path = locate_weights(entry, cache_dir)
        if path.exists():
            return Resolved(entry.name, path)
    return Resolved(BUNDLED.name, locate_weights(BUNDLED, cache_dir), fitting[0].name if fitting else "")


class Row(NamedTuple):
    """A line of `jnst weights list`. `state` is bundled, fetched, or absent; `download` is in bytes."""

    name: str
    architecture: Architecture
    lineage: WeightsLineage
    state: Literal["bundled", "fetched", "absent"]
    path: Path
    download: int
    licence: str
    summary: str


def list_weights(cache_dir: Path | None = None) -> list[Row]:
    """Every named file and whether it is on this machine."""
    rows = []
    for entry in CATALOGUE.values():
        path = locate_weights(entry, cache_dir)
        fetched = bool(entry.url) and cached_path(entry, cache_dir).exists()
        state = "fetched" if fetched else "bundled" if entry.bundled and path.exists() else "absent"
        rows.append(
            Row(entry.name, entry.architecture, entry.lineage, state, path, entry.size, entry.licence, entry.summary)
        )
    return rows
