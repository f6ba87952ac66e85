"""Textures, reconstructions, inspections and films from the command line, and what is refused before any work."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageSequence
from small import tiny_weights

import jnst.images.film
from jnst.cli.main import main
from jnst.cli.texture import parse_size
from jnst.errors import ConfigError

LAYERS = ["--style-layers", "relu1_1,relu2_1"]
QUICK = ["--weights", tiny_weights(), "--steps", "3"]

POINTS = (
    ("stylize", "point.png", "style.png", "1 × 1"),
    ("stylize", "line.png", "style.png", "1 × 30"),
    ("reconstruct", "point.png", "1 × 1"),
    ("inspect", "line.png", "1 × 30"),
    ("plan", "point.png", "1 × 1"),
)
STREAMS = (
    *((command, "-") for command in ("texture", "reconstruct", "inspect", "plan", "targets")),
    *((command, "style.png", "-o", "-") for command in ("texture", "reconstruct", "inspect", "targets")),
    ("batch", "-", "--style", "style.png", "-o", "out"),
    ("batch", "content.png", "--style", "-", "-o", "out"),
    ("batch", "content.png", "--style", "style.png", "-o", "-"),
)
URLS = (
    *((command, "https://example.org/a.png") for command in ("texture", "reconstruct", "inspect")),
    *((command, "style.png", "-o", "memory://a/b.png") for command in ("texture", "reconstruct", "inspect")),
)
# Words of a script whose variable is not set, and what they are called.
EMPTY = (
    ("texture", "STYLE"),
    ("reconstruct", "PICTURE"),
    ("inspect", "content.png", "-o", "-o"),
    ("plan", "CONTENT"),
    ("stylize", "content.png", "STYLE"),
    ("stylize", "content.png", "style.png", "-o", "-o"),
    ("stylize", "content.png", "style.png", "--config", "--config"),
    ("stylize", "content.png", "style.png", "--init", "--init"),
    ("stylize", "content.png", "style.png", "--preset", "--preset"),
    ("targets", "style.png", "-o", "-o"),
    ("batch", "content.png", "--style", "style.png", "-o", "out", "--pairs", "--pairs"),
    ("batch", "content.png", "--style", "style.png", "-o", "out", "--name", "--name"),
)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    generator = np.random.default_rng(0)
    for name in ("content.png", "style.png"):
        Image.fromarray(generator.integers(0, 256, (40, 56, 3)).astype(np.uint8)).save(name)
    Image.new("RGB", (1, 1)).save("point.png")
    Image.new("RGB", (1, 30)).save("line.png")
    return tmp_path


def refused(capsys, *words):
    """The one sentence that a command line is answered with; nothing is written."""
    before = sorted(Path().iterdir())
    assert main(list(words)) == 2
    # A slow machine says what it is doing; that ends in dots.
    (error,) = (line for line in capsys.readouterr().err.strip().split("\n") if not line.endswith(" …"))
    assert error.startswith("jnst: error: ")
    assert sorted(Path().iterdir()) == before
    return error


def test_a_texture_has_the_size_asked_for_and_a_record_that_only_texture_repeats(capsys):
    words = [*QUICK, *LAYERS, "--size", "48x32", "--scales", "1", "--seamless", "--quiet"]
    assert main(["texture", "style.png", "-o", "out.png", *words]) == 0
    with Image.open("out.png") as image:
        assert image.size == (48, 32)
    record = json.loads(Path("out.json").read_text())
    assert record["canvas"] == [32, 48]
    assert record["config"]["network"]["padding"] == "circular"
    assert record["config"]["loss"]["content_layers"] == []
    first = Path("out.png").read_bytes()
    assert "is the record of a texture, which `jnst texture` makes" in refused(
        capsys, "stylize", "--config", "out.json", "-o", "again.png"
    )
    assert main(["texture", "style.png", "-o", "out.png", *words, "--overwrite"]) == 0
    with Image.open("out.png") as again, Image.open(io.BytesIO(first)) as before:
        np.testing.assert_array_equal(np.asarray(again), np.asarray(before))


def test_sizes():
    assert parse_size("7") == (7, 7)
    assert parse_size("640X480") == parse_size("640×480") == (480, 640)
    for text in ("", "0", "x", "12x", "-3", "1e3", "99999999", "3x4x5", "70000"):
        with pytest.raises(ConfigError, match="expected pixels such as 512, or width x height"):
            parse_size(text)


def test_a_reconstruction_is_filmed_and_its_frames_have_one_size():
    words = [*QUICK, "--layer", "relu2_1", "--scales", "2", "--set", "size.pixels=64", "--save-every", "1"]
    assert main(["reconstruct", "content.png", *words, "--animate", "film.webp", "--quiet"]) == 0
    frames = sorted(Path().glob("content-relu2_1-0*.png"))
    assert [frame.stem[-5:] for frame in frames] == [f"{step:05d}" for step in range(7)]
    for frame in frames:
        with Image.open(frame) as image:
            assert image.size == (64, 46)
    with Image.open("film.webp") as film:
        assert film.size == (64, 46)
        # Frames that are the same are one that stays.
        durations = [one.load() and one.info["duration"] for one in ImageSequence.Iterator(film)]
        assert sum(durations) == 149 * 40 + 1000
    record = json.loads(Path("content-relu2_1.json").read_text())
    assert record["config"]["loss"]["style_layers"] == []
    assert record["config"]["loss"]["tv_weight"] == 0


def test_inspect_prints_a_table_or_json_and_writes_sheets(capsys):
    words = ["inspect", "content.png", "--weights", tiny_weights(), "--size", "48", "--layers", "relu1_1,pool1"]
    assert main(words) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == [
        "layer",
        "relu1_1",
        "pool1",
        "written:",
    ]
    assert Path("content-layers.png").is_file()
    assert main([*words, "-o", "sheets", "--json", "--channels", "2"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["layers"]["pool1"]["width"] == 24
    assert sorted(told["files"]) == sorted(str(path) for path in Path("sheets").iterdir())
    assert "exists already" in refused(capsys, *words)
    Image.fromarray(np.zeros((40, 48, 4), np.uint8)).save("hidden.png")
    assert "every pixel of it is transparent" in refused(capsys, "inspect", "hidden.png", *words[2:])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["texture", "style.png", "--size", "0"], "size is '0'; expected pixels such as 512"),
        (["texture", "style.png", "--size", "3x40"], "the texture image is 3 × 40 pixels at working size"),
        (["texture", "style.png", "--size", "50x33", "--seamless"], "50 × 33 pixels cannot tile"),
        (["texture", "style.png", "--seamless", "--split-rows"], "--seamless and --split-rows contradict each other"),
        (["texture", "style.png", "--style-blend", "1,2"], "style blend has 2 weights for 1 styles"),
        (["texture", "nowhere.png"], "nowhere.png"),
        (["texture", "style.png", "-o", "style.png", "--overwrite"], "would replace"),
        (["texture", "style.png", "--seamles"], "did you mean --seamless?"),
        (["texture", "style.png", "--content-weight", "3"], "unknown flag '--content-weight'"),
        (["reconstruct", "content.png", "--layer", "relu4-2"], "did you mean 'relu4_2'"),
        (["reconstruct", "content.png", "--layer", ","], "no layer to reconstruct from"),
        (["reconstruct", "content.png", "--tv-weight", "-1"], "tv weight is -1"),
        (["inspect", "content.png", "--layers", "rel1_1"], "did you mean 'relu1_1'"),
        (["inspect", "content.png", "--layers", " , "], "--layers names no layer"),
        (["inspect", "content.png", "--channels", "0"], "channels is 0; expected 1 to 512"),
        (["inspect", "content.png", "-o", "out.gif"], "neither a folder's name nor a picture's"),
        (["inspect", "content.png", "-o", "content.png", "--overwrite"], "would replace"),
        (["stylize", "content.png", "style.png", "--animate", "a.avi"], "unknown film format '.avi'"),
        (["stylize", "content.png", "style.png", "--animate", "no/a.gif"], "does not exist"),
        (["stylize", "content.png", "style.png", "--animate", "content.png"], "would replace content.png"),
        (
            ["stylize", "content.png", "style.png", "--animate-seconds", "3"],
            "--animate-seconds is given without a film",
        ),
        (["stylize", "content.png", "style.png", "--animate", "a.gif", "--animate-size", "5"], "film size is 5 pixels"),
        (["stylize", "content.png", "style.png", "-o", "a.webp", "--animate", "a.webp"], "would replace the picture"),
        (["stylize", "content.png", "style.png", "--anim", "a.gif"], "did you mean --animate?"),
        (["stylize", "content.png", "style.png", "--bits", "12"], "unknown --bits '12'; known are: 8, 16"),
        (
            ["stylize", "content.png", "style.png", "--style-weight", "xx"],
            "loss.style_weight is 'xx'; expected a factor",
        ),
        (["inspect", "content.png", "--pooling", "averag"], "unknown --pooling 'averag'; did you mean 'average'?"),
        *(
            ([command, *inputs], f"is {size} pixels; a side of one pixel is not enlarged")
            for command, *inputs, size in POINTS
        ),
        *(([*words], "- is standard input or output, which `jnst stylize` alone uses") for words in STREAMS),
        *(([*words], "is a URL, which `jnst stylize` and `jnst batch` use; give a file") for words in URLS),
        *(([*words, ""], f"{name} is empty; expected") for *words, name in EMPTY),
    ],
    ids=lambda value: " ".join(value)[:60] if isinstance(value, list) else None,
)
def test_bad_input_is_refused_in_a_sentence_before_any_work(words, message, capsys, monkeypatch):
    monkeypatch.setattr("jnst.transfer.driver.run_scales", lambda *_: pytest.fail("work was done"))
    weights = ["--weights", tiny_weights()]
    assert message in refused(capsys, *words, *weights)


def test_a_film_without_an_encoder_is_refused_before_any_work(capsys, monkeypatch):
    monkeypatch.setattr("jnst.transfer.driver.run_scales", lambda *_: pytest.fail("work was done"))
    find = jnst.images.film.importlib.util.find_spec
    monkeypatch.setattr(
        jnst.images.film.importlib.util, "find_spec", lambda name: None if name == "imageio_ffmpeg" else find(name)
    )
    error = refused(capsys, "stylize", "content.png", "style.png", "--animate", "a.mp4", *QUICK)
    assert 'pip install "jnst[video]"' in error


def test_batches_say_where_films_are(capsys):
    error = refused(capsys, "batch", "content.png", "--style", "style.png", "-o", "out", "--animate", "a.gif")
    assert "--animate films the way to a single picture; `jnst stylize` has it" in error


def test_a_film_that_cannot_be_written_after_all_costs_nothing_else(capsys, monkeypatch):
    def fail(*arguments, **options):
        raise jnst.ImageError("the disk is full")

    monkeypatch.setattr("jnst.transfer.animation.write_film", fail)
    words = [*QUICK, "--layer", "relu1_1", "--set", "size.pixels=40", "--animate", "a.gif", "-o", "out.png"]
    assert main(["reconstruct", "content.png", *words, "--quiet"]) == 2
    assert (
        "the picture was written to out.png, but not all that belongs to it: the disk is full"
        in capsys.readouterr().err
    )
    assert Path("out.png").is_file()
    assert Path("out.json").is_file()


@pytest.mark.parametrize(
    "words", [["help"], ["help", "texture"], ["weights"], ["help", "weights"], ["texture", "--help"]]
)
def test_help_is_shown_where_nothing_is_asked_for(words, capsys):
    assert main(words) == 0
    assert "usage: jnst" in capsys.readouterr().out


def test_help_shows_the_presets_defaults(capsys):
    assert main(["texture", "--help"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "optimiser steps at full size [steps] (100)" in text
    assert "in brackets what preset default has" in text
    assert main(["stylize", "--preset", "tf-tutorial", "--help"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "in brackets what preset tf-tutorial has" in text
    assert "weight of the content term (10000)" in text
    assert main(["texture", "--preset=nonsense", "--help"]) == 0
    assert "in brackets what preset default has" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    "command",
    [
        ["texture", *LAYERS, "--size", "32", *QUICK],
        ["reconstruct", "--layer", "relu2_1", "--set", "size.pixels=32", *QUICK],
        ["inspect", "--layers", "relu1_1", "--size", "32", "--weights", tiny_weights()],
    ],
    ids=lambda command: command[0],
)
def test_a_damaged_picture_is_refused_or_read_as_far_as_it_goes(command, capsys):
    whole = Path("content.png").read_bytes()
    Path("cut.png").write_bytes(whole[: len(whole) // 2])
    words = [command[0], "cut.png", *command[1:], "-o", "out.png", "--quiet"]
    assert "--allow-damaged" in refused(capsys, *words)
    assert main([*words, "--allow-damaged"]) == 0
    assert Path("out.png").exists()


def test_a_reconstruction_of_a_transparent_picture_needs_no_gram_matrices():
    pixels = np.random.default_rng(1).integers(0, 256, (32, 40, 4)).astype(np.uint8)
    pixels[..., 3] = np.where(np.arange(40) < 20, 255, 0)
    Image.fromarray(pixels).save("glass.png")
    assert main(["reconstruct", "glass.png", "--layer", "relu1_2", *QUICK, "-o", "out.png", "--quiet"]) == 0
    with Image.open("out.png") as image:
        assert image.mode == "RGBA"
