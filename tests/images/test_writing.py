"""Pictures in and out of files: real files, tiny and made here, good ones and bad ones."""

import errno
import io
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms

from jnst import files
from jnst.errors import ConfigError, ImageError
from jnst.images.montage import montage
from jnst.images.opening import read_bytes
from jnst.images.png_16bit_writer import encode_png16
from jnst.images.profiles import srgb_profile
from jnst.images.reading import decode_picture, read_image
from jnst.images.writing import check_writable, quantize, read_metadata, write_image

HEIGHT, WIDTH = 13, 17


def make_picture(dtype=np.uint8, channels=3):
    """Smooth, so that lossy formats stay near, and without symmetry."""
    y, x, c = np.meshgrid(np.arange(HEIGHT), np.arange(WIDTH), np.arange(channels), indexing="ij")
    values = (y * 9 + x * 7 * (c % 2 + 1) / 2 + c * 20) / 255
    return quantize(values.astype(np.float32), bits=8 if dtype == np.uint8 else 16)


def save(path, picture, mode=None, **options):
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    (image.convert(mode) if mode else image).save(path, **options)
    return path


# Reading


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.png", {}),
        ("a.webp", {"lossless": True}),
        ("a.tif", {}),
        ("a.tiff", {"compression": "tiff_lzw"}),
        ("a.bmp", {}),
        ("a.ppm", {}),
    ],
)
def test_lossless_formats_read_exactly(tmp_path, name, options):
    picture = read_image(save(tmp_path / name, make_picture(), **options))
    np.testing.assert_array_equal(picture.pixels, make_picture())
    assert picture.pixels.dtype == np.uint8
    assert picture.alpha is None
    assert picture.notes == ()


def test_the_suffix_does_not_matter(tmp_path):
    picture = read_image(save(tmp_path / "really.jpg", make_picture(), format="PNG"))
    assert picture.format == "PNG"


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "RGBA", "PA", "CMYK", "YCbCr"])
def test_modes_become_rgb(tmp_path, mode):
    suffix = {"CMYK": "tif", "YCbCr": "jpg", "PA": "tif"}.get(mode, "png")
    grey = np.full((HEIGHT, WIDTH), 102, np.uint8)
    grey[:5] = 255
    image = Image.fromarray(np.repeat(grey[..., None], 3, axis=2))
    image = image.convert(mode, dither=Image.Dither.NONE)
    picture = read_image(save(tmp_path / f"a.{suffix}", image))
    assert picture.pixels.shape == (HEIGHT, WIDTH, 3)
    expected = np.where(grey > 127, 255, 0) if mode == "1" else grey
    np.testing.assert_allclose(picture.pixels, np.repeat(expected[..., None], 3, axis=2), atol=2)
    assert ("CMYK" in " ".join(picture.notes)) == (mode == "CMYK")


def test_alpha_is_kept_and_dropped_where_it_says_nothing(tmp_path):
    rgba = make_picture(channels=4)
    picture = read_image(save(tmp_path / "a.png", rgba))
    np.testing.assert_array_equal(picture.pixels, rgba[..., :3])
    np.testing.assert_array_equal(picture.alpha, rgba[..., 3])
    rgba[..., 3] = 255
    assert read_image(save(tmp_path / "b.png", rgba)).alpha is None


def test_a_transparent_colour_becomes_alpha(tmp_path):
    pixels = make_picture()
    picture = read_image(save(tmp_path / "a.png", pixels, transparency=tuple(int(v) for v in pixels[2, 3])))
    assert picture.alpha is not None
    assert picture.alpha[2, 3] == 0
    assert picture.alpha[0, 0] == 255


def turned(upright):
    """How a camera stores an upright picture under each orientation of Exif."""
    return {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.swapaxes(0, 1),
        6: np.rot90(upright, 1),
        7: upright[::-1, ::-1].swapaxes(0, 1),
        8: np.rot90(upright, -1),
    }


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", ["a.png", "a.webp", "a.tif", "packed.tif"])
def test_orientation_is_honoured_once(tmp_path, name, orientation):
    upright = make_picture(channels=4)
    stored = np.ascontiguousarray(turned(upright)[orientation])
    exif = Image.Exif()
    exif[274] = orientation
    options = {"a.webp": {"lossless": True, "exact": True}, "packed.tif": {"compression": "tiff_lzw"}}.get(name, {})
    picture = read_image(save(tmp_path / name, stored, exif=exif, **options))
    np.testing.assert_array_equal(picture.pixels, upright[..., :3])
    np.testing.assert_array_equal(picture.alpha, upright[..., 3])


@pytest.mark.parametrize("orientation", [3, 6, 7])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_orientation_of_deep_tiff(tmp_path, orientation, compression):
    upright = make_picture(np.uint16)
    path = tmp_path / "a.tif"
    tags = [(274, "H", 1, orientation, True)]
    stored = np.ascontiguousarray(turned(upright)[orientation])
    tifffile.imwrite(path, stored, photometric="rgb", compression=compression, extratags=tags)
    np.testing.assert_array_equal(read_image(path).pixels, upright)


def test_orientation_of_jpeg_with_nonsense_is_ignored(tmp_path):
    exif = Image.Exif()
    exif[274] = 77
    picture = read_image(save(tmp_path / "a.jpg", make_picture(), exif=exif, quality=100, subsampling=0))
    np.testing.assert_allclose(picture.pixels.astype(int), make_picture(), atol=3)


def swapped_profile():
    """sRGB with red and blue exchanged in the table of tags: converting from it exchanges the channels."""
    profile = srgb_profile()
    return profile.replace(b"rXYZ", b"tmp ", 1).replace(b"bXYZ", b"rXYZ", 1).replace(b"tmp ", b"bXYZ", 1)


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.webp"])
def test_colour_profiles_are_converted(tmp_path, name):
    options = {"lossless": True} if name == "a.webp" else {}
    path = save(tmp_path / name, make_picture(), icc_profile=swapped_profile(), **options)
    np.testing.assert_allclose(read_image(path).pixels.astype(int), make_picture()[..., ::-1], atol=2)


def test_a_grey_profile_is_converted(tmp_path):
    profile = srgb_profile()
    grey = profile[:16] + b"GRAY" + profile[20:].replace(b"gTRC", b"kTRC", 1)
    picture = read_image(save(tmp_path / "a.png", make_picture()[..., 0], icc_profile=grey))
    assert picture.notes == ()
    np.testing.assert_allclose(picture.pixels[..., 2].astype(int), make_picture()[..., 0], atol=2)


def test_srgb_under_another_name_changes_nothing(tmp_path):
    dated = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert dated != srgb_profile()
    picture = read_image(save(tmp_path / "a.png", make_picture(), icc_profile=dated))
    np.testing.assert_array_equal(picture.pixels, make_picture())


@pytest.mark.parametrize("profile", [b"nonsense", srgb_profile()[:200], b"\0" * 600])
def test_a_broken_profile_is_ignored_with_a_note(tmp_path, profile):
    picture = read_image(save(tmp_path / "a.png", make_picture(), icc_profile=profile))
    np.testing.assert_array_equal(picture.pixels, make_picture())
    assert "colour profile ignored" in picture.notes[0]


def test_a_profile_for_another_kind_of_picture_is_ignored(tmp_path):
    cmyk = Image.fromarray(make_picture()).convert("CMYK")
    picture = read_image(save(tmp_path / "a.tif", cmyk, icc_profile=srgb_profile()[:24] + b"x" + srgb_profile()[25:]))
    assert "it is for RGB, the picture is CMYK" in picture.notes[0]


def png(depth, colour_type, raw, *chunks, interlace=0, size=(WIDTH, HEIGHT)):
    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", *size, depth, colour_type, 0, 0, interlace))
    middle = b"".join(chunk(*one) for one in chunks)
    return b"\x89PNG\r\n\x1a\n" + header + middle + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b"")


def rows(values):
    return b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)


@pytest.mark.parametrize(("colour_type", "channels"), [(0, 1), (2, 3), (4, 2), (6, 4)])
def test_deep_png_keeps_its_sixteen_bits(tmp_path, colour_type, channels):
    values = np.random.default_rng(0).integers(0, 65_536, (HEIGHT, WIDTH, channels)).astype(np.uint16)
    (tmp_path / "a.png").write_bytes(png(16, colour_type, rows(values)))
    picture = read_image(tmp_path / "a.png")
    colour = values[..., :3] if channels > 2 else np.repeat(values[..., :1], 3, axis=2)
    np.testing.assert_array_equal(picture.pixels, colour)
    if channels in (2, 4):
        np.testing.assert_array_equal(picture.alpha, values[..., -1])
    else:
        assert picture.alpha is None


def test_deep_png_interlaced(tmp_path):
    values = np.random.default_rng(0).integers(0, 65_536, (HEIGHT, WIDTH, 3)).astype(np.uint16)
    steps = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
    raw = b"".join(rows(values[y::down, x::right]) for x, y, right, down in steps)
    (tmp_path / "a.png").write_bytes(png(16, 2, raw, interlace=1))
    np.testing.assert_array_equal(read_image(tmp_path / "a.png").pixels, values)


@pytest.mark.parametrize("channels", [1, 3])
def test_deep_png_with_a_transparent_colour(tmp_path, channels):
    values = np.random.default_rng(0).integers(0, 65_536, (HEIGHT, WIDTH, channels)).astype(np.uint16)
    key = (b"tRNS", values[4, 5].astype(">u2").tobytes())
    (tmp_path / "a.png").write_bytes(png(16, 0 if channels == 1 else 2, rows(values), key))
    picture = read_image(tmp_path / "a.png")
    np.testing.assert_array_equal(picture.pixels[..., 0], values[..., 0])
    assert picture.alpha is not None
    assert (picture.alpha[4, 5], picture.alpha[0, 0]) == (0, 65_535)


@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("options", [{}, {"compression": "zlib", "predictor": True}, {"tile": (16, 16)}])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_deep_tiff_keeps_its_sixteen_bits(tmp_path, byteorder, options, channels):
    values = np.random.default_rng(0).integers(0, 65_536, (HEIGHT, WIDTH, channels)).astype(np.uint16)
    extra = {"extrasamples": ["unassalpha"]} if channels == 4 else {}
    photometric = "minisblack" if channels == 1 else "rgb"
    stored = values[..., 0] if channels == 1 else values
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric=photometric, byteorder=byteorder, **options, **extra)
    picture = read_image(tmp_path / "a.tif")
    np.testing.assert_array_equal(picture.pixels, np.broadcast_to(values[..., :3], (HEIGHT, WIDTH, 3)))
    if channels == 4:
        np.testing.assert_array_equal(picture.alpha, values[..., 3])


def test_deep_tiff_where_white_is_zero(tmp_path):
    values = make_picture(np.uint16)[..., 0]
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="miniswhite")
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif").pixels[..., 1], 65_535 - values)


def test_deep_colour_with_a_foreign_profile_is_converted_at_eight_bits(tmp_path):
    data = encode_png16(make_picture(np.uint16), profile=swapped_profile())
    (tmp_path / "a.png").write_bytes(data)
    picture = read_image(tmp_path / "a.png")
    assert picture.pixels.dtype == np.uint8
    assert picture.notes == ("converted to sRGB at 8 bits",)
    np.testing.assert_allclose(picture.pixels.astype(int), make_picture()[..., ::-1], atol=2)


def test_deep_planes_are_refused(tmp_path):
    planes = np.moveaxis(make_picture(np.uint16), 2, 0)
    tifffile.imwrite(tmp_path / "a.tif", planes, photometric="rgb", planarconfig="separate")
    with pytest.raises(ImageError, match=r"a\.tif stores 16-bit colour in separate planes"):
        read_image(tmp_path / "a.tif")


def test_of_an_animation_the_first_frame_is_read(tmp_path):
    frames = [Image.fromarray(make_picture()[..., 0] // 64 * 80 + shade) for shade in (0, 5, 9)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    picture = read_image(tmp_path / "a.gif")
    assert picture.notes == ("first of 3 frames",)
    np.testing.assert_array_equal(picture.pixels[..., 0], np.asarray(frames[0]))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"is empty \(0 bytes\)"),
        (b"just some text", "is not a picture jnst can read; it reads PNG, JPEG"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "is not a picture"),
        (png(8, 2, b""), "is damaged or cut off"),
    ],
)
def test_what_is_not_a_picture_is_named(tmp_path, content, message):
    (tmp_path / "a.jpg").write_bytes(content)
    with pytest.raises(ImageError, match=message):
        read_image(tmp_path / "a.jpg")


def test_missing_files_and_folders_are_named(tmp_path):
    with pytest.raises(ImageError, match=r"there is no picture at .*nowhere"):
        read_image(tmp_path / "nowhere.png")
    with pytest.raises(ImageError, match="is a folder; expected a picture"):
        read_image(tmp_path)
    with pytest.raises(ImageError, match="there is no picture"):
        read_metadata(tmp_path / "nowhere.png")


def test_floating_point_pictures_are_refused(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((HEIGHT, WIDTH), np.float32))
    with pytest.raises(ImageError, match=r"pixels of kind 'F', which is not supported; supported are grey, RGB"):
        read_image(tmp_path / "a.tif")


def test_the_limit_on_pixels(tmp_path, monkeypatch):
    (tmp_path / "bomb.png").write_bytes(png(8, 2, b"", size=(30_000, 20_000)))
    with pytest.raises(ImageError, match=r"30000 × 20000 = 600,000,000 pixels, above the limit of .*--allow-large"):
        read_image(tmp_path / "bomb.png")
    path = save(tmp_path / "a.png", make_picture())
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(ImageError, match="above the limit of 100 "):
        read_image(path)
    np.testing.assert_array_equal(read_image(path, allow_large=True).pixels, make_picture())
    assert Image.MAX_IMAGE_PIXELS == 100


def read_here(path):
    """`read_image`, and libtiff in this very process: for files by the hundred."""
    return decode_picture(path, read_bytes(path), isolated=True)


def encoded(form, **options):
    buffer = io.BytesIO()
    Image.fromarray(make_picture()).save(buffer, form, **options)
    return buffer.getvalue()


def encoded_deep_tiff():
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, make_picture(np.uint16), photometric="rgb", compression="zlib")
    return buffer.getvalue()


@pytest.mark.parametrize(
    "data",
    [
        encoded("PNG"),
        encoded("JPEG"),
        encoded("JPEG", progressive=True),
        encoded("WEBP"),
        encoded("TIFF"),
        encoded("TIFF", compression="tiff_lzw"),
        encode_png16(make_picture(np.uint16)),
        encoded_deep_tiff(),
    ],
    ids=["png", "jpeg", "progressive", "webp", "tiff", "lzw", "png16", "tiff16"],
)
def test_a_file_cut_off_anywhere_is_an_image_error(tmp_path, data):
    path = tmp_path / "a.png"
    path.write_bytes(data)
    assert read_image(path).pixels.shape == (HEIGHT, WIDTH, 3)
    for length in [*range(0, len(data), 5), *range(len(data) - 6, len(data))]:
        path.write_bytes(data[:length])
        with pytest.raises(ImageError, match=r"a\.png is (damaged|empty|not a picture)"):
            read_here(path)


def test_a_changed_byte_never_ends_in_another_error(tmp_path):
    rng = np.random.default_rng(0)
    path = tmp_path / "a.png"
    for data in (encoded("PNG"), encoded("JPEG"), encoded("TIFF"), encoded("GIF"), encoded_deep_tiff()):
        for _ in range(60):
            changed = bytearray(data)
            changed[rng.integers(len(data))] = rng.integers(256)
            path.write_bytes(changed)
            try:
                read_here(path)
            except ImageError:
                continue


# Numbers


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("rounding", ["round", "truncate"])
def test_every_level_survives_quantising(bits, rounding):
    dtype = np.uint8 if bits == 8 else np.uint16
    top = np.iinfo(dtype).max
    levels = np.arange(top + 1)
    for unit in (levels.astype(np.float32) / np.float32(top), levels.astype(np.float32) * np.float32(1 / top)):
        np.testing.assert_array_equal(quantize(unit, rounding, bits), levels.astype(dtype))


def test_rounding_and_truncation_and_clipping():
    image = np.array([-0.5, 99.4 / 255, 99.6 / 255, 99.999 / 255, 2.0, np.inf, -np.inf])
    np.testing.assert_array_equal(quantize(image), [0, 99, 100, 100, 255, 255, 0])
    np.testing.assert_array_equal(quantize(image, "truncate"), [0, 99, 99, 99, 255, 255, 0])


def test_whole_numbers_change_depth():
    np.testing.assert_array_equal(quantize(np.array([0, 1, 255], np.uint8), bits=16), [0, 257, 65_535])
    np.testing.assert_array_equal(quantize(np.array([0, 257, 65_535], np.uint16), "truncate"), [0, 1, 255])


def test_numbers_that_are_no_picture_are_refused():
    with pytest.raises(ImageError, match="not finite"):
        quantize(np.array([0.5, np.nan]))
    with pytest.raises(ImageError, match="picture holds int64"):
        quantize(np.array([1, 2]))


# Writing


METADATA = {"config": {"preset": "gordic", "steps": 3}, "title": "naïve 日本", "loss": 0.25}


@pytest.mark.parametrize("name", ["a.png", "a.JPG", "a.jpeg", "a.webp", "a.avif", "a.tif", "a.tiff"])
def test_written_pictures_come_back_with_profile_and_metadata(tmp_path, name):
    path = tmp_path / name
    write_image(path, make_picture() / np.float32(255), metadata=METADATA)
    picture = read_image(path)
    np.testing.assert_allclose(picture.pixels.astype(int), make_picture(), atol=12 if ".webp" in name else 4)
    if name.startswith(("a.png", "a.tif")):
        np.testing.assert_array_equal(picture.pixels, make_picture())
    assert picture.notes == ()
    assert read_metadata(path) == METADATA
    with Image.open(path) as image:
        assert image.info["icc_profile"] == srgb_profile()
    assert [entry.name for entry in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_sixteen_bits_are_written(tmp_path, name):
    pixels = np.random.default_rng(0).integers(0, 65_536, (HEIGHT, WIDTH, 4)).astype(np.uint16)
    path = tmp_path / name
    unit = pixels / 65_535
    write_image(path, unit[..., :3], alpha=unit[..., 3], metadata=METADATA, bits=16)
    picture = read_image(path)
    np.testing.assert_array_equal(picture.pixels, pixels[..., :3])
    np.testing.assert_array_equal(picture.alpha, pixels[..., 3])
    assert read_metadata(path) == METADATA
    with Image.open(path) as image:
        assert image.info["icc_profile"] == srgb_profile()


def test_equal_pictures_make_equal_files(tmp_path):
    for name in ("a.png", "b.png"):
        write_image(tmp_path / name, make_picture(), metadata=METADATA)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_jpeg_keeps_colour_at_full_resolution_and_lays_alpha_on_white(tmp_path):
    alpha = np.zeros((HEIGHT, WIDTH), np.uint8)
    alpha[:8] = 255
    write_image(tmp_path / "a.jpg", make_picture(), alpha=alpha)
    with Image.open(tmp_path / "a.jpg") as image:
        assert {layer[1:3] for layer in image.layer} == {(1, 1)}  # pyright: ignore[reportAttributeAccessIssue]
    assert read_image(tmp_path / "a.jpg").pixels[10:].min() >= 250


def test_noise_fits_into_a_jpeg_of_full_quality(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (400, 600, 3), dtype=np.uint8)
    write_image(tmp_path / "a.jpg", noise, quality=100, metadata={"long": "y" * 59_000})
    np.testing.assert_allclose(read_image(tmp_path / "a.jpg").pixels.astype(int), noise, atol=6)


@pytest.mark.parametrize("name", ["a.png", "a.webp", "a.tif"])
def test_alpha_is_written_where_the_format_can(tmp_path, name):
    alpha = make_picture()[..., 0]
    write_image(tmp_path / name, make_picture(), alpha=alpha, quality=100)
    picture = read_image(tmp_path / name)
    np.testing.assert_array_equal(picture.alpha, alpha)
    np.testing.assert_array_equal(picture.pixels, make_picture())


def test_avif_keeps_alpha_and_ends_where_it_can_be_read_again(tmp_path):
    alpha = np.zeros((HEIGHT, WIDTH), np.uint8)
    alpha[:8] = 255
    write_image(tmp_path / "a.avif", make_picture(), alpha=alpha, quality=100)
    picture = read_image(tmp_path / "a.avif")
    np.testing.assert_array_equal(picture.alpha, alpha)
    np.testing.assert_allclose(picture.pixels[:8].astype(int), make_picture()[:8], atol=3)
    long = np.zeros((16, 32_768, 3), np.uint8)
    write_image(tmp_path / "long.avif", long)
    assert read_image(tmp_path / "long.avif").pixels.shape == long.shape


def test_avif_without_its_encoder_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr("jnst.images.encoding.features.check", lambda name: False)
    with pytest.raises(ImageError, match=r"AVIF needs Pillow 11\.3 or later: pip install -U pillow"):
        check_writable(tmp_path / "a.avif")


def test_other_forms_of_pictures_are_written_with_their_alpha(tmp_path):
    rgba = make_picture(channels=4)
    write_image(tmp_path / "a.png", Image.fromarray(rgba))
    picture = read_image(tmp_path / "a.png")
    write_image(tmp_path / "b.png", picture)
    for again in (picture, read_image(tmp_path / "b.png")):
        np.testing.assert_array_equal(again.pixels, rgba[..., :3])
        np.testing.assert_array_equal(again.alpha, rgba[..., 3])


def test_metadata_too_long_for_the_format_is_left_out(tmp_path):
    long = {"trace": list(range(20_000))}
    write_image(tmp_path / "a.jpg", make_picture(), metadata=long)
    assert read_metadata(tmp_path / "a.jpg") is None
    write_image(tmp_path / "a.png", make_picture(), metadata=long)
    assert read_metadata(tmp_path / "a.png") == long
    write_image(tmp_path / "b.png", make_picture(), metadata={"trace": "x" * 1_100_000})
    assert read_metadata(tmp_path / "b.png") is None
    np.testing.assert_array_equal(read_image(tmp_path / "b.png").pixels, make_picture())


def test_foreign_metadata_is_none(tmp_path):
    assert read_metadata(save(tmp_path / "a.png", make_picture())) is None
    exif = Image.Exif()
    exif[0x8769] = {0x9286: b"ASCII\0\0\0taken at noon"}
    assert read_metadata(save(tmp_path / "a.jpg", make_picture(), exif=exif)) is None
    tifffile.imwrite(tmp_path / "a.tif", make_picture(), photometric="rgb", description='{"jnst": 3}')
    assert read_metadata(tmp_path / "a.tif") is None


def test_existing_files_are_kept_unless_told_otherwise(tmp_path):
    path = tmp_path / "a.png"
    write_image(path, make_picture())
    before = path.read_bytes()
    with pytest.raises(ImageError, match="exists already; choose another name or pass --overwrite"):
        write_image(path, 255 - make_picture())
    assert path.read_bytes() == before
    write_image(path, 255 - make_picture(), overwrite=True)
    np.testing.assert_array_equal(read_image(path).pixels, 255 - make_picture())


def test_permissions_follow_the_umask_and_links_are_written_through(tmp_path):
    previous = os.umask(0o027)
    try:
        write_image(tmp_path / "a.png", make_picture())
    finally:
        os.umask(previous)
    assert (tmp_path / "a.png").stat().st_mode & 0o777 == 0o640
    (tmp_path / "link.png").symlink_to(tmp_path / "a.png")
    write_image(tmp_path / "link.png", 255 - make_picture(), overwrite=True)
    assert (tmp_path / "link.png").is_symlink()
    np.testing.assert_array_equal(read_image(tmp_path / "a.png").pixels, 255 - make_picture())


@pytest.mark.parametrize("failure", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
def test_a_failed_write_leaves_what_was_there(tmp_path, monkeypatch, failure):
    path = tmp_path / "a.png"
    write_image(path, make_picture())

    def fail(descriptor):
        raise failure

    monkeypatch.setattr(files.os, "fsync", fail)
    expected = KeyboardInterrupt if isinstance(failure, KeyboardInterrupt) else ImageError
    with pytest.raises(expected):
        write_image(path, 255 - make_picture(), overwrite=True)
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.png"]
    np.testing.assert_array_equal(read_image(path).pixels, make_picture())


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("a.pgn", {}, "unknown picture format '.pgn'; did you mean '.png'"),
        ("a.docx", {}, "known are: .png, .jpg, .jpeg, .webp, .tif, .tiff, .avif"),
        ("noun", {}, "cannot tell the format of .*noun by its suffix: known are"),
        ("missing/a.png", {}, "missing does not exist; make it first"),
        ("file.txt/a.png", {}, r"file\.txt is not a folder"),
        ("folder.png", {}, "is a folder"),
        ("old.png", {}, "exists already"),
        ("a.jpg", {"bits": 16}, "JPEG holds 8 bits per channel; 16 need .png or .tiff"),
        ("a.webp", {"size": (100, 20_000)}, "WEBP ends at 16383 pixels a side"),
        ("a.avif", {"size": (100, 40_000)}, "AVIF ends at 32768 pixels a side"),
        ("a.avif", {"bits": 16}, "AVIF holds 8 bits per channel; 16 need .png or .tiff"),
    ],
)
def test_outputs_that_cannot_be_written_are_found_beforehand(tmp_path, name, options, message):
    (tmp_path / "file.txt").write_text("x")
    (tmp_path / "old.png").write_text("x")
    (tmp_path / "folder.png").mkdir()
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ImageError, match=message):
        check_writable(tmp_path / name, **options)
    check_writable(tmp_path / "old.png", overwrite=True)
    check_writable(tmp_path / "new.jpg", size=(65_000, 1))
    assert sorted(tmp_path.rglob("*")) == before


def test_an_unwritable_folder_is_found_beforehand(tmp_path, monkeypatch):
    def refuse(*_):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(files.os, "open", refuse)
    with pytest.raises(ImageError, match=r"cannot write .*a\.png: Permission denied"):
        check_writable(tmp_path / "a.png")


def test_shapes_that_do_not_fit_are_named(tmp_path):
    with pytest.raises(ImageError, match=r"shape \(13, 17\); expected height × width × 3"):
        write_image(tmp_path / "a.png", make_picture()[..., 0])
    with pytest.raises(ImageError, match=r"alpha has shape \(2, 2\); expected \(13, 17\)"):
        write_image(tmp_path / "a.png", make_picture(), alpha=np.zeros((2, 2)))
    assert not list(tmp_path.iterdir())


# Sheets


def test_montage_puts_pictures_side_by_side_on_white():
    black, red = np.zeros((10, 20, 3)), np.zeros((30, 30, 3))
    red[..., 0] = 1
    sheet = montage([black, red], height=60)
    # Gaps of 6; the first is scaled to 120 × 60, the second to 60 × 60.
    assert sheet.shape == (60 + 12, 120 + 60 + 18, 3)
    np.testing.assert_array_equal(sheet[6:66, 6:126], 0)
    np.testing.assert_array_equal(sheet[6:66, 132:192], np.broadcast_to([255, 0, 0], (60, 60, 3)))
    np.testing.assert_array_equal(sheet[:, :6], 255)


def test_montage_labels_stay_within_their_column():
    pictures = [np.zeros((40, 40, 3)), np.zeros((40, 40, 3))]
    plain = montage(pictures, height=40)
    labelled = montage(pictures, labels=["content", "a label far too long for forty pixels"], height=40)
    below = labelled[plain.shape[0] - 6 :]
    assert below.min() < 128
    np.testing.assert_array_equal(below[:, :3], 255)
    np.testing.assert_array_equal(below[:, -3:], 255)


def test_montage_columns():
    pictures = [np.zeros((10, 10, 3))] * 6
    assert montage(pictures, height=20).shape == (2 * 20 + 3 * 6, 3 * 20 + 4 * 6, 3)
    assert montage(pictures, height=20, columns=2).shape == (3 * 20 + 4 * 6, 2 * 20 + 3 * 6, 3)
    with pytest.raises(ImageError, match="a sheet of 6 pictures with 1 labels"):
        montage(pictures, labels=["one"])
    with pytest.raises(ImageError, match="a sheet of 0 pictures"):
        montage([])


def test_paths_may_be_text(tmp_path):
    path = str(Path(tmp_path) / "a.png")
    write_image(path, make_picture())
    assert read_image(path).format == "PNG"


@pytest.mark.parametrize(
    "options",
    [
        {"rounding": "up"},
        {"quality": 0},
        {"quality": 101},
        {"quality": "90"},
        {"quality": True},
        {"bits": 12},
        {"bits": "8"},
        {"metadata": {"a": np.float32(1)}},
        {"metadata": {"a": {1}}},
    ],
)
def test_options_that_there_are_not_are_refused(tmp_path, options):
    with pytest.raises(ConfigError, match=next(iter(options))):
        write_image(tmp_path / "a.png", np.zeros((4, 4, 3)), **options)
    assert not list(tmp_path.iterdir())


def test_quality_is_a_whole_number_of_any_type(tmp_path):
    write_image(tmp_path / "a.jpg", np.zeros((4, 4, 3)), quality=np.int64(90))
