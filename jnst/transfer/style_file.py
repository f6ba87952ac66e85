"""A prepared style's file: its Gram matrices at every scale, the picture, and what the numbers depend on."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from jnst.config import MOST_SCALES
from jnst.errors import ImageError, TargetsError, WeightsError
from jnst.files import check_path_given, disk_errors, write_atomically
from jnst.loss.guidance import layer_of
from jnst.transfer.style_targets import StyleTargets
from jnst.weights.hdf5 import array_shape, hdf5_bytes, member, open_hdf5, read_array, remember

FORMAT = "jnst-style"
FORMAT_VERSION = 1


def write_style(path: str | Path, targets: StyleTargets) -> None:
    """Writes a prepared style to an HDF5 file, whole or not at all.

    Args:
        path: of the file; what is there is replaced.
        targets: from `prepare_style`.

    Raises:
        TargetsError: where the place cannot be written.
    """
    groups: dict[str, dict[str, np.ndarray]] = {
        f"scale{power}": dict(grams) for power, grams in enumerate(targets.grams)
    }
    groups["picture"] = {"pixels": targets.picture}
    if targets.mask is not None:
        groups["picture"]["mask"] = targets.mask
    attributes = {
        "/": {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "scales": len(targets.grams),
            "settings": json.dumps(targets.settings),
            "weights_sha256": targets.weights_sha256,
            "sha256": _hash(targets),
        }
    }
    try:
        check_path_given(path)
        with disk_errors(Path(path)):
            write_atomically(path, hdf5_bytes(groups, attributes))
        remember(Path(path))
    except (ImageError, WeightsError) as error:
        raise TargetsError(str(error)) from error


def _hash(targets: StyleTargets) -> str:
    digest = hashlib.sha256(json.dumps([dict(targets.settings), targets.weights_sha256], sort_keys=True).encode())
    for grams in targets.grams:
        for layer in sorted(grams):
            digest.update(f"{layer} {grams[layer].shape}\n".encode())
            digest.update(np.ascontiguousarray(grams[layer], "<f4").data)
    digest.update(f"{targets.picture.shape}\n".encode())
    digest.update(np.ascontiguousarray(targets.picture).data)
    if targets.mask is not None:
        digest.update(f"mask {targets.mask.shape}\n".encode())
        digest.update(np.ascontiguousarray(targets.mask).data)
    return digest.hexdigest()


def is_style_file(path: str | Path) -> bool:
    """Whether the name is that of a prepared style and not of a picture."""
    return Path(path).suffix.lower() in (".h5", ".hdf5")


def read_style(path: str | Path) -> StyleTargets:
    """Reads a prepared style and verifies its hash.

    Args:
        path: of a file that `write_style` or `jnst targets` wrote.

    Returns:
        The prepared style.

    Raises:
        TargetsError: saying what is wrong with the file.
    """
    try:
        check_path_given(path)
        with open_hdf5(Path(path)) as file:
            attributes: dict[str, Any] = dict(file.attrs)
            if attributes.get("format") != FORMAT:
                raise WeightsError("an HDF5 file, but not a prepared style; `jnst targets` makes one")
            version = int(attributes["format_version"])
            if version != FORMAT_VERSION:
                raise WeightsError(f"style format {version}; this jnst reads format {FORMAT_VERSION}; update jnst")
            scales = int(attributes["scales"])
            if not 1 <= scales <= MOST_SCALES:
                raise WeightsError(f"{scales} scales; expected 1 to {MOST_SCALES}")
            groups = [member(file, f"scale{power}") for power in range(scales)]
            grams = tuple({name: _read_moment(member(group, name), name) for name in group} for group in groups)
            picture = member(file, "picture")
            pixels = _read_bytes(member(picture, "pixels"), 3)
            mask = _read_bytes(member(picture, "mask"), 2) if "mask" in picture else None
            if mask is not None and (mask.shape != pixels.shape[:2] or not mask.any()):
                raise WeightsError("the picture's opacity does not fit it, or leaves nothing to see")
            targets = StyleTargets(
                grams, pixels, json.loads(attributes["settings"]), str(attributes["weights_sha256"]), mask
            )
            if _hash(targets) != attributes["sha256"]:
                raise WeightsError("the values do not match their hash; the file is damaged")
    except (ImageError, WeightsError) as error:
        raise TargetsError(str(error).replace("weights file", "style file")) from error
    return targets


def _read_bytes(dataset: Any, dimensions: int) -> np.ndarray:
    """The picture, or its opacity."""
    if dataset.dtype != np.uint8 or dataset.ndim != dimensions or dataset.id.get_storage_size() != dataset.nbytes:
        raise WeightsError("the picture is not an array of bytes, or incomplete")
    return dataset[()]


def _read_moment(dataset: Any, name: str) -> np.ndarray:
    """A Gram matrix, or the means of channels that stand beside it."""
    shape = array_shape(dataset)
    if name != layer_of(name):
        if len(shape) != 1:
            raise WeightsError(f"{dataset.name} has shape {shape}; expected one number for each channel")
    elif len(shape) != 2 or shape[0] != shape[1]:
        raise WeightsError(f"{dataset.name} has shape {shape}; expected a square matrix")
    return read_array(dataset)
