"""Whatever a weights file claims: no crash, no memory that is not the file's, no endless loop, no error but ours."""

import contextlib
import hashlib
import pickle
import struct
import subprocess
import sys
import time
import zipfile
import zlib
from pathlib import Path

import fuzz_weights
import h5py
import numpy as np
import pytest
from golden_weights import LEGACY, ZIP
from safetensors.numpy import save_file

from jnst.errors import WeightsError
from jnst.weights import hdf5
from jnst.weights.convert import read_foreign
from jnst.weights.foreign_files import read_pytorch
from jnst.weights.network import describe_weights, random_weights
from jnst.weights.registry import CATALOGUE, locate_weights
from jnst.weights.store import read_info, read_weights, write_weights

ROOT = Path(__file__).parents[2]
MUTATIONS = 2000


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def long(value: int) -> bytes:
    return b"\x8a\x08" + struct.pack("<q", value)


def storage(total: int) -> bytes:
    """The instructions that push a storage of so many float32 numbers called "0"."""
    return b"(" + text("storage") + b"ctorch\nFloatStorage\n" + text("0") + text("cpu") + long(total) + b"tQ"


def state(total: int, shape: int) -> bytes:
    """The pickle of a dictionary of a tensor of `shape` elements, spread over a storage that claims `total`."""
    tensor = b"ctorch._utils\n_rebuild_tensor\n(" + storage(total) + long(0) + long(shape) + b"\x85"
    return b"\x80\x02}" + text("features.0.bias") + tensor + long(total // shape) + b"\x85tRs."


def legacy_file(
    *, state_total: int, first: bytes = b"", keys: bytes = b"", shape: int = 1 << 20, present: int = 4
) -> bytes:
    """A legacy file whose state claims `state_total` elements where `present` are there; `first` stands in the pickle
    of the machine, `keys` in that of the keys."""
    machine = b"\x80\x02" + first + pickle.dumps({"little_endian": True}, 2)[2:]
    head = pickle.dumps(0x1950A86A20F9469CFC6C, 2) + pickle.dumps(1001, 2) + machine
    tail = b"\x80\x02" + keys + b"]" + text("0") + b"a." + struct.pack("<q", present) + bytes(4 * present)
    return head + state(state_total, shape) + tail


EVIL = "a\x1b]0;title\x07\n\u202e" + "x" * 5000


def evil_state(name: str, key: str, total: int = 8) -> bytes:
    """The pickle of a tensor of that name in a storage of that key."""
    kept = b"(" + text("storage") + b"ctorch\nFloatStorage\n" + text(key) + text("cpu") + long(total) + b"tQ"
    tensor = b"ctorch._utils\n_rebuild_tensor\n(" + kept + long(0) + long(8) + b"\x85" + long(1) + b"\x85tRs."
    return b"\x80\x02}" + text(name) + tensor


def write_evil(form: str, path: Path) -> None:
    """Files that hold foreign text wherever a message could quote it."""
    match form:
        case "a name in a zip archive":
            with zipfile.ZipFile(path, "w") as archive:
                archive.writestr("net/data.pkl", evil_state(EVIL, "0"))
                archive.writestr("net/data/0", bytes(32))
        case "a storage in a zip archive":
            with zipfile.ZipFile(path, "w") as archive:
                archive.writestr("net/data.pkl", evil_state("features.0.bias", EVIL))
        case "a compressed entry":
            with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
                archive.writestr(f"{EVIL}/data.pkl", evil_state(EVIL, "0"))
        case "a number of many digits":
            with zipfile.ZipFile(path, "w") as archive:
                archive.writestr("net/data.pkl", evil_state(f"features.{'9' * 5000}.bias", "0"))
                archive.writestr("net/data/0", bytes(32))
        case "a class":
            path.write_bytes(pickle.dumps(0x1950A86A20F9469CFC6C, 2) + b"\x80\x02c" + b"a\x1b[31m" * 20 + b"\nb\n.")
        case "a safetensors name":
            save_file({EVIL: np.zeros((2, 2), np.float32)}, path)
        case "a safetensors header":
            path.write_bytes((9000).to_bytes(8, "little") + ('{"' + EVIL).encode().ljust(9000))
        case "a Keras layer" | "a Keras number":
            with h5py.File(path, "w") as file:
                name = EVIL if form == "a Keras layer" else f"conv2d_{'9' * 5000}"
                file[name.replace("/", "") + "/x"] = np.zeros(3, np.float32)
        case _:
            info = describe_weights("a", "vgg16", 1 / 32, "torchvision")
            write_weights(path, random_weights("vgg16", 1 / 32, 0), info)
            with h5py.File(path, "r+") as file:
                if form == "a layer of ours":
                    file.create_group(EVIL.replace("/", ""))["kernel"] = np.zeros(3, np.float32)
                else:
                    file.attrs[form] = EVIL


EVIL_FORMS = [
    "a name in a zip archive",
    "a storage in a zip archive",
    "a compressed entry",
    "a number of many digits",
    "a class",
    "a safetensors name",
    "a safetensors header",
    "a Keras layer",
    "a Keras number",
    "a layer of ours",
    *("architecture", "lineage", "order", "mean", "width", "channels", "format_version", "format", "notes", "sha256"),
]


@pytest.mark.parametrize("form", EVIL_FORMS)
def test_what_a_file_says_of_itself_is_shown_escaped_and_short(form, tmp_path):
    path = tmp_path / "evil"
    write_evil(form, path)
    with pytest.raises(WeightsError) as caught:
        read_foreign(path)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 500
    assert "evil" in str(caught.value)


def write_keras(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file.attrs["backend"], file.attrs["keras_version"] = "tensorflow", b"2.1"
        for name in ("block1_conv1", "block1_conv2"):
            group = file.create_group(name)
            group.attrs["weight_names"] = [f"{name}_W_1:0".encode(), f"{name}_b_1:0".encode()]
            group[f"{name}_W_1:0"] = np.ones((3, 3, 3, 4), np.float32)
            group.create_dataset(f"{name}_b_1:0", data=np.ones(4, np.float32), chunks=(2,))


def write_ours(path: Path) -> None:
    """The last kernel is deflated, the others are too small for that."""
    info = describe_weights("small", "vgg16", 1 / 32, "torchvision", notes={"trained": "never"})
    write_weights(path, dict(list(random_weights("vgg16", 1 / 32, 0).items())[:8]), info, compress=True)


def write_source(form: str, path: Path) -> None:
    match form:
        case "legacy":
            path.write_bytes(legacy_file(state_total=8, present=8, shape=2))
        case "zip":
            with zipfile.ZipFile(path, "w") as archive:
                archive.writestr("net/data.pkl", state(8, 2))
                archive.writestr("net/byteorder", "little")
                archive.writestr("net/data/0", bytes(32))
        case "safetensors":
            tensors = {f"features.{n}.weight": np.full((2, 3), n, kind) for n, kind in enumerate(("f4", "f2", "f8"))}
            save_file(tensors, path)
        case "keras":
            write_keras(path)
        case _:
            write_ours(path)


@pytest.mark.parametrize("form", ["legacy", "zip", "safetensors", "keras", "ours"])
def test_no_mutation_crashes_hangs_or_reads_what_is_not_there(form, tmp_path, monkeypatch):
    """2,000 seeded mutations, read in a child. In HDF5 the library's own loops end that child; those files are then
    read as users read them, and must be refused."""
    source, first, hanging, output = tmp_path / "source", 0, [], ""
    write_source(form, source)
    while first < MUTATIONS:
        command = [sys.executable, fuzz_weights.__file__, form, str(source), str(first), str(MUTATIONS)]
        done = subprocess.run(command, capture_output=True, text=True, env={"PYTHONPATH": str(ROOT)}, timeout=300)
        output = done.stdout
        if done.returncode == 0:
            break
        number = int(output.split()[-1])
        assert form in ("keras", "ours"), f"mutation {number} ends with {done.returncode}: {done.stderr[-2000:]}"
        assert done.returncode < 0, f"mutation {number} ends with {done.returncode}: {done.stderr[-2000:]}"
        hanging.append(number)
        first = number + 1
    if first < MUTATIONS:
        refused, peak = int(output.split()[-3]), int(output.split()[-1])
        assert refused > 0.2 * (MUTATIONS - first)
        assert peak < 700_000  # kilobytes, of which Python and the libraries take a fifth
    monkeypatch.setattr(hdf5, "TIME_LIMIT", 2.0)
    for number in hanging:
        changed = tmp_path / f"changed{number}.h5"
        changed.write_bytes(fuzz_weights.mutate(source.read_bytes(), number))
        with pytest.raises(WeightsError, match="damaged"):
            read_weights(changed)


@pytest.mark.parametrize(
    "parts",
    [
        {"keys": storage(4)},
        {"first": storage(4)},
        {"first": storage(4), "keys": storage(4)},
        {},
    ],
    ids=["keys", "machine", "both", "none"],
)
def test_a_storage_defined_twice_reads_nothing_outside_the_file(parts, tmp_path):
    """The fifth pickle once replaced the storage that the tensors had been checked against."""
    (tmp_path / "file.pth").write_bytes(legacy_file(state_total=1 << 30, **parts))
    with pytest.raises(WeightsError, match=r"outside the dictionary of tensors|truncated"):
        read_pytorch(tmp_path / "file.pth")


def test_the_crafted_file_is_sound_where_its_numbers_are(tmp_path):
    """The control: with the four elements that are there, the same file is read."""
    (tmp_path / "file.pth").write_bytes(legacy_file(state_total=4, shape=4))
    np.testing.assert_array_equal(read_pytorch(tmp_path / "file.pth")["features.0.bias"].read(), np.zeros(4))


def test_a_file_that_shrinks_after_its_names_were_read_is_refused(tmp_path):
    for source in (LEGACY, ZIP):
        path = tmp_path / source.name
        path.write_bytes(source.read_bytes())
        tensors = read_pytorch(path)
        path.write_bytes(path.read_bytes()[:7000])
        with pytest.raises(WeightsError, match="are not there"):
            [tensor.read() for tensor in tensors.values()]


def make_endless(path: Path) -> None:
    """libhdf5 walks the texts of a file by their sizes, and never ends where the free rest has size zero."""
    data = bytearray(path.read_bytes())
    place = data.index(b"GCOL") + 16
    while int.from_bytes(data[place : place + 2], "little"):
        size = int.from_bytes(data[place + 8 : place + 16], "little")
        place += 16 + (size + 7) // 8 * 8
    data[place + 8 : place + 16] = bytes(8)
    path.write_bytes(data)


@pytest.mark.parametrize("write", [write_keras, write_ours])
def test_a_file_that_libhdf5_never_finishes_is_refused_in_time(write, tmp_path, monkeypatch):
    path = tmp_path / "file.h5"
    write(path)
    make_endless(path)
    monkeypatch.setattr(hdf5, "TIME_LIMIT", 2.0)
    for read in (read_foreign, read_weights):
        begin = time.monotonic()
        with pytest.raises(WeightsError, match=r"file\.h5 is damaged: the HDF5 library had not read it after 2 second"):
            read(path)
        assert time.monotonic() - begin < 10


def test_the_endless_file_does_hang_without_the_check(tmp_path):
    """The control."""
    write_keras(tmp_path / "file.h5")
    make_endless(tmp_path / "file.h5")
    code = f"import h5py; dict(h5py.File({str(tmp_path / 'file.h5')!r}).attrs)"
    with pytest.raises(subprocess.TimeoutExpired):
        subprocess.run([sys.executable, "-c", code], timeout=3)


def test_a_file_that_declares_a_huge_chunk_costs_no_memory(tmp_path):
    """libhdf5 allocates what the index of chunks says before it reads it."""
    path = tmp_path / "file.h5"
    write_keras(path)
    with h5py.File(path, "r") as file:
        info = file["block1_conv1/block1_conv1_b_1:0"].id.get_chunk_info(0)
    data = path.read_bytes()
    # An entry of the index: size of the chunk, filters, offsets by dimension and one for the element, address.
    entry = struct.pack("<IIQQQ", info.size, 0, 0, 0, info.byte_offset)
    assert data.count(entry) == 1
    path.write_bytes(data.replace(entry, struct.pack("<I", (1 << 32) - 16) + entry[4:]))
    with pytest.raises(WeightsError, match="damaged"):
        read_foreign(path)


def test_a_chunk_that_inflates_without_end_costs_no_memory(tmp_path):
    """A deflated chunk says itself how long it becomes, whatever the array declares: two gigabytes for 16 bytes."""
    path, deflate = tmp_path / "file.h5", zlib.compressobj(wbits=-15)
    block = deflate.compress(bytes(1 << 24)) + deflate.flush(zlib.Z_FULL_FLUSH)
    bomb = b"\x78\x9c" + block * 128 + deflate.flush()
    write_keras(path)
    with h5py.File(path, "r+") as file:
        del file["block1_conv1/block1_conv1_b_1:0"]
        bias = file.create_dataset("block1_conv1/block1_conv1_b_1:0", (4,), "f4", chunks=(4,), compression="gzip")
        bias.id.write_direct_chunk((0,), bomb)
    with pytest.raises(WeightsError, match="damaged"):
        read_foreign(path)


def test_files_of_ours_need_no_child(tmp_path, monkeypatch):
    """What jnst wrote here and what comes with it is read at once; a file from elsewhere is checked once."""
    checked = []
    check = hdf5.check_in_child
    monkeypatch.setattr(hdf5, "check_in_child", lambda path: (checked.append(path.name), check(path)))
    write_ours(tmp_path / "own.h5")
    read_weights(tmp_path / "own.h5")
    for bundled in (ROOT / "weights").glob("*.h5"):
        read_weights(bundled)
    assert checked == []
    foreign = tmp_path / "foreign.h5"
    foreign.write_bytes((tmp_path / "own.h5").read_bytes())
    for _ in range(3):
        read_weights(foreign)
    assert checked == ["foreign.h5"]
    foreign.write_bytes(foreign.read_bytes())
    read_weights(foreign)
    assert checked == ["foreign.h5"] * 2


def test_without_a_cache_every_file_is_still_read(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("JNST_CACHE", str(tmp_path / "file" / "cache"))
    write_ours(tmp_path / "own.h5")
    assert read_weights(tmp_path / "own.h5").info.name == "small"


def test_a_bundled_file_is_trusted_by_its_hash_alone(tmp_path, monkeypatch):
    """Its place says nothing: the one that comes with jnst can be damaged as any other."""
    monkeypatch.setenv("JNST_CACHE", str(tmp_path / "cache"))
    checked = []
    monkeypatch.setattr(hdf5, "check_in_child", lambda path: checked.append(path))
    bundled = [entry for entry in CATALOGUE.values() if entry.bundled]
    assert len(bundled) == 2
    for entry in bundled:
        path = locate_weights(entry, tmp_path)
        assert hashlib.sha256(path.read_bytes()).hexdigest() == entry.bundled_sha256
        assert read_info(path).architecture == entry.architecture
    assert checked == []
    monkeypatch.setattr("jnst.weights.registry.__file__", str(tmp_path / "site" / "jnst" / "weights" / "registry.py"))
    installed = tmp_path / "site" / "jnst" / "data" / "weights" / "vgg16-small.h5"
    installed.parent.mkdir(parents=True)
    data = bytearray(path.read_bytes())
    data[5000:5004] = b"\xff\xff\xff\xff"
    installed.write_bytes(data)
    assert locate_weights(CATALOGUE["vgg16-small"], tmp_path) == installed
    with contextlib.suppress(WeightsError):
        read_info(installed)
    assert checked == [installed]


def test_a_bundled_file_that_hangs_the_library_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setenv("JNST_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(hdf5, "TIME_LIMIT", 0.01)
    path = tmp_path / "vgg16-small.h5"
    write_ours(path)
    (path.parent / "cache" / "checked").rename(tmp_path / "gone")
    with pytest.raises(WeightsError, match="the HDF5 library had not read it after 0 seconds"):
        read_weights(path)
