"""Films: what is in the file is what was given, and what cannot be written is refused before any work."""

import importlib.util
import sys
import types
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageSequence

from jnst.errors import ImageError, JnstError
from jnst.images import film
from jnst.images.film import as_frame, check_film, load_frame, store_frame, write_film

# Writes how it was called, and how many bytes it was given, in place of a film.
ENCODER = """#!{python}
import sys
data = sys.stdin.buffer.read()
open(sys.argv[-1], "w").write(" ".join(sys.argv[1:-1]) + f" bytes={{len(data)}} last={{data[-1]}}")
"""


def frames(count=4, height=9, width=12):
    return [np.full((height, width, 3), 20 * index % 256, np.uint8) for index in range(count)]


def pretend_ffmpeg(monkeypatch, path, script):
    """A program at that path, and an imageio-ffmpeg that names it."""
    path.write_text(script)
    path.chmod(0o755)
    library = types.ModuleType("imageio_ffmpeg")
    library.get_ffmpeg_exe = lambda: str(path)
    library.__spec__ = importlib.util.spec_from_loader("imageio_ffmpeg", None)
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", library)


@pytest.mark.parametrize(("suffix", "frame_time", "rate"), [(".gif", 50, 20), (".webp", 40, 25), (".WEBP", 100, 10)])
def test_frames_come_back_in_order_and_at_their_pace(tmp_path, suffix, frame_time, rate):
    path = tmp_path / f"film{suffix}"
    write_film(path, iter(frames()), rate=None if rate in (20, 25) else rate, hold=1.5)
    with Image.open(path) as opened:
        assert opened.n_frames == 4
        assert opened.size == (12, 9)
        assert opened.info["loop"] == 0
        seen = [
            (one.convert("RGB").getpixel((5, 5))[0], one.info["duration"]) for one in ImageSequence.Iterator(opened)
        ]
    assert [duration for _, duration in seen] == [frame_time] * 3 + [1500]
    np.testing.assert_allclose([level for level, _ in seen], [0, 20, 40, 60], atol=2)


def test_mp4_gets_every_frame_with_even_sides_and_the_last_one_for_a_second(tmp_path, monkeypatch):
    pretend_ffmpeg(monkeypatch, tmp_path / "ffmpeg", ENCODER.format(python=sys.executable))
    write_film(tmp_path / "film.mp4", iter(frames()))
    told = (tmp_path / "film.mp4").read_text()
    assert "-s 12x10 -r 25" in told
    assert f"bytes={(4 + 24) * 12 * 10 * 3} last=60" in told
    assert "-pix_fmt yuv420p" in told


def test_an_encoder_that_fails_says_why_and_leaves_nothing(tmp_path, monkeypatch):
    broken = f"#!{sys.executable}\nimport sys\nsys.stderr.write('no such codec\\n')\nsys.exit(1)\n"
    pretend_ffmpeg(monkeypatch, tmp_path / "ffmpeg", broken)
    with pytest.raises(ImageError, match=r"cannot write .*film.mp4: ffmpeg: no such codec"):
        write_film(tmp_path / "film.mp4", iter(frames(40, 200, 200)))
    assert not (tmp_path / "film.mp4").exists()


def test_without_an_encoder_mp4_is_refused_with_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr(film.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(JnstError, match=r'imageio-ffmpeg, which is not installed; `pip install "jnst\[video\]"`'):
        check_film(tmp_path / "film.mp4")
    check_film(tmp_path / "film.gif")


def test_an_encoder_without_its_program_is_refused(tmp_path, monkeypatch):
    def missing():
        raise RuntimeError("No ffmpeg exe could be found.")

    pretend_ffmpeg(monkeypatch, tmp_path / "ffmpeg", "")
    monkeypatch.setattr(sys.modules["imageio_ffmpeg"], "get_ffmpeg_exe", missing)
    with pytest.raises(JnstError, match="finds no ffmpeg"):
        check_film(tmp_path / "film.mp4")


def test_the_real_encoder_makes_a_film(tmp_path):
    write_film(tmp_path / "film.mp4", iter(frames(5, 33, 47)))
    data = (tmp_path / "film.mp4").read_bytes()
    assert data[4:8] == b"ftyp"
    assert data.index(b"moov") < data.index(b"mdat")  # plays before it is loaded


@pytest.mark.parametrize("name", ["film.avi", "film", "film.png"])
def test_other_formats_are_refused_with_those_there_are(tmp_path, name):
    with pytest.raises(ImageError, match=r"unknown film format.*\.mp4, \.gif, \.webp|did you mean"):
        check_film(tmp_path / name)


def test_a_film_that_is_there_stays(tmp_path):
    (tmp_path / "film.gif").write_bytes(b"old")
    with pytest.raises(ImageError, match="exists already"):
        write_film(tmp_path / "film.gif", frames())
    write_film(tmp_path / "film.gif", frames(), overwrite=True)
    assert (tmp_path / "film.gif").read_bytes() != b"old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["film.gif"]


@pytest.mark.parametrize(
    "given", [[], [np.zeros((4, 4, 3))], [np.zeros((4, 4, 3), np.uint8), np.zeros((4, 5, 3), np.uint8)]]
)
def test_frames_that_are_none_are_refused(tmp_path, given):
    with pytest.raises(ImageError, match="frame"):
        write_film(tmp_path / "film.gif", given)


def test_a_frame_has_the_size_asked_for_and_is_stored_to_the_bit(tmp_path):
    picture = np.random.default_rng(0).random((10, 14, 3), np.float32)
    same = as_frame(picture, (10, 14))
    np.testing.assert_array_equal(same, np.rint(picture * 255).astype(np.uint8))
    assert as_frame(picture, (23, 31)).shape == (23, 31, 3)
    assert as_frame(np.full((64, 64, 3), 40_000, np.uint16), (5, 7)).mean() == pytest.approx(40_000 / 257, abs=1)
    store_frame(Path(tmp_path, "one.png"), same)
    np.testing.assert_array_equal(load_frame(tmp_path / "one.png"), same)
