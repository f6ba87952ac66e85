"""Which files of a folder are pictures, and what is said of the others."""

import glob
import os
from pathlib import Path

import pytest
from PIL import Image

from jnst.batch.discovery import check_path, check_there, find_pictures
from jnst.errors import ConfigError
from jnst.images.formats import readable_suffixes
from jnst.images.reading import read_image


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in (
        "in/a.png",
        "in/b.JFIF",
        "in/deep/c.jpe",
        "in/notes.txt",
        "in/d.psd",
        "in/plain",
        "in/.e.png",
        "in/out/f.png",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    os.mkfifo(tmp_path / "in/pipe.png")
    (tmp_path / "in/again").symlink_to(tmp_path / "in")
    return tmp_path


@pytest.mark.usefixtures("folder")
def test_what_is_left_out_is_said() -> None:
    found = find_pictures("in", without="in/out")
    assert found.pictures == [("in/a.png", ""), ("in/b.JFIF", ""), ("in/deep/c.jpe", "deep")]
    note = found.note("in")
    assert note.startswith("in: 7 left out: ")
    for part in (
        "1 hidden",
        "1 in the output folder",
        "1 not plain files",
        "1 links to folders",
        "3 with another suffix (",
    ):
        assert part in note
    assert find_pictures("in/a.png").left_out == {}


@pytest.mark.usefixtures("folder")
def test_nothing_found_says_what_was_there() -> None:
    Path("texts").mkdir()
    Path("texts/a.txt").write_text("x")
    with pytest.raises(ConfigError, match=r"texts holds no pictures \(.*\.jfif.*; 1 left out: 1 with another suffix"):
        find_pictures("texts")


@pytest.mark.usefixtures("folder")
def test_a_mistyped_folder_is_found_out_and_a_missing_picture_is_its_own_failure() -> None:
    for wrong in ("inn", "in/dep", "inn/"):
        with pytest.raises(ConfigError, match=r"there is no file or folder .*; did you mean"):
            check_there(["in", wrong])
    check_there(["in", "gone.png", "s3://bucket/x", "*.gif"])
    with pytest.raises(ConfigError, match=r"no file or folder gone.png"):
        check_there(["gone.png"])


@pytest.mark.parametrize("path", ["a\0b.png", "x" * 256, "é" * 128, "a/" * 2100])
def test_paths_that_no_file_can_have(path: str) -> None:
    with pytest.raises(ConfigError, match=r"NUL|too long"):
        check_path(path)
    with pytest.raises(ConfigError, match=r"NUL|too long"):
        find_pictures(path)


def test_every_readable_suffix_is_read(tmp_path: Path) -> None:
    assert {".png", ".jpg", ".jfif", ".tif", ".webp", ".bmp", ".gif", ".ppm", ".pgm"} <= readable_suffixes()
    for suffix in (".jfif", ".pgm", ".pnm", ".bmp"):
        Image.new("RGB", (3, 2)).save(tmp_path / f"a{suffix}")
        assert read_image(tmp_path / f"a{suffix}").pixels.shape == (2, 3, 3)


def test_links_that_go_round_in_circles_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two of them in one folder are 2⁴⁰ paths to whoever follows them."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in/deep").mkdir(parents=True)
    for name in ("in/a.png", "in/deep/b.png"):
        (tmp_path / name).write_bytes(b"x")
    for name in ("one", "two"):
        (tmp_path / "in/deep" / name).symlink_to("..")
    for pattern in ("in/**", "in/**/*.png", "**", "*/**/*.png", "in/"):
        found = find_pictures(pattern)
        assert [path for path, _ in found.pictures] == ["in/a.png", "in/deep/b.png"], pattern
        assert found.left_out["links to folders"] == 2


def test_patterns_match_what_they_match_for_everybody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a.png", "x/a.png", "x/y/b.png", "x/y/z/a.png", "x/.h/c.png", "w[1]/y/a.png", "w[1]/d.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    for pattern in (
        "**",
        "*.png",
        "*/*.png",
        "**/*.png",
        "**/a.png",
        "x/**",
        "x/**/**/a.png",
        "**/y/**/a.png",
        "w*/**/*.jpg",
        "w[[]1]/**",
        "x/.h/**",
        "x/y**/b.png",
        "./**/b.png",
        f"{tmp_path}/**/*.png",
    ):
        expected = sorted({path for path in glob.glob(pattern, recursive=True) if os.path.isfile(path)})
        assert sorted(path for path, _ in find_pictures(pattern).pictures) == expected, pattern
