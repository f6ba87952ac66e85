"""Pipes, devices, links that lead nowhere, folders and files of a terabyte, in the place of every file that is read."""

import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from small import tiny_weights

from jnst.cli.main import main

RUN = ["--weights", tiny_weights(), "--size", "32", "--steps", "1", "--quiet"]
KINDS = {
    "pipe": "is a pipe",
    "device": "is a device",
    "circle": r"leads back to itself|Too many levels|a file that exists|no state at",
    "nowhere": r"not there|no picture at|no state at|No such file|a file that exists",
    "folder": r"folder|directory|holds no pictures",
    "huge": r"is not a picture|is not a \w+ file|bytes; expected|begins with zeros|cannot be read as the state",
}
COMMANDS = {
    "content": ["stylize", "X.png", "style.png", "-o", "out.png", *RUN],
    "style": ["stylize", "content.png", "X.png", "-o", "out.png", *RUN],
    "initial": ["stylize", "content.png", "style.png", "--init", "X.png", "-o", "out.png", *RUN],
    "mask": ["stylize", "content.png", "style.png", "--mask", "X.png", "-o", "out.png", *RUN],
    "weights": ["stylize", "content.png", "style.png", "-o", "out.png", "--weights", "X.h5"],
    "record": ["stylize", "--config", "X.json", "-o", "out.png"],
    "record in a picture": ["stylize", "--config", "X.png", "-o", "out.png"],
    "state": ["stylize", "content.png", "style.png", "-o", "state.png", "--resume", *RUN],
    "texture": ["texture", "X.png", "-o", "out.png", "--weights", tiny_weights(), "--size", "32", "--quiet"],
    "reconstruct": ["reconstruct", "X.png", "-o", "out.png", *RUN],
    "inspect": ["inspect", "X.png", "-o", "out.png", "--weights", tiny_weights()],
    "plan": ["plan", "X.png", "--weights", tiny_weights(), "--no-probe"],
    "targets": ["targets", "X.png", "-o", "out.h5", *RUN[:4]],
    "one of a batch": ["batch", "X.png", "--style", "style.png", "-o", "out", *RUN],
    "style of a batch": ["batch", "content.png", "--style", "X.png", "-o", "out", *RUN],
    "prepared style": ["batch", "content.png", "--style", "X.h5", "-o", "out", *RUN],
    "list": ["batch", "--pairs", "X.csv", "-o", "out", *RUN],
    "pth": ["weights", "convert", "X.pth", "-o", "out.h5"],
    "safetensors": ["weights", "convert", "X.safetensors", "-o", "out.h5"],
    "keras": ["weights", "convert", "X.h5", "-o", "out.h5"],
    "verify": ["weights", "verify", "X.h5"],
}


def put(kind: str, path: Path) -> None:
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "circle":
        path.symlink_to(path.name)
    elif kind == "nowhere":
        path.symlink_to("/no/such/place")
    elif kind == "folder":
        path.mkdir()
    else:
        path.touch()
        os.truncate(path, 1 << 40)  # a sparse file, which takes no room


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("JNST_CACHE", str(tmp_path.parent / "cache"))
    monkeypatch.chdir(tmp_path)
    for name in ("content.png", "style.png"):
        Image.fromarray(np.zeros((32, 32, 3), np.uint8)).save(name)

    def wake(number: int, frame: Any) -> None:
        raise TimeoutError("it waits for ever")

    before = signal.signal(signal.SIGALRM, wake)
    signal.alarm(300)
    yield tmp_path
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.skipif(not os.path.exists("/dev/zero"), reason="needs devices as files")
@pytest.mark.parametrize("kind", KINDS)
def test_each_is_one_sentence(kind: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for suffix in ("png", "h5", "json", "csv", "pth", "safetensors"):
        put(kind, folder / f"X.{suffix}")
    put(kind, folder / "state.state")
    for place, words in COMMANDS.items():
        if kind == "pipe" and place == "list":  # as of `--pairs <(…)`, it is waited for
            continue
        assert main(words) == (1 if place == "one of a batch" and kind not in ("folder", "circle", "nowhere") else 2)
        said = capsys.readouterr().err
        assert len(said.splitlines()) <= 2, (place, said)
        assert "internal error" not in said, (place, said)
        assert re.search(KINDS[kind], said), (place, said)
        assert "state.state" in said if place == "state" else "X." in said, (place, said)
    assert not list(folder.glob("out*.png"))
    assert not list(folder.glob(".jnst-*"))


@pytest.mark.usefixtures("folder")
def test_a_home_that_is_not_known(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["stylize", "content.png", "style.png", "--weights", "~no-such-user/vgg.h5"]) == 2
    assert (
        "weights file '~no-such-user/vgg.h5' is in a home directory that is not known here" in capsys.readouterr().err
    )


@pytest.mark.usefixtures("folder")
def test_a_name_that_begins_with_a_dash(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["stylize", "content.png", "style.png", "-o", "-x.png"]) == 2
    assert "(a value that begins with a dash is written --FLAG=VALUE, a file also ./-NAME)" in capsys.readouterr().err
