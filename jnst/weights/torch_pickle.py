"""Pickles of tensors, read without Python's unpickler: the inner part of PyTorch's file formats.

A pickle is a program. The interpreter here knows only the instructions that a dictionary of tensors is made of; the
global names in it are compared with a short list and never imported, and no object of the file's choosing is called.

Why not the standard library's `Unpickler` with an overridden `find_class`: it runs no code either, but thirteen bytes
make it fill 64 GB (the memo is a table as long as the largest place named), and a deeply nested tuple as a key ends
the process (CPython hashes it by recursion). `test_torch_pickle` shows both.
"""

import pickle as opcodes  # for the names of the instructions only; its unpickler is never used
import struct
from typing import Any

from jnst.errors import WeightsError, quote
from jnst.weights.torch_objects import ELEMENT_TYPES, MAX_NUMBER, Global, Storage, admit, build, insert

_MAX_INSTRUCTIONS = 200_000  # VGG19's own file has about two thousand


class _Mark:
    """Where the arguments of the next collection begin."""


class Interpreter:
    """Runs one pickle of tensors. Structures come out as dict, list, tuple, str, numbers, and `Tensor`.

    Raises (from `run`):
        WeightsError: for an instruction or a name that is not admitted, and for anything malformed.
    """

    def __init__(self, data: memoryview, position: int = 0) -> None:
        self.data = data
        self.position = position
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        self.storages: dict[str, Storage] = {}

    def run(self) -> Any:
        for _ in range(_MAX_INSTRUCTIONS):
            instruction = self._take(1)
            if instruction == opcodes.STOP:
                return self._pop()
            self._execute(instruction)
        raise WeightsError(
            f"the pickle has more than {_MAX_INSTRUCTIONS} instructions; expected a dictionary of tensors"
        )

    def _execute(self, instruction: bytes) -> None:
        push = self.stack.append
        match instruction:
            case opcodes.BINPUT:
                self.memo[self._take(1)[0]] = self._top()
            case opcodes.LONG_BINPUT:
                self.memo[self._number("<I")] = self._top()
            case opcodes.MEMOIZE:
                self.memo[len(self.memo)] = self._top()
            case opcodes.BINGET:
                push(self._recall(self._take(1)[0]))
            case opcodes.LONG_BINGET:
                push(self._recall(self._number("<I")))
            case opcodes.BINUNICODE:
                push(self._text(self._number("<I")))
            case opcodes.SHORT_BINUNICODE | opcodes.SHORT_BINSTRING:
                push(self._text(self._take(1)[0]))
            case opcodes.BINSTRING:  # Python 2 wrote names like this
                push(self._text(self._number("<i")))
            case opcodes.BININT:
                push(self._number("<i"))
            case opcodes.BININT1:
                push(self._take(1)[0])
            case opcodes.BININT2:
                push(self._number("<H"))
            case opcodes.LONG1:
                push(int.from_bytes(self._take(self._take(1)[0]), "little", signed=True))
            case opcodes.BINFLOAT:
                push(self._number(">d"))
            case opcodes.NONE:
                push(None)
            case opcodes.NEWTRUE:
                push(True)
            case opcodes.NEWFALSE:
                push(False)
            case opcodes.MARK:
                push(_Mark())
            case opcodes.EMPTY_TUPLE:
                push(())
            case opcodes.TUPLE1:
                push((self._pop(),))
            case opcodes.TUPLE2:
                push(tuple(reversed([self._pop(), self._pop()])))
            case opcodes.TUPLE3:
                push(tuple(reversed([self._pop(), self._pop(), self._pop()])))
            case opcodes.TUPLE:
                push(tuple(self._pop_to_mark()))
            case opcodes.EMPTY_LIST:
                push([])
            case opcodes.APPEND:
                item = self._pop()
                self._extend([item])
            case opcodes.APPENDS:
                self._extend(self._pop_to_mark())
            case opcodes.EMPTY_DICT:
                push({})
            case opcodes.SETITEM:
                value, key = self._pop(), self._pop()
                self._update([key, value])
            case opcodes.SETITEMS:
                self._update(self._pop_to_mark())
            case opcodes.GLOBAL:
                module, name = self._line(), self._line()
                push(admit(module, name))
            case opcodes.STACK_GLOBAL:
                name, module = self._pop(), self._pop()
                push(admit(module, name))
            case opcodes.BINPERSID:
                push(self._storage(self._pop()))
            case opcodes.REDUCE | opcodes.NEWOBJ:
                arguments, role = self._pop(), self._pop()
                push(build(role, arguments))
            case opcodes.BUILD:  # attributes of an OrderedDict or a Parameter: bookkeeping that is dropped
                self._pop()
                self._top()
            case opcodes.PROTO:
                self._take(1)
            case opcodes.FRAME:
                self._take(8)
            case _:
                raise WeightsError(
                    f"the pickle uses instruction 0x{instruction[0]:02x}, which no file of plain tensors needs; refused"
                )

    def _take(self, count: int) -> bytes:
        if not 0 <= count <= len(self.data) - self.position:
            raise WeightsError(f"the pickle ends too early: {count} bytes expected at position {self.position}")
        taken = bytes(self.data[self.position : self.position + count])
        self.position += count
        return taken

    def _number(self, form: str) -> Any:
        return struct.unpack(form, self._take(struct.calcsize(form)))[0]

    def _text(self, count: int) -> str:
        return self._take(count).decode("utf-8", errors="replace")

    def _line(self) -> str:
        line, newline, _ = bytes(self.data[self.position : self.position + 256]).partition(b"\n")
        if not newline:
            raise WeightsError(f"the pickle has no end of line after position {self.position}")
        self.position += len(line) + 1
        return line.decode("utf-8", errors="replace")

    def _top(self) -> Any:
        if not self.stack or isinstance(self.stack[-1], _Mark):
            raise WeightsError(f"the pickle is malformed before position {self.position}")
        return self.stack[-1]

    def _pop(self) -> Any:
        self._top()
        return self.stack.pop()

    def _pop_to_mark(self) -> list[Any]:
        items = []
        while self.stack and not isinstance(self.stack[-1], _Mark):
            items.append(self.stack.pop())
        if not self.stack:
            raise WeightsError(f"the pickle is malformed before position {self.position}")
        self.stack.pop()
        return items[::-1]

    def _recall(self, key: int) -> Any:
        if key not in self.memo:
            raise WeightsError(f"the pickle recalls {key}, which it never stored")
        return self.memo[key]

    def _extend(self, items: list[Any]) -> None:
        target = self._top()
        if type(target) is not list:
            raise WeightsError(f"the pickle appends to a {type(target).__name__}; expected a list")
        target.extend(items)

    def _update(self, items: list[Any]) -> None:
        target = self._top()
        if type(target) is not dict or len(items) % 2:
            raise WeightsError(f"the pickle sets items of a {type(target).__name__}; expected a dictionary")
        insert(target, zip(items[::2], items[1::2], strict=True))

    def _storage(self, identity: Any) -> Storage:
        """A storage from PyTorch's persistent id: ("storage", class, key, device, elements[, view])."""
        match identity:
            case ("storage", Global(role=kind), str(key), str(), int(total)) if kind in ELEMENT_TYPES:
                view = None
            case ("storage", Global(role=kind), str(key), str(), int(total), view) if kind in ELEMENT_TYPES:
                pass
            case _:
                raise WeightsError("the pickle refers to something that is not a storage of numbers; refused")
        match view:
            case None:
                start, count = 0, total
            case (str(), int(start), int(count)):
                pass
            case _:
                raise WeightsError(f"the pickle has a malformed view of storage {quote(key)}")
        storage = Storage(key, kind, total, start, count)
        whole = self.storages.setdefault(key, storage)
        fits = 0 <= start <= start + count <= total <= MAX_NUMBER
        if (whole.kind, whole.total) != (kind, total) or not fits:
            raise WeightsError(f"the pickle contradicts itself about storage {quote(key)}")
        return storage
