"""`jnst studio` as a command: what it refuses before it opens anything, and that Ctrl-C closes it."""

import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from oracles import paint
from PIL import Image
from small import tiny_weights

from jnst.cli.main import main
from jnst.runtime import ending_signals

# Three convolutions deep, which compile in seconds.
SHALLOW = ["--content-layers", "relu2_1", "--style-layers", "relu1_1,relu2_1"]


def error_of(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(["studio", "--no-browser", *words]) == 2
    return capsys.readouterr().err


def test_bad_flags_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert "port is 70000; expected 1 to 65535" in error_of(capsys, "--port", "70000")
    assert "unknown preset 'nope'" in error_of(capsys, "--preset", "nope")
    assert "scales is 9; expected 1 to 8" in error_of(capsys, "--scales", "9")
    assert "there is no picture at nowhere.jpg" in error_of(capsys, "nowhere.jpg")


def test_a_port_in_use_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert f"cannot listen at port {port}" in error_of(capsys, "--port", str(port))


def test_without_its_extra_it_says_what_to_install(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in list(sys.modules):
        if name.startswith("jnst.studio"):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    assert "pip install 'jnst[studio]'" in error_of(capsys)


@pytest.mark.parametrize("number", [number for number in ending_signals() if number != signal.SIGTERM])
def test_it_prints_its_link_and_a_signal_closes_it(tmp_path: Path, number: signal.Signals) -> None:
    root = str(Path(__file__).parents[2])
    process = subprocess.Popen(
        [sys.executable, "-m", "jnst", "studio", "--no-browser"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": root, "JNST_CACHE": str(tmp_path / "cache")},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    with process.stdout:
        shown = [process.stdout.readline() for _ in range(3)]
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/\?token=[\w-]{43}\n", shown[1])
        process.send_signal(number)
        process.wait(timeout=60)
    assert process.returncode == 0
    assert not (tmp_path / "jnst-studio").exists()


def stylize_error(capsys: pytest.CaptureFixture[str], folder: Path, *words: str) -> str:
    for name, subject in (("a.png", "shapes"), ("b.png", "marble")):
        Image.fromarray(np.rint(paint(subject, 40, 40) * 255).astype(np.uint8)).save(folder / name)
    pair = [str(folder / "a.png"), str(folder / "b.png")]
    plain = ["-o", str(folder / "out.png"), "--weights", tiny_weights(), "--live", "--no-browser"]
    plain += ["--size", "48", "--steps", "2"]  # in case it is not refused
    assert main(["stylize", *pair, *plain, *words]) == 2
    assert not (folder / "out.png").exists()
    return capsys.readouterr().err


def test_live_refuses_what_it_cannot_do(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert "port is -1; expected 1 to 65535" in stylize_error(capsys, tmp_path, "--port", "-1")
    assert "--live cannot be combined with --tolerance" in stylize_error(capsys, tmp_path, "--tolerance", "0.1")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert f"cannot listen at port {port}" in stylize_error(capsys, tmp_path, "--port", str(port))


def test_live_without_its_extra_says_what_to_install(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in list(sys.modules):
        if name.startswith("jnst.studio"):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    assert "pip install 'jnst[studio]'" in stylize_error(capsys, tmp_path)


def test_live_shows_its_link_and_ctrl_c_writes_the_best_so_far(tmp_path: Path) -> None:
    for name, subject in (("a.png", "shapes"), ("b.png", "marble")):
        Image.fromarray(np.rint(paint(subject, 40, 40) * 255).astype(np.uint8)).save(tmp_path / name)
    root = Path(__file__).parents[2]
    command = [sys.executable, "-m", "jnst", "stylize", "a.png", "b.png", "-o", "out.png", "--live", "--no-browser"]
    process = subprocess.Popen(
        [*command, *SHALLOW, "--weights", tiny_weights(), "--size", "48", "--scales", "1", "--steps", "100000"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(root), "JNST_CACHE": str(tmp_path / "cache")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    with process:
        shown = iter(process.stderr.readline, "")
        link = next(line for line in shown if "http://" in line)
        assert re.fullmatch(r"the run is shown at http://127\.0\.0\.1:\d+/\?token=[\w-]{43}\n", link)
        next(line for line in shown if re.match(r"[1-9]\d*/100000", line))
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert out.startswith("interrupted; best so far (--init out.png goes on from it): out.png")
    assert (tmp_path / "out.png").exists()
    assert not (tmp_path / "out.state").exists()
