"""Large TIFF files, made small: the limit is lowered."""

import numpy as np
import pytest

from jnst.errors import ImageError
from jnst.images import bigtiff
from jnst.images import writing as imageio
from jnst.images.reading import read_image
from jnst.images.writing import quantize, read_metadata, write_image


@pytest.fixture(autouse=True)
def everything_is_large(monkeypatch):
    monkeypatch.setattr(imageio, "LARGE", 1)
    monkeypatch.setattr(bigtiff, "_STRIP_BYTES", 1000)


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("opaque", [True, False])
def test_a_picture_comes_back_from_many_strips(tmp_path, bits, opaque):
    rng = np.random.default_rng(0)
    image, alpha = rng.random((37, 23, 3)), None if opaque else rng.random((37, 23))
    path = tmp_path / "large.tiff"
    write_image(path, image, alpha=alpha, metadata={"seed": 3}, bits=bits)
    assert path.read_bytes()[:4] == b"II\x2b\x00"  # 43 is BigTIFF's version, 42 the classic one
    picture = read_image(path)
    assert np.array_equal(picture.pixels, quantize(image, bits=bits))
    assert (picture.alpha is None) == opaque
    if not opaque:
        assert np.array_equal(picture.alpha, quantize(alpha, bits=bits))
    assert read_metadata(path) == {"seed": 3}


def test_shapes_that_do_not_fit_are_refused(tmp_path):
    with pytest.raises(ImageError, match=r"shape \(4, 4, 3\) and alpha \(4, 5\)"):
        write_image(tmp_path / "large.tiff", np.zeros((4, 4, 3)), alpha=np.zeros((4, 5)))


def test_nothing_is_left_of_a_picture_that_cannot_be_written(tmp_path):
    with pytest.raises(ImageError, match="not finite"):
        write_image(tmp_path / "large.tiff", np.full((40, 40, 3), np.nan))
    assert list(tmp_path.iterdir()) == []
