"""What a pickle of PyTorch's may name, and what is made of it: numbers in storages, and nothing that runs."""

import math
from typing import Any, NamedTuple

from jnst.errors import WeightsError, quote

# PyTorch's storage classes and the element type of each; bfloat16 is read as its 16 bits and widened.
ELEMENT_TYPES = {
    "FloatStorage": "<f4",
    "DoubleStorage": "<f8",
    "HalfStorage": "<f2",
    "BFloat16Storage": "<u2",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "|i1",
    "ByteStorage": "|u1",
    "BoolStorage": "|b1",
}


_ADMITTED = {
    ("collections", "OrderedDict"): "dictionary",
    ("torch._utils", "_rebuild_tensor"): "tensor",
    ("torch._utils", "_rebuild_tensor_v2"): "tensor",
    ("torch._utils", "_rebuild_parameter"): "parameter",
    ("torch.nn.parameter", "Parameter"): "parameter",
    **{(module, name): name for module in ("torch", "torch.cuda") for name in ELEMENT_TYPES},
}


_MAX_DIMENSIONS = 8
MAX_NUMBER = 1 << 48  # of elements; keeps sums and messages small whatever the file says


class Global(NamedTuple):
    """An admitted global name, as the role that it plays here."""

    role: str


class Storage(NamedTuple):
    """A run of elements in the file: `length` of them from `start` in the storage `key`, which holds `total`."""

    key: str
    kind: str
    total: int
    start: int
    length: int


class Tensor(NamedTuple):
    """Where a tensor's numbers lie in a storage; offset and strides in elements."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def admit(module: Any, name: Any) -> Global:
    """The role of a global name; raises WeightsError for one that is not on the list."""
    if type(module) is str and type(name) is str and (module, name) in _ADMITTED:
        return Global(_ADMITTED[module, name])
    given = f"{module}.{name}" if type(module) is str and type(name) is str else "something without a name"
    raise WeightsError(
        f"the file asks for {quote(given)}, which is no part of a file of plain tensors; refused, nothing was run"
    )


def insert(target: dict[Any, Any], pairs: Any) -> None:
    """Sets the items of a dictionary; raises WeightsError for a key that is neither text nor a whole number."""
    for key, value in pairs:
        # Only these: the hash of a deeply nested tuple can overflow the stack.
        if type(key) not in (str, int):
            raise WeightsError(f"the pickle has a {type(key).__name__} as a key; expected text or a number")
        target[key] = value


def build(role: Any, arguments: Any) -> Any:
    """What the call of an admitted name makes; raises WeightsError for any other call."""
    match role, arguments:
        case Global(role="dictionary"), ():
            return {}
        case Global(role="dictionary"), (list(pairs),):  # Python 2: the items as a list of pairs
            if not all(type(pair) in (list, tuple) and len(pair) == 2 for pair in pairs):
                raise WeightsError("the pickle has a malformed dictionary")
            built: dict[Any, Any] = {}
            insert(built, pairs)
            return built
        case Global(role="tensor"), (Storage() as storage, int(offset), tuple(shape), tuple(strides), *_):
            return _tensor(storage, offset, shape, strides)
        case Global(role="parameter"), (Tensor() as tensor, *_):
            return tensor
    raise WeightsError("the pickle calls something other than a tensor, a parameter or a dictionary; refused")


def _tensor(storage: Storage, offset: int, shape: tuple[Any, ...], strides: tuple[Any, ...]) -> Tensor:
    whole = all(type(number) is int and 0 <= number <= MAX_NUMBER for number in (offset, *shape, *strides))
    if not whole or len(shape) != len(strides) or len(shape) > _MAX_DIMENSIONS:
        raise WeightsError(f"the pickle has a malformed tensor in storage {quote(storage.key)}")
    size = math.prod(shape)
    last = offset + sum((length - 1) * stride for length, stride in zip(shape, strides, strict=True))
    if size > storage.length or (size and last >= storage.length):
        raise WeightsError(
            f"a tensor of shape {shape} does not fit in storage {quote(storage.key)}, which has {storage.length} "
            "elements"
        )
    return Tensor(storage, offset, shape, strides)
