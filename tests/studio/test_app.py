"""The routes and who may use them, without a browser."""

import asyncio
import contextlib
import http.client
import json
import os
import random
import socket
import threading
import time
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import parse_qs, quote, urlsplit

import pytest
import uvicorn
from hostile import VALUES, dumps
from starlette.requests import ClientDisconnect, Request
from starlette.types import Message
from studio_material import jpeg, painting, small_run, small_studio, wait, wait_for
from uvicorn.protocols.http.h11_impl import H11Protocol

from jnst.errors import JnstError
from jnst.studio import app as app_module
from jnst.studio import connections
from jnst.studio.app import _read_body, make_app
from jnst.studio.server import listen, serving
from jnst.studio.session import Studio

TOKEN = "a-token-of-the-test"


@pytest.fixture
def studio(tmp_path):
    opened = small_studio(tmp_path / "kept")
    yield opened
    opened.close()


class Answer(NamedTuple):
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    def json(self) -> Any:
        return json.loads(self.body)


class Client:
    """Speaks HTTP to a studio, as its page does unless told otherwise."""

    def __init__(self, port: int, token: str | None = TOKEN) -> None:
        self.port, self.own = port, {"host": f"127.0.0.1:{port}"}
        if token is not None:
            self.own["cookie"] = f"jnst-studio-{port}={token}"

    def ask(self, method: str, address: str, body: Any = None, **headers: str) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, address, body, self.own | named)
        answer = connection.getresponse()
        found = Answer(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())
        connection.close()
        return found

    def get(self, address: str, **headers: str) -> Answer:
        return self.ask("GET", address, **headers)

    def post(self, address: str, body: Any = b"", **headers: str) -> Answer:
        data = body if isinstance(body, bytes) else json.dumps(body)
        return self.ask("POST", address, data, **{"origin": f"http://127.0.0.1:{self.port}"} | headers)


@pytest.fixture
def port(studio):
    """Where a real server serves the studio."""
    listener = listen(0)
    port = listener.getsockname()[1]
    app = make_app(studio, token=TOKEN, port=port)
    config = uvicorn.Config(
        app, log_config=None, log_level="error", lifespan="off", ws="none", timeout_graceful_shutdown=1
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    wait(lambda: server.started, "the server")
    yield port
    server.should_exit = True
    thread.join(timeout=20)
    listener.close()
    assert not thread.is_alive()


@pytest.fixture
def page(port):
    return Client(port)


def test_the_link_opens_the_page_and_a_cookie_takes_over(port, page):
    answer = Client(port, None).get(f"/?token={TOKEN}")
    assert answer.status == 200
    assert "jnst studio" in answer.text
    cookie = answer.headers["set-cookie"]
    assert f"jnst-studio-{port}={TOKEN}" in cookie
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    assert page.get("/").status == 200  # as after a reload
    assert page.get("/static/studio.js").headers["content-type"].startswith("text/javascript")
    assert page.get("/static/studio.css").status == 200
    assert page.get("/static/../app.py").status == 404


@pytest.mark.parametrize("token", ["", "wrong", TOKEN[:-1], TOKEN + "x", "\xfc"])
def test_a_wrong_token_is_refused_everywhere(studio, port, token):
    stranger = Client(port, token)
    for address in ("/", "/state", "/events", "/static/studio.js", "/pictures/p0", "/paintings/1/picture", "/nowhere"):
        answer = stranger.get(f"{address}?token={quote(token)}")
        assert answer.status == 403
        assert "the token is missing or wrong" in answer.text
    assert stranger.post("/paintings").status == 403
    assert studio.state()["paintings"] == []


def test_the_token_counts_in_the_link_alone(port):
    # An address with the token in it must not open anything but the page.
    assert Client(port, None).get(f"/state?token={TOKEN}").status == 403


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1", "127.0.0.1:1", "evil.example:PORT", "localhost.x:PORT", ""]
)
def test_a_foreign_host_is_refused(port, page, host):
    answer = page.get("/state", host=host.replace("PORT", str(port)))
    assert answer.status == 403
    assert "is not this studio" in answer.text


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "https://127.0.0.1:PORT", "http://127.0.0.1:1"])
def test_a_foreign_origin_is_refused(studio, port, page, origin):
    origin = origin.replace("PORT", str(port))
    for answer in (page.post("/paintings", {}, origin=origin), page.get("/state", origin=origin)):
        assert answer.status == 403
        assert "is not the studio's page" in answer.text
    assert studio.state()["paintings"] == []


def test_a_change_needs_an_origin(page):
    assert page.ask("POST", "/paintings", b"{}").status == 403
    for site, status in (("cross-site", 403), ("same-site", 403), ("same-origin", 200), ("none", 200)):
        assert page.get("/state", sec_fetch_site=site).status == status
    assert page.ask("OPTIONS", "/paintings", origin="http://evil.example").status == 403


def test_localhost_is_this_machine_too(port):
    assert Client(port, None).get(f"/?token={TOKEN}", host=f"localhost:{port}").status == 200


def test_every_answer_forbids_framing_scripts_and_caching(port, page):
    for answer in (page.get("/"), page.get("/state"), Client(port, None).get("/")):
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "script-src 'self'" in policy
        assert "frame-ancestors 'none'" in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "no-store"
        assert "access-control-allow-origin" not in answer.headers


def test_the_page_asks_for_nothing_elsewhere():
    for name in ("index.html", "studio.js", "studio.css"):
        text = (app_module.STATIC / name).read_text(encoding="utf-8")
        assert "http://" not in text
        assert "https://" not in text
        assert "//cdn" not in text


def test_paint_steer_keep_and_download(studio, page):
    number = page.post("/paintings", {"strength": 0.7}).json()["answer"]
    assert wait_for(studio, number, "done")["knobs"]["strength"] == 0.7
    picture = page.get(f"/paintings/{number}/picture?v=1")
    assert picture.headers["content-type"] == "image/jpeg"
    assert picture.body[:3] == b"\xff\xd8\xff"
    assert len(page.get(f"/paintings/{number}/curves").json()["style"]) == 13
    assert page.get(f"/paintings/{number}/moments/0").body[:3] == b"\xff\xd8\xff"
    assert page.post(f"/paintings/{number}/knobs", {"colors": "content"}).status == 200
    download = page.get(f"/paintings/{number}/download")
    assert download.body[:4] == b"\x89PNG"
    assert "photo-style0-0012.png" in download.headers["content-disposition"]
    name = page.post(f"/paintings/{number}/keep").json()["answer"]
    assert page.get(f"/kept/{name}").body[:4] == b"\x89PNG"
    assert page.get(f"/kept/{name}/thumbnail").body[:3] == b"\xff\xd8\xff"
    assert page.post(f"/paintings/{number}/undo", {"step": 0}).status == 200
    assert painting(studio, number)["step"] == 0
    assert page.get("/state").json()["paintings"][0]["step"] == 0


@pytest.mark.parametrize(
    ("address", "body", "message"),
    [
        ("/paintings/1/knobs", {"strength": 1}, "there is no painting 1"),
        ("/paintings/9/stop", {}, "there is no painting 9"),
        ("/draft", {"size": 1}, "expected a whole number from 16"),
        ("/draft", {"content": "p99"}, "there is no picture 'p99'"),
        ("/draft", [1], "not a JSON object"),
        ("/paintings/1/undo", {"step": "x"}, "expected the step of a moment"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_sentence(page, address, body, message):
    answer = page.post(address, body)
    assert answer.status == 400
    assert message in answer.json()["error"]


def test_what_is_no_json_or_too_much_of_it_is_refused(page):
    for body in (b"{", b"\xff\xfe", b"[" * 50_000, b" " * 70_000):
        answer = page.post("/draft", body)
        assert answer.status == 400
    assert page.post("/paintings/1/explode").status == 404


def test_an_upload_becomes_a_choice(studio, page):
    answer = page.post("/pictures?role=style&name=new.jpg", jpeg("weave"))
    assert studio.state()["draft"]["styles"][-1] == answer.json()["answer"]
    assert page.get(f"/pictures/{answer.json()['answer']}").body[:3] == b"\xff\xd8\xff"


def test_text_called_jpg_is_refused_in_a_sentence(page):
    answer = page.post("/pictures?role=content&name=notes.jpg", b"only words" * 50)
    assert answer.status == 400
    assert answer.json()["error"].startswith("notes.jpg is not a picture jnst can read")


def request(port, method, address, extra=""):
    return (
        f"{method} {address} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nCookie: jnst-studio-{port}={TOKEN}\r\n"
        f"Origin: http://127.0.0.1:{port}\r\n{extra}\r\n"
    ).encode()


def test_a_body_without_a_length_ends_at_the_limit(port, monkeypatch):
    monkeypatch.setattr(app_module, "MAX_BYTES", 10_000)
    pieces = b"".join(b"3e8\r\n" + b"x" * 1000 + b"\r\n" for _ in range(11))  # and no end
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(
            request(port, "POST", "/pictures?role=content&name=long.jpg", "Transfer-Encoding: chunked\r\n") + pieces
        )
        answer = connection.makefile("rb").read()
    assert answer.startswith(b"HTTP/1.1 413")
    assert b"long.jpg is above the studio's limit" in answer


def test_a_gigabyte_is_refused_before_a_byte_of_it_is_read(port):
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(
            request(port, "POST", "/pictures?role=content&name=huge.jpg", "Content-Length: 1073741824\r\n")
        )
        answer = connection.recv(65_536)
        assert answer.startswith(b"HTTP/1.1 413")
        rest = answer
        while more := connection.recv(65_536):  # and the connection is closed
            rest += more
        assert b"huge.jpg is above the studio's limit of 64 MB" in rest


@pytest.fixture
def link(studio):
    """Where the studio is served as `jnst studio` serves it."""
    with listen(0) as listener, serving(studio, listener) as link:
        yield link


def _is_closed(connection: socket.socket) -> bool:
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True
    except BlockingIOError:
        return False


def test_strangers_cannot_take_all_connections(monkeypatch, studio, link):
    """Each takes a file descriptor, without which no picture can be written."""
    monkeypatch.setattr(connections, "MOST_CONNECTIONS", 6)
    monkeypatch.setattr(connections, "PATIENCE", 1.0)
    address = urlsplit(link)
    strangers = [socket.create_connection(("127.0.0.1", address.port)) for _ in range(20)]
    for number, one in enumerate(strangers):
        one.setblocking(False)
        if number % 2:
            with contextlib.suppress(OSError):
                one.sendall(b"GET / HTTP/1.1\r\nHost: ")  # and nothing more
    wait(lambda: sum(map(_is_closed, strangers)) >= 14, "that those above the limit are closed")
    wait(lambda: all(map(_is_closed, strangers)), "that the silent ones are closed")
    page = Client(address.port, parse_qs(address.query)["token"][0])
    page.own["cookie"] = f"jnst-studio-{address.port}={parse_qs(address.query)['token'][0]}"
    assert page.get("/state").status == 200
    for one in strangers:
        one.close()


def test_whoever_is_refused_loses_the_connection(port):
    assert Client(port, "wrong").get("/state").headers["connection"] == "close"


def test_the_head_of_a_request_is_limited_whatever_is_installed(link):
    """httptools, which uvicorn prefers where it is there, reads heads of any length into memory."""
    with socket.create_connection(("127.0.0.1", urlsplit(link).port), timeout=30) as connection:
        with contextlib.suppress(OSError):
            connection.sendall(b"GET / HTTP/1.1\r\n" + b"a: " + b"b" * 2**20 + b"\r\n")
        with contextlib.suppress(ConnectionResetError):
            assert connection.recv(12) in (b"", b"HTTP/1.1 400")
    assert issubclass(connections.Connection, H11Protocol)


def test_what_the_system_refuses_is_said_in_a_sentence(studio, page, monkeypatch):
    def keep(*_: object) -> None:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(studio, "keep", keep)
    answer = page.post("/paintings/1/keep")
    assert (answer.status, answer.json()["error"]) == (503, "the system refuses it: Too many open files")


def test_events_bring_the_state_at_once_and_at_every_change(studio, port):
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(request(port, "GET", "/events"))
        received = b""

        def versions():
            nonlocal received
            received += connection.recv(65_536)
            lines = [line for line in received.split(b"\n") if line.startswith(b"data: ")]
            return [json.loads(line[6:])["draft"]["size"] for line in lines if line.endswith(b"}")]

        wait(lambda: versions() == [32], "the first state")
        studio.set_draft({"size": 96})
        wait(lambda: versions() == [32, 96], "the change")


def test_a_closed_tab_does_not_end_a_painting(studio, port):
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(request(port, "GET", "/events"))
        connection.recv(1000)
        number = studio.paint()
    assert wait_for(studio, number, "done")["step"] == 12


def test_nobody_outside_this_machine_can_connect():
    listener = listen(0)
    assert listener.getsockname()[0] == "127.0.0.1"
    with pytest.raises(JnstError, match=r"cannot listen at port \d+"):
        listen(listener.getsockname()[1])
    listener.close()


def test_the_state_is_plain_json_even_where_a_loss_is_not_finite(tmp_path):
    studio = Studio(small_run(), tmp_path)
    json.dumps(studio.state(), allow_nan=False)
    studio.close()
    started = time.monotonic()
    studio.close()  # twice is fine
    assert time.monotonic() - started < 5


def test_no_request_ends_in_an_error_of_the_server(studio, page):
    """Seeded: wrong numbers, names, bodies and types on every route. The studio answers, and its state is the same."""
    chance = random.Random(0)
    numbers = ("0", "-1", "1", "9" * 400, "9" * 5000, "٣", "1e5", "%00", "..", "", "1.5", "x" * 900)
    names = (
        "..%2f..%2fetc%2fpasswd",
        "%00",
        "%ff.png",
        "a" * 5000,
        "..",
        "index.html",
        "%F0%9F%98%80.png",
        "%0d%0aSet-X:1",
    )
    values = [value for value in VALUES if not isinstance(value, int) or abs(value) < 10**4000]
    fields = (
        "content",
        "styles",
        "size",
        "steps",
        "strength",
        "blend",
        "step",
        "seed",
        "colors",
        "preset",
        "__class__",
    )
    before = studio.state()["draft"]
    for _ in range(300):
        number, name = chance.choice(numbers), chance.choice(names)
        gets = (
            f"/paintings/{number}/{chance.choice(('picture', 'download', 'curves', 'moments/' + number, 'knobs'))}",
            f"/kept/{name}",
            f"/kept/{name}/thumbnail",
            f"/pictures/{name}",
            f"/static/{name}",
        )
        body = {chance.choice(fields): chance.choice(values) for _ in range(chance.randint(0, 3))}
        sent = chance.choice((dumps(body), dumps(chance.choice(values)), "{", "[" * 5000, "\xff\x00", ""))
        posts = (
            f"/paintings/{number}/{chance.choice(('pause', 'stop', 'keep', 'undo', 'double', 'knobs', 'nothing'))}",
            "/draft",
            f"/pictures?name={name}&role={chance.choice(('content', 'style', '', name))}",
        )
        if chance.random() < 0.5:
            answer = page.get(quote(chance.choice(gets), safe="/%"))
        else:
            answer = page.post(
                quote(chance.choice(posts), safe="/%?&="), sent.encode("utf-8", "surrogatepass")[:100_000]
            )
        assert answer.status < 500, (answer.status, answer.text[:300])
        assert len(answer.body) < 100_000
    assert page.get("/state").status == 200
    assert studio.state()["draft"].keys() == before.keys()
    assert studio.state()["paintings"] == []


def test_the_folder_of_kept_pictures_may_hold_anything(studio, page, tmp_path):
    """Folders, pipes, dangling links and names that are no text, all called .png."""
    kept = tmp_path / "kept"
    kept.mkdir(exist_ok=True)
    (kept / "folder.png").mkdir()
    (kept / "good.png").write_bytes(jpeg("shapes"))
    os.mkfifo(kept / "pipe.png")
    os.symlink("nowhere", kept / "dangling.png")
    (kept / os.fsdecode(b"\xff.png")).write_bytes(b"x")
    (kept / "text.png").write_bytes(b"no picture")
    assert set(page.get("/state").json()["kept"]) == {"good.png", "text.png"}
    assert page.get("/kept/good.png/thumbnail").status == 200
    for name in ("folder.png", "pipe.png", "dangling.png", "text.png"):
        assert page.get(f"/kept/{name}/thumbnail").status == 400


def test_a_body_that_is_still_to_come_when_the_studio_ends_is_cut_off():
    """As a client's leaving, which every route answers, and not as a failure with its traceback."""

    async def never() -> Message:
        await asyncio.sleep(60)
        raise AssertionError

    async def end() -> None:
        request = Request({"type": "http", "method": "POST", "headers": []}, never)
        task = asyncio.create_task(_read_body(request, 10))
        await asyncio.sleep(0)
        task.cancel()
        await task

    with pytest.raises(ClientDisconnect):
        asyncio.run(end())
