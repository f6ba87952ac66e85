"""Pictures that viewers show are read, what is damaged is called damaged, and reading costs little memory."""

import contextlib
import io
import random
import struct
import sys
import zlib

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms, ImageDraw

from jnst.errors import ImageError
from jnst.images import libtiff, tiff_process
from jnst.images.libtiff import check_sums
from jnst.images.profiles import srgb_profile
from jnst.images.reading import decode_picture, read_image

PICTURE = np.random.default_rng(0).integers(0, 256, (13, 17, 3)).astype(np.uint8)


def encode(form, pixels=PICTURE, **options):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, form, **options)
    return buffer.getvalue()


def chunk(name, content, checksum=None):
    found = zlib.crc32(name + content) if checksum is None else checksum
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", found)


def insert(png, *chunks):
    """Chunks behind the header, which is 33 bytes long with the signature."""
    return png[:33] + b"".join(chunks) + png[33:]


def iccp(kind):
    """A profile that is not sRGB's, of that class."""
    profile = bytearray(srgb_profile())
    profile[12:16], profile[24:36] = kind, bytes(12)
    return chunk(b"iCCP", b"name\0\0" + zlib.compress(bytes(profile)))


PNG = encode("PNG")
# Those of BT.2020.
WIDE = (31270, 32900, 70800, 29200, 17000, 79700, 13100, 4600)


@pytest.mark.parametrize(
    ("data", "note"),
    [
        (PNG + b"rubbish", ""),
        (PNG + PNG, ""),
        (PNG + bytes(200_000), ""),
        (insert(PNG, chunk(b"iCCP", b"")), "colour profile ignored"),
        (insert(PNG, chunk(b"iCCP", b"name\0\0")), "colour profile ignored"),
        (insert(PNG, chunk(b"iCCP", b"name\0\0" + zlib.compress(b""))), "colour profile ignored"),
        (insert(PNG, chunk(b"iCCP", b"name\0\0" + zlib.compress(srgb_profile()), 7)), "colour profile ignored"),
        (insert(PNG, chunk(b"tEXt", b"Comment\0hello", 7)), "damaged tEXt left out"),
        (insert(PNG, chunk(b"tEXt", b"Comment\0hello", 7)) + b"more", "damaged tEXt left out"),
        (insert(PNG, chunk(b"zTXt", b"Comment\0\0nonsense")), "damaged zTXt left out"),
        (insert(PNG, chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(1 << 26)))), "damaged zTXt left out"),
        (insert(PNG, chunk(b"iTXt", b"Comment\0\1\0\0\0" + zlib.compress(bytes(1 << 24)))), "left out"),
        (insert(PNG, chunk(b"gAMA", b"\0")), "left out"),
        (insert(PNG, chunk(b"pHYs", b"\0")), "left out"),
        (insert(PNG, chunk(b"cHRM", b"123")), "left out"),
        (insert(PNG, chunk(b"eXIf", b"MM")), ""),
        (insert(PNG, chunk(b"gAMA", struct.pack(">I", 100_000))), "its gamma of 1 (gAMA) is ignored"),
        (insert(PNG, chunk(b"gAMA", struct.pack(">I", 45_455))), ""),
        (insert(PNG, chunk(b"gAMA", struct.pack(">I", 100_000)), chunk(b"sRGB", b"\0")), ""),
        (insert(PNG, chunk(b"cHRM", struct.pack(">8I", *WIDE))), "its primaries (cHRM) are ignored"),
        (insert(PNG, chunk(b"cICP", b"\x09\x10\0\1")), "its colour space (cICP) is ignored"),
        (insert(PNG, chunk(b"cICP", b"\x01\x0d\0\1"), chunk(b"gAMA", struct.pack(">I", 100_000))), ""),
        (insert(PNG, iccp(b"link")), "colour profile ignored (it is of class 'link', which describes no picture)"),
        (insert(PNG, iccp(b"nmcl")), "colour profile ignored (it is of class 'nmcl', which describes no picture)"),
    ],
    ids=str,
)
def test_a_png_is_read_whatever_stands_beside_its_picture(data, note, tmp_path):
    (tmp_path / "a.png").write_bytes(data)
    picture = read_image(tmp_path / "a.png")
    np.testing.assert_array_equal(picture.pixels, PICTURE)
    assert note in " ".join(picture.notes)
    assert len(picture.notes) == bool(note)


def test_every_one_of_a_pngs_small_chunks_may_be_damaged(tmp_path):
    """Seeded: any chunk that the picture can do without, with any content and checksum."""
    chance = random.Random(0)
    names = (b"iCCP", b"tEXt", b"zTXt", b"iTXt", b"gAMA", b"cHRM", b"sRGB", b"pHYs", b"eXIf", b"tIME", b"bKGD", b"teSt")
    for _ in range(300):
        content = chance.choice((b"", b"a\0", b"name\0\0")) + chance.randbytes(chance.randrange(40))
        extra = chunk(chance.choice(names), content, chance.choice((None, 0)))
        (tmp_path / "a.png").write_bytes(insert(PNG, extra))
        np.testing.assert_array_equal(read_image(tmp_path / "a.png").pixels, PICTURE)


def test_a_png_whose_picture_is_damaged_is_refused(tmp_path):
    place = PNG.index(b"IDAT") + 30
    for data in (
        PNG[:place] + bytes([PNG[place] ^ 1]) + PNG[place + 1 :],
        PNG[:20] + b"\1" + PNG[21:],
        PNG[:-12],
        PNG[:-12] + b"rubbish",
    ):
        (tmp_path / "a.png").write_bytes(data)
        with pytest.raises(ImageError, match=r"a\.png is damaged or cut off"):
            read_image(tmp_path / "a.png")


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "GIF", "TIFF", "AVIF"])
def test_a_known_beginning_with_a_broken_header_is_called_damaged(form, tmp_path):
    data = encode(form)
    for kept in (12, 16, 20):
        (tmp_path / "a").write_bytes(data[:kept] + b"\xff" * 60)
        with pytest.raises(ImageError, match="a is damaged"):
            read_image(tmp_path / "a")


def grey_profile():
    """A grey profile with the curve of sRGB, darkened: its table of tags names a gamma of 2.2 for the sRGB curve."""
    profile = bytearray(srgb_profile())
    profile[16:20] = b"GRAY"
    return bytes(profile).replace(b"gTRC", b"kTRC", 1)


def test_grey_of_sixteen_bits_honours_its_profile(tmp_path):
    """The same grey levels, stored at 8 and at 16 bits, come out as the same colours."""
    levels = np.linspace(0, 255, 13 * 17).reshape(13, 17).astype(np.uint8)
    profile = bytes(ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes())
    for name, icc in (("grey", grey_profile()), ("lab", profile)):
        shallow, deep = tmp_path / f"{name}8.png", tmp_path / f"{name}16.png"
        Image.fromarray(levels).save(shallow, icc_profile=icc)
        Image.fromarray(levels.astype(np.uint16) * 257).save(deep, icc_profile=icc)
        found, expected = read_image(deep), read_image(shallow)
        if name == "grey":
            assert found.notes == ("converted to sRGB at 8 bits",)
            np.testing.assert_array_equal(found.pixels, expected.pixels)
        else:
            assert "colour profile ignored (it is for Lab" in found.notes[0]
            assert "colour profile ignored (it is for Lab" in expected.notes[0]
            assert found.pixels.dtype == np.uint16


@pytest.mark.parametrize("name", ["grey.png", "alpha.png", "grey.tif", "big-endian.tif", "packed.tif"])
def test_every_kind_of_deep_grey_honours_its_profile(name, tmp_path):
    """A grey profile of gamma one: a level of a half is much lighter in sRGB."""
    levels = np.tile(np.linspace(0, 65_535, 17).astype(np.uint16), (13, 1))
    profile = linear_grey_profile()
    path = tmp_path / name
    if name.endswith(".png"):
        samples = np.stack([levels, np.full_like(levels, 65_535)], axis=-1) if name == "alpha.png" else levels
        path.write_bytes(deep_png(samples, profile))
    else:
        order, compression = ">" if name == "big-endian.tif" else "<", "zlib" if name == "packed.tif" else None
        tifffile.imwrite(
            path, levels, photometric="minisblack", byteorder=order, compression=compression, iccprofile=profile
        )
    picture = read_image(path)
    linear = levels / 65_535
    expected = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * np.maximum(linear, 1e-9) ** (1 / 2.4) - 0.055)
    np.testing.assert_allclose(
        picture.pixels / np.iinfo(picture.pixels.dtype).max, expected[..., None] * np.ones(3), atol=0.012
    )
    assert not any("ignored" in note for note in picture.notes)
    ignored = read_image(path, color_profile="ignore")
    np.testing.assert_array_equal(ignored.pixels, np.repeat(levels[..., None], 3, axis=2))
    assert "as the setting color_profile asks" in " ".join(ignored.notes)


def linear_grey_profile():
    """A grey profile whose curve is the identity, written by hand (ICC.1:2010: header, table of tags, three tags)."""
    white = b"XYZ \0\0\0\0" + struct.pack(">iii", *(round(value * 65536) for value in (0.9642, 1.0, 0.8249)))
    curve = b"curv\0\0\0\0" + struct.pack(">I", 0)
    text = b"desc\0\0\0\0" + struct.pack(">I", 7) + b"linear\0" + bytes(79)
    tags, start, table, body = [(b"wtpt", white), (b"kTRC", curve), (b"desc", text)], 128 + 4 + 36, b"", b""
    for name, content in tags:
        content += bytes(-len(content) % 4)
        table += name + struct.pack(">II", start + len(body), len(content))
        body += content
    size = start + len(body)
    header = struct.pack(">I", size) + bytes(4) + b"\x02\x10\0\0" + b"mntrGRAYXYZ " + bytes(12) + b"acsp"
    header += bytes(28) + struct.pack(">iii", *(round(value * 65536) for value in (0.9642, 1.0, 0.8249))) + bytes(48)
    return header + struct.pack(">I", len(tags)) + table + body


def deep_png(samples, profile):
    """A PNG of 16 bits: grey, or grey and alpha where the samples have two channels."""
    header = struct.pack(">IIBBBBB", samples.shape[1], samples.shape[0], 16, 4 if samples.ndim == 3 else 0, 0, 0, 0)
    raw = b"".join(b"\0" + row.astype(">u2").tobytes() for row in samples)
    parts = (
        (b"IHDR", header),
        (b"iCCP", b"linear\0\0" + zlib.compress(profile)),
        (b"IDAT", zlib.compress(raw)),
        (b"IEND", b""),
    )
    return PNG[:8] + b"".join(chunk(*part) for part in parts)


def write_fax(path, compression, options):
    page = Image.new("1", (300, 200), 1)
    draw = ImageDraw.Draw(page)
    draw.text((20, 20), "hello", fill=0)
    draw.ellipse((50, 50, 200, 150), outline=0)
    page.save(path, compression=compression, tiffinfo=options)
    with Image.open(path) as image:
        return image.tag_v2[273][0], image.tag_v2[279][0]


@pytest.mark.parametrize(
    ("compression", "options"),
    [("group4", {}), ("group3", {}), ("group3", {292: 1}), ("group3", {292: 4}), ("tiff_ccitt", {})],
)
def test_a_damaged_fax_page_says_so_and_nothing_reaches_the_terminal(compression, options, tmp_path, capfd):
    """In one dimension, in two, with lines that end on bytes, and without ends of lines."""
    path = tmp_path / "fax.tif"
    start, size = write_fax(path, compression, options)
    data = bytearray(path.read_bytes())
    assert read_image(path).notes == ()
    data[start + size // 4 : start + size // 2] = random.Random(1).randbytes(size // 2 - size // 4)
    path.write_bytes(data)
    picture = read_image(path)
    assert picture.pixels.shape == (200, 300, 3)
    assert picture.notes[0].startswith("it is damaged (Fax")
    assert picture.notes[0].endswith("what could be decoded is kept")
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("tile", [None, (32, 32)], ids=["strips", "tiles"])
def test_deflated_data_that_does_not_fit_its_checksum_is_damaged(tile, tmp_path):
    """libtiff has all samples by then, and does not look at the checksum of each strip or tile."""
    pixels, path = np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8) // 8 * 8, tmp_path / "a.tif"
    tifffile.imwrite(path, pixels, compression="zlib", photometric="rgb", tile=tile)
    np.testing.assert_array_equal(read_image(path).pixels, pixels)
    sound = path.read_bytes()
    for place in (len(sound) // 3, len(sound) // 2):
        path.write_bytes(sound[:place] + bytes(16) + sound[place + 16 :])
        with pytest.raises(ImageError, match=r"a\.tif is damaged or cut off"):
            read_image(path)
    with Image.open(path) as image, pytest.raises(ValueError, match="deflated data: "):
        check_sums(image, path.read_bytes())


def test_damage_in_the_jpeg_of_a_tiff_says_so(tmp_path):
    path = tmp_path / "a.tif"
    pixels = np.random.default_rng(0).integers(0, 256, (60, 80, 3)).astype(np.uint8)
    data = bytearray(encode("TIFF", pixels, compression="jpeg"))
    place = data.index(b"\xff\xda") + 400
    data[place : place + 9] = random.Random(1).randbytes(9)
    path.write_bytes(data)
    assert read_image(path).notes[0].startswith("it is damaged (JPEGLib: Corrupt JPEG data")


def test_where_libtiff_cannot_be_called_a_fax_page_is_read_with_a_note(tmp_path, monkeypatch):
    path = tmp_path / "fax.tif"
    write_fax(path, "group3", {})
    monkeypatch.setattr(libtiff, "_libtiff", lambda: None)
    picture = decode_picture(path, path.read_bytes(), isolated=True)
    assert picture.notes == ("whether it is damaged cannot be told on this machine",)


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg"])
def test_libtiff_is_silent_whatever_the_damage(compression, tmp_path, capfd):
    data, chance = encode("TIFF", compression=compression), random.Random(0)
    for _ in range(6):
        changed = bytearray(data)
        for _ in range(4):
            changed[chance.randrange(8, len(changed))] = chance.randrange(256)
        (tmp_path / "a.tif").write_bytes(changed)
        with contextlib.suppress(ImageError):
            read_image(tmp_path / "a.tif")
    assert capfd.readouterr() == ("", "")


def test_a_tiff_that_never_ends_is_given_up(tmp_path, monkeypatch):
    (tmp_path / "a.tif").write_bytes(encode("TIFF", compression="tiff_lzw"))
    monkeypatch.setattr(tiff_process, "TIME_LIMIT", 0.01)
    with pytest.raises(ImageError, match=r"a\.tif is damaged: the TIFF library had not decoded it after 0 seconds"):
        read_image(tmp_path / "a.tif")


def test_a_tiff_that_crashes_its_library_is_damaged(tmp_path, monkeypatch):
    (tmp_path / "a.tif").write_bytes(encode("TIFF", compression="tiff_lzw"))
    monkeypatch.setattr(tiff_process.sys, "executable", "/bin/false")
    with pytest.raises(ImageError, match=r"a\.tif is damaged: the TIFF library fails in it \(exit code 1\)"):
        read_image(tmp_path / "a.tif")


@pytest.mark.parametrize(
    ("dtype", "channels", "message"),
    [
        ("f4", 3, "holds pixels of a kind that is not supported; save it as 8 or 16 bits"),
        ("f2", 3, "holds pixels of a kind that is not supported"),
        ("f8", 1, "holds pixels of a kind that is not supported"),
        ("u4", 3, "holds pixels of a kind that is not supported"),
        ("f4", 1, "holds pixels of kind 'F', which is not supported"),
        ("i1", 1, "stores signed numbers of 8 bits, which is not supported"),
        ("i2", 1, "holds grey levels from -"),
        ("i4", 1, "holds grey levels from -"),
    ],
)
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_tiff_of_numbers_that_are_no_colours_is_refused_as_that(dtype, channels, message, compression, tmp_path):
    """Neither called damaged nor read as something else."""
    values = np.linspace(-100, 100, 12 * 9 * channels).reshape(12, 9, channels).astype(dtype)
    kind = "rgb" if channels == 3 else "minisblack"
    tifffile.imwrite(tmp_path / "a.tif", values.squeeze(), photometric=kind, compression=compression)
    with pytest.raises(ImageError, match=f"a.tif {message}"):
        read_image(tmp_path / "a.tif")


def test_a_busy_machine_makes_no_tiff_damaged(tmp_path, monkeypatch):
    """Processor time counts, not the clock."""
    (tmp_path / "a.tif").write_bytes(encode("TIFF", compression="tiff_lzw"))
    monkeypatch.setattr(tiff_process, "TIME_LIMIT", 2.0)
    slow = tmp_path / "slow"
    slow.write_text(f'#!/bin/sh\nsleep 2.5\nexec {sys.executable} "$@"\n')
    slow.chmod(0o755)
    monkeypatch.setattr(tiff_process.sys, "executable", str(slow))
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif").pixels, PICTURE)
