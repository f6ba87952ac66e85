"""Other programs' files as named tensors: PyTorch's zip and legacy formats and safetensors, without their libraries.

Every size that a file declares is checked against the file before anything is read or allocated, and a tensor's bytes
are read only when the tensor is: a classifier of half a gigabyte costs nothing. Errors do not repeat the path.
"""

import json
import math
import struct
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jnst.errors import WeightsError
from jnst.weights.torch_pickle import ELEMENT_TYPES, Interpreter, Storage, Tensor

_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_PROTOCOL = 1001
_SAFETENSORS_TYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}
_MAX_HEADER = 16 << 20  # bytes of JSON in a safetensors file; one for VGG19 has about three thousand


@dataclass(frozen=True)
class StoredTensor:
    """A tensor that still lies in its file; `read` returns it as a float32 array of that shape."""

    shape: tuple[int, ...]
    read: Callable[[], np.ndarray]


class _Piece(NamedTuple):
    """Where some bytes lie in the file, and their CRC-32 where the format has one."""

    start: int
    size: int
    checksum: int | None


def read_pytorch(path: Path) -> dict[str, StoredTensor]:
    """The tensors of a PyTorch file, zip or legacy, by name.

    Raises:
        WeightsError: for a file that is damaged, that holds anything but tensors, or that holds no dictionary of them.
    """
    data = _map(path)
    view = memoryview(data)  # pyright: ignore[reportArgumentType]
    state, pieces = _read_zip(path, view) if view[:2] == b"PK" else _read_legacy(view)
    return {name: _stored(name, tensor, data, pieces) for name, tensor in _named_tensors(state).items()}


def read_safetensors(path: Path) -> dict[str, StoredTensor]:
    """The floating-point tensors of a .safetensors file by name.

    Raises:
        WeightsError: for a file that is damaged or truncated.
    """
    data = _map(path)
    size = int.from_bytes(bytes(data[:8]), "little")
    if not 2 <= size <= min(_MAX_HEADER, len(data) - 8):
        raise WeightsError(f"damaged: the header is said to have {size} bytes, the file has {len(data)}")
    try:
        header = json.loads(bytes(data[8 : 8 + size]))
    except (ValueError, RecursionError) as error:
        raise WeightsError(f"damaged: the header is not JSON ({error})") from error
    if type(header) is not dict:
        raise WeightsError("damaged: the header is no dictionary of tensors")
    tensors = {}
    for name, entry in header.items():
        match entry:
            case {"dtype": str(kind), "shape": [*shape], "data_offsets": [int(start), int(stop)]}:
                if kind in _SAFETENSORS_TYPES:
                    found = data[8 + size :][max(start, 0) : max(stop, 0)]
                    tensors[name] = _safetensor(name, _SAFETENSORS_TYPES[kind], shape, found, stop - start)
            case _ if name != "__metadata__":
                raise WeightsError(f"damaged: the entry of {name[:100]!r} is malformed")
    return tensors


def _safetensor(name: str, kind: str, shape: list[Any], found: np.ndarray, size: int) -> StoredTensor:
    whole = len(shape) <= 8 and all(type(length) is int and 0 <= length <= len(found) for length in shape)
    if not whole or not len(found) == size == math.prod(shape) * np.dtype(kind).itemsize:
        raise WeightsError(f"damaged or truncated: {name[:100]!r} has {len(found)} bytes of {size}")
    return StoredTensor(tuple(shape), lambda: _as_float32(found.view(kind).reshape(shape)))


def _map(path: Path) -> np.ndarray:
    """The file's bytes, read as they are touched."""
    try:
        return np.memmap(path, np.uint8, "r")
    except (OSError, ValueError) as error:
        raise WeightsError(f"it cannot be read: {error}") from error


def _as_float32(view: np.ndarray) -> np.ndarray:
    """A copy, so that nothing outlives the file. Two-byte integers are the upper halves of float32 (bfloat16)."""
    if view.dtype == np.uint16:
        return (view.astype(np.uint32) << 16).view(np.float32)
    return np.array(view, np.float32, order="C")


def _named_tensors(state: Any) -> dict[str, Tensor]:
    # Training programs often keep the dictionary of tensors one level down.
    for key in ("state_dict", "model"):
        if type(state) is dict and type(state.get(key)) is dict:
            state = state[key]
    named = {str(key): value for key, value in state.items() if type(value) is Tensor} if type(state) is dict else {}
    if not named:
        raise WeightsError("no dictionary of tensors in it; save the model's state_dict()")
    return named


def _stored(name: str, tensor: Tensor, data: np.ndarray, pieces: dict[str, _Piece]) -> StoredTensor:
    storage, piece = tensor.storage, pieces[tensor.storage.key]

    def read() -> np.ndarray:
        found = data[piece.start : piece.start + piece.size]
        if piece.checksum is not None and zlib.crc32(found.data) != piece.checksum:
            raise WeightsError(f"the bytes of {name[:100]!r} do not match their checksum")
        elements = found.view(ELEMENT_TYPES[storage.kind])[storage.start + tensor.offset :]
        strides = tuple(stride * elements.itemsize for stride in tensor.strides)
        return _as_float32(np.lib.stride_tricks.as_strided(elements, tensor.shape, strides, writeable=False))

    return StoredTensor(tensor.shape, read)


def _byte_size(storage: Storage) -> int:
    return storage.total * np.dtype(ELEMENT_TYPES[storage.kind]).itemsize


def _read_legacy(view: memoryview) -> tuple[Any, dict[str, _Piece]]:
    """Five pickles (magic number, version, machine, state, keys), then for each key a count and the elements."""
    position, parts = 0, []
    storages: dict[str, Storage] = {}
    for index in range(5):
        interpreter = Interpreter(view, position)
        parts.append(interpreter.run())
        position = interpreter.position
        storages |= interpreter.storages
        if index == 0 and (type(parts[0]) is not int or parts[0] != _LEGACY_MAGIC):
            raise WeightsError("a pickle, but not one that PyTorch wrote; refused")
    _, version, machine, state, keys = parts
    if type(version) is not int or version != _LEGACY_PROTOCOL:
        raise WeightsError(f"PyTorch's legacy format in another version than {_LEGACY_PROTOCOL}")
    if type(machine) is not dict or machine.get("little_endian") is not True:
        raise WeightsError("written on a machine with another byte order, which is not supported")
    if type(keys) is not list or not all(type(key) is str and key in storages for key in keys):
        raise WeightsError("the list of storages is malformed")
    pieces = {}
    for key in keys:
        start, size = position + 8, _byte_size(storages[key])
        if start + size > len(view):
            raise WeightsError(
                f"the file is truncated: storage {key[:100]!r} needs bytes {start} to {start + size}, "
                f"the file has {len(view)}"
            )
        if int.from_bytes(view[position:start], "little") != storages[key].total:
            raise WeightsError(f"the size of storage {key[:100]!r} in the data contradicts the pickle")
        pieces[key] = _Piece(start, size, None)
        position = start + size
    _check_complete(storages, pieces)
    return state, pieces


def _read_zip(path: Path, view: memoryview) -> tuple[Any, dict[str, _Piece]]:
    """An archive of uncompressed entries: NAME/data.pkl, and NAME/data/KEY for each storage."""
    try:
        with zipfile.ZipFile(path) as archive:
            entries = {entry.filename: entry for entry in archive.infolist()}
    except (zipfile.BadZipFile, OSError, ValueError, RuntimeError, struct.error, OverflowError, MemoryError) as error:
        raise WeightsError(f"the zip archive is damaged or truncated ({error})") from error
    main = next((name for name in entries if name.endswith("/data.pkl") and name.count("/") == 1), None)
    if main is None:
        raise WeightsError("a zip archive, but not one that PyTorch wrote: it has no data.pkl")
    root = main.removesuffix("data.pkl")
    if f"{root}constants.pkl" in entries:
        raise WeightsError("a TorchScript program, not a dictionary of tensors; save the model's state_dict()")
    if f"{root}byteorder" in entries:
        order = _locate(view, entries[f"{root}byteorder"])
        if bytes(view[order.start : order.start + order.size]) != b"little":
            raise WeightsError("written on a machine with another byte order, which is not supported")
    pickled = _locate(view, entries[main])
    interpreter = Interpreter(view[pickled.start : pickled.start + pickled.size])
    state = interpreter.run()
    pieces = {}
    for key, storage in interpreter.storages.items():
        if f"{root}data/{key}" in entries:
            pieces[key] = _locate(view, entries[f"{root}data/{key}"])
            if pieces[key].size != _byte_size(storage):
                raise WeightsError(f"the size of storage {key[:100]!r} in the archive contradicts the pickle")
    _check_complete(interpreter.storages, pieces)
    return state, pieces


def _locate(view: memoryview, entry: zipfile.ZipInfo) -> _Piece:
    """Where an entry's bytes lie. PyTorch never compresses them, and refusing that also rules out a bomb."""
    name = entry.filename[:100]
    if entry.compress_type != zipfile.ZIP_STORED or entry.compress_size != entry.file_size:
        raise WeightsError(f"entry {name!r} is compressed, which PyTorch never does; refused")
    header = bytes(view[entry.header_offset : entry.header_offset + 30]) if entry.header_offset >= 0 else b""
    if len(header) < 30 or header[:4] != b"PK\x03\x04":
        raise WeightsError(f"entry {name!r} is not where the archive says")
    start = entry.header_offset + 30 + sum(struct.unpack("<HH", header[26:30]))
    if start + entry.file_size > len(view):
        raise WeightsError(f"entry {name!r} reaches beyond the end of the file")
    return _Piece(start, entry.file_size, entry.CRC)


def _check_complete(storages: dict[str, Storage], pieces: dict[str, _Piece]) -> None:
    missing = [key for key in storages if key not in pieces]
    if missing:
        raise WeightsError(f"the file is incomplete: it has no data for storage {missing[0][:100]!r}")
