"""HEIC, which an extra reads: as any other picture with it, and a sentence that says what to install without it."""

import io
import sys

import numpy as np
import pillow_heif
import pytest
from PIL import Image

from jnst.errors import ImageError
from jnst.images import formats
from jnst.images.formats import is_heic
from jnst.images.reading import read_image

BEGINNING = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100)


def smooth(channels=3):
    y, x, c = np.meshgrid(np.arange(48), np.arange(64), np.arange(channels), indexing="ij")
    return (y * 2 + x * (c + 1) / 2 + c * 20).astype(np.uint8)


@pytest.fixture
def heic():
    """Encodes a picture."""

    def encode(pixels, **options):
        buffer = io.BytesIO()
        pillow_heif.from_pillow(Image.fromarray(pixels)).save(buffer, quality=95, chroma=444, **options)
        return buffer.getvalue()

    return encode


def test_without_the_extra_a_sentence_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    monkeypatch.delitem(Image.OPEN, formats.HEIC, raising=False)
    (tmp_path / "a.heic").write_bytes(BEGINNING)
    message = r"a\.heic is HEIC, which needs pillow-heif: pip install 'jnst\[heic\]', or convert the picture first"
    with pytest.raises(ImageError, match=message):
        read_image(tmp_path / "a.heic")


def test_avif_is_not_taken_for_heic():
    buffer = io.BytesIO()
    Image.fromarray(smooth()).save(buffer, "AVIF")
    assert not is_heic(buffer.getvalue())
    assert not is_heic(b"\0\0\0\x1cftypmif1\0\0\0\0mif1avifmiaf" + bytes(40))
    assert is_heic(BEGINNING)
    assert is_heic(b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic" + bytes(40))


def test_a_heic_is_read_with_its_alpha(heic, tmp_path):
    for channels in (3, 4):
        pixels = smooth(channels)
        (tmp_path / "a.heic").write_bytes(heic(pixels))
        picture = read_image(tmp_path / "a.heic")
        np.testing.assert_allclose(picture.pixels.astype(int), pixels[..., :3], atol=8)
        assert picture.format == "HEIF"
        assert (picture.alpha is None) == (channels == 3)


def test_a_broken_heic_is_called_damaged(heic, tmp_path):
    data = heic(smooth())
    for cut in (data[:40] + bytes(60), data[:-200], data[: len(data) // 2]):
        (tmp_path / "a.heic").write_bytes(cut)
        with pytest.raises(ImageError, match=r"a\.heic is damaged"):
            read_image(tmp_path / "a.heic")


def test_folders_are_searched_for_heic_where_it_can_be_read(heic):
    formats.readable_suffixes.cache_clear()
    assert {".heic", ".heif"} <= formats.readable_suffixes()
