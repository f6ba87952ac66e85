"""Reading takes little memory, whatever the kind of picture; and what is decoded piece by piece is right."""

import io
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from jnst.errors import ImageError
from jnst.images import avif, libtiff, png_16bit_reader, samples_16bit, webp
from jnst.images.png_16bit_writer import encode_chunk
from jnst.images.profiles import srgb_profile
from jnst.images.reading import read_image

ROOT = Path(__file__).parents[2]
CHANNELS = {0: 1, 2: 3, 4: 2, 6: 4}
PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))

MEASURE = """
import os, sys, threading, time
from jnst.images.reading import read_image
def memory(pid, field):
    try:
        lines = open(f"/proc/{pid}/status").read().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith(field)), 0)
def watch():
    while True:
        children = open(f"/proc/self/task/{os.getpid()}/children").read().split()
        peak.append(sum(memory(pid, "VmRSS") for pid in ("self", *children)))
        time.sleep(0.001)
read_image(sys.argv[1])
before, peak = memory("self", "VmRSS"), []
threading.Thread(target=watch, daemon=True).start()
picture = read_image(sys.argv[2], allow_large=True)
print((max(*peak, memory("self", "VmHWM")) - before) * 1024)
"""


def pillow(mode, form, **options):
    """A maker of files of any size."""

    def make(width, height):
        buffer = io.BytesIO()
        Image.new(mode, (width, height)).save(buffer, form, **options)
        return buffer.getvalue()

    return make


def turned():
    exif = Image.Exif()
    exif[274] = 6
    return exif


def animation(form):
    def make(width, height):
        buffer, frames = io.BytesIO(), [Image.new("RGB", (width, height), colour) for colour in ("red", "blue")]
        frames[0].save(buffer, form, save_all=True, append_images=frames[1:])
        return buffer.getvalue()

    return make


def encode_png(values, kind, interlace, chunks=(), chance=None):
    """A PNG file of 16 bits a channel by the specification, with the five filters in turn; slow."""
    height, width, channels = values.shape
    raw = b""
    for left, top, across, down in PASSES if interlace else ((0, 0, 1, 1),):
        rows = values[top::down, left::across].astype(">u2")
        if rows.size:
            raw += b"".join(filter_rows(rows.reshape(len(rows), -1).view(np.uint8), 2 * channels))
    header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes((16, kind, 0, 0, interlace))
    data = zlib.compress(raw)
    parts = [data[start : start + 1000] for start in range(0, len(data), 1000)]
    chunks = [(b"IHDR", header), *chunks, *((b"IDAT", part) for part in parts), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(encode_chunk(*chunk) for chunk in chunks)


def filter_rows(rows, distance):
    above = np.zeros(rows.shape[1], int)
    for number, row in enumerate(rows.astype(int)):
        left, corner = np.roll(row, distance), np.roll(above, distance)
        left[:distance] = corner[:distance] = 0
        guess = left + above - corner
        gaps = np.abs(np.stack([guess - left, guess - above, guess - corner]))
        nearest = np.choose(np.argmin(gaps, axis=0), [left, above, corner])
        predicted = (np.zeros_like(row), left, above, (left + above) // 2, nearest)[number % 5]
        yield bytes([number % 5]) + ((row - predicted) % 256).astype(np.uint8).tobytes()
        above = row


def deep_png(kind, interlace=0, chunks=()):
    """Files of any size, black, with the filter "up"."""

    def make(width, height):
        raw = b""
        for left, top, across, down in PASSES if interlace else ((0, 0, 1, 1),):
            line = bytes(2 * CHANNELS[kind] * max(0, -(-(width - left) // across)))
            raw += (b"\2" + line) * max(0, -(-(height - top) // down)) if line else b""
        header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes((16, kind, 0, 0, interlace))
        parts = [(b"IHDR", header), *chunks, (b"IDAT", zlib.compress(raw)), (b"IEND", b"")]
        return b"\x89PNG\r\n\x1a\n" + b"".join(encode_chunk(*part) for part in parts)

    return make


def deep_tiff(channels, **options):

    def make(width, height):
        buffer = io.BytesIO()
        values = np.zeros((height, width, channels), np.uint16)
        extra = ["unassalpha"] if channels == 4 else None
        tifffile.imwrite(buffer, values, photometric="rgb", extrasamples=extra, **options)
        return buffer.getvalue()

    return make


def swapped_profile():
    profile = srgb_profile().replace(b"rXYZ", b"tXYZ", 1).replace(b"bXYZ", b"rXYZ", 1)
    return profile.replace(b"tXYZ", b"bXYZ", 1)


EXIF = (b"eXIf", turned().tobytes()[6:])
KINDS = {
    "WebP": pillow("RGB", "WEBP"),
    "WebP with alpha": pillow("RGBA", "WEBP", lossless=True),
    "animated WebP": animation("WEBP"),
    "animated GIF": animation("GIF"),
    "GIF": pillow("L", "GIF"),
    "JPEG": pillow("RGB", "JPEG"),
    "turned JPEG": pillow("RGB", "JPEG", exif=turned()),
    "CMYK": pillow("CMYK", "JPEG"),
    "BMP": pillow("RGBA", "BMP"),
    "AVIF": pillow("RGB", "AVIF", speed=10, subsampling="4:4:4"),
    "AVIF with alpha": pillow("RGBA", "AVIF", speed=10, subsampling="4:4:4"),
    "PNG with alpha": pillow("RGBA", "PNG"),
    "grey PNG with alpha": pillow("LA", "PNG"),
    "deep grey PNG": deep_png(0),
    "deep grey PNG with alpha": deep_png(4),
    "deep PNG with a transparent colour": deep_png(2, chunks=[(b"tRNS", bytes(6))]),
    "deep PNG with alpha": deep_png(6),
    "deep PNG, turned, its tag behind the picture": lambda *size: (
        deep_png(6)(*size)[:-12] + encode_chunk(*EXIF) + encode_chunk(b"IEND", b"")
    ),
    "deep interlaced PNG with alpha": deep_png(6, 1),
    "deep PNG with a profile": deep_png(6, chunks=[(b"iCCP", b"a\0\0" + zlib.compress(swapped_profile()))]),
    "TIFF with alpha": pillow("RGBA", "TIFF", compression="tiff_lzw"),
    "fax": pillow("1", "TIFF", compression="group3"),
    "deep TIFF": lambda *size: deep_tiff(4)(*size),
    "deep TIFF of strips": lambda *size: deep_tiff(4, compression="zlib", predictor=2)(*size),
    "deep TIFF of one strip": lambda *size: deep_tiff(4, compression="zlib", rowsperstrip=1 << 20)(*size),
    "deep TIFF of tiles": lambda *size: deep_tiff(4, compression="zlib", tile=(256, 256))(*size),
}


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="measured by Linux's /proc")
@pytest.mark.parametrize("kind", KINDS)
def test_reading_takes_less_than_ten_bytes_a_pixel(kind, tmp_path):
    """Of a picture of few bytes that announces many pixels, beside the file itself, in all processes together; 1.5 GB
    for a WebP of 2.5 kB once."""
    if "AVIF" in kind and avif._libavif() is None:
        pytest.skip("Pillow's AVIF alone takes more")
    width, height = 4000, 3000
    (tmp_path / "small").write_bytes(KINDS[kind](16, 16))
    (tmp_path / "large").write_bytes(KINDS[kind](width, height))
    command = [sys.executable, "-c", MEASURE, str(tmp_path / "small"), str(tmp_path / "large")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env={"PYTHONPATH": str(ROOT)})
    # Compressed TIFF is read by a process of its own, which has a Python of its own.
    constant = (16 << 20) + ((64 << 20) if kind == "fax" or "TIFF" in kind else 0)
    assert int(done.stdout) < 10 * width * height + constant + (tmp_path / "large").stat().st_size


def read_bytes(tmp_path, data):
    (tmp_path / "a").write_bytes(data)
    return read_image(tmp_path / "a")


def joined(picture):
    alpha = np.full(picture.pixels.shape[:2], 65_535, np.uint16) if picture.alpha is None else picture.alpha
    return np.concatenate([picture.pixels, alpha[..., None]], axis=2)


@pytest.mark.parametrize("kind", CHANNELS)
@pytest.mark.parametrize("interlace", [0, 1])
@pytest.mark.parametrize("size", [(1, 1), (1, 40), (40, 1), (5, 3), (23, 31)])
@pytest.mark.parametrize("band", [1, 70, 1 << 18])
def test_a_deep_png_is_right_to_the_last_bit(kind, interlace, size, band, tmp_path, monkeypatch):
    """Against an encoder by the specification: all five filters, interlaced or not, in bands of few rows."""
    monkeypatch.setattr(png_16bit_reader, "_BAND", band)
    values = np.random.default_rng(band).integers(0, 65_536, (*size, CHANNELS[kind])).astype(np.uint16)
    picture = read_bytes(tmp_path, encode_png(values, kind, interlace))
    colour = values[..., :3] if kind in (2, 6) else np.repeat(values[..., :1], 3, axis=2)
    np.testing.assert_array_equal(picture.pixels, colour)
    if kind in (4, 6):
        np.testing.assert_array_equal(joined(picture)[..., 3], values[..., -1])
    else:
        assert picture.alpha is None


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("behind", [False, True])
def test_a_deep_png_is_turned(orientation, behind, tmp_path):
    """As an 8-bit one of the same colours is, wherever the tag stands."""
    values = np.random.default_rng(0).integers(0, 256, (5, 3, 4)).astype(np.uint16) * 257
    exif = Image.Exif()
    exif[274] = orientation
    tag = (b"eXIf", exif.tobytes()[6:])
    data = encode_png(values, 6, 0, () if behind else (tag,))
    if behind:
        data = data[:-12] + encode_chunk(*tag) + data[-12:]
    buffer = io.BytesIO()
    Image.fromarray((values // 257).astype(np.uint8)).save(buffer, "PNG", exif=exif)
    np.testing.assert_array_equal(
        joined(read_bytes(tmp_path, data)), joined(read_bytes(tmp_path, buffer.getvalue())).astype(np.uint16) * 257
    )


def test_a_deep_png_that_is_cut_off_or_damaged_is_refused(tmp_path):
    values = np.random.default_rng(0).integers(0, 65_536, (9, 7, 4)).astype(np.uint16)
    whole = encode_png(values, 6, 0)
    place = whole.index(b"IDAT") - 4
    short = encode_chunk(b"IDAT", zlib.compress(bytes(57 * 8)))
    nonsense = encode_chunk(b"IDAT", b"nonsense")
    filters = encode_chunk(b"IDAT", zlib.compress(b"\7" * (57 * 9)))
    for data in (short, nonsense, filters, b""):
        with pytest.raises(ImageError, match="a is damaged or cut off"):
            read_bytes(tmp_path, whole[:place] + data + whole[-12:])


def test_a_deep_picture_of_one_endless_line_is_refused(tmp_path):
    data = deep_png(2)(1 << 23, 1)
    with pytest.raises(ImageError, match="pictures of 16 bits are read up to 4,194,304 pixels each way"):
        read_bytes(tmp_path, data)


@pytest.mark.parametrize("orientation", [1, 3, 6, 7])
@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"rowsperstrip": 4},
        {"tile": (16, 32)},
        {"compression": "zlib", "rowsperstrip": 4},
        {"compression": "zlib", "predictor": 2},
        {"compression": "zlib", "tile": (16, 32)},
    ],
    ids=str,
)
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("callable_", [True, False])
def test_a_deep_tiff_is_right_to_the_last_bit(orientation, channels, options, order, callable_, tmp_path, monkeypatch):
    """By strips, by tiles, or by Pillow where libtiff cannot be called."""
    values = np.random.default_rng(0).integers(0, 65_536, (21, 37, channels)).astype(np.uint16)
    extra = ["unassalpha"] if channels == 4 else None
    tag = [(274, "H", 1, orientation, True)]
    path = tmp_path / "a.tif"
    tifffile.imwrite(
        path, values, photometric="rgb", extrasamples=extra, byteorder=order, extratags=tag, metadata=None, **options
    )
    if not callable_:
        monkeypatch.setattr(libtiff, "_libtiff", lambda: None)
    data = path.read_bytes()
    with Image.open(path) as image:
        pixels, alpha, _ = samples_16bit.decode_deep(path, image, data)
    found = pixels if alpha is None else np.concatenate([pixels, alpha[..., None]], axis=2)
    expected = {1: values, 3: values[::-1, ::-1], 6: np.rot90(values, -1), 7: np.rot90(values, 2).swapaxes(0, 1)}
    np.testing.assert_array_equal(found, expected[orientation])


@pytest.mark.parametrize("bits", [5, 6])
def test_bitmaps_of_sixteen_bits_a_pixel_are_not_deep(bits, tmp_path):
    """Five bits a colour, or six of green."""
    masks = (0x7C00, 0x3E0, 0x1F) if bits == 5 else (0xF800, 0x7E0, 0x1F)
    header = b"BM" + (70).to_bytes(4, "little") + bytes(4) + (66).to_bytes(4, "little")
    size = (40, 2, 1, 1 | 16 << 16, 3, 4, 0, 0, 0, 0)
    data = header + b"".join(number.to_bytes(4, "little") for number in (*size, *masks))
    data += masks[1].to_bytes(2, "little") + masks[0].to_bytes(2, "little")
    np.testing.assert_array_equal(read_bytes(tmp_path, data).pixels, [[[0, 255, 0], [255, 0, 0]]])


@pytest.mark.parametrize("alpha", [False, True])
@pytest.mark.parametrize("subsampling", ["4:2:0", "4:2:2", "4:4:4"])
@pytest.mark.parametrize("size", [(1, 1), (1, 30), (33, 21)])
def test_avif_is_what_pillow_makes_of_it(alpha, subsampling, size, monkeypatch, tmp_path):
    values = np.random.default_rng(0).integers(0, 256, (*size, 4 if alpha else 3)).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, "AVIF", subsampling=subsampling, speed=9)
    found = read_bytes(tmp_path, buffer.getvalue())
    monkeypatch.setattr(avif, "_libavif", lambda: None)
    np.testing.assert_array_equal(joined(found), joined(read_bytes(tmp_path, buffer.getvalue())))
    with pytest.raises(ImageError, match="damaged"):
        read_bytes(tmp_path, buffer.getvalue()[:-9])


@pytest.mark.parametrize("where", [(0, 0), (6, 4)])
@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
@pytest.mark.parametrize("lossless", [False, True])
def test_the_first_frame_of_an_animated_webp_is_what_pillow_makes_of_it(where, mode, lossless, monkeypatch, tmp_path):
    """A first frame that covers the canvas or, by a changed header, a part of it."""
    rng = np.random.default_rng(0)
    frames = [Image.fromarray(rng.integers(0, 256, (24, 30, len(mode))).astype(np.uint8)) for _ in range(2)]
    buffer = io.BytesIO()
    frames[0].save(buffer, "WEBP", save_all=True, append_images=frames[1:], lossless=lossless)
    data = bytearray(buffer.getvalue())
    # A larger canvas, and the first frame elsewhere on it; positions are stored halved.
    data[24:30] = (30 + where[0] - 1).to_bytes(3, "little") + (24 + where[1] - 1).to_bytes(3, "little")
    place = data.index(b"ANMF") + 8
    data[place : place + 6] = (where[0] // 2).to_bytes(3, "little") + (where[1] // 2).to_bytes(3, "little")
    found = read_bytes(tmp_path, bytes(data))
    assert found.pixels.shape == (24 + where[1], 30 + where[0], 3)
    assert found.notes == ("first of 2 frames",)
    monkeypatch.setattr(webp, "libwebp", lambda: None)
    expected = read_bytes(tmp_path, bytes(data))
    np.testing.assert_array_equal(joined(found), joined(expected))
    data[24:27] = (20).to_bytes(3, "little")
    with pytest.raises(ImageError, match="damaged"):
        read_bytes(tmp_path, bytes(data))
