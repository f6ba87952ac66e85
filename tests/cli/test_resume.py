"""What was interrupted goes on with the same command and `--resume`."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jnst.cli.main import main
from jnst.weights.network import describe_weights, random_weights
from jnst.weights.store import write_weights

SHALLOW = ["--content-layers", "relu2_1", "--style-layers", "relu1_1,relu2_1", "--weights", "narrow.h5", "--full-size"]
SHALLOW += ["--optimizer", "adam"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("JNST_CACHE", str(tmp_path.parent / "cache"))
    monkeypatch.chdir(tmp_path)
    generator = np.random.default_rng(0)
    for name, size in (("content.png", (20, 28, 3)), ("style.png", (24, 24, 3))):
        Image.fromarray(generator.integers(0, 256, size, dtype=np.uint8)).save(tmp_path / name)
    write_weights(
        "narrow.h5", random_weights("vgg19", 1 / 16, 0), describe_weights("narrow", "vgg19", 1 / 16, "torchvision")
    )
    return tmp_path


def stylize(*words: str, output: str = "out.png") -> int:
    return main(["stylize", "content.png", "style.png", "-o", output, *SHALLOW, *words])


def pixels(path: str) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def record() -> dict:
    return json.loads(Path("out.json").read_text())


@pytest.mark.usefixtures("folder")
class TestResume:
    def test_after_the_time_is_over_the_same_command_goes_on(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert stylize("--steps", "6", "--max-time", "1e-9", "--plot", "--sheet") == 0
        assert "out of time before the first step" in capsys.readouterr().out
        assert record()["stopped"] == "no step"
        assert {path.name for path in Path().glob("out*")} == {
            "out.png", "out.json", "out.state", "out-losses.png", "out-sheet.png"
        }  # fmt: skip
        assert stylize("--steps", "6", "--max-time", "1e-9", "--plot", "--sheet", "--resume") == 0
        assert len(record()["trace"]["total"]) == 2
        assert record()["stopped"] == "time"
        assert stylize("--steps", "9", "--resume", "--tolerance", "0") == 0
        assert len(record()["trace"]["total"]) == 10
        assert record()["stopped"] == "steps"
        assert not Path("out.state").exists()
        assert stylize("--steps", "9", output="whole.png") == 0
        assert np.array_equal(pixels("whole.png"), pixels("out.png"))

    def test_what_another_run_wrote_is_not_replaced(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert stylize("--steps", "6", "--max-time", "1e-9") == 0
        kept = {name: Path(name).read_bytes() for name in ("out.png", "out.json", "out.state")}
        Image.new("RGB", (5, 5)).save("out.png")
        assert stylize("--steps", "6", "--resume") == 2
        assert "out.png exists already" in capsys.readouterr().err
        assert pixels("out.png").shape == (5, 5, 3)
        Path("out.png").write_bytes(kept["out.png"])
        Path("style.png").rename("kept.png")
        Image.new("RGB", (24, 24), (9, 9, 9)).save("style.png")
        assert stylize("--steps", "6", "--resume") == 2
        assert re.search(r"styles was \[.*\] and is now \[", capsys.readouterr().err)
        Path("kept.png").rename("style.png")
        assert {name: Path(name).read_bytes() for name in kept} == kept

    @pytest.mark.parametrize("more", [[], ["--overwrite"], ["--checkpoint-every", "0"]], ids=" ".join)
    def test_every_setting_that_differs_is_named(self, more: list[str], capsys: pytest.CaptureFixture[str]) -> None:
        assert stylize("--steps", "6", "--max-time", "1e-9", "--content-weight", "5") == 0
        kept = {path.name: path.read_bytes() for path in Path().glob("out*")}
        changed = {
            "loss.content_weight was 5.0 and is now 7.0": ["--content-weight", "7"],
            "loss.style_weight was 60.0 and is now 9.0": ["--style-weight", "9"],
            "seed was 0 and is now 3": ["--seed", "3"],
            "network.pooling was 'max' and is now 'average'": ["--pooling", "average"],
            "run.scales was 0 and is now 1": ["--scales", "1"],
        }
        capsys.readouterr()
        words = ["--steps", "6", "--resume", *more, "--content-weight", "5"]
        for sentence, flags in changed.items():
            assert stylize(*words, *flags) == 2
            told = capsys.readouterr().err
            assert told.count(" was ") == told.count(sentence) == 1
            assert "give what the state has to go on with it, or pass --overwrite in place of --resume" in told
        assert stylize(*words, *(flag for flags in changed.values() for flag in flags)) == 2
        told = capsys.readouterr().err
        assert all(sentence in told for sentence in changed)
        assert {path.name: path.read_bytes() for path in Path().glob("out*")} == kept
        assert stylize("--steps", "2", "--resume", "--content-weight", "5") == 0

    def test_a_state_that_cannot_be_written_does_not_cost_the_picture(self, capsys: pytest.CaptureFixture[str]) -> None:
        Path("out.state").mkdir()
        assert stylize("--steps", "3", "--max-time", "1e-9", "--quiet") == 0
        assert Path("out.png").exists()
        assert "cannot write the state to out.state" in capsys.readouterr().err

    def test_no_descent_is_said(self, capsys: pytest.CaptureFixture[str]) -> None:
        words = ["--steps", "2", "--learning-rate", "1000", "--init", "content"]
        assert stylize(*words, "--style-weight", "0") == 0
        assert "no better than its start" in capsys.readouterr().out
        assert record()["stopped"] == "no descent"

    def test_the_first_call_with_resume_begins_anew_and_says_so(self, capsys: pytest.CaptureFixture[str]) -> None:
        words = ["--steps", "3", "--resume"]
        assert stylize(*words, "--max-time", "1e-9") == 0
        assert "there is no state at out.state and no out.png yet: the run begins anew" in capsys.readouterr().err
        assert stylize(*words) == 0
        assert "begins anew" not in capsys.readouterr().err
        assert stylize("--steps", "3", output="whole.png") == 0
        assert np.array_equal(pixels("whole.png"), pixels("out.png"))
        for kind, name in (("texture", "tile.png"), ("reconstruct", "map.png")):
            run = [kind, "style.png", "-o", name, "--weights", "narrow.h5", "--size", "32", *words, "--quiet"]
            assert main([*run, *(["--layer", "relu1_1"] if kind == "reconstruct" else SHALLOW[2:4])]) == 0
            assert Path(name).exists()

    @pytest.mark.parametrize("there", ["out.png", "out.json"])
    @pytest.mark.parametrize("more", [[], ["--overwrite"]], ids=" ".join)
    def test_a_result_without_a_state_stays(
        self, there: str, more: list[str], capsys: pytest.CaptureFixture[str]
    ) -> None:
        Path(there).write_bytes(b"mine")
        assert stylize("--steps", "3", "--resume", *more) == 2
        expected = "there is no state at out.state to resume from" if more else f"{there} exists already"
        assert expected in capsys.readouterr().err
        assert {path.name: path.read_bytes() for path in Path().glob("out*")} == {there: b"mine"}
