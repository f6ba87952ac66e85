"""Files that are damaged or cut off: with `allow_damaged` what is there is read, and how much that is."""

import io

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageFile

from jnst.errors import ImageError
from jnst.images.png_16bit_writer import encode_png16
from jnst.images.reading import read_image

HEIGHT, WIDTH = 96, 80


def make(channels=3):
    """Smooth, with a little noise, so that every row of a file takes some bytes."""
    y, x, c = np.meshgrid(np.arange(HEIGHT), np.arange(WIDTH), np.arange(channels), indexing="ij")
    return (y + x * (c % 2 + 1) / 2 + c * 20 + np.random.default_rng(0).integers(0, 8, y.shape)).astype(np.uint8)


def encode(form, channels=3, **options):
    buffer = io.BytesIO()
    Image.fromarray(make(channels)).save(buffer, form, **options)
    return buffer.getvalue()


def encode_tiff(**options):
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, make(), photometric="rgb", rowsperstrip=8, **options)
    return buffer.getvalue()


def read_cut(tmp_path, data, share=0.6):
    """The picture in the first bytes of a file, and the picture in all of them."""
    for name, content in (("whole", data), ("cut", data[: int(len(data) * share)])):
        (tmp_path / name).write_bytes(content)
    with pytest.raises(ImageError, match=r"cut is damaged or cut off .*; --allow-damaged reads what is there"):
        read_image(tmp_path / "cut")
    return read_image(tmp_path / "cut", allow_damaged=True), read_image(tmp_path / "whole")


@pytest.mark.parametrize(
    "data",
    [
        encode("PNG"),
        encode("PNG", 4),
        encode("JPEG", quality=95),
        encode("WEBP", lossless=True),
        encode("WEBP", quality=95),
        encode_tiff(),
        encode_tiff(compression="zlib"),
        encode("PPM"),
        encode_png16(make().astype(np.uint16) * np.uint16(257)),
    ],
    ids=["png", "rgba", "jpeg", "webp lossless", "webp", "tiff", "tiff zlib", "ppm", "png16"],
)
def test_what_is_there_is_read_exactly_and_the_rest_is_transparent(tmp_path, data):
    picture, whole = read_cut(tmp_path, data)
    top = np.iinfo(whole.pixels.dtype).max
    opaque = np.full((HEIGHT, WIDTH), top) if whole.alpha is None else whole.alpha
    rows = int(picture.alpha.any(axis=1).sum())
    assert 0.2 * HEIGHT < rows < 0.8 * HEIGHT
    assert picture.pixels.shape == whole.pixels.shape
    assert picture.pixels.dtype == whole.pixels.dtype
    # The last row may be there in part; what is missing of it is filled.
    np.testing.assert_array_equal(picture.pixels[: rows - 1], whole.pixels[: rows - 1])
    np.testing.assert_array_equal(picture.alpha[: rows - 1], opaque[: rows - 1])
    np.testing.assert_array_equal(picture.alpha[rows:], 0)
    (note,) = picture.notes
    assert note.startswith(f"it is damaged or cut off; {rows} of its {HEIGHT} rows (")
    assert abs(int(note.split("(")[1].split(" %")[0]) - 100 * rows / HEIGHT) < 2


def test_a_picture_stored_from_below_has_its_lower_rows(tmp_path):
    picture, whole = read_cut(tmp_path, encode("BMP"))
    rows = int(picture.alpha.any(axis=1).sum())
    np.testing.assert_array_equal(picture.pixels[-rows + 1 :], whole.pixels[-rows + 1 :])
    assert picture.alpha[0].max() == 0


def test_a_picture_on_its_side_is_turned_with_what_is_missing(tmp_path):
    exif = Image.Exif()
    exif[274] = 6  # the stored top is the right side
    picture, whole = read_cut(tmp_path, encode("PNG", exif=exif))
    columns = int(picture.alpha.any(axis=0).sum())
    assert picture.pixels.shape == (WIDTH, HEIGHT, 3)
    np.testing.assert_array_equal(picture.pixels[:, -columns + 1 :], whole.pixels[:, -columns + 1 :])
    assert picture.alpha[:, 0].max() == 0


def test_the_first_scans_of_a_progressive_jpeg_are_a_coarser_picture(tmp_path):
    picture, whole = read_cut(tmp_path, encode("JPEG", progressive=True, quality=95), 0.7)
    assert picture.alpha is None
    assert np.abs(picture.pixels.astype(int) - whole.pixels).mean() < 4
    assert picture.notes == ("it is damaged or cut off; what could be decoded is kept; it may be coarser than it was",)


def test_the_missing_pixels_of_an_interlaced_picture_are_filled(tmp_path):
    """GIF brings every eighth row first."""
    smooth = np.repeat(np.linspace(0, 255, 200).astype(np.uint8)[:, None], 150, axis=1)
    buffer = io.BytesIO()
    Image.fromarray(smooth).save(buffer, "GIF", interlace=1)
    picture, whole = read_cut(tmp_path, buffer.getvalue(), 0.7)
    first, last = np.flatnonzero(picture.alpha[:, 0] if picture.alpha is not None else np.ones(200))[[0, -1]]
    assert (first, last) >= (0, 190)
    np.testing.assert_allclose(picture.pixels[first:last].astype(int), whole.pixels[first:last], atol=24)


def test_damage_in_the_middle_leaves_what_stands_before_it(tmp_path):
    data = bytearray(encode("PNG"))
    data[len(data) // 2] ^= 0x55
    (tmp_path / "a.png").write_bytes(data)
    with pytest.raises(ImageError, match="is damaged or cut off"):
        read_image(tmp_path / "a.png")
    picture = read_image(tmp_path / "a.png", allow_damaged=True)
    assert "of its 96 rows" in picture.notes[-1]
    np.testing.assert_array_equal(picture.pixels[:30], make()[:30])


def test_sound_files_are_read_as_ever(tmp_path):
    (tmp_path / "a.png").write_bytes(encode("PNG"))
    picture = read_image(tmp_path / "a.png", allow_damaged=True)
    np.testing.assert_array_equal(picture.pixels, make())
    assert picture.alpha is None
    assert picture.notes == ()
    assert not ImageFile.LOAD_TRUNCATED_IMAGES


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (encode("PNG")[:60], "no row of it can be read|nothing of it can be read"),
        (encode("JPEG")[:200], "nothing of it can be read"),
        (encode("WEBP")[:60], "no row of it can be read"),
        (b"nonsense", "is not a picture"),
        (b"", "is empty"),
    ],
)
def test_where_nothing_is_there_nothing_is_read(tmp_path, data, message):
    (tmp_path / "a").write_bytes(data)
    with pytest.raises(ImageError, match=message):
        read_image(tmp_path / "a", allow_damaged=True)


def test_any_length_and_any_damage_is_a_picture_or_an_image_error(tmp_path):
    from jnst.images.damaged import decode_damaged

    rng, before = np.random.default_rng(0), ImageFile.LOAD_TRUNCATED_IMAGES
    try:
        for data in (encode("PNG"), encode("JPEG"), encode("GIF"), encode("WEBP"), encode("BMP"), encode_tiff()):
            for _ in range(25):
                changed = bytearray(data[: rng.integers(20, len(data))])
                changed[rng.integers(len(changed))] = rng.integers(256)
                try:
                    picture = decode_damaged("a", bytes(changed), allow_large=False, color_profile="apply")
                except ImageError:
                    continue
                assert picture.notes
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = before
