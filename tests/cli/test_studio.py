"""`jnst studio` as a command: what it refuses before it opens anything, and that Ctrl-C closes it."""

import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from jnst.cli.main import main


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


def test_it_prints_its_link_and_ctrl_c_closes_it(tmp_path: Path) -> None:
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
        process.send_signal(signal.SIGINT)
        process.wait(timeout=60)
    assert process.returncode == 0
    assert not (tmp_path / "jnst-studio").exists()
