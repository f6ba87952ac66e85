"""Whatever a command does that may take long, it names before it begins. How long it then takes plays no part here."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from oracles import paint
from PIL import Image
from small import shallow, small_params, tiny_weights

from jnst.cli.main import main
from jnst.progress.bar import ProgressBar
from jnst.studio import server
from jnst.transfer.driver import stylize

# Three convolutions deep, which compile in seconds.
SHALLOW = ["--content-layers", "relu2_1", "--style-layers", "relu1_1,relu2_1", "--size", "32", "--scales", "1"]


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is being done, in order."""
    texts: list[str] = []
    monkeypatch.setattr(ProgressBar, "doing", lambda self, text: texts.append(text))
    return texts


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, subject in (("a.png", "shapes"), ("b.png", "marble")):
        Image.fromarray(np.rint(paint(subject, 32, 32) * 255).astype(np.uint8)).save(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_stylize(folder: Path, said: list[str]) -> None:
    assert (
        main(["stylize", "a.png", "b.png", "-o", "out.png", "--weights", tiny_weights(), *SHALLOW, "--steps", "1"]) == 0
    )
    assert said == [
        "starting JAX",
        "reading the weights",
        "reading the pictures",
        "preparing the network",
        "preparing the pictures",
        "compiling 32×32 (once per size)",
        "painting 32×32",
        "writing out.png",
    ]


def test_every_scale_compiles_and_paints(said: list[str]) -> None:
    config = shallow(steps=1, run={"scales": 2})
    stylize(small_params(), paint("shapes", 40, 56), paint("marble", 24, 24), config, progress=True)
    assert said == [
        "preparing the pictures",
        "compiling 28×20 (once per size)",
        "painting 28×20",
        "compiling 56×40 (once per size)",
        "painting 56×40",
    ]


def test_batch(folder: Path, said: list[str]) -> None:
    command = ["batch", "a.png", "--style", "b.png", "-o", "many", "--weights", tiny_weights(), "--steps", "1"]
    assert main([*command, *SHALLOW]) == 0
    named = [text for text in said if text != "reading pictures"]  # only where one is waited for
    assert named == [
        "starting JAX",
        "reading the weights",
        "looking for pictures",
        "preparing the network",
        "preparing a.png",
        "compiling 32×32 (once per size)",
        "painting the first step",
        "writing pictures",
    ]


def test_plan_and_targets(folder: Path, said: list[str]) -> None:
    assert main(["plan", "a.png", "--weights", tiny_weights(), "--no-probe", *SHALLOW]) == 0
    assert said == ["starting JAX", "reading the weights"]
    said.clear()
    assert main(["targets", "b.png", "-o", "style.h5", "--weights", tiny_weights(), *SHALLOW]) == 0
    assert said == ["starting JAX", "reading the weights", "reading the pictures", "computing Gram matrices"]


def test_weights(folder: Path, said: list[str]) -> None:
    shutil.copy(tiny_weights(), folder / "own.h5")
    assert main(["weights", "info", "own.h5"]) == main(["weights", "verify", "own.h5"]) == 0
    assert main(["weights", "convert", "nothing.pth"]) == 2
    assert said == ["reading own.h5", "checking own.h5", "converting nothing.pth"]


def test_studio(folder: Path, said: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "serve", lambda studio, listener, ready: ready("the link"))
    assert main(["studio", "--no-browser", "a.png", "--weights", tiny_weights()]) == 0
    assert said[:-1] == ["starting JAX", "reading the weights", "reading the pictures"]
    assert said[-1].startswith("closing")
