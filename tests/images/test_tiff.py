"""TIFF files: what other programs read of them, many strips, and BigTIFF, for which the limit is lowered."""

import numpy as np
import pytest
import tifffile
from PIL import Image

from jnst.errors import ImageError
from jnst.images import tiff
from jnst.images.profiles import srgb_profile
from jnst.images.reading import read_image
from jnst.images.writing import quantize, read_metadata, write_image


@pytest.fixture(autouse=True)
def many_strips(monkeypatch):
    monkeypatch.setattr(tiff, "_STRIP_BYTES", 1000)


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("opaque", [True, False])
def test_a_picture_comes_back_from_many_strips(tmp_path, monkeypatch, big, bits, opaque):
    if big:
        monkeypatch.setattr(tiff, "_LARGEST_CLASSIC", 0)
    rng = np.random.default_rng(0)
    image, alpha = rng.random((37, 23, 3)), None if opaque else rng.random((37, 23))
    path = tmp_path / "large.tiff"
    write_image(path, image, alpha=alpha, metadata={"seed": 3}, bits=bits)
    assert path.read_bytes()[:4] == (b"II\x2b\x00" if big else b"II\x2a\x00")  # 43 is BigTIFF's version
    picture = read_image(path)
    assert np.array_equal(picture.pixels, quantize(image, bits=bits))
    assert (picture.alpha is None) == opaque
    if not opaque:
        assert np.array_equal(picture.alpha, quantize(alpha, bits=bits))
    assert read_metadata(path) == {"seed": 3}
    with tifffile.TiffFile(path) as file:
        page = file.pages.first
        assert np.array_equal(page.asarray()[..., :3], quantize(image, bits=bits))
        assert page.photometric == tifffile.PHOTOMETRIC.RGB
        assert page.iccprofile == srgb_profile()
        assert page.extrasamples == (() if opaque else (tifffile.EXTRASAMPLE.UNASSALPHA,))
        assert len(page.dataoffsets) > 1
    with Image.open(path) as seen:
        assert seen.size == (23, 37)
        if bits == 8:  # Pillow reads one byte of two
            assert np.array_equal(np.asarray(seen)[..., :3], quantize(image))


def test_a_description_of_any_length_is_kept(tmp_path):
    for length in (0, 1, 2, 3, 70_000):
        path = tmp_path / f"{length}.tif"
        write_image(path, np.zeros((3, 5, 3)), metadata={"x": "a" * length})
        assert read_metadata(path) == {"x": "a" * length}
        assert "ImageDescription" in tifffile.TiffFile(path).pages.first.tags
    write_image(tmp_path / "plain.tif", np.zeros((3, 5, 3)))
    assert "ImageDescription" not in tifffile.TiffFile(tmp_path / "plain.tif").pages.first.tags


def test_shapes_that_do_not_fit_are_refused(tmp_path):
    with pytest.raises(ImageError, match=r"alpha has shape \(4, 5\); expected \(4, 4\)"):
        write_image(tmp_path / "large.tiff", np.zeros((4, 4, 3)), alpha=np.zeros((4, 5)))


def test_nothing_is_left_of_a_picture_that_cannot_be_written(tmp_path):
    with pytest.raises(ImageError, match="not finite"):
        write_image(tmp_path / "large.tiff", np.full((40, 40, 3), np.nan))
    assert list(tmp_path.iterdir()) == []
