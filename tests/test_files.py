"""Where files are written: through links that lead somewhere, and never through those that lead nowhere."""

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jnst.batch import folders
from jnst.batch.gallery import write_contact_sheet
from jnst.batch.manifest import Manifest, read_records
from jnst.batch.shards import Share
from jnst.errors import ImageError, JnstError
from jnst.files import check_writable_file, making_folder, write_file
from jnst.images.film import write_film
from jnst.images.writing import write_image
from jnst.transfer.inspection import check_place
from jnst.weights.network import describe_weights, random_weights
from jnst.weights.store import write_weights

PICTURE = np.zeros((8, 8, 3), np.uint8)


def append(folder: str, *, overwrite: bool) -> None:
    with Manifest(folder, Share(), overwrite=overwrite) as manifest:
        manifest.append({"kind": "job"})


# By the name of the link, what writes there and minds what is there.
CHECKED: dict[str, Callable[[Path, bool], Any]] = {
    "a.png": lambda path, overwrite: write_image(path, PICTURE, overwrite=overwrite),
    "a.tif": lambda path, overwrite: write_image(path, PICTURE, overwrite=overwrite),
    "a.gif": lambda path, overwrite: write_film(path, [PICTURE], overwrite=overwrite),
    "b.png": lambda path, overwrite: folders.write_picture(str(path), PICTURE, overwrite=overwrite),
    "a.json": lambda path, overwrite: check_writable_file(path, overwrite=overwrite) or write_file(path, b"{}"),
    "jnst-manifest.jsonl": lambda path, overwrite: append(str(path.parent), overwrite=overwrite),
}


@pytest.mark.parametrize("name", CHECKED)
def test_a_link_that_leads_nowhere_is_a_file_that_is_there(name: str, tmp_path: Path) -> None:
    path, elsewhere = tmp_path / name, tmp_path / "elsewhere"
    path.symlink_to(elsewhere)
    with pytest.raises(JnstError, match=f"{name} is a link to .*elsewhere, which is not there"):
        CHECKED[name](path, False)
    assert path.is_symlink()
    CHECKED[name](path, True)
    assert not path.is_symlink()
    assert path.is_file()
    assert sorted(os.listdir(tmp_path)) == [name]


@pytest.mark.parametrize("name", CHECKED)
def test_a_link_to_a_file_is_written_through(name: str, tmp_path: Path) -> None:
    path, elsewhere = tmp_path / name, tmp_path / "elsewhere"
    elsewhere.touch()
    path.symlink_to(elsewhere)
    CHECKED[name](path, True)
    assert path.is_symlink()
    assert elsewhere.stat().st_size > 0


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="a system without named pipes")
@pytest.mark.parametrize("name", CHECKED)
@pytest.mark.parametrize("linked", [False, True], ids=["itself", "by a link"])
def test_what_is_no_file_is_never_replaced(name: str, linked: bool, tmp_path: Path) -> None:
    """A pipe stands for devices as well, which a test must not put at risk."""
    place = tmp_path / "elsewhere" if linked else tmp_path / name
    os.mkfifo(place)
    if linked:
        (tmp_path / name).symlink_to(place)
    before = sorted(os.listdir(tmp_path))
    with pytest.raises((JnstError, OSError), match="a pipe"):
        CHECKED[name](tmp_path / name, True)
    assert place.is_fifo()
    assert sorted(os.listdir(tmp_path)) == before


def test_devices_are_refused_before_the_work() -> None:
    with pytest.raises(ImageError, match=f"{os.devnull} is a device, not a file; choose another name"):
        check_writable_file(os.devnull, overwrite=True)


def test_what_is_always_replaced_replaces_such_a_link(tmp_path: Path) -> None:
    for name in ("index.html", "w.h5"):
        (tmp_path / name).symlink_to(tmp_path / "elsewhere")
    write_contact_sheet(str(tmp_path), [], "")
    write_weights(
        tmp_path / "w.h5", random_weights("vgg19", 1 / 16, 0), describe_weights("w", "vgg19", 1 / 16, "caffe")
    )
    assert sorted(os.listdir(tmp_path)) == ["index.html", "w.h5"]
    assert not any(path.is_symlink() for path in tmp_path.iterdir())


def test_a_folder_is_not_made_through_such_a_link(tmp_path: Path) -> None:
    (tmp_path / "out").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ImageError, match="which is not there; expected the name of a folder"):
        check_place(tmp_path / "out", ["relu1_1"], overwrite=False)
    with pytest.raises(ImageError, match="cannot make the folder"), folders.making_folder(str(tmp_path / "out")):
        pass
    assert os.listdir(tmp_path) == ["out"]


def test_a_folder_that_nothing_came_into_goes_again(tmp_path: Path) -> None:
    full = OSError(errno.ENOSPC, "No space left on device")

    def fail(folder: Path, *names: str) -> None:
        with making_folder(folder):
            for name in names:
                (folder / name).touch()
            raise full

    with pytest.raises(OSError, match="No space"):
        fail(tmp_path / "a/b")
    with pytest.raises(OSError, match="No space"):
        fail(tmp_path / "c", "x")
    assert [str(path.relative_to(tmp_path)) for path in sorted(tmp_path.rglob("*"))] == ["c", "c/x"]
    (tmp_path / "there").mkdir()
    with pytest.raises(OSError, match="No space"):
        fail(tmp_path / "there")
    assert (tmp_path / "there").is_dir()


def test_a_folder_that_somebody_else_is_about_to_write_to_stays(tmp_path: Path) -> None:
    def inner() -> None:
        with making_folder(tmp_path / "a"):
            raise OSError

    with making_folder(tmp_path / "a"):
        with pytest.raises(OSError):  # noqa: PT011 - any
            inner()
        (tmp_path / "a/x").touch()
    assert (tmp_path / "a/x").exists()


def test_a_manifest_without_a_line_goes_again(tmp_path: Path) -> None:
    with Manifest(str(tmp_path), Share()):
        assert os.listdir(tmp_path) == ["jnst-manifest.jsonl"]
    assert os.listdir(tmp_path) == []
    append(str(tmp_path), overwrite=False)
    with Manifest(str(tmp_path), Share()):
        pass
    assert read_records(str(tmp_path)) == [json.loads('{"kind": "job"}')]
