"""`jnst stylize` with standard input, standard output and URLs in the place of files."""

import functools
import http.server
import io
import json
import ssl
import subprocess
import sys
import threading
import time
from pathlib import Path

import fsspec
import numpy as np
import pytest
from PIL import Image

from jnst.batch import folders
from jnst.cli.main import main
from jnst.cli.streams import Streams, stem_of
from jnst.errors import ConfigError, ImageError
from jnst.images.reading import read_image
from jnst.images.writing import read_metadata
from jnst.weights.network import describe_weights, random_weights
from jnst.weights.store import write_weights

FLAGS = [
    *("--content-layers", "relu2_1", "--style-layers", "relu1_1,relu2_1", "--scales", "1", "--full-size"),
    *("--iterations", "2", "--weights", "narrow.h5"),
]
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("streams")
    generator = np.random.default_rng(0)
    for name, size in (("content.png", (20, 28, 3)), ("style.png", (24, 24, 3))):
        Image.fromarray(generator.integers(0, 256, size, dtype=np.uint8)).save(folder / name)
    weights = random_weights("vgg19", 1 / 16, 0)
    write_weights(folder / "narrow.h5", weights, describe_weights("narrow", "vgg19", 1 / 16, "torchvision"))
    return folder


@pytest.fixture(autouse=True)
def surroundings(folder, monkeypatch):
    monkeypatch.setenv("JNST_CACHE", str(folder / "cache"))
    monkeypatch.chdir(folder)
    for path in list(memory().store):
        memory().rm_file(path)


def memory():
    return fsspec.filesystem("memory")


def put(name):
    memory().pipe_file(f"/in/{name}", Path(name).read_bytes())
    return f"memory://in/{name}"


class Pipe:
    """A standard stream that is not a terminal: what is written to it, or read from it, is bytes."""

    def __init__(self, content=b""):
        self.buffer, self.name = io.BytesIO(content), "<pipe>"

    def isatty(self):
        return False

    def flush(self):
        pass

    def write(self, text):
        self.buffer.write(text.encode())


@pytest.fixture(scope="module")
def expected(folder):
    """The picture that files make."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JNST_CACHE", str(folder / "cache"))
        patch.chdir(folder)
        assert main(["stylize", "content.png", "style.png", "-o", "files.png", *FLAGS]) == 0
        return read_image("files.png").pixels


def refused(capsys, *words):
    assert main(["stylize", *words, *FLAGS]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    lines = said.err.strip().splitlines()
    assert lines[-1].startswith("jnst: error: ")
    return lines[-1]


def test_a_pipe_from_program_to_program(folder, expected):
    command = [sys.executable, "-m", "jnst", "stylize", "-", "style.png", "-o", "-", *FLAGS]
    photo = Path("content.png").read_bytes()
    done = subprocess.run(command, input=photo, capture_output=True, check=True, env={"PYTHONPATH": str(ROOT)})
    with Image.open(io.BytesIO(done.stdout)) as image:
        assert image.format == "PNG"
        np.testing.assert_array_equal(np.asarray(image), expected)
        record = json.loads(image.info["jnst"])["jnst"]
    assert record["inputs"]["content"]["path"] == "standard input"
    assert b"done: a png picture on standard output (28 \xc3\x97 20" in done.stderr
    assert {path.name for path in folder.iterdir()} >= {"content.png", "style.png"}
    assert not list(folder.glob("standard*"))


def test_standard_input_may_be_the_style_or_the_start_as_well(monkeypatch, expected):
    for words, name in (
        (["content.png", "-"], "style.png"),
        (["content.png", "style.png", "--init", "-"], "content.png"),
    ):
        monkeypatch.setattr("sys.stdin", Pipe(Path(name).read_bytes()))
        monkeypatch.setattr("sys.stdout", out := Pipe())
        assert main(["stylize", *words, "-o", "-", *FLAGS, "--quiet"]) == 0
        with Image.open(io.BytesIO(out.buffer.getvalue())) as image:
            assert image.size == (28, 20)
            if name == "style.png":
                np.testing.assert_array_equal(np.asarray(image), expected)


@pytest.mark.parametrize(("form", "name"), [("jpg", "JPEG"), ("webp", "WEBP"), ("avif", "AVIF"), ("tif", "TIFF")])
def test_the_format_of_standard_output_is_a_flag(form, name, monkeypatch):
    monkeypatch.setattr("sys.stdout", out := Pipe())
    assert main(["stylize", "content.png", "style.png", "-o", "-", "--format", form, *FLAGS]) == 0
    with Image.open(io.BytesIO(out.buffer.getvalue())) as image:
        assert image.format == name


def test_without_a_name_the_result_of_standard_input_is_called_after_it(monkeypatch):
    monkeypatch.setattr("sys.stdin", Pipe(Path("content.png").read_bytes()))
    assert main(["stylize", "-", "style.png", *FLAGS, "--quiet"]) == 0
    assert Path("stdin-style.png").exists()
    assert Path("stdin-style.json").exists()
    assert stem_of("https://example.org/a/b.c.jpg?x=/y.png") == "b.c"


def test_urls_are_read_and_written(expected, capsys):
    content, style = put("content.png"), put("style.png")
    output = "memory://out/deep/result.png"
    assert main(["stylize", content, style, "-o", output, "--sheet", *FLAGS]) == 0
    assert f"done: {output} (28 × 20" in capsys.readouterr().out
    names = {path.rpartition("/")[2] for path in memory().find("/out")}
    assert names == {"result.png", "result.json", "result-sheet.png"}
    with memory().open("/out/deep/result.png") as file, Image.open(file) as image:
        np.testing.assert_array_equal(np.asarray(image), expected)
    record = json.loads(memory().cat_file("/out/deep/result.json"))
    assert record["inputs"]["content"]["path"] == content
    assert record["inputs"]["styles"][0]["path"] == style
    # A second run is refused before the work, and allowed with --overwrite.
    assert "exists already; choose another name or pass --overwrite" in refused(capsys, content, style, "-o", output)
    assert main(["stylize", content, style, "-o", output, "--overwrite", *FLAGS, "--quiet"]) == 0


def test_a_run_on_urls_is_repeated_from_its_record(expected, capsys):
    content, style = put("content.png"), put("style.png")
    assert main(["stylize", content, style, "-o", "first.png", *FLAGS, "--quiet"]) == 0
    assert read_metadata("first.png")["inputs"]["content"]["path"] == content
    assert main(["stylize", "--config", "first.json", "-o", "again.png"]) == 0
    np.testing.assert_array_equal(read_image("again.png").pixels, expected)
    memory().pipe_file("/in/content.png", Path("style.png").read_bytes())
    assert main(["stylize", "--config", "first.json", "-o", "changed.png"]) == 0
    assert f"{content} has changed since that run; the result will differ" in capsys.readouterr().err


def test_a_web_address_is_read(folder, expected):
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}/content.png"
        assert main(["stylize", address, "style.png", "-o", "web.png", *FLAGS, "--quiet"]) == 0
        server.shutdown()
    np.testing.assert_array_equal(read_image("web.png").pixels, expected)


class Troubled(http.server.BaseHTTPRequestHandler):
    """A server of which every address goes wrong in its own way."""

    def do_GET(self):
        if self.path == "/loop.png":
            self.send_response(302)
            self.send_header("Location", self.path)
            self.end_headers()
        elif self.path == "/half.png":
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.wfile.write(b"x" * 500)
        elif self.path == "/silent.png":
            time.sleep(1.5)
        else:
            self.send_error(int(self.path[1:4]))

    def log_message(self, *_):
        pass


def test_what_a_web_server_does_wrong_is_said_in_a_sentence(capsys, monkeypatch):
    monkeypatch.setattr(folders, "SILENT_SECONDS", 0.5)
    said = {
        "404": "does not exist",
        "500": "the server answered 500 Internal Server Error",
        "loop": "it redirects too often",
        "half": "the answer broke off before its end",
        "silent": "no answer within 0.5 seconds",
    }
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Troubled) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        for name, message in said.items():
            address = f"http://127.0.0.1:{server.server_port}/{name}.png"
            assert main(["stylize", address, "style.png", "-o", "web.png", *FLAGS]) == 2
            heard = capsys.readouterr().err
            assert address in heard
            assert message in heard
            assert heard.count("\n") == 1
        server.shutdown()
    assert main(["stylize", "http:///a.png", "style.png", "-o", "web.png", *FLAGS]) == 2
    assert "expected an address such as https://example.org/photo.jpg" in capsys.readouterr().err


def test_a_certificate_that_is_not_trusted_is_named():
    reason = ssl.SSLCertVerificationError(1, "certificate verify failed: self-signed certificate")
    message = r"https://a/b.png: its certificate is not trusted .*SSL_CERT_FILE"
    with pytest.raises(ImageError, match=message), folders.storage_errors("https://a/b.png"):
        raise reason


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["memory://in/nowhere.png", "style.png"], "memory://in/nowhere.png does not exist"),
        (["content.png", "zip://a.png::content.png"], "cannot open zip://a.png::content.png: File is not a zip file"),
        (["content.png", "nosuch://x/a.png"], "cannot open nosuch://x/a.png: Protocol not known: nosuch"),
        (["content.png", "style.png", "-o", "-", "--plot"], "--plot writes files beside OUT"),
        (["content.png", "style.png", "-o", "-", "--sheet"], "--sheet writes files beside OUT"),
        (["content.png", "style.png", "-o", "-", "--save-every", "2"], "--save-every writes files beside OUT"),
        (["content.png", "style.png", "-o", "-", "--resume"], "the result goes to standard output"),
        (["content.png", "style.png", "-o", "memory://o/a.png", "--resume"], "the result goes to a URL"),
        (["content.png", "style.png", "-o", "a.png", "--format", "webp"], "--format is for `-o -` alone"),
        (["content.png", "style.png", "-o", "-", "--format", "wepb"], "unknown format 'wepb'; did you mean 'webp'?"),
        (["content.png", "style.png", "-o", "memory://o/a.docx"], "cannot tell the format of"),
        (["content.png", "style.png", "--init", "memory://in/no.png"], "memory://in/no.png does not exist"),
    ],
)
def test_what_cannot_be_is_refused_before_the_work(words, message, capsys, monkeypatch):
    monkeypatch.setattr("jnst.jobs.run.run_job", lambda *_: pytest.fail("work was begun"))
    assert message in refused(capsys, *words)


def test_streams_that_are_terminals_closed_or_empty_are_refused(capsys, monkeypatch):
    pipe = Pipe()
    pipe.isatty = lambda: True
    monkeypatch.setattr("sys.stdin", pipe)
    assert "standard input is no picture; expected `jnst stylize - STYLE < PHOTO.jpg`" in refused(
        capsys, "-", "style.png"
    )
    monkeypatch.setattr("sys.stdin", Pipe())
    assert "standard input is empty (0 bytes)" in refused(capsys, "-", "style.png")
    monkeypatch.setattr("sys.stdin", Pipe(b"no picture at all"))
    line = refused(capsys, "-", "style.png", "-o", "never.png")
    assert "standard input is not a picture jnst can read" in line
    with monkeypatch.context() as patch:
        patch.setattr("sys.stdout", pipe)
        with pytest.raises(ConfigError, match="standard output is a terminal"):
            Streams("-", None)
    done = subprocess.run(
        f"{sys.executable} -m jnst stylize content.png style.png -o - {' '.join(FLAGS)} >&-",
        shell=True,
        capture_output=True,
        env={"PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 2
    assert b"standard output is closed" in done.stderr


@pytest.mark.parametrize("output", ["memory://top.png", "file://{folder}/top.png"])
def test_the_files_beside_a_result_at_the_top_of_a_store_lie_there_too(output, tmp_path):
    output = output.format(folder=tmp_path)
    (folder := tmp_path / "run").mkdir()
    for name in ("top.png", "top.json"):
        (folder / name).write_text(name)
    with Streams(output, None) as streams:
        streams.deliver(folder / "top.png")
    filesystem, inner = fsspec.core.url_to_fs(output)
    for name in ("top.png", "top.json"):
        assert filesystem.cat_file(inner.replace("top.png", name)) == name.encode()


def test_ctrl_c_while_a_picture_is_sent_keeps_it(tmp_path, monkeypatch):
    def interrupt(path, data):
        raise KeyboardInterrupt

    monkeypatch.setattr("jnst.batch.folders.write_bytes", interrupt)
    (tmp_path / "a.png").write_text("picture")
    with Streams("memory://o/a.png", None) as streams, pytest.raises(ImageError, match="interrupted; the pic") as error:
        streams.deliver(tmp_path / "a.png")
    assert Path(str(error.value).partition("saved as ")[2].removesuffix(" instead")).read_text() == "picture"


def test_a_picture_that_cannot_be_delivered_is_kept(capsys, monkeypatch, expected):
    def fail(path, data):
        if not path.endswith(".part"):
            raise OSError(28, "No space left on device")
        real(path, data)

    from jnst.batch import folders

    real = folders._upload
    monkeypatch.setattr("jnst.batch.folders._upload", fail)
    line = refused(capsys, "content.png", "style.png", "-o", "memory://o/a.png")
    assert "memory://o/a.png cannot be written: No space left on device; the picture was saved as " in line
    kept = line.partition("saved as ")[2].removesuffix(" instead")
    np.testing.assert_array_equal(read_image(kept).pixels, expected)


def test_a_url_that_cannot_be_written_is_found_beforehand(capsys, monkeypatch):
    monkeypatch.setattr("jnst.jobs.run.run_job", lambda *_: pytest.fail("work was begun"))

    def refuse(self, path, value, **_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(type(memory()), "pipe_file", refuse)
    assert "cannot write memory://o/a.png: " in refused(capsys, "content.png", "style.png", "-o", "memory://o/a.png")


@pytest.mark.parametrize("operation", ["pipe_file", "rm_file", "makedirs", "exists", "cat_file"])
@pytest.mark.parametrize(
    "failure", [KeyError("k"), RuntimeError("one\ntwo"), TimeoutError("slow"), OSError(5, "Input/output error")]
)
def test_whatever_a_store_raises_is_one_line(operation, failure, capsys, monkeypatch):
    def fail(self, *_, **__):
        raise failure

    url = put("content.png")
    monkeypatch.setattr("jnst.jobs.run.run_job", lambda *_: pytest.fail("work was begun"))
    monkeypatch.setattr(type(memory()), operation, fail)
    line = refused(capsys, url, "style.png", "-o", "memory://o/a.png")
    assert line.startswith("jnst: error: cannot ")
