"""Masks and ways with colours on the command line: painted, recorded, repeated, resumed; and what is refused."""

import json
from pathlib import Path

import material
import numpy as np
import pytest
from PIL import Image
from small import tiny_weights

from jnst.cli.main import main

LAYERS = ["--content-layers", "relu2_1", "--style-layers", "relu1_1,relu2_1", "--full-size", "--optimizer", "adam"]
TWO = ["a.png", "b.png", "--mask", "map.png:red", "--mask", "rest"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("JNST_CACHE", str(tmp_path.parent / "cache"))
    monkeypatch.chdir(tmp_path)
    pictures = {
        "c": material.paint("shapes", 24, 32),
        "a": material.paint("marble", 24, 24),
        "b": material.paint("hills", 24, 30),
    }
    pictures["map"] = np.zeros((24, 32, 3))
    pictures["map"][:12, :, 0] = 1
    pictures["map"][12:, :20, 2] = 1
    for name, rows, columns in (("keep", (4, 20), (6, 14)), ("half", (0, 6), (0, 32)), ("part", (0, 24), (0, 12))):
        pictures[name] = np.zeros((24, 32, 3))
        pictures[name][rows[0] : rows[1], columns[0] : columns[1]] = 1
    pictures["half"], pictures["part"] = pictures["half"][::2, ::2], pictures["part"][:, :24]
    for name, image in pictures.items():
        Image.fromarray((image * 255).astype(np.uint8)).save(f"{name}.png")
    Image.fromarray(np.uint8(pictures["map"][..., 0])).save("labels.png")
    return tmp_path


def stylize(*words: str, output: str = "out.png") -> int:
    weights = [] if "--config" in words else ["--weights", tiny_weights(), *LAYERS]
    content = [] if "--config" in words else ["c.png"]
    return main(["stylize", *content, *words, "-o", output, *weights])


def pixels(path: str) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


@pytest.mark.usefixtures("folder")
class TestRegions:
    def test_they_are_painted_recorded_and_repeated(self) -> None:
        masks = [*TWO, "--style-mask", "part.png", "--style-mask", "all", "--region-weights", "1,0.5"]
        assert stylize(*masks, "--keep", "keep.png", "--keep", "last", "--colors", "match", "--steps", "3") == 0
        painted, kept = pixels("out.png"), pixels("keep.png")[..., 0] > 0
        assert np.array_equal(painted[kept], pixels("c.png")[kept])
        assert np.abs(painted.astype(int) - pixels("c.png"))[~kept].mean() > 0.3
        record = json.loads(Path("out.json").read_text())
        assert (record["config"]["run"]["colors"], record["config"]["run"]["keep"]) == ("match", "last")
        told = record["inputs"]["regions"]
        assert (told["masks"][0]["path"], told["masks"][0]["color"], told["masks"][1]) == ("map.png", "red", "rest")
        assert (told["style_masks"][0]["path"], told["style_masks"][1]) == ("part.png", "all")
        assert (told["keep"]["path"], told["weights"]) == ("keep.png", [1.0, 0.5])
        for source in ("out.json", "out.png"):
            assert stylize("--config", source, "--overwrite", output="again.png") == 0
            assert np.array_equal(pixels("again.png"), painted)
        assert stylize("--config", "out.png", "--keep", "half.png", "--overwrite", output="again.png") == 0
        assert not np.array_equal(pixels("again.png"), painted)

    def test_a_run_goes_on_with_the_same_masks_alone(self, capsys: pytest.CaptureFixture[str]) -> None:
        words = [*TWO, "--keep", "keep.png", "--colors", "luminance"]
        assert stylize(*words, "--steps", "4", "--max-time", "1e-9") == 0
        changed = {
            "colors": [*words, "--colors", "style"],
            "weights": [*words, "--region-weights", "1,2"],
            "keep": [*words[:-4], "--colors", "luminance", "--keep", "half.png"],
        }
        for what, other in changed.items():
            assert stylize(*other, "--steps", "4", "--resume", "--overwrite") == 2
            assert what in capsys.readouterr().err
        drawn = Path("keep.png").read_bytes()
        Path("keep.png").write_bytes(Path("half.png").read_bytes())  # the same name, drawn anew
        assert stylize(*words, "--steps", "4", "--resume", "--overwrite") == 2
        assert "regions.keep.sha256 was" in capsys.readouterr().err
        Path("keep.png").write_bytes(drawn)
        assert stylize(*words, "--steps", "4", "--resume") == 0
        assert stylize(*words, "--steps", "4", output="whole.png") == 0
        assert np.array_equal(pixels("out.png"), pixels("whole.png"))

    def test_a_mask_of_another_size_is_resized_with_a_note(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert stylize("a.png", "--mask", "half.png", "--steps", "1") == 0
        assert "16 × 12 pixels and the content image 32 × 24; the mask is resized" in capsys.readouterr().err


REFUSED = [
    (["a.png", "b.png", "--mask", "half.png"], "masks: 1, styles: 2; expected one for each style"),
    (["a.png", "--mask", "half.png", "--mask", "rest"], "masks: 2, styles: 1"),
    (["a.png", "--mask", "part.png"], "part.png) is 24 × 24 pixels and the content image 32 × 24"),
    (["a.png", "--mask", "map.png"], "the mask has colours (#ff0000, #0000ff, #000000)"),
    (["a.png", "--mask", "map.png:green"], "no pixel of colour 'green'; its colours are"),
    (
        ["a.png", "--mask", "map.png:greenish"],
        "no file 'map.png:greenish', and as a map with a colour in it: 'greenish' is",
    ),
    (["a.png", "--mask", "map.png:"], "no file 'map.png:', and as a map with a colour in it: '' is no colour"),
    (["a.png", "--keep", "labels.png"], "holds uint8 and nothing above 1, where white is 255"),
    (
        ["a.png", "--mask", "all", "--region-weights", "1e39"],
        "region weight is 1e+39; expected a finite number of zero",
    ),
    (["a.png", "b.png", "--style-blend", "1e308,1e308"], "style blend is '1e308,1e308'; expected zero or more"),
    (["a.png", "--mask", "lost.png"], "there is no picture at lost.png"),
    (["a.png", "--style-mask", "half.png"], "and the style image 24 × 24; expected the same aspect ratio"),
    (
        ["a.png", "b.png", "--style-mask", "all", "--style-mask", "part.png"],
        "need a mask of the content for each style",
    ),
    (["a.png", "--mask", "half.png", "--style-mask", "rest"], "a mask of a style is 'rest'"),
    ([*TWO, "--style-blend", "1,2"], "give region weights instead"),
    ([*TWO, "--region-weights", "1"], "region weights: 1, masks: 2"),
    ([*TWO, "--region-weights", "1,-1"], "region weight is -1.0; expected a finite number"),
    ([*TWO, "--region-weights", "1,much"], "region weights is '1,much'; expected numbers"),
    (["a.png", "--region-weights", "1"], "region weights: 1, masks: 0"),
    (["a.png", "b.png", "--mask", "rest", "--mask", "rest"], "two masks are 'rest'"),
    (["a.png", "--keep", "half.png", "--keep", "keep.png"], "--keep names 2 masks"),
    (["a.png", "--keep", "lost.png"], "mask of what to keep: there is no picture at lost.png"),
    (["a.png", "--keep", "rest"], "the mask of what to keep is 'rest'"),
    (["a.png", "--mask", "half.png", "--keep", "half.png"], "without what is kept, has no pixels"),
    (["a.png", "--colors", "gray"], "unknown colors 'gray'"),
]


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(("words", "message"), REFUSED, ids=lambda value: value if isinstance(value, str) else "")
def test_what_cannot_be_is_refused_before_any_work(words, message, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(Path().iterdir())
    assert stylize(*words, "--steps", "1") == 2
    told = capsys.readouterr().err
    assert message in told
    assert "Traceback" not in told
    assert sorted(Path().iterdir()) == before


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("field", ["masks", "keep", "weights", "style_masks"])
def test_a_damaged_record_is_refused_with_the_field(field, capsys: pytest.CaptureFixture[str]) -> None:
    from jnst.config import Config
    from jnst.config_json import to_dict

    regions = {"masks": [], "style_masks": [], "keep": None, "weights": None} | {field: [None, 7] if field else 0}
    Path("run.json").write_text(json.dumps({"config": to_dict(Config()), "inputs": {"regions": regions}}))
    assert main(["stylize", "--config", "run.json"]) == 2
    assert f"inputs.regions.{field}" in capsys.readouterr().err
