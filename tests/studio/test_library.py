"""Pictures handed in: decoded in full, bounded in bytes and pixels, called by the user's name."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image
from studio_material import jpeg

from jnst.errors import ImageError
from jnst.images.display import jpeg_bytes
from jnst.studio import library as module
from jnst.studio.library import Library, shrink, tidy_name


@pytest.fixture
def library():
    opened = Library()
    yield opened
    opened.close()


def huge_png(width: int, height: int) -> bytes:
    """A header that promises many pixels, and next to no data."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def test_a_picture_is_taken_in_and_read_again(library):
    entry = library.add(jpeg("shapes", 40, 48), "my photo.jpg")
    assert (entry.name, entry.height, entry.width, entry.bundled) == ("my photo.jpg", 40, 48, False)
    assert library[entry.id] is entry
    assert entry.read().pixels.shape == (40, 48, 3)
    assert Image.open(io.BytesIO(entry.thumbnail)).size == (48, 40)


def test_there_is_something_to_begin_with(library):
    assert [entry.name for entry in library.entries() if entry.bundled]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"this is a text, whatever its name says\n" * 100, "notes.jpg is not a picture jnst can read"),
        (b"", r"notes.jpg is empty \(0 bytes\)"),
        (jpeg("shapes")[:300], "notes.jpg is damaged or cut off"),
        (huge_png(60_000, 60_000), "notes.jpg is 60000 × 60000 pixels, above the studio's limit of 50 million"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "notes.jpg is not a picture jnst can read"),
        (b"%PDF-1.4\n%%EOF", "notes.jpg is not a picture jnst can read"),
    ],
)
def test_what_is_no_picture_is_refused_by_the_name_the_user_knows(library, data, message):
    before = len(library.entries())
    with pytest.raises(ImageError, match=message) as refused:
        library.add(data, "notes.jpg")
    assert library._folder.name not in str(refused.value)
    assert len(library.entries()) == before
    assert library.add(jpeg("shapes"), "after.jpg").read().pixels.shape == (40, 48, 3)


def test_too_many_bytes_are_refused(library, monkeypatch):
    monkeypatch.setattr(module, "MAX_BYTES", 1000)
    with pytest.raises(ImageError, match=r"photo\.jpg is above the studio's limit"):
        library.add(jpeg("shapes"), "photo.jpg")


def test_too_many_pictures_are_refused(library, monkeypatch):
    monkeypatch.setattr(module, "MAX_PICTURES", len(library.entries()) + 1)
    library.add(jpeg("shapes"), "one.jpg")
    with pytest.raises(ImageError, match="the studio holds"):
        library.add(jpeg("shapes"), "two.jpg")


def test_an_unknown_picture_is_named(library):
    with pytest.raises(ImageError, match=r"no picture '\.\./\.\./etc/passwd'"):
        library["../../etc/passwd"]


def test_closing_removes_what_was_handed_in():
    library = Library()
    path = library.add(jpeg("shapes"), "photo.jpg").path
    assert path.exists()
    library.close()
    assert not path.exists()


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("photo.jpg", "photo.jpg"),
        ("../../etc/passwd", "passwd"),
        ("C:\\pictures\\photo.jpg", "photo.jpg"),
        ("a\x00b\n\x1b[31m.jpg", "ab[31m.jpg"),
        ("", "picture"),
        ("/", "picture"),
        ("x" * 500, "x" * 80),
    ],
)
def test_names_are_shown_and_never_opened(given, expected):
    assert tidy_name(given) == expected


def test_thumbnails_are_small_and_keep_their_shape():
    assert shrink(np.zeros((100, 1000, 3), np.uint8)).shape == (32, 320, 3)
    assert shrink(np.zeros((10, 20, 3), np.uint8)).shape == (10, 20, 3)
    deep = jpeg_bytes(np.full((8, 8, 3), 65_535, np.uint16))
    assert np.asarray(Image.open(io.BytesIO(deep))).min() >= 254
