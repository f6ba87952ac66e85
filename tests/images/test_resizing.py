"""Resizing against the originals (goldens of OpenCV and TensorFlow, Pillow itself) and against slow float64 loops."""

from pathlib import Path
from typing import get_args

import numpy as np
import oracles_resizing as oracles
import pytest
from PIL import Image

from jnst.config import ResizeKernel, SizeConfig
from jnst.errors import ImageError
from jnst.images.resizing import resize, to_unit
from jnst.images.sizing import finish, fit, fit_size, fit_style, scale_sizes

GOLDEN = Path(__file__).parents[1] / "golden"
PILLOW = {
    "pillow-bilinear": Image.Resampling.BILINEAR,
    "pillow-bicubic": Image.Resampling.BICUBIC,
    "pillow-lanczos": Image.Resampling.LANCZOS,
    "nearest": Image.Resampling.NEAREST,
}
SIZES = [(64, 90), (17, 23), (31, 20), (100, 11), (62, 90), (1, 1)]


@pytest.fixture(scope="module")
def opencv():
    return np.load(GOLDEN / "resizing_opencv.npz")


@pytest.fixture(scope="module")
def tensorflow():
    return np.load(GOLDEN / "resizing_tensorflow.npz")


@pytest.fixture(scope="module")
def source(opencv):
    return opencv["source"]


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_cubic_equals_opencv(opencv, source, height, width):
    result = resize(source, height, width, "opencv-cubic")
    assert result.dtype == np.uint8
    difference = np.abs(result.astype(int) - opencv[f"ipp_{height}_{width}"])
    assert difference.max() <= 1
    assert np.count_nonzero(difference) <= max(1, difference.size // 10_000)
    # OpenCV's own fixed-point code is one level away here and there.
    difference = np.abs(result.astype(int) - opencv[f"own_{height}_{width}"])
    assert difference.max() <= 1
    assert difference.mean() < 0.06


def test_cubic_of_floats_equals_opencv_and_overshoots(opencv, source):
    result = resize(to_unit(source), 64, 90, "opencv-cubic")
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, opencv["float_64_90"], atol=2e-6)
    assert result.min() < -0.05
    assert result.max() > 1.05


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_bilinear_equals_tensorflow_to_the_last_bit(tensorflow, source, height, width):
    result = resize(source, height, width, "tensorflow-bilinear")
    assert result.dtype == np.float32
    np.testing.assert_array_equal(result, tensorflow[f"resized_{height}_{width}"])


@pytest.mark.parametrize("kernel", PILLOW)
@pytest.mark.parametrize(("height", "width"), [*SIZES, (31, 45), (7, 200)])
def test_pillow_kernels_equal_pillow(source, kernel, height, width):
    # Width and height in two calls: Pillow 13 changes their order for some sizes.
    def resize_with_pillow(picture):
        return np.asarray(
            Image.fromarray(picture).resize((width, 31), PILLOW[kernel]).resize((width, height), PILLOW[kernel])
        )

    result = resize(source, height, width, kernel)
    assert result.dtype == np.uint8
    np.testing.assert_array_equal(result, resize_with_pillow(source))
    red = to_unit(source[..., 0])
    np.testing.assert_allclose(resize(red, height, width, kernel), resize_with_pillow(red), rtol=0, atol=6e-8)


def test_nearest_equals_pillow_where_positions_tie():
    picture = np.random.default_rng(0).integers(0, 256, (683, 1024), dtype=np.uint8)
    expected = Image.fromarray(picture).resize((599, 400), Image.Resampling.NEAREST)
    np.testing.assert_array_equal(resize(picture, 400, 599, "nearest"), np.asarray(expected))


@pytest.mark.parametrize("kernel", oracles.KERNELS)
@pytest.mark.parametrize(("height", "width"), [(9, 14), (20, 5), (3, 30), (1, 1)])
def test_kernels_equal_slow_loops(kernel, height, width):
    picture = np.random.default_rng(3).random((12, 10, 3))
    expected = oracles.resize(picture, height, width, kernel)
    np.testing.assert_allclose(resize(picture, height, width, kernel), expected, rtol=0, atol=2e-6)


@pytest.mark.parametrize("kernel", get_args(ResizeKernel))
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, np.float64])
def test_a_flat_picture_stays_flat_and_types_are_kept(kernel, dtype):
    value = 0.25 if np.issubdtype(dtype, np.floating) else 200
    result = resize(np.full((5, 7, 3), value, dtype), 11, 4, kernel)
    assert result.shape == (11, 4, 3)
    whole = np.issubdtype(dtype, np.integer) and kernel != "tensorflow-bilinear"
    assert result.dtype == (dtype if whole else np.float32)
    expected = value if whole else to_unit(np.array(value, dtype))
    np.testing.assert_allclose(result, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("kernel", get_args(ResizeKernel))
@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (2, 3), (3, 1)])
def test_the_smallest_pictures(kernel, shape):
    picture = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    for height, width in [(1, 1), (5, 1), (1, 6), (8, 7)]:
        result = to_unit(resize(picture, height, width, kernel))
        assert result.shape == (height, width)
        assert np.isfinite(result).all()


@pytest.mark.parametrize("kernel", get_args(ResizeKernel))
def test_the_same_size_changes_nothing_and_returns_a_copy(source, kernel):
    result = resize(source, 31, 45, kernel)
    np.testing.assert_allclose(to_unit(result), to_unit(source), atol=1e-7)
    assert not np.shares_memory(result, source)


def test_sixteen_bits_are_kept():
    picture = np.array([[0, 65_535]], np.uint16)
    np.testing.assert_array_equal(resize(picture, 1, 4, "pillow-bilinear"), [[0, 16_384, 49_151, 65_535]])


def test_bad_requests_are_named():
    picture = np.zeros((4, 4, 3), np.uint8)
    with pytest.raises(ImageError, match="unknown resize kernel 'opencv-qubic'; did you mean 'opencv-cubic'"):
        resize(picture, 2, 2, "opencv-qubic")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ImageError, match="size 0 × 2 is impossible"):
        resize(picture, 0, 2, "nearest")
    with pytest.raises(ImageError, match=r"shape \(0, 4, 3\)"):
        resize(picture[:0], 2, 2, "nearest")
    with pytest.raises(ImageError, match="picture holds int64"):
        resize(np.zeros((2, 2, 3), np.int64), 4, 4, "pillow-lanczos")


def test_to_unit_divides_exactly():
    levels = np.arange(256, dtype=np.uint8)
    np.testing.assert_array_equal(to_unit(levels), (np.arange(256) / 255).astype(np.float32))
    np.testing.assert_array_equal(to_unit(np.array([65_535], np.uint16)), [1.0])


def test_height_rule_truncates_as_gordics_program_does():
    size = SizeConfig(rule="height", pixels=400, kernel="opencv-cubic")
    # 979 · (400 / 734) = 533.5; 1024 · (400 / 683) = 599.7
    assert fit_size(734, 979, size) == (400, 533)
    assert fit_size(683, 1024, size) == (400, 599)
    assert fit_size(200, 300, size) == (400, 600)
    assert fit_size(5000, 2, size) == (400, 1)


def test_long_rule_equals_tensorflow_in_float32(tensorflow):
    size = SizeConfig(rule="long", pixels=512, kernel="tensorflow-bilinear")
    for (height, width), expected in zip(tensorflow["sizes"].tolist(), tensorflow["fitted"].tolist(), strict=True):
        # The tutorial fails where a side would vanish.
        assert fit_size(height, width, size) == tuple(max(1, side) for side in expected)


def test_long_rule_with_other_kernels_rounds():
    size = SizeConfig(rule="long", pixels=512)
    assert fit_size(734, 979, size) == (384, 512)  # 383.9
    assert fit_size(979, 734, size) == (512, 384)
    assert fit_size(3, 5000, size) == (1, 512)


def test_short_rule_truncates_as_torchvision_did():
    size = SizeConfig(rule="short", pixels=512, kernel="pillow-bilinear")
    assert fit_size(734, 979, size) == (512, 682)  # 682.9
    assert fit_size(979, 734, size) == (682, 512)


def test_keep_and_not_enlarging():
    assert fit_size(30, 40, SizeConfig(rule="keep")) == (30, 40)
    small = SizeConfig(rule="long", pixels=512, enlarge=False)
    assert fit_size(300, 400, small) == (300, 400)
    assert fit_size(300, 1024, small) == (150, 512)
    assert fit_size(300, 400, SizeConfig(rule="long", pixels=512)) == (384, 512)


def test_fit_brings_content_and_style_to_size(source):
    size = SizeConfig(rule="height", pixels=62, kernel="opencv-cubic")
    np.testing.assert_array_equal(fit(source, size), resize(source, 62, 90, "opencv-cubic"))
    assert fit_style(source[:, :20], (62, 90), size).shape == (62, 40, 3)
    stretched = SizeConfig(rule="height", pixels=62, style="content")
    assert fit_style(source[:, :20], (62, 90), stretched).shape == (62, 90, 3)
    halved = SizeConfig(rule="height", pixels=62, style_scale=0.5)
    assert fit_style(source[:, :20], (62, 90), halved).shape == (31, 20, 3)


def test_scales_halve_and_stop_in_time():
    assert scale_sizes(512, 384, 1) == [(512, 384)]
    assert scale_sizes(512, 384, 3) == [(128, 96), (256, 192), (512, 384)]
    assert scale_sizes(512, 384, 8) == [(128, 96), (256, 192), (512, 384)]
    assert scale_sizes(512, 384, 8, minimum=20)[0] == (32, 24)
    assert scale_sizes(20, 20, 3) == [(20, 20)]


def test_the_first_of_as_many_scales_as_the_size_asks_for_is_never_large():
    for longer in (*range(100, 1600, 7), 4000, 30_000):
        sizes = scale_sizes(longer * 3 // 4, longer, 0)
        assert len(sizes) >= 2 or longer * 3 // 8 < 64
        assert max(sizes[0]) <= 384 or len(sizes) == 8
        assert len(sizes) <= 2 or max(sizes[0]) > 384 / 2 - 1


def test_finish_keeps_the_contents_colours_if_asked() -> None:
    generator = np.random.default_rng(0)
    content, picture = 0.3 + 0.4 * generator.random((6, 7, 3)), 0.3 + 0.4 * generator.random((6, 7, 3))
    luminance = np.array([0.299, 0.587, 0.114])
    kept = finish(picture, content, "content")
    np.testing.assert_allclose(kept @ luminance, picture @ luminance, atol=1e-6)
    np.testing.assert_allclose(kept[..., 0] - kept[..., 2], content[..., 0] - content[..., 2], atol=1e-6)
    np.testing.assert_array_equal(finish(picture, content, "style"), picture.astype(np.float32))
    assert finish(picture[:3, :3] * 9, content, "style").shape == (6, 7, 3)
    assert finish(picture * 9, content, "style").max() == 1
