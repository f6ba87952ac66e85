"""What is hidden under the alpha colours nothing; what is visible stays as it is."""

import struct
import subprocess
import sys
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from small import shallow, small_params

import jnst
from jnst import Region
from jnst.errors import ConfigError, ImageError
from jnst.images.inputs import as_picture
from jnst.images.reading import Picture
from jnst.images.transparency import fill_hidden, fit_alpha, lay_on_white
from jnst.jobs.frames import FrameWriter
from jnst.jobs.job import Job
from jnst.loss.targets import make_targets
from jnst.progress.callbacks import Progress, Silent, Snapshot
from jnst.transfer.style_targets import prepare_style

ROOT = Path(__file__).parents[2]


def make(height=29, width=22, dtype=np.uint8, seed=0):
    """Noise with a hole, a hard border, soft edges, and lone pixels."""
    rng, top = np.random.default_rng(seed), np.iinfo(dtype).max
    pixels = rng.integers(0, top, (height, width, 3), endpoint=True).astype(dtype)
    alpha = np.full((height, width), top, dtype)
    alpha[:, width // 2 :] = 0
    alpha[3:9, 2:7] = 0
    alpha[height // 2 : height // 2 + 4] = rng.integers(0, top, (4, width))
    alpha[1, width - 2] = top
    return pixels, alpha


def slow_fill(pixels, alpha):
    """The same in plain loops and float64: means over squares of 2^k pixels, interpolated back."""
    top = np.iinfo(pixels.dtype).max
    weights = alpha / top
    levels = [np.concatenate([pixels * weights[..., None], weights[..., None]], axis=2)]
    while max(levels[-1].shape[:2]) > 1:
        finer = levels[-1]
        height, width = finer.shape[:2]
        coarser = np.zeros(((height + 1) // 2, (width + 1) // 2, 4))
        for y in range(height):
            for x in range(width):
                coarser[y // 2, x // 2] += finer[y, x] / 4
        levels.append(coarser)
    fill = levels[-1][..., :3] / levels[-1][..., 3:]
    for level in reversed(levels[:-1]):
        behind = np.zeros((*level.shape[:2], 3))
        for y in range(level.shape[0]):
            for x in range(level.shape[1]):
                for row, down in ((y // 2, 0.75), (y // 2 + (1 if y % 2 else -1), 0.25)):
                    for column, right in ((x // 2, 0.75), (x // 2 + (1 if x % 2 else -1), 0.25)):
                        row, column = min(max(row, 0), fill.shape[0] - 1), min(max(column, 0), fill.shape[1] - 1)
                        behind[y, x] += down * right * fill[row, column]
        fill = level[..., :3] + (1 - level[..., 3:]) * behind
    return fill


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("size", [(29, 22), (1, 9), (8, 8), (17, 3)])
def test_the_fill_equals_a_slow_one(dtype, size):
    rng, top = np.random.default_rng(1), np.iinfo(dtype).max
    pixels = rng.integers(0, top, (*size, 3), endpoint=True).astype(dtype)
    alpha = (rng.random(size) * rng.integers(0, 2, size) * top).astype(dtype)
    np.testing.assert_allclose(fill_hidden(pixels, alpha), slow_fill(pixels, alpha), atol=0.51 + top * 1e-6)


@pytest.mark.parametrize("band", [1, 100, 1 << 18])
def test_the_fill_does_not_depend_on_the_bands(band, monkeypatch):
    expected = fill_hidden(*make())
    monkeypatch.setattr("jnst.images.transparency._BAND", band)
    np.testing.assert_array_equal(fill_hidden(*make()), expected)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_hidden_colours_never_matter_and_visible_ones_stay(dtype):
    pixels, alpha = make(dtype=dtype)
    filled = fill_hidden(pixels, alpha)
    opaque = alpha == np.iinfo(dtype).max
    np.testing.assert_array_equal(filled[opaque], pixels[opaque])
    for hidden in (0, np.iinfo(dtype).max, make(dtype=dtype, seed=5)[0]):
        other = np.where((alpha == 0)[..., None], hidden, pixels).astype(dtype)
        np.testing.assert_array_equal(fill_hidden(other, alpha), filled)


def test_a_pixel_counts_as_much_as_it_is_visible():
    pixels = np.full((8, 8, 3), 100, np.uint8)
    alpha = np.full((8, 8), 255, np.uint8)
    pixels[4, 4], alpha[4, 4] = 200, 51  # a fifth visible; all around is 100
    assert 118 <= fill_hidden(pixels, alpha)[4, 4, 0] <= 122


def test_the_fill_stays_within_the_visible_colours_and_near_them():
    pixels, alpha = np.zeros((64, 64, 3), np.uint8), np.zeros((64, 64), np.uint8)
    pixels[:, :20], pixels[:, 44:] = (200, 40, 10), (20, 80, 160)
    pixels[:, 20:44] = 255
    alpha[:, :20] = alpha[:, 44:] = 255
    filled = fill_hidden(pixels, alpha)
    assert (filled <= (200, 80, 160)).all()
    assert (filled >= (20, 40, 10)).all()
    assert filled[:, 21, 0].min() > 150
    assert filled[:, 42, 0].max() < 70


@pytest.mark.parametrize("bits", [1, 2, 4])
@pytest.mark.parametrize("given", ["path", "pillow"])
def test_a_transparent_grey_of_few_bits_is_transparent(tmp_path, bits, given):
    """Its value counts in the bits of the file."""

    def chunk(name, content):
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    row = [1, 0, 2**bits - 1, 1] * 2
    packed = int("".join(f"{value:0{bits}b}" for value in row), 2).to_bytes(bits, "big")
    parts = {b"IHDR": struct.pack(">IIBBBBB", 8, 1, bits, 0, 0, 0, 0), b"tRNS": b"\0\1"}
    parts |= {b"IDAT": zlib.compress(b"\0" + packed), b"IEND": b""}
    path = tmp_path / "grey.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts.items()))
    seen = as_picture(path if given == "path" else Image.open(path))
    assert seen.alpha is not None
    assert seen.alpha[0].tolist() == [0 if value == 1 else 255 for value in row]
    assert seen.pixels[0, :, 0].tolist() == [value * 255 // (2**bits - 1) for value in row]


def test_a_picture_of_nothing_is_refused():
    nothing = Picture(np.zeros((20, 24, 3), np.uint8), np.zeros((20, 24), np.uint8), "PNG", ())
    seen = np.zeros((20, 24, 3), np.uint8)
    sentence = "image cannot be used: every pixel of it is transparent; expected a picture with something to see"
    for content, style, kind in ((nothing, seen, "content"), (seen, nothing, "style")):
        with pytest.raises(ImageError, match=f"the {kind} {sentence}"):
            jnst.stylize(small_params(), content, style, shallow())


@pytest.mark.parametrize("role", ["content", "style", "initial"])
@pytest.mark.parametrize("init", ["content", "style", "recolored"])
def test_three_pictures_that_look_the_same_make_the_same_result(role, init, tmp_path):
    pixels, alpha = make(40, 48)
    opaque = np.random.default_rng(2).integers(0, 256, (36, 40, 3)).astype(np.uint8)
    results = []
    for name, hidden in (("black", 0), ("white", 255), ("noise", make(40, 48, seed=9)[0])):
        stored = np.where((alpha == 0)[..., None], hidden, pixels).astype(np.uint8)
        jnst.write_image(tmp_path / f"{name}.png", stored, alpha=alpha)
        pictures = {"content": opaque, "style": opaque[::-1], "initial": None} | {role: tmp_path / f"{name}.png"}
        config = shallow(steps=2, init=init)
        one = jnst.stylize(small_params(), pictures["content"], pictures["style"], config, initial=pictures["initial"])
        many = jnst.stylize_batch(
            small_params(), pictures["content"], pictures["style"], config, initials=[pictures["initial"]]
        )[0]
        results.append((one, many))
    for one, many in results[1:]:
        np.testing.assert_array_equal(one.image, results[0][0].image)
        np.testing.assert_array_equal(many.image, results[0][1].image)
    for result in results[0]:
        if role == "content":
            np.testing.assert_allclose(result.alpha, alpha / 255, atol=1e-6)
        else:
            assert result.alpha is None


def test_the_visible_part_of_a_style_is_a_style_mask_however_it_is_painted():
    """Alone, in a batch, in tiles, its colours matched first; in a region times its mask; saved; inspected."""
    pixels, alpha = make(36, 48)
    content = np.random.default_rng(2).integers(0, 256, (32, 48, 3)).astype(np.uint8)
    style, filled, seen = Picture(pixels, alpha, "PNG", ()), fill_hidden(pixels, alpha), alpha / 255
    config = shallow(steps=2, run={"colors": "match"})
    params = small_params()
    top = np.zeros((36, 48))
    top[:20] = 1
    everywhere, part = Region("all", filled, seen), Region("all", style, top)
    expected = jnst.stylize(params, content, None, config, regions=[everywhere])
    alone = jnst.stylize(params, content, style, config)
    for result in (alone, jnst.stylize_batch(params, content, style, config)[0]):
        np.testing.assert_allclose(result.image, expected.image, atol=2e-3)
        assert result.trace["style"] == pytest.approx(expected.trace["style"], rel=1e-4)
    assert np.abs(jnst.stylize(params, content, filled, config).image - expected.image).max() > 0.01
    both = jnst.stylize(params, content, None, config, regions=[Region("all", filled, seen * top)])
    np.testing.assert_array_equal(jnst.stylize(params, content, None, config, regions=[part]).image, both.image)
    # Gram matrices alone.
    config = shallow()
    targets = make_targets(params, content, style, config).grams
    tiled = make_targets(params, content, style, replace(config, tile=16)).grams
    prepared = prepare_style(params, style, config).grams[0]
    layers = jnst.inspect(params, style, config).layers
    for layer, gram in targets.items():
        for other in (tiled[layer], prepared[layer], layers[layer].gram):
            np.testing.assert_allclose(other, gram, rtol=1e-4, atol=1e-4 * np.abs(gram).max())


@pytest.mark.parametrize(
    ("rows", "mask", "message"),
    [
        (slice(0, 1), None, "the visible part of the style image has no pixels left at relu2_1 of a style image"),
        (slice(0, 20), slice(22, 40), "all that the style mask of the region shows is transparent in the style image"),
    ],
)
def test_a_style_of_which_too_little_is_seen_is_refused(rows, mask, message):
    pixels, alpha = make(40, 48)[0], np.zeros((40, 48), np.uint8)
    alpha[rows, : 2 if mask is None else 48] = 100
    style, content = Picture(pixels, alpha, "PNG", ()), make(32, 48)[0]
    if mask is None:
        with pytest.raises(ConfigError, match=message):
            jnst.stylize(small_params(), content, style, shallow())
        return
    shown = np.zeros((40, 48))
    shown[mask] = 1
    with pytest.raises(ConfigError, match=message):
        jnst.stylize(small_params(), content, None, shallow(), regions=[Region("all", style, shown)])


def test_frames_have_the_photos_alpha_and_nothing_that_it_hides(tmp_path):
    pixels, alpha = make(40, 48)
    image = np.random.default_rng(3).random((20, 24, 3)).astype(np.float32)
    config = shallow(run={"save_every": 1, "colors": "content"})
    frames = []
    for name, hidden in (("black", 0), ("white", 255)):
        content = Picture(np.where((alpha == 0)[..., None], hidden, pixels).astype(np.uint8), alpha, "PNG", ())
        job = Job(tmp_path / "photo.png", (), tmp_path / f"{name}.png", config)
        FrameWriter(job, content, Silent())(Snapshot(Progress(1, 4), lambda: image))
        frames.append(jnst.read_image(tmp_path / f"{name}-00001.png"))
    np.testing.assert_array_equal(frames[0].alpha, alpha)
    np.testing.assert_array_equal(frames[0].pixels, frames[1].pixels)


def test_a_result_is_saved_with_the_contents_alpha(tmp_path):
    pixels, alpha = make(40, 48)
    content = Picture(pixels, alpha, "PNG", ())
    jnst.stylize(small_params(), content, pixels, shallow(steps=1)).save(tmp_path / "a.png")
    np.testing.assert_array_equal(jnst.read_image(tmp_path / "a.png").alpha, alpha)


def test_alpha_at_another_size_and_on_white():
    alpha = np.zeros((10, 10), np.uint8)
    alpha[:, 5:] = 255
    half = fit_alpha(alpha, 5, 4)
    assert half.shape == (5, 4)
    np.testing.assert_allclose(half[:, [0, 3]], [[0, 1]] * 5, atol=1e-6)
    assert fit_alpha(None, 5, 4) is None
    shown = lay_on_white(np.zeros((10, 10, 3), np.uint8), alpha)
    np.testing.assert_array_equal(shown[:, 0], 1)
    np.testing.assert_array_equal(shown[:, 9], 0)


MEASURE = """
import numpy as np
from jnst.images.transparency import fill_hidden
def peak():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))
pixels, alpha = np.full((3000, 4000, 3), 90, np.uint8), np.zeros((3000, 4000), np.uint8)
alpha[:1000] = 255
before = peak()
fill_hidden(pixels, alpha)
print((peak() - before) * 1024)
"""


def test_filling_takes_nine_bytes_a_pixel():
    done = subprocess.run(
        [sys.executable, "-c", MEASURE], capture_output=True, text=True, check=True, env={"PYTHONPATH": str(ROOT)}
    )
    assert int(done.stdout) < 9 * 12_000_000 + (64 << 20)
