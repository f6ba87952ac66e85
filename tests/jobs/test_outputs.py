"""What a run writes: nothing that it reads is replaced, and a disk that fills up costs one sentence."""

import errno
import functools
import json
import os
import tempfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import jnst.files
from jnst.cli.main import main
from jnst.errors import ImageError
from jnst.files import check_keeps_inputs
from jnst.jobs import run
from jnst.weights.network import describe_weights, random_weights
from jnst.weights.store import write_weights

RUN = ["--weights", "narrow.h5", "--full-size", "--iterations", "1", "--quiet"]
LAYERS = ["--style-layers", "relu1_1", "--content-layers", "relu1_1"]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    generator = np.random.default_rng(0)
    for name in ("content.png", "style.png", "third.png"):
        Image.fromarray(generator.integers(0, 256, (20, 28, 3)).astype(np.uint8)).save(name)
    params = random_weights("vgg19", 1 / 16, 0)
    write_weights(
        "narrow.h5",
        {name: params[name] for name in list(params)[:2]},
        describe_weights("narrow", "vgg19", 1 / 16, "torchvision"),
    )
    return tmp_path


def contents():
    return {path.name: path.read_bytes() for path in Path().iterdir() if path.is_file()}


def stylize(*words, content="content.png", style="style.png", output="out.png"):
    return main(["stylize", content, style, "-o", output, *RUN, *LAYERS, *words])


@pytest.mark.parametrize("overwrite", [True, False])
@pytest.mark.parametrize(
    ("output", "more"),
    [
        ("content.png", []),
        ("style.png", []),
        ("third.png", ["--init", "third.png"]),
        ("./sub/../content.png", []),
        ("link.png", []),
        ("hard.png", []),
        ("out.png", ["--init", "out-sheet.png", "--sheet"]),
        ("out.png", ["--init", "out-losses.png", "--plot"]),
        ("out.png", ["--init", "out.json"]),
        ("out.png", ["--init", "out.state"]),
        ("out.png", ["--init", "out-00001.png", "--save-every", "1"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else value,
)
def test_an_input_is_never_replaced(output, more, overwrite, capsys):
    Path("sub").mkdir()
    Path("link.png").symlink_to("content.png")
    os.link("content.png", "hard.png")
    if more:
        Path(more[1]).write_bytes(Path("third.png").read_bytes())
    before = contents()
    assert stylize(*more, *["--overwrite"] * overwrite, output=output) == 2
    error = capsys.readouterr().err
    assert "would replace" in error
    assert "choose another name" in error
    assert contents() == before


@pytest.mark.parametrize(
    ("kind", "standing"),
    [("stylize", f"out{end}") for end in (".png", ".json", ".state", "-losses.png", "-00000.png", "-00002.png")]
    + [("texture", "out.state"), ("texture", "out-00002.png")],
)
def test_nothing_is_replaced_unasked(kind, standing, capsys):
    Path(standing).write_bytes(b"mine")
    before = contents()
    more = ["--plot", "--save-every", "2", "--steps", "2"]
    words = ["texture", "style.png", "-o", "out.png", "--size", "32", *RUN[:2], *LAYERS[:2], "--quiet"]
    run = functools.partial(stylize, *more) if kind == "stylize" else lambda *last: main([*words, *more, *last])
    assert run() == 2
    told = capsys.readouterr().err
    assert f"{standing} exists already" in told
    assert "--overwrite" in told
    assert contents() == before
    assert run("--overwrite") == 0
    assert not Path(standing).exists() or Path(standing).read_bytes() != b"mine"


def test_files_that_are_like_frames_but_no_frames_of_the_run_are_no_hindrance():
    others = ["out-00001.png", "out-000002.png", "out-00400.png", "out-00002.jpg", "another-00002.png"]
    for name in others:
        Path(name).write_bytes(b"mine")
    assert stylize("--save-every", "2", "--steps", "2") == 0
    assert all(Path(name).read_bytes() == b"mine" for name in others)
    assert Path("out-00002.png").exists()


@pytest.mark.parametrize("film", ["out-00002.webp", "./out-00002.webp", "out-00001.webp"])
def test_a_film_is_no_frame(film, capsys):
    words = ["stylize", "content.png", "style.png", "-o", "out.webp", *RUN, *LAYERS, "--save-every", "2"]
    before = contents()
    assert main([*words, "--animate", film, "--overwrite"]) == 2
    assert "has the name of a frame; choose another name for it" in capsys.readouterr().err
    assert contents() == before


def test_frames_of_a_run_that_was_killed_are_replaced_by_the_one_that_goes_on():
    Path("out-00002.png").write_bytes(b"of the run that was killed")
    assert stylize("--save-every", "2", "--steps", "2", "--resume") == 0
    assert Path("out-00002.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("more", [[], ["--overwrite"]])
def test_a_pipe_in_the_place_of_the_state_stays(more, capsys):
    os.mkfifo("out.state")
    assert stylize(*more) == 2
    assert "out.state is a pipe, not a file" in capsys.readouterr().err
    assert Path("out.state").is_fifo()
    assert not Path("out.png").exists()


def test_outputs_that_are_no_inputs_are_replaced():
    for _ in range(2):
        assert stylize("--overwrite", "--sheet", "--init", "third.png") == 0


def test_a_prepared_style_replaces_neither_its_weights_nor_its_pictures(capsys):
    before = contents()
    words = ["targets", "style.png", "-o", "narrow.h5", "--weights", "narrow.h5", "--overwrite"]
    assert main(words) == 2
    assert "narrow.h5 would replace narrow.h5, which this run reads" in capsys.readouterr().err
    assert contents() == before


def test_a_batch_replaces_none_of_its_inputs(capsys):
    Path("photos").mkdir()
    for name in ("a.png", "b.png"):
        Path("photos", name).write_bytes(Path("content.png").read_bytes())
    before = {path: path.read_bytes() for path in Path("photos").iterdir()}
    words = ["batch", "photos/a.png", "--style", "style.png", "-o", "photos", "--name", "{content}.png", "--overwrite"]
    assert main([*words, *RUN, *LAYERS]) == 2
    assert "would replace" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in Path("photos").glob("?.png")} == before


def test_names_that_no_file_can_have_are_no_inputs():
    check_keeps_inputs(["a\0b", "x" * 400], ["content.png", "c\0d"])
    with pytest.raises(ImageError, match="would replace"):
        check_keeps_inputs(["absent.png"], [Path("absent.png").resolve()])


def fail_at(monkeypatch, suffix):
    """The disk is full as soon as a file whose name ends so is put in its place."""
    replace = os.replace

    def full(source, target):
        if str(target).endswith(suffix):
            raise OSError(errno.ENOSPC, "No space left on device")
        replace(source, target)

    monkeypatch.setattr(jnst.files.os, "replace", full)


@pytest.mark.parametrize("suffix", ["out.json", "out-losses.png", "out-sheet.png"])
def test_a_disk_that_is_full_after_the_picture_costs_one_sentence(suffix, monkeypatch, capsys):
    fail_at(monkeypatch, suffix)
    assert stylize("--plot", "--sheet") == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("jnst: error: the picture was written to out.png, but not all that belongs to it: ")
    assert f"cannot write {suffix}: No space left on device" in line
    with Image.open("out.png") as image:
        assert image.size == (28, 20)
    assert not list(Path().glob(".jnst-*"))


def test_a_disk_that_is_full_at_a_frame_costs_the_frame(monkeypatch, capsys):
    fail_at(monkeypatch, "-00001.png")
    words = [word for word in RUN if word != "--quiet"]
    command = ["stylize", "content.png", "style.png", "-o", "out.png", *words, *LAYERS, "--save-every", "1"]
    assert main(command) == 0
    assert "frame left out: cannot write out-00001.png: No space left on device" in capsys.readouterr().err
    assert json.loads(Path("out.json").read_text())["size"] == {"height": 20, "width": 28}


def test_a_picture_that_cannot_be_written_is_saved_under_a_name_that_nobody_knew(folder, monkeypatch, capsys):
    """In a shared folder, a link under the name that the rescue once had led to a file of the link's choosing."""
    shared, victim = folder / "shared", folder / "victim.txt"
    shared.mkdir()
    victim.write_text("precious")
    (shared / "jnst-rescued-out.png").symlink_to(victim)
    monkeypatch.setattr(tempfile, "tempdir", str(shared))
    fail_at(monkeypatch, str(folder / "out.png"))
    assert stylize() == 2
    (rescued,) = shared.glob("jnst-rescued-*/out.png")
    assert f"the picture was saved as {rescued} instead" in capsys.readouterr().err
    assert rescued.parent.stat().st_mode & 0o777 == 0o700
    assert victim.read_text() == "precious"


@pytest.mark.parametrize("missing", [True, False])
def test_where_the_rescue_fails_too_the_path_asked_for_is_named(missing, folder, monkeypatch, capsys):
    shared = folder / "shared"
    if not missing:
        shared.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(shared))
    fail_at(monkeypatch, "out.png")
    assert stylize() == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("jnst: error: cannot write out.png: No space left on device; nor could it be saved ")
    assert missing or not list(shared.iterdir())


def test_what_can_be_written_is_written_whatever_becomes_of_the_rest(monkeypatch, capsys):
    """A folder takes the place of one file after another while the run paints."""
    paint = run.stylize
    every = {"out.json", "out-losses.png", "out-sheet.png", "film.gif"}

    for taken in sorted(every):

        def paint_late(*arguments, taken=taken, **options):
            Path(taken).mkdir()
            return paint(*arguments, **options)

        monkeypatch.setattr(run, "stylize", paint_late)
        assert stylize("--plot", "--sheet", "--animate", "film.gif") == 2
        said = capsys.readouterr().err
        assert "the picture was written to out.png, but not all that belongs to it: " in said
        assert taken in said
        for name in (every | {"out.png"}) - {taken}:
            assert Path(name).is_file()
            Path(name).unlink()
        Path(taken).rmdir()
