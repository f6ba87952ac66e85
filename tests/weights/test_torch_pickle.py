"""PyTorch's files are read without PyTorch, and a pickle that is anything but tensors is refused before it acts."""

import os
import pickle
import random
import signal
import struct
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from golden_weights import CHECKPOINT, LEGACY, ZIP, fill

from jnst.errors import WeightsError
from jnst.weights.foreign_files import read_pytorch
from jnst.weights.torch_objects import Tensor
from jnst.weights.torch_pickle import Interpreter


def run(data):
    return Interpreter(memoryview(data)).run()


def wrap_legacy(state, tail=b""):
    """A file of PyTorch's legacy format around the pickle of its state and whatever follows that."""
    machine = {"protocol_version": 1001, "little_endian": True, "type_sizes": {}}
    head = b"".join(pickle.dumps(part, 2) for part in (0x1950A86A20F9469CFC6C, 1001, machine))
    return head + state + tail


def wrap_zip(path, state, entries=(), compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("archive/data.pkl", state)
        for name, data in entries:
            archive.writestr(f"archive/data/{name}", data)
    return path


def storage(kind="FloatStorage", key="0", total=4, view=None):
    """The instructions that push a storage."""
    identity = (
        b"(" + text("storage") + name("torch", kind) + text(key) + text("cpu") + number(total) + (view or b"") + b"tQ"
    )
    return identity


def text(value):
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def number(value):
    data = value.to_bytes(20, "little", signed=True)
    return b"\x8a" + bytes([len(data)]) + data


def name(module, attribute):
    return f"c{module}\n{attribute}\n".encode()


def numbers(*values):
    return b"(" + b"".join(map(number, values)) + b"t"


def tensor(source=None, offset=0, shape=(2, 2), strides=(2, 1), function="_rebuild_tensor"):
    source = storage() if source is None else source
    return name("torch._utils", function) + b"(" + source + number(offset) + numbers(*shape) + numbers(*strides) + b"tR"


def state_of(value, key="weight"):
    """A dictionary with one entry, as a pickle."""
    return b"\x80\x02}" + text(key) + value + b"s."


@pytest.mark.parametrize(
    ("path", "count", "prefix", "last"),
    [(LEGACY, 26, "", 28), (ZIP, 32, "", 34), (CHECKPOINT, 26, "module.", 28)],
    ids=["legacy", "zip", "checkpoint"],
)
def test_pytorchs_own_files(path, count, prefix, last):
    tensors = read_pytorch(path)
    assert sum("features" in key for key in tensors) == count
    assert len(tensors) == count + 6
    first = tensors[f"{prefix}features.0.weight"]
    assert first.shape == (1, 3, 3, 3)
    values = first.read()
    assert values.dtype == np.float32
    np.testing.assert_array_equal(values, fill((1, 3, 3, 3), 0))
    np.testing.assert_array_equal(tensors[f"{prefix}features.{last}.weight"].read(), fill((8, 8, 3, 3), count // 2 - 1))
    np.testing.assert_array_equal(tensors[f"{prefix}features.{last}.bias"].read(), fill((8,), count // 2 + 99))
    np.testing.assert_array_equal(tensors[f"{prefix}classifier.6.weight"].read(), fill((5, 6), 6))


def test_the_rebuilding_of_2017(tmp_path):
    """Files of PyTorch 0.1 call `_rebuild_tensor`; torchvision's VGG16 is one of them."""
    data = LEGACY.read_bytes()
    assert data.count(b"_rebuild_tensor_v2\n") == 1
    (tmp_path / "old.pth").write_bytes(data.replace(b"_rebuild_tensor_v2\n", b"_rebuild_tensor\n"))
    np.testing.assert_array_equal(read_pytorch(tmp_path / "old.pth")["features.2.weight"].read(), fill((1, 1, 3, 3), 1))


def test_dictionaries_of_python_2(tmp_path):
    """They come as a list of pairs, and their names as byte strings."""
    pair = b"]U\x06weighta" + tensor() + b"a"
    state = b"\x80\x02" + name("collections", "OrderedDict") + b"]" + pair + b"a\x85R."
    assert run(state) == {"weight": run(b"\x80\x02" + tensor() + b".")}


def test_a_pickle_of_protocol_4():
    state = b"\x80\x04\x95" + bytes(8) + b"}\x94\x8c\x01a\x94\x8c\x0bcollections\x94\x8c\x0bOrderedDict\x94\x93)Rs."
    assert run(state) == {"a": {}}
    assert run(pickle.dumps({"a": [1, 2.5, None, True, (1, 2, 3, 4), -70_000, 2**70]}, 4)) == {
        "a": [1, 2.5, None, True, (1, 2, 3, 4), -70_000, 2**70]
    }


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("FloatStorage", np.array([1, 2, 3, 4], "<f4")),
        ("DoubleStorage", np.array([1, 2, 3, 4], "<f8")),
        ("HalfStorage", np.array([1, 2, 3, 4], "<f2")),
        ("BFloat16Storage", np.array([0x3F80, 0x4000, 0x4040, 0x4080], "<u2")),
        ("LongStorage", np.array([1, 2, 3, 4], "<i8")),
        ("ByteStorage", np.array([1, 2, 3, 4], "u1")),
    ],
)
def test_every_kind_of_number_in_both_formats(tmp_path, kind, values):
    # Transposed, so that the strides count.
    state = state_of(tensor(storage(kind), strides=(1, 2)))
    tail = pickle.dumps(["0"], 2) + struct.pack("<q", 4) + values.tobytes()
    (tmp_path / "legacy.pth").write_bytes(wrap_legacy(state, tail))
    wrap_zip(tmp_path / "zip.pth", state, [("0", values.tobytes())])
    for file in ("legacy.pth", "zip.pth"):
        np.testing.assert_array_equal(read_pytorch(tmp_path / file)["weight"].read(), [[1, 3], [2, 4]])


def test_a_view_of_a_storage_and_an_offset(tmp_path):
    view = b"(" + text("1") + number(2) + number(6) + b"t"
    state = state_of(tensor(storage(total=8, view=view), offset=1, shape=(3,), strides=(2,)))
    values = np.arange(8, dtype="<f4")
    (tmp_path / "view.pth").write_bytes(
        wrap_legacy(state, pickle.dumps(["0"], 2) + struct.pack("<q", 8) + values.tobytes())
    )
    np.testing.assert_array_equal(read_pytorch(tmp_path / "view.pth")["weight"].read(), [3, 5, 7])


class Call:
    """Pickles to a call of `function` with `arguments`."""

    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


class Nested:
    """Pickles to a call whose argument is the result of another call."""

    def __init__(self, command):
        self.command = command

    def __reduce__(self):
        return (str, (Call(eval, self.command),))


def make_malicious(command):
    """Pickles that, loaded by Python, run `command` in one way or another."""
    code = f"__import__('os').system({command!r})"
    yield "system", pickle.dumps(Call(os.system, command), 2)
    yield "eval", pickle.dumps({"state_dict": Call(eval, code)}, 2)
    yield "exec", pickle.dumps([Call(exec, code)], 3)
    yield "nested", pickle.dumps({"a": Nested(code)}, 2)
    yield "protocol 0", pickle.dumps(Call(os.system, command), 0)
    yield "protocol 4", pickle.dumps(Call(os.system, command), 4)
    yield "protocol 5", pickle.dumps(Call(eval, code), 5)
    dotted = b"\x80\x04\x8c\x08builtins\x8c\x0deval.__call__\x93"
    yield "dotted", dotted + b"\x8c" + bytes([len(code)]) + code.encode() + b"\x85R."
    yield "instance", b"(" + text(command) + b"ios\nsystem\n."
    yield "object", b"(" + name("os", "system") + text(command) + b"o."
    yield (
        "hidden in a state",
        (
            b"\x80\x02"
            + name("collections", "OrderedDict")
            + b")R}"
            + text("a")
            + name("os", "system")
            + text(command)
            + b"\x85Rsb."
        ),
    )


@pytest.fixture(params=["system", "eval", "exec", "nested", "protocol 0", "protocol 4", "protocol 5", "dotted",
                        "instance", "object", "hidden in a state"])  # fmt: skip
def malicious(request, tmp_path):
    marker = tmp_path / "ran"
    return dict(make_malicious(f"touch {marker}"))[request.param], marker


def test_nothing_runs(malicious, tmp_path):
    data, marker = malicious
    bare, legacy, archive = (tmp_path / f"{kind}.pth" for kind in ("bare", "legacy", "zip"))
    bare.write_bytes(data)
    legacy.write_bytes(wrap_legacy(data, pickle.dumps([], 2)))
    wrap_zip(archive, data)
    for path in (bare, legacy, archive):
        with pytest.raises(WeightsError, match="refused"):
            read_pytorch(path)
    assert not marker.exists()


def test_python_itself_would_have_run_it(malicious):
    """The control: the same bytes, loaded the usual way, do touch the file."""
    data, marker = malicious
    pickle.loads(data)
    assert marker.exists()


def test_the_refusal_names_what_was_asked_for():
    with pytest.raises(WeightsError, match=r"asks for '(posix|nt)\.system', which is no part .* nothing was run"):
        run(pickle.dumps(Call(os.system, "true"), 2))
    with pytest.raises(WeightsError, match=r"asks for 'torch\._utils\._rebuild_tensor\.__globals__'"):
        run(b"\x80\x04\x8c\x0ctorch._utils\x8c\x1b_rebuild_tensor.__globals__\x93.")


def test_admitted_names_only_play_their_part():
    for arguments in (b")", b"\x85", numbers(1, 2)):
        for admitted in (("torch", "FloatStorage"), ("torch._utils", "_rebuild_tensor_v2")):
            with pytest.raises(WeightsError):
                run(b"\x80\x02" + name(*admitted) + arguments + b"R.")
    with pytest.raises(WeightsError, match="calls something other than"):
        run(b"\x80\x02" + text("a") + b")R.")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\x80\x02\x8e" + b"\xff" * 8 + b".", "instruction 0x8e"),
        (b"\x80\x05\x96" + b"\xff" * 8 + b".", "instruction 0x96"),
        (b"\x80\x02X\xff\xff\xff\xff.", "ends too early"),
        (b"\x80\x02T\xff\xff\xff\x7f.", "ends too early"),
        (b"\x80\x02T\xff\xff\xff\xff.", "ends too early"),
        (b"\x80\x02\x8b\xff\xff\xff\x7f.", "instruction 0x8b"),
        (b"\x80\x02j\xff\xff\xff\xff.", "recalls 4294967295"),
        (b"\x80\x02}(\x85K\x01u.", "malformed"),
        (b"\x80\x02})K\x01s.", "tuple as a key"),
        (b"\x80\x02}N(K\x01s.", "malformed"),
        (b"\x80\x02(.", "malformed"),
        (b"\x80\x02a.", "malformed"),
        (b"\x80\x02K\x01K\x02a.", "appends to a int"),
        (b"\x80\x02K\x01(K\x02K\x03u.", "sets items of a int"),
        (b"\x80\x02}(K\x01u.", "sets items"),
        (b"\x80\x02u.", "malformed"),
        (b"c" + b"a" * 300, "no end of line"),
        (b"", "ends too early"),
    ],
)
def test_malformed_pickles_are_refused(data, message):
    with pytest.raises(WeightsError, match=message):
        run(data)


LARGE_PLACE = b"\x80\x02K\x01r\xff\xff\xff\xff."
NESTED_KEY = b"\x80\x02})" + b"\x85" * 150_000 + b"Ns."


def test_a_large_place_in_the_memo_costs_nothing():
    """Python's own unpickler would make a table of 64 GB for this."""
    assert run(LARGE_PLACE) == 1


@pytest.mark.parametrize(("data", "code"), [(LARGE_PLACE, 3), (NESTED_KEY, -signal.SIGSEGV)], ids=["memo", "key"])
def test_why_it_is_not_pythons_restricted_unpickler(data, code):
    """With no name admitted at all, four gigabytes do not suffice for the one, and the other ends the process."""
    program = """
import io, pickle, resource, sys
class Restricted(pickle.Unpickler):
    def find_class(self, module, name):
        raise pickle.UnpicklingError(name)
resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
try:
    Restricted(io.BytesIO(sys.stdin.buffer.read())).load()
except MemoryError:
    sys.exit(3)
"""
    assert subprocess.run([sys.executable, "-c", program], input=data).returncode == code


def test_endless_and_deep_pickles_end():
    with pytest.raises(WeightsError, match="more than 200000 instructions"):
        run(b"\x80\x02" + b"N" * 220_000 + b".")
    assert run(b"\x80\x02)" + b"\x85" * 150_000 + b".")
    with pytest.raises(WeightsError, match="tuple as a key"):
        run(NESTED_KEY)


@pytest.mark.parametrize(
    "value",
    [
        tensor(shape=(1 << 40,), strides=(0,)),
        tensor(shape=(3, 2)),
        tensor(offset=1),
        tensor(offset=-1),
        tensor(shape=(2, -2)),
        tensor(strides=(-2, 1)),
        tensor(strides=(2,)),
        tensor(shape=(1,) * 9, strides=(1,) * 9),
        tensor(shape=(1 << 100,), strides=(1,)),
        tensor(storage(total=-4)),
        tensor(storage(total=1 << 60)),
        tensor(storage(view=b"(" + text("1") + number(3) + number(2) + b"t")),
        tensor(storage(view=b"(" + text("1") + number(-1) + number(2) + b"t")),
        tensor(storage(view=number(1))),
        tensor(storage("UntypedStorage")),
        tensor(b"(" + text("module") + text("a") + b"tQ"),
        tensor(b"NQ"),
        b"(" + tensor() + tensor(storage(total=8)) + b"t",
    ],
)
def test_tensors_that_do_not_fit_are_refused(value):
    with pytest.raises(WeightsError):
        run(state_of(value))


def test_sizes_are_checked_against_the_file_before_anything_is_read(tmp_path):
    huge = 1 << 40
    state = state_of(tensor(storage(total=huge), shape=(huge,), strides=(1,)))
    assert type(run(state)["weight"]) is Tensor
    legacy = tmp_path / "legacy.pth"
    legacy.write_bytes(wrap_legacy(state, pickle.dumps(["0"], 2) + struct.pack("<q", huge) + bytes(16)))
    with pytest.raises(WeightsError, match="the file is truncated: storage '0' needs bytes"):
        read_pytorch(legacy)
    with pytest.raises(WeightsError, match="size of storage '0' in the archive contradicts"):
        read_pytorch(wrap_zip(tmp_path / "zip.pth", state, [("0", bytes(16))]))
    small = state_of(tensor())
    legacy.write_bytes(wrap_legacy(small, pickle.dumps(["0"], 2) + struct.pack("<q", huge) + bytes(16)))
    with pytest.raises(WeightsError, match="size of storage '0' in the data contradicts"):
        read_pytorch(legacy)
    legacy.write_bytes(wrap_legacy(small, pickle.dumps([], 2)))
    with pytest.raises(WeightsError, match="no data for storage '0'"):
        read_pytorch(legacy)
    legacy.write_bytes(wrap_legacy(small, pickle.dumps(["1"], 2)))
    with pytest.raises(WeightsError, match="list of storages is malformed"):
        read_pytorch(legacy)


def test_archives_that_pytorch_does_not_write(tmp_path):
    path = tmp_path / "file.pth"
    wrap_zip(path, state_of(tensor()), [("0", bytes(16))], zipfile.ZIP_DEFLATED)
    with pytest.raises(WeightsError, match="is compressed, which PyTorch never does"):
        read_pytorch(path)
    with pytest.raises(WeightsError, match="no data for storage '0'"):
        read_pytorch(wrap_zip(path, state_of(tensor())))
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(WeightsError, match=r"has no data\.pkl"):
        read_pytorch(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("net/data.pkl", state_of(tensor()))
        archive.writestr("net/constants.pkl", b"")
    with pytest.raises(WeightsError, match="TorchScript"):
        read_pytorch(path)
    wrap_zip(path, state_of(tensor()), [("0", bytes(16)), ("../byteorder", "big")])
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("archive/byteorder", "big")
    with pytest.raises(WeightsError, match="another byte order"):
        read_pytorch(path)


def test_other_pickles_are_refused(tmp_path):
    path = tmp_path / "file.pth"
    path.write_bytes(pickle.dumps({"features.0.weight": [1, 2, 3]}, 2))
    with pytest.raises(WeightsError, match="not one that PyTorch wrote"):
        read_pytorch(path)
    path.write_bytes(wrap_legacy(pickle.dumps([1, 2], 2), pickle.dumps([], 2)))
    with pytest.raises(WeightsError, match=r"save the model's state_dict\(\)"):
        read_pytorch(path)


def test_a_flipped_bit_in_an_archives_tensor_is_noticed(tmp_path):
    data = bytearray(ZIP.read_bytes())
    place = data.index(fill((1, 3, 3, 3), 0).tobytes())
    data[place + 2] ^= 1
    (tmp_path / "file.pth").write_bytes(data)
    with pytest.raises(WeightsError, match=r"'features\.0\.weight' do not match their checksum"):
        read_pytorch(tmp_path / "file.pth")["features.0.weight"].read()


def read_all(path):
    return {key: stored.read() for key, stored in read_pytorch(path).items()}


@pytest.mark.parametrize("source", [LEGACY, ZIP], ids=["legacy", "zip"])
def test_a_file_cut_short_anywhere_is_refused(source, tmp_path):
    data, path = source.read_bytes(), tmp_path / "file.pth"
    for size in [*range(0, 600, 3), *range(600, len(data), 173), len(data) - 1]:
        path.write_bytes(data[:size])
        with pytest.raises(WeightsError):
            read_all(path)


@pytest.mark.parametrize("source", [LEGACY, ZIP], ids=["legacy", "zip"])
def test_rubbish_in_a_file_never_leads_to_another_error(source, tmp_path):
    data, path, chance = source.read_bytes(), tmp_path / "file.pth", random.Random(0)
    structure = [*range(6000), *range(len(data) - 4000, len(data))] if source == ZIP else range(6000)
    refused = 0
    for _ in range(600):
        changed = bytearray(data)
        for place in chance.sample(structure, chance.randint(1, 4)):
            changed[place] = chance.choice((0, 1, 0x28, 0x2E, 0x52, 0x7F, 0xFF, chance.randrange(256)))
        path.write_bytes(changed)
        try:
            read_all(path)
        except WeightsError:
            refused += 1
    assert refused > 100
