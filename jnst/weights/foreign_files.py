"""Other programs' files as named tensors: PyTorch's zip and legacy formats without PyTorch, and safetensors.

Every size that a file declares is checked against the bytes that are there before an array is made of them, and again
where the array is made. A tensor's bytes are read only when the tensor is: a classifier of half a gigabyte costs
nothing. Files are read, not mapped: of a file that shrinks meanwhile there are too few bytes, and no bus error.
Errors do not repeat the path.
"""

import contextlib
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from safetensors import SafetensorError, safe_open

from jnst.errors import WeightsError, quote
from jnst.weights.torch_objects import ELEMENT_TYPES, Storage, Tensor
from jnst.weights.torch_pickle import Interpreter

_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_PROTOCOL = 1001
_SAFETENSORS_TYPES = ("F64", "F32", "F16", "BF16")
_MAX_PICKLE = 16 << 20  # bytes; that of VGG19 has about three thousand


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


class _Source:
    """A file of which no byte is read that is not there."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self.size = path.stat().st_size
        except OSError as error:
            raise WeightsError(f"it cannot be read: {error}") from error

    def read(self, start: int, size: int) -> bytes:
        """Exactly those bytes."""
        found = b""
        if 0 <= start <= start + size <= self.size:
            try:
                with self.path.open("rb") as file:
                    file.seek(start)
                    found = file.read(size)
            except (OSError, MemoryError) as error:
                raise WeightsError(f"it cannot be read: {error}") from error
        if len(found) != size:
            raise WeightsError(f"damaged or truncated: bytes {start} to {start + size} of {self.size} are not there")
        return found


def read_pytorch(path: Path) -> dict[str, StoredTensor]:
    """The tensors of a PyTorch file, zip or legacy, by name.

    Raises:
        WeightsError: for a file that is damaged, that holds anything but tensors, or that holds no dictionary of them.
    """
    source = _Source(path)
    archive = source.read(0, min(2, source.size)) == b"PK"
    state, pieces = _read_zip(source) if archive else _read_legacy(source)
    return {name: _stored(name, tensor, source, pieces) for name, tensor in _named_tensors(state).items()}


def read_safetensors(path: Path) -> dict[str, StoredTensor]:
    """The floating-point tensors of a .safetensors file by name.

    Raises:
        WeightsError: for a file that is damaged or truncated.
    """
    with _safetensors_errors(), safe_open(path, framework="np", backend="pread") as file:
        slices = {name: file.get_slice(name) for name in file.offset_keys()}
        return {
            name: StoredTensor(tuple(part.get_shape()), partial(_read_safetensor, path, name))
            for name, part in slices.items()
            if part.get_dtype() in _SAFETENSORS_TYPES
        }


def _read_safetensor(path: Path, name: str) -> np.ndarray:
    with _safetensors_errors(), safe_open(path, framework="np", backend="pread") as file:
        return np.array(file.get_tensor(name), np.float32, order="C")


@contextlib.contextmanager
def _safetensors_errors() -> Iterator[None]:
    try:
        yield
    except (SafetensorError, OSError, ValueError, MemoryError) as error:
        raise WeightsError(f"damaged or truncated: {str(error)[:200]}") from error


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


def _stored(name: str, tensor: Tensor, source: _Source, pieces: dict[str, _Piece]) -> StoredTensor:
    storage, piece = tensor.storage, pieces[tensor.storage.key]
    if piece.size != _byte_size(storage):
        raise WeightsError(f"the size of storage {quote(storage.key)} contradicts the tensor {quote(name)}")

    def read() -> np.ndarray:
        found = source.read(piece.start, piece.size)
        if piece.checksum is not None and zlib.crc32(found) != piece.checksum:
            raise WeightsError(f"the bytes of {quote(name)} do not match their checksum")
        elements = np.frombuffer(found, ELEMENT_TYPES[storage.kind])
        return _as_float32(_strided(elements, storage.start + tensor.offset, tensor.shape, tensor.strides))

    return StoredTensor(tensor.shape, read)


def _strided(elements: np.ndarray, start: int, shape: tuple[int, ...], strides: tuple[int, ...]) -> np.ndarray:
    """A view of some elements; start and strides are counted in elements. Nothing outside them is ever reached."""
    last = start + sum((length - 1) * stride for length, stride in zip(shape, strides, strict=True))
    if min((start, *shape, *strides)) < 0 or (0 not in shape and last >= elements.size):
        raise WeightsError(f"a tensor of shape {shape} reaches element {last} of {elements.size}")
    if 0 in shape:
        return np.zeros(shape, elements.dtype)
    steps = tuple(stride * elements.itemsize for stride in strides)
    return np.lib.stride_tricks.as_strided(elements[start:], shape, steps, writeable=False)


def _byte_size(storage: Storage) -> int:
    return storage.total * np.dtype(ELEMENT_TYPES[storage.kind]).itemsize


def _read_legacy(source: _Source) -> tuple[Any, dict[str, _Piece]]:
    """Five pickles (magic number, version, machine, state, keys), then for each key a count and the elements."""
    view = memoryview(source.read(0, min(_MAX_PICKLE, source.size)))
    position, parts = 0, []
    storages: dict[str, Storage] = {}
    for index in range(5):
        interpreter = Interpreter(view, position)
        parts.append(interpreter.run())
        position = interpreter.position
        if index == 3:
            storages = interpreter.storages
        elif interpreter.storages:  # a second definition would contradict the tensors made of the first
            raise WeightsError("a storage is defined outside the dictionary of tensors; refused")
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
        if start + size > source.size:
            raise WeightsError(
                f"the file is truncated: storage {quote(key)} needs bytes {start} to {start + size}, "
                f"the file has {source.size}"
            )
        if int.from_bytes(source.read(position, 8), "little") != storages[key].total:
            raise WeightsError(f"the size of storage {quote(key)} in the data contradicts the pickle")
        pieces[key] = _Piece(start, size, None)
        position = start + size
    _check_complete(storages, pieces)
    return state, pieces


def _read_zip(source: _Source) -> tuple[Any, dict[str, _Piece]]:
    """An archive of uncompressed entries: NAME/data.pkl, and NAME/data/KEY for each storage."""
    try:
        with zipfile.ZipFile(source.path) as archive:
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
        order = _locate(source, entries[f"{root}byteorder"])
        if source.read(order.start, min(order.size, 8)) != b"little":
            raise WeightsError("written on a machine with another byte order, which is not supported")
    pickled = _locate(source, entries[main])
    if pickled.size > _MAX_PICKLE:
        raise WeightsError(f"its data.pkl has {pickled.size} bytes; expected a dictionary of tensors")
    interpreter = Interpreter(memoryview(source.read(pickled.start, pickled.size)))
    state = interpreter.run()
    pieces = {}
    for key, storage in interpreter.storages.items():
        if f"{root}data/{key}" in entries:
            pieces[key] = _locate(source, entries[f"{root}data/{key}"])
            if pieces[key].size != _byte_size(storage):
                raise WeightsError(f"the size of storage {quote(key)} in the archive contradicts the pickle")
    _check_complete(interpreter.storages, pieces)
    return state, pieces


def _locate(source: _Source, entry: zipfile.ZipInfo) -> _Piece:
    """Where an entry's bytes lie. PyTorch never compresses them, and refusing that also rules out a bomb."""
    name = entry.filename
    if entry.compress_type != zipfile.ZIP_STORED or entry.compress_size != entry.file_size:
        raise WeightsError(f"entry {quote(name)} is compressed, which PyTorch never does; refused")
    header = source.read(entry.header_offset, 30)
    if header[:4] != b"PK\x03\x04":
        raise WeightsError(f"entry {quote(name)} is not where the archive says")
    start = entry.header_offset + 30 + sum(struct.unpack("<HH", header[26:30]))
    if start + entry.file_size > source.size:
        raise WeightsError(f"entry {quote(name)} reaches beyond the end of the file")
    return _Piece(start, entry.file_size, entry.CRC)


def _check_complete(storages: dict[str, Storage], pieces: dict[str, _Piece]) -> None:
    missing = [key for key in storages if key not in pieces]
    if missing:
        raise WeightsError(f"the file is incomplete: it has no data for storage {quote(missing[0])}")
