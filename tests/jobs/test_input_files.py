"""A run is one of the files that it read, whatever becomes of them while it paints."""

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from small import tiny_weights

from jnst.cli.main import main
from jnst.errors import ImageError
from jnst.files import NamedFile
from jnst.jobs import run
from jnst.jobs.input_files import InputFiles

NAMES = ("content.png", "style.png", "start.png", "mask.png")
RUN = ["--weights", tiny_weights(), "--full-size", "--iterations", "1", "--quiet"]
RUN += ["--style-layers", "relu1_1", "--content-layers", "relu1_1"]


def remove(path: Path) -> None:
    path.unlink()


def replace(path: Path) -> None:
    path.unlink()
    Image.new("RGB", (28, 20), "red").save(path)


def shorten(path: Path) -> None:
    os.truncate(path, 20)


def put_a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("JNST_CACHE", str(tmp_path.parent / "cache"))
    monkeypatch.chdir(tmp_path)
    generator = np.random.default_rng(0)
    for name in NAMES[:3]:
        Image.fromarray(generator.integers(0, 256, (20, 28, 3)).astype(np.uint8)).save(name)
    Image.fromarray(np.repeat([[0, 255]], 20, 0).repeat(14, 1).astype(np.uint8)).save("mask.png")
    return tmp_path


def hashes(record: dict[str, Any]) -> list[str]:
    inputs = record["inputs"]
    files = [inputs["content"], *inputs["styles"], inputs["initial"], *inputs["regions"]["masks"]]
    return [file["sha256"] for file in files]


@pytest.mark.parametrize("change", [remove, replace, shorten, put_a_folder])
@pytest.mark.usefixtures("folder")
def test_files_that_change_while_a_run_paints(change: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch) -> None:
    """The picture is written, and its record and its state say of which files it was made."""
    words = ["stylize", "content.png", "style.png", "--init", "start.png", "--mask", "./mask.png", *RUN]
    assert main([*words, "-o", "before.png"]) == 0
    known = [hashlib.sha256(Path(name).read_bytes()).hexdigest() for name in NAMES]
    paint = run.stylize

    def paint_late(*arguments: Any, **options: Any) -> Any:
        for path in map(Path, NAMES):
            change(path)
        identity = options["checkpoint"].identity
        assert [identity["content"], *identity["styles"], identity["initial"]] == known[:3]
        return paint(*arguments, **options)

    monkeypatch.setattr(run, "stylize", paint_late)
    assert main([*words, "-o", "out.png"]) == 0
    assert hashes(json.loads(Path("out.json").read_text())) == known
    np.testing.assert_array_equal(np.asarray(Image.open("out.png")), np.asarray(Image.open("before.png")))


@pytest.mark.usefixtures("folder")
def test_a_file_that_is_read_twice_is_one_file() -> None:
    """Two regions of one map, or a photo that is a style as well."""
    files = InputFiles()
    files.read("mask.png")
    files.read("./mask.png")
    described = files.describe(Path("mask.png"))
    replace(Path("mask.png"))
    with pytest.raises(ImageError, match=r"mask\.png was replaced while it was being read; start again"):
        files.read("mask.png")
    assert files.describe(Path("mask.png")) == described
    assert files.describe(NamedFile(Path("mask.png"), "standard input"))["path"] == "standard input"
    with pytest.raises(ImageError, match=r"there is no picture at gone\.png"):
        files.describe(Path("gone.png"))
