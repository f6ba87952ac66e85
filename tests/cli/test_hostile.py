"""What people type, pipe and mount by mistake: one sentence each, before the work, never an internal error."""

import json
import os
import random
import signal
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import jnst.jobs.plots
from jnst.cli.main import main
from jnst.weights.network import describe_weights, random_weights
from jnst.weights.store import write_weights

SHALLOW = ["--content-layers", "relu2_1", "--style-layers", "relu1_1,relu2_1", "--weights", "narrow.h5", "--full-size"]
SHALLOW += ["--optimizer", "adam", "--init", "content", "--steps", "1"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("JNST_CACHE", str(tmp_path.parent / "cache"))
    monkeypatch.chdir(tmp_path)
    generator = np.random.default_rng(0)
    for name, size in (("in/a.png", (20, 28, 3)), ("in/b.png", (20, 28, 3)), ("style.png", (24, 24, 3))):
        Path(name).parent.mkdir(exist_ok=True)
        Image.fromarray(generator.integers(0, 256, size, dtype=np.uint8)).save(tmp_path / name)
    write_weights(
        "narrow.h5", random_weights("vgg19", 1 / 16, 0), describe_weights("narrow", "vgg19", 1 / 16, "torchvision")
    )
    return tmp_path


def refusal(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """The one line that a command is refused with."""
    before = sorted(Path().rglob("*"))
    assert main(list(words)) == 2
    captured = capsys.readouterr()
    last = captured.err.strip().splitlines()[-1]
    assert last.startswith("jnst: error: ")
    assert last.isprintable()
    assert len(last) < 1200
    assert "internal error" not in captured.err + captured.out
    assert sorted(Path().rglob("*")) == before
    return last


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--seed", "99999999999999999999"], "is not a whole number of at most 64 bits"),
        (["--seed", "4294967296"], "--seed is 4294967296; expected a whole number from 0"),
        (["--seed", "1.5"], "argument --seed: '1.5' is not a whole number"),
        (["--seed", "9" * 5000], "is not a whole number"),
        (["--steps", "9" * 5000], "expected a whole number"),
        (["--steps", str(2**40)], "expected at most 100000000 steps"),
        (["--size", str(2**70)], "is not a whole number of at most 64 bits"),
        (["--style-weight", "1e400"], "style weight is inf"),
        (["--tile", "1" + "0" * 30], "expected auto, 0, or a multiple of 16"),
        (["--memory", "1e400"], "memory is inf GB"),
        (["--checkpoint-every", "nan"], "checkpoint every is nan"),
        (["--style-blend", "nan"], "style blend is 'nan'"),
        (["-o", "a\0.png"], "holds a NUL character"),
        (["-o", "x" * 300 + ".png"], "too long for a path"),
        (["--preset", "x" * 10_000], "unknown preset 'xxx"),
        (["--preset", "a\x1b[31mb"], r"unknown preset 'a\x1b[31mb'"),
        (["--stlye-weight", "3"], "unknown flag '--stlye-weight'; did you mean --style-weight?"),
        (["--over-write"], "did you mean --overwrite?"),
        (["--set", "size.pixels=1e3"], "expected a whole number"),
        (["--set", "variable.mean=" + ",".join("1" * 5000)], "entries; expected 3"),
        (["--init", "x" * 300], "unknown initial picture"),
        (["--init", "a\0"], "unknown initial picture"),
        (["--weights", "a\0"], r"unknown weights 'a\x00'"),
        (["--config", "a\0"], "NUL"),
    ],
)
def test_stylize_is_refused_in_one_line(capsys: pytest.CaptureFixture[str], words: list[str], message: str) -> None:
    assert message in refusal(capsys, "stylize", "in/a.png", "style.png", *words)


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["in", "--name", "{"], "name template '{'"),
        (["in", "--name", "{index:99999999d}.png"], "is no form"),
        (["in", "--name", "/tmp/{content}.png"], "does not lie inside"),
        (["in", "--name", "x" * 300 + "{content}.png"], "too long"),
        (["in", "--seed", str(2**64)], "is not a whole number"),
        (["in", "--batch-size", "9" * 5000], "expected auto"),
        (["inn"], "there is no file or folder inn; did you mean in?"),
        (["in\0"], "NUL"),
        (["memory://nowhere"], "there is no file or folder memory://nowhere"),
        (["in", "--pairs", "list\0.csv"], "NUL"),
        (["in", "--bits", "16", "--name", "{content}.jpg"], "JPEG holds 8 bits per channel"),
    ],
)
def test_batch_is_refused_in_one_line(capsys: pytest.CaptureFixture[str], words: list[str], message: str) -> None:
    assert message in refusal(capsys, "batch", *words, "--style", "style.png", "-o", "out", "--weights", "narrow.h5")


@pytest.mark.usefixtures("folder")
def test_a_batch_with_nothing_for_a_folder_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """As a script says it whose variable is not set; it would fill the folder that one happens to be in."""
    assert "-o is empty; expected OUTDIR" in refusal(capsys, "batch", "in", "--style", "style.png", "-o", "")


ODD = ["", ".", "..", "/", "//", "a/..", "pipe", "/dev/zero", "/dev/full", "socket", "loop", "dangling", "~nobody/x"]


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("odd", ODD)
def test_what_is_no_file_is_refused_in_one_line_wherever_a_file_belongs(
    odd: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Folders, roots, pipes that nobody writes to, devices without an end: neither a hang nor an internal error."""
    os.mkfifo("pipe")
    os.symlink("loop", "loop")
    os.symlink("nowhere/x.png", "dangling")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket")
    Path("list.csv").write_text(f"content,style\n{odd},style.png\n")
    Path("styles.csv").write_text(f"content,style\nin/a.png,{odd}\n")

    def late(*_: object) -> None:
        pytest.fail("it hangs")

    signal.signal(signal.SIGALRM, late)
    signal.alarm(600)
    try:
        for words in (
            ["stylize", odd, "style.png", "-o", "o.png", *SHALLOW],
            ["stylize", "in/a.png", odd, "-o", "o.png", *SHALLOW],
            ["stylize", "in/a.png", "style.png", "-o", "o.png", *SHALLOW[:-4], "--init", odd],
            ["stylize", "--config", odd, "-o", "o.png"],
            ["plan", odd, "--weights", "narrow.h5"],
            ["targets", odd, "--weights", "narrow.h5"],
            ["weights", "verify", odd],
            ["weights", "info", odd],
            ["weights", "convert", odd],
            ["batch", "--pairs", "list.csv", "-o", "out", "--dry-run", *SHALLOW],
            ["batch", "--pairs", "styles.csv", "-o", "out", "--dry-run", *SHALLOW],
            # Nothing at all stands for the default; a folder is one of pictures; a list can come through a pipe.
            *([["stylize", "in/a.png", "style.png", "-o", odd, *SHALLOW]] if odd else []),
            *([["stylize", "in/a.png", "style.png", "-o", "o.png", "--weights", odd]] if odd else []),
            *([["targets", "style.png", "-o", odd, "--weights", "narrow.h5"]] if odd else []),
            *([["batch", "in/a.png", "--style", odd, "-o", "out", *SHALLOW]] if not os.path.isdir(odd) else []),
            *([["batch", "--pairs", odd, "-o", "out", *SHALLOW]] if odd not in ("", "pipe") else []),
        ):
            try:
                code = main(words)
            except SystemExit as leave:
                code = leave.code
            said = capsys.readouterr().err
            assert code in (0, 1, 2), (words, said)
            assert "internal error" not in said, (words, said)
            if "--dry-run" not in words:
                assert code == 2, (words, said)
                assert said.splitlines()[-1].startswith("jnst: error: "), (words, said)
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)


@pytest.mark.usefixtures("folder")
def test_curves_without_matplotlib_are_refused_before_the_work(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jnst.jobs.plots.importlib.util, "find_spec", lambda name: None)
    words = ["stylize", "in/a.png", "style.png", "--weights", "narrow.h5", "--plot"]
    assert "curves need matplotlib: pip install 'jnst[plots]'" in refusal(capsys, *words)


@pytest.mark.usefixtures("folder")
def test_a_cache_that_cannot_be_written_is_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("file").write_text("x")
    monkeypatch.setenv("JNST_CACHE", "file/cache")
    assert main(["stylize", "in/a.png", "style.png", "-o", "out.png", *SHALLOW]) == 0
    assert capsys.readouterr().err.count("compiled programs are not kept: file/cache/compiled cannot be written") == 1


@pytest.mark.usefixtures("folder")
def test_random_words_never_reach_an_internal_error(capsys: pytest.CaptureFixture[str]) -> None:
    generator = random.Random(0)
    flags = [
        "--seed",
        "--size",
        "--steps",
        "--set",
        "--tile",
        "--preset",
        "--network",
        "--init",
        "--config",
        "--quality",
    ]
    values = [
        "",
        "-1",
        "0",
        str(2**63),
        "1e400",
        "nan",
        "\0",
        "x" * 300,
        "{",
        "a=b",
        "=",
        "run.steps=",
        "\udc80",
        "-",
        "--",
    ]
    for _ in range(150):
        words = [generator.choice(["stylize", "batch", "plan", "targets", "weights", "presets", "help"])]
        words += ["--no-probe"] if words == ["plan"] else []
        words += ["in/a.png", "gone.png"][: generator.randint(0, 2)]
        for _ in range(generator.randint(1, 2)):
            words += [generator.choice(flags), generator.choice(values)]
        assert main(words) in (0, 2), words
        captured = capsys.readouterr()
        assert "internal error" not in captured.err, words
        assert "\0" not in captured.err


def command(*words: str, **options: object) -> "subprocess.CompletedProcess[bytes]":
    environment = {**os.environ, **options.pop("env", {})}  # pyright: ignore
    return subprocess.run([sys.executable, "-m", "jnst", *words], env=environment, **options, timeout=300)  # pyright: ignore


@pytest.mark.usefixtures("folder")
def test_a_variable_of_jax_with_a_value_that_it_does_not_know_is_one_line() -> None:
    done = command("plan", "in/a.png", "--weights", "narrow.h5", env={"JAX_ENABLE_X64": "maybe"}, capture_output=True)
    assert done.returncode == 2
    assert b"jnst: error: invalid truth value 'maybe' for environment 'JAX_ENABLE_X64'; unset it" in done.stderr


@pytest.mark.usefixtures("folder")
class TestStreams:
    def test_closed_and_full_streams(self) -> None:
        program = f"{sys.executable} -m jnst presets"
        assert subprocess.run(f"{program} 2>&- >&-", shell=True).returncode == 0
        full = subprocess.run(f"{program} >/dev/full", shell=True, capture_output=True, text=True)
        assert full.returncode == 2
        assert full.stderr.startswith("jnst: error: ")
        assert full.stderr.endswith("No space left on device\n")
        assert full.stderr.count("\n") == 1
        assert subprocess.run(f"{program} nothing 2>/dev/full", shell=True).returncode == 2
        assert subprocess.run(f"{program} nothing 2>&-", shell=True, capture_output=True).stdout == b""

    def test_a_locale_and_names_that_are_no_text(self) -> None:
        """A batch of names that are not UTF-8, in an ASCII locale, with no standard error at all."""
        name = os.fsdecode(b"in/\xff\x80.png")
        os.rename("in/a.png", name)
        words = ["batch", "in", "--style", "style.png", "-o", "out", *SHALLOW, "--batch-size", "1"]
        plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
        done = subprocess.run(
            f"{sys.executable} -m jnst {' '.join(words)} 2>&-",
            shell=True,
            env={**os.environ, **plain},
            capture_output=True,
        )
        assert done.returncode == 0, done.stdout
        assert b"2 done" in done.stdout
        assert sorted(os.listdir(b"out")) == [b"b.png", b"index.html", b"jnst-manifest.jsonl", b"\xff\x80.png"]
        assert b"%FF%80.png" in Path("out/index.html").read_bytes()
        shown = command(*words, "--dry-run", "--resume", env=plain, capture_output=True)
        assert shown.returncode == 0, shown.stderr
        assert rb"done: in/\udcff\udc80.png" in shown.stdout
        assert b"0 of 2 pictures to make; nothing was written" in shown.stdout


@pytest.mark.usefixtures("folder")
class TestBatchWords:
    WORDS = ("--style", "style.png", "-o", "out", *SHALLOW, "--batch-size", "1")

    def test_a_dry_run_makes_nothing(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["batch", "in", *self.WORDS, "--dry-run"]) == 0
        assert "new: in/a.png in style.png -> out/a.png" in capsys.readouterr().out
        assert not Path("out").exists()
        assert main(["batch", "in", *self.WORDS, "--dry-run", "--json"]) == 0
        plan = json.loads(capsys.readouterr().out)
        assert [row["state"] for row in plan["pictures"]] == ["new", "new"]

    def test_bad_rows_and_pictures_are_failed_lines_and_named(self, capsys: pytest.CaptureFixture[str]) -> None:
        """Quiet or not, on the page and in the summary; and a page that cannot be written is a note."""
        Path("in/bad.png").write_bytes(b"no picture")
        Path("list.csv").write_text("content;steps;seed\nin/a.png;1;\nin/bad.png;;\nin/b.png;many;\nin/b.png;;1e400\n")
        Path("out").mkdir()
        Path("out/index.html").mkdir()
        assert main(["batch", "--pairs", "list.csv", *self.WORDS, "--quiet"]) == 1
        captured = capsys.readouterr()
        assert captured.out == ""
        assert "line 4 of list.csv: run.steps is 'many'; expected a whole number" in captured.err
        assert "line 5 of list.csv: seed is '1e400'" in captured.err
        assert "in/bad.png is not a picture" in captured.err
        assert "the page of the job is left out" in captured.err
        assert Path("out/a-style.png").exists()
        os.rmdir("out/index.html")
        assert main(["batch", "--pairs", "list.csv", *self.WORDS, "--resume", "--retry-failed", "--json"]) == 1
        summary = json.loads(capsys.readouterr().out)
        assert (summary["total"], summary["failed"], summary["done_before"]) == (4, 3, 1)
        assert len(summary["failures"]) == 3
        assert main(["batch", "--pairs", "list.csv", *self.WORDS, "--overwrite"]) == 1
        shown = capsys.readouterr().out
        assert "1 done" in shown
        assert "3 failed" in shown
        assert "failed: line 4 of list.csv" in shown
        page = Path("out/index.html").read_text()
        assert "1 of 4 pictures in the style style.png, 1 failed, 2 left" in page
        assert "3 failed</h2>" in page


@pytest.mark.parametrize("words", [["help"], ["help", "batch"], ["weights"], ["help", "weights"]])
def test_help_is_shown(capsys: pytest.CaptureFixture[str], words: list[str]) -> None:
    assert main(words) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("usage: jnst")
    assert len(words) == 1 or words[1] in shown
