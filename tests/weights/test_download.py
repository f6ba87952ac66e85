"""Downloads against a server of our own that breaks off, lies, hangs and forgets; never the network."""

import contextlib
import errno
import hashlib
import http.server
import io
import os
import re
import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from golden_weights import LEGACY, ZIP

from jnst.errors import WeightsError
from jnst.files import cache_directory, exclusive
from jnst.weights.download import Download, Patience, fetch, is_offline, received
from jnst.weights.fetch import fetch_weights
from jnst.weights.registry import CATALOGUE, list_weights
from jnst.weights.store import read_info, read_weights

DATA = bytes(range(256)) * 1200
SHA256 = hashlib.sha256(DATA).hexdigest()
QUICK = Patience(timeout=5.0, attempts=3, pause=0.0)


@dataclass
class Behaviour:
    """What the server does. The lists hold one item per request still to come; then it behaves."""

    url: str = ""
    data: bytes = DATA
    ranges: bool = True
    chunked: bool = False
    breaks: list[int | None] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    hang: float = 0.0
    during: Callable[[], None] | None = None
    requests: list[dict[str, str]] = field(default_factory=list)


class Handler(http.server.BaseHTTPRequestHandler):
    behaviour: Behaviour

    def do_GET(self):
        self.protocol_version = "HTTP/1.1"
        self.close_connection = True
        asked = self.behaviour
        asked.requests.append({key.lower(): value for key, value in self.headers.items()})
        status = asked.statuses.pop(0) if asked.statuses else 200
        if self.path == "/missing":
            status = 404
        if status != 200:
            self.send_error(status)
            return
        start = 0
        match = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if match and asked.ranges:
            start = int(match[1])
            if start >= len(asked.data):
                self.send_error(416)
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(asked.data) - 1}/{len(asked.data)}")
        else:
            self.send_response(200)
        body = asked.data[start:]
        if asked.chunked:
            self.send_header("Transfer-Encoding", "chunked")
        else:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        stop = asked.breaks.pop(0) if asked.breaks else None
        body = body if stop is None else body[: max(stop - start, 0)]
        with contextlib.suppress(ConnectionError):
            if asked.chunked:
                self.wfile.write(b"%x\r\n" % len(asked.data[start:]) + body + (b"" if stop else b"\r\n0\r\n\r\n"))
            else:
                self.wfile.write(body)
            if asked.during is not None:
                asked.during()
            self.wfile.flush()
            time.sleep(asked.hang)

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    behaviour = Behaviour()
    handler = type("Bound", (Handler,), {"behaviour": behaviour})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        running.daemon_threads = True
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        behaviour.url = f"http://127.0.0.1:{running.server_port}/file.bin"
        yield behaviour
        running.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def surroundings(monkeypatch, tmp_path):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", "JNST_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("JNST_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def target(tmp_path):
    return tmp_path / "downloads" / "file.bin"


def wanted(server, checksum=f"sha256:{SHA256}"):
    return Download(server.url, len(DATA), checksum)


def left(target):
    return sorted(path.name for path in target.parent.iterdir())


def test_a_file_arrives_whole_with_progress(server, target):
    seen = []
    assert fetch(wanted(server), target, progress=lambda *at: seen.append(at), patience=QUICK) == target
    assert target.read_bytes() == DATA
    assert left(target) == ["file.bin"]
    assert seen[0] == (0, len(DATA))
    assert seen[-1] == (len(DATA), len(DATA))
    assert seen == sorted(seen)
    assert "range" not in server.requests[0]


def test_a_file_that_is_there_is_not_fetched_again(server, target):
    fetch(wanted(server), target, patience=QUICK)
    fetch(wanted(server), target, patience=QUICK)
    assert len(server.requests) == 1
    target.write_bytes(DATA[:-1])
    fetch(wanted(server), target, patience=QUICK)
    assert len(server.requests) == 2
    assert target.read_bytes() == DATA


def test_md5_and_no_checksum_at_all(server, target):
    fetch(wanted(server, f"md5:{hashlib.md5(DATA).hexdigest()}"), target, patience=QUICK)
    fetch(Download(server.url), target.with_name("other.bin"), patience=QUICK)
    assert target.with_name("other.bin").read_bytes() == DATA


def test_a_broken_connection_is_taken_up_again(server, target):
    server.breaks = [100_000, 250_000]
    fetch(wanted(server), target, patience=QUICK)
    assert target.read_bytes() == DATA
    assert [request.get("range") for request in server.requests] == [None, "bytes=100000-", "bytes=250000-"]


def test_a_later_run_goes_on_where_the_last_one_stopped(server, target):
    server.breaks = [100_000]
    with pytest.raises(WeightsError, match=r"ended after 100000 of 307200 bytes; 0\.1 MB are here"):
        fetch(wanted(server), target, patience=QUICK._replace(attempts=1))
    assert received(target) == 100_000
    assert not target.exists()
    seen = []
    fetch(wanted(server), target, progress=lambda *at: seen.append(at), patience=QUICK)
    assert target.read_bytes() == DATA
    assert server.requests[1]["range"] == "bytes=100000-"
    assert seen[0] == (100_000, len(DATA))
    assert left(target) == ["file.bin"]
    assert received(target) == 0


def test_an_interrupt_keeps_what_has_come(server, target):
    def stop(have, _):
        if have >= 100_000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch(wanted(server), target, progress=stop, patience=QUICK)
    kept = received(target)
    assert kept >= 100_000
    fetch(wanted(server), target, patience=QUICK)
    assert server.requests[1]["range"] == f"bytes={kept}-"
    assert target.read_bytes() == DATA


def test_a_server_without_ranges_sends_everything_again(server, target):
    server.ranges, server.breaks = False, [100_000]
    fetch(wanted(server), target, patience=QUICK)
    assert target.read_bytes() == DATA
    assert len(server.requests) == 2


def test_without_a_hash_nothing_is_continued(server, target):
    server.breaks = [100_000]
    fetch(Download(server.url, len(DATA)), target, patience=QUICK)
    assert "range" not in server.requests[1]
    assert target.read_bytes() == DATA


def test_a_file_that_changed_on_the_server_begins_anew(server, target):
    server.data, server.breaks = b"x" * len(DATA), [100_000]
    with pytest.raises(WeightsError, match="ended after"):
        fetch(wanted(server), target, patience=QUICK._replace(attempts=1))
    server.data = DATA
    fetch(wanted(server), target, patience=QUICK)
    assert target.read_bytes() == DATA
    # Its hash tells, and it begins anew by itself.
    assert [request.get("range") for request in server.requests] == [None, "bytes=100000-", None]


def test_what_was_damaged_on_disk_between_runs_is_fetched_again(server, target):
    server.breaks = [100_000]
    with pytest.raises(WeightsError, match="ended after"):
        fetch(wanted(server), target, patience=QUICK._replace(attempts=1))
    part = target.with_name("file.bin.part")
    part.write_bytes(b"y" + part.read_bytes()[1:])
    fetch(wanted(server), target, patience=QUICK)
    assert target.read_bytes() == DATA


@pytest.mark.parametrize("size", [len(DATA), len(DATA) + 10])
def test_a_part_that_is_already_complete_or_too_long(server, target, size):
    server.breaks = [100_000]
    with pytest.raises(WeightsError, match="ended after"):
        fetch(wanted(server), target, patience=QUICK._replace(attempts=1))
    target.with_name("file.bin.part").write_bytes((DATA + bytes(10))[:size])
    fetch(Download(server.url, 0, f"sha256:{SHA256}"), target, patience=QUICK)
    assert target.read_bytes() == DATA


def test_a_wrong_hash_leaves_nothing(server, target):
    server.data = b"x" + DATA[1:]
    with pytest.raises(WeightsError, match=f"its sha256 is [0-9a-f]{{64}} instead of {SHA256}"):
        fetch(wanted(server), target, patience=QUICK)
    assert set(left(target)) <= {"file.bin.lock"}
    assert len(server.requests) == 1


@pytest.mark.parametrize("change", [-1, 1])
def test_a_wrong_size_is_noticed_before_the_download(server, target, change):
    server.data = (DATA + b"z")[: len(DATA) + change]
    with pytest.raises(WeightsError, match=rf"has {len(DATA) + change} bytes instead of {len(DATA)}"):
        fetch(wanted(server), target, patience=QUICK)
    assert set(left(target)) <= {"file.bin.lock"}


def test_a_size_that_is_not_announced_is_checked_all_the_same(server, target):
    server.chunked = True
    fetch(wanted(server), target, patience=QUICK)
    assert target.read_bytes() == DATA
    target.unlink()
    server.breaks = [100_000]
    fetch(wanted(server), target, patience=QUICK)
    assert target.read_bytes() == DATA


def test_a_server_that_always_breaks_off_is_given_up(server, target):
    server.breaks = [10] * 10
    with pytest.raises(WeightsError, match="cannot be downloaded"):
        fetch(wanted(server), target, patience=QUICK)
    assert len(server.requests) == 3


def test_headway_renews_patience(server, target):
    server.data = DATA * 20
    server.breaks = [(1 << 20) * count + 10 for count in range(1, 6)]
    checksum = f"sha256:{hashlib.sha256(server.data).hexdigest()}"
    fetch(Download(server.url, len(server.data), checksum), target, patience=QUICK._replace(attempts=2))
    assert len(server.requests) == 6
    assert target.read_bytes() == server.data


def test_a_missing_file_is_not_asked_for_twice(server, target):
    server.url = server.url.replace("file.bin", "missing")
    with pytest.raises(WeightsError, match=r"the server answered 404 Not Found.*jnst weights convert"):
        fetch(wanted(server), target, patience=QUICK)
    assert len(server.requests) == 1


def test_a_busy_server_is_asked_again(server, target):
    server.statuses = [503, 429]
    fetch(wanted(server), target, patience=QUICK)
    assert target.read_bytes() == DATA
    server.statuses = [500] * 5
    with pytest.raises(WeightsError, match="the server answered 500"):
        fetch(wanted(server), target.with_name("other"), patience=QUICK)


def test_a_server_that_hangs_is_left(server, target):
    server.breaks, server.hang = [100_000] * 2, 3.0
    before = time.monotonic()
    with pytest.raises(WeightsError, match="the connection failed after 100000 bytes"):
        fetch(wanted(server), target, patience=Patience(timeout=0.2, attempts=1, pause=0.0))
    assert time.monotonic() - before < 2
    assert received(target) == 100_000


def test_no_server_at_all(target):
    with pytest.raises(WeightsError, match="no connection"):
        fetch(Download("http://127.0.0.1:9/file"), target, patience=QUICK)


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://localhost/file", "vgg19.pth", "http://[::1", "http://"])
def test_what_is_no_web_address_is_refused(url, target):
    with pytest.raises(WeightsError, match=r"web address|no connection"):
        fetch(Download(url), target, patience=QUICK)


def test_a_full_disk_is_noticed_before_the_download(server, target, monkeypatch):
    usage = shutil.disk_usage("/")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=len(DATA) + 999))
    with pytest.raises(WeightsError, match=r"no space left in .*: 0 MB needed, 0 MB free; .* JNST_CACHE"):
        fetch(wanted(server), target, reserve=1000, patience=QUICK)
    assert received(target) == 0
    fetch(wanted(server), target, reserve=999, patience=QUICK)


def test_a_disk_that_fills_up_keeps_what_has_come(server, target, monkeypatch):
    """A disk takes what fits and refuses the rest; once there is room, the download goes on."""
    opened = Path.open

    class FullDisk(io.FileIO):
        def write(self, chunk):
            super().write(chunk[:1000])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def open_on_full_disk(path, mode="r", *arguments, **options):
        if path.suffix == ".part" and mode == "ab":
            return FullDisk(path, mode)
        return opened(path, mode, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", open_on_full_disk)
        with pytest.raises(WeightsError, match=r"no space left for .*file\.bin; make room"):
            fetch(wanted(server), target, patience=QUICK)
    assert received(target) == 1000
    fetch(wanted(server), target, patience=QUICK)
    assert server.requests[1]["range"] == "bytes=1000-"
    assert target.read_bytes() == DATA


def test_offline_nothing_is_asked_for(server, target, monkeypatch):
    monkeypatch.setenv("JNST_OFFLINE", "1")
    assert is_offline()
    with pytest.raises(WeightsError, match="JNST_OFFLINE is set"):
        fetch(wanted(server), target, patience=QUICK)
    target.write_bytes(DATA)
    assert fetch(wanted(server), target, patience=QUICK) == target
    assert not server.requests
    monkeypatch.setenv("JNST_OFFLINE", "0")
    assert not is_offline()


def test_two_at_once_fetch_once(server, target):
    inside = threading.Event()
    server.during = lambda: inside.wait(1.0) and None
    results = []
    threads = [
        threading.Thread(target=lambda: results.append(fetch(wanted(server), target, patience=QUICK))) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    time.sleep(0.3)
    inside.set()
    for thread in threads:
        thread.join()
    assert results == [target] * 3
    assert len(server.requests) == 1
    assert target.read_bytes() == DATA


def test_who_waits_is_told(tmp_path):
    waited = threading.Event()
    order = []

    def second():
        with exclusive(tmp_path / "file", waiting=waited.set):
            order.append("second")

    with exclusive(tmp_path / "file"):
        thread = threading.Thread(target=second)
        thread.start()
        assert waited.wait(5)
        order.append("first")
    thread.join()
    assert order == ["first", "second"]
    assert not list(tmp_path.iterdir())


def test_an_unusable_cache_is_named(server, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(WeightsError, match=r"file/below/file\.bin cannot be written"):
        fetch(wanted(server), tmp_path / "file" / "below" / "file.bin", patience=QUICK)


def test_the_cache_is_where_it_was_asked_to_be(monkeypatch):
    monkeypatch.setenv("JNST_CACHE", "/somewhere")
    assert cache_directory() == Path("/somewhere")
    monkeypatch.delenv("JNST_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/caches")
    assert cache_directory() == Path("/caches/jnst")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/someone")
    assert cache_directory() == Path("/home/someone/.cache/jnst")


@pytest.mark.parametrize("name", ["XDG_CACHE_HOME", "JNST_CACHE"])
def test_without_a_home_the_cache_must_be_named(name, monkeypatch):
    for variable in ("HOME", "XDG_CACHE_HOME", "JNST_CACHE"):
        monkeypatch.delenv(variable, raising=False)
    if name == "JNST_CACHE":
        monkeypatch.setenv("JNST_CACHE", "~nobody-of-this-name/cache")
    else:
        monkeypatch.setattr("os.path.expanduser", lambda path: path)
    with pytest.raises(WeightsError, match="no home directory to keep a cache in; set JNST_CACHE"):
        cache_directory()


def fail_inside(path):
    with exclusive(path):
        raise RuntimeError("inside")


def test_a_failure_inside_lets_the_next_one_in(tmp_path):
    for _ in range(2):
        with pytest.raises(RuntimeError, match="inside"):
            fail_inside(tmp_path / "file")
    with exclusive(tmp_path / "file"):
        assert [path.name for path in tmp_path.iterdir()] == ["file.lock"]
    assert not list(tmp_path.iterdir())


@pytest.fixture
def mirror(server):
    """The catalogue with VGG19 at our server: the official layout, tiny."""
    server.data = ZIP.read_bytes()
    digest = hashlib.sha256(server.data).hexdigest()
    entry = replace(
        CATALOGUE["vgg19"], url=server.url.replace("file.bin", "vgg19.pth"), size=len(server.data),
        checksum=f"sha256:{digest}",
    )  # fmt: skip
    return CATALOGUE | {"vgg19": entry}


def kept(cache):
    """The files in the cache, but for the empty ones that say which HDF5 files are safe to read."""
    return [file for file in cache.rglob("*") if file.is_file() and file.parent.name != "checked"]


def test_named_weights_are_fetched_converted_and_kept(server, mirror, tmp_path):
    seen = []
    path = fetch_weights("vgg19", catalogue=mirror, progress=lambda *at: seen.append(at), patience=QUICK)
    assert path == tmp_path / "cache" / "weights" / "vgg19.h5"
    info = read_info(path)
    assert (info.name, info.architecture, info.lineage) == ("vgg19", "vgg19", "torchvision")
    assert info.source == mirror["vgg19"].url
    assert info.source_sha256 == hashlib.sha256(ZIP.read_bytes()).hexdigest()
    assert info.licence.startswith("BSD-3-Clause")
    assert seen[-1] == (len(server.data), len(server.data))
    # The download is gone, and nothing else is left.
    assert kept(tmp_path / "cache") == [path]
    assert {row.name: row.state for row in list_weights()}["vgg19"] == "fetched"
    fetch_weights("vgg19", catalogue=mirror, patience=QUICK)
    assert len(server.requests) == 1
    path.write_bytes(path.read_bytes()[:-100])
    fetch_weights("vgg19", catalogue=mirror, patience=QUICK)
    assert len(server.requests) == 2
    read_weights(path)


def test_what_earlier_attempts_left_goes_after_a_success(server, mirror, tmp_path):
    """An attempt at the official address that broke off, then a mirror under another name, then nothing to do."""
    downloads = tmp_path / "cache" / "downloads"
    official = CATALOGUE["vgg19"].url.rsplit("/", 1)[-1]

    def leave():
        downloads.mkdir(parents=True, exist_ok=True)
        for name in (official, "vgg19.pth"):
            (downloads / f"{name}.part").write_bytes(b"beginning")
            (downloads / f"{name}.lock").touch()
        (tmp_path / "cache" / "weights").mkdir(exist_ok=True)
        (tmp_path / "cache" / "weights" / "vgg19.h5.lock").touch()

    for _ in range(2):
        leave()
        path = fetch_weights("vgg19", catalogue=mirror, patience=QUICK)
        assert kept(tmp_path / "cache") == [path]
        assert not downloads.exists()


def test_named_weights_elsewhere(server, mirror, tmp_path):
    path = fetch_weights("vgg19", catalogue=mirror, cache_dir=tmp_path / "other", patience=QUICK)
    assert path == tmp_path / "other" / "weights" / "vgg19.h5"
    assert kept(cache_directory()) == []


def test_an_unknown_name_is_no_download(server):
    with pytest.raises(WeightsError, match=r"unknown weights 'vgg18'; did you mean"):
        fetch_weights("vgg18")


def test_a_download_that_is_not_what_it_should_be_converts_to_nothing(server, mirror, tmp_path):
    server.data = LEGACY.read_bytes()
    with pytest.raises(WeightsError, match="bytes instead of"):
        fetch_weights("vgg19", catalogue=mirror, patience=QUICK)
    assert not (tmp_path / "cache" / "weights" / "vgg19.h5").exists()


def test_the_catalogue_names_the_official_files():
    for entry in CATALOGUE.values():
        assert bool(entry.url) == bool(entry.size) == bool(entry.checksum)
        assert entry.url or entry.bundled
        if entry.url:
            algorithm, _, digest = entry.checksum.partition(":")
            assert len(digest) == {"sha256": 64, "md5": 32}[algorithm]
            assert entry.url.startswith("https://")
    # torchvision puts the beginning of the hash into the name.
    for name in ("vgg16", "vgg19"):
        assert f"-{CATALOGUE[name].checksum[7:15]}.pth" in CATALOGUE[name].url
