"""Paths, Pillow's images, what `read_image` returned, and arrays are pictures alike."""

import io
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from small import shallow, small_params

import jnst
from jnst.errors import ImageError
from jnst.images.inputs import as_list, as_picture, as_pixels
from jnst.images.png_16bit_writer import encode_png16
from jnst.images.profiles import srgb_profile
from jnst.images.reading import Picture, read_image

PIXELS = np.random.default_rng(0).integers(0, 256, (36, 40, 3)).astype(np.uint8)
STYLE = np.random.default_rng(1).integers(0, 256, (40, 32, 3)).astype(np.uint8)


def swapped_profile():
    """sRGB with red and blue exchanged: applied, it exchanges the channels."""
    profile = srgb_profile()
    return profile.replace(b"rXYZ", b"tmp ", 1).replace(b"bXYZ", b"rXYZ", 1).replace(b"tmp ", b"bXYZ", 1)


@pytest.fixture
def forms(tmp_path):
    """One picture in every form that it may have."""
    path = tmp_path / "a.png"
    Image.fromarray(PIXELS).save(path)
    return {
        "path": path,
        "text": str(path),
        "Picture": read_image(path),
        "opened": Image.open(io.BytesIO(path.read_bytes())),
        "in memory": Image.fromarray(PIXELS),
        "array": PIXELS,
        "JAX": jnp.asarray(PIXELS),
        "16 bits": PIXELS.astype(np.uint16) * np.uint16(257),
        "unit": (PIXELS / np.float32(255)).astype(np.float32),
    }


def test_every_form_paints_the_same_picture(forms):
    config, params = shallow(steps=2), small_params()
    expected = jnst.stylize(params, PIXELS, STYLE, config).image
    batch = jnst.stylize_batch(params, PIXELS, STYLE, config)[0].image
    for name, form in forms.items():
        tolerance = 0 if name not in ("16 bits", "unit") else 1e-5
        np.testing.assert_allclose(jnst.stylize(params, form, STYLE, config).image, expected, atol=tolerance)
        np.testing.assert_allclose(jnst.stylize_batch(params, form, STYLE, config)[0].image, batch, atol=tolerance)


def test_every_form_is_a_style_and_a_start(forms):
    config, params = shallow(steps=1), small_params()
    expected = jnst.stylize(params, STYLE, PIXELS, config, initial=PIXELS).image
    batch = jnst.stylize_batch(params, [STYLE, STYLE], PIXELS, config, initials=[PIXELS])[1].image
    for name in ("path", "text", "Picture", "opened", "in memory"):
        form = forms[name]
        np.testing.assert_array_equal(jnst.stylize(params, STYLE, form, config, initial=form).image, expected)
        result = jnst.stylize_batch(params, [STYLE, STYLE], form, config, initials=[form])
        np.testing.assert_array_equal(result[1].image, batch)


def test_targets_prepared_styles_and_features_take_them_too(forms):
    config, params = shallow(), small_params()
    grams = jnst.prepare_style(params, PIXELS, config).grams[0]
    targets = jnst.make_targets(params, PIXELS, [PIXELS, STYLE], config)
    maps = jnst.features(params, PIXELS, ["relu1_1"], config)
    for name in ("path", "text", "Picture", "opened", "in memory"):
        form = forms[name]
        for layer, gram in jnst.prepare_style(params, form, config).grams[0].items():
            np.testing.assert_array_equal(gram, grams[layer])
        jax.tree.map(np.testing.assert_array_equal, jnst.make_targets(params, form, (form, STYLE), config), targets)
        np.testing.assert_array_equal(jnst.features(params, form, ["relu1_1"], config)["relu1_1"], maps["relu1_1"])


def test_lists_of_forms_go_together(forms):
    config, params = shallow(steps=1), small_params()
    contents = [forms["path"], forms["opened"], PIXELS]
    results = jnst.stylize_batch(params, contents, [(forms["text"], STYLE)] * 3, config)
    expected = jnst.stylize_batch(params, [PIXELS] * 3, [(PIXELS, STYLE)] * 3, config)
    for result, one in zip(results, expected, strict=True):
        np.testing.assert_array_equal(result.image, one.image)
    assert as_list(forms["Picture"]) == [forms["Picture"]]
    assert len(as_list((PIXELS, STYLE))) == 2


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "PA", "RGBA", "CMYK", "YCbCr", "I;16"])
def test_pillows_modes_are_read_as_from_a_file(mode, tmp_path):
    suffix = {"CMYK": "tif", "YCbCr": "jpg", "PA": "tif"}.get(mode, "png")
    image = Image.fromarray(PIXELS)
    if mode == "I;16":
        image = Image.fromarray(PIXELS[..., 0].astype(np.uint16) * np.uint16(257))
    elif mode == "PA":
        image = image.convert("P").convert("PA")
    else:
        image = image.convert(mode)
    image.save(tmp_path / f"a.{suffix}", **({"quality": 100, "subsampling": 0} if suffix == "jpg" else {}))
    found, expected = as_picture(image), read_image(tmp_path / f"a.{suffix}")
    np.testing.assert_allclose(found.pixels.astype(int), expected.pixels, atol=9 if suffix == "jpg" else 0)
    assert found.pixels.dtype == expected.pixels.dtype
    assert (found.alpha is None) == (expected.alpha is None)


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.webp"])
def test_an_opened_file_is_turned_as_the_file_itself(name, orientation, tmp_path):
    exif = Image.Exif()
    exif[274] = orientation
    options = {"lossless": True} if name == "a.webp" else {}
    Image.fromarray(PIXELS).save(tmp_path / name, exif=exif, **options)
    with Image.open(tmp_path / name) as image:
        np.testing.assert_array_equal(as_picture(image).pixels, read_image(tmp_path / name).pixels)
    with Image.open(tmp_path / name) as image:
        image.load()
        np.testing.assert_array_equal(as_picture(image).pixels, read_image(tmp_path / name).pixels)


def test_deep_files_that_pillow_has_opened_come_with_its_eight_bits(tmp_path):
    deep = PIXELS.astype(np.uint16) * np.uint16(257)
    (tmp_path / "a.png").write_bytes(encode_png16(deep, profile=srgb_profile()))
    with Image.open(tmp_path / "a.png") as image:
        np.testing.assert_array_equal(as_picture(image).pixels, PIXELS)


def test_a_grey_level_that_stands_for_transparent_does_so_in_an_opened_file(tmp_path):
    levels = np.arange(12 * 10, dtype=np.uint16).reshape(12, 10) * 500
    Image.fromarray(levels).save(tmp_path / "a.png", transparency=int(levels[3, 4]))
    with Image.open(tmp_path / "a.png") as image:
        opened, read = as_picture(image), read_image(tmp_path / "a.png")
    assert (np.flatnonzero(opened.alpha == 0) == [34]).all()
    np.testing.assert_array_equal(opened.alpha, read.alpha)
    np.testing.assert_array_equal(opened.pixels, read.pixels)


@pytest.mark.parametrize(
    ("form", "message"),
    [
        ("nowhere.png", r"the style image cannot be used: there is no picture at nowhere\.png"),
        (Path("nowhere.png"), r"the style image cannot be used: there is no picture at nowhere\.png"),
        ("https://example.org/a.png", "a URL is read by `jnst stylize` and `jnst batch` alone"),
        (Image.new("F", (9, 9)), "the style image holds pixels of kind 'F', which is not supported"),
        (Image.new("RGB", (0, 9)), "the style image is 0 × 9 pixels"),
        ({"a": 1}, "the style image is no array|the style image has shape"),
        (None, r"the style image has shape \(\)"),
        (np.zeros((5, 5, 4), np.uint8), r"leave out the fourth channel"),
    ],
)
def test_what_is_no_picture_is_named(form, message):
    with pytest.raises(ImageError, match=message):
        as_pixels(form, "style")


def test_a_damaged_image_of_pillows_is_named(tmp_path):
    Image.fromarray(PIXELS).save(tmp_path / "a.jpg")
    (tmp_path / "b.jpg").write_bytes((tmp_path / "a.jpg").read_bytes()[:-500])
    with (
        Image.open(tmp_path / "b.jpg") as image,
        pytest.raises(ImageError, match="the content image is damaged or cut off"),
    ):
        as_picture(image)


# Colour profiles


@pytest.mark.parametrize("name", ["a.png", "a.tif", "packed.tif", "a.webp"])
def test_a_profile_is_applied_or_ignored(name, tmp_path):
    options = {"a.webp": {"lossless": True}, "packed.tif": {"compression": "tiff_lzw"}}.get(name, {})
    path = tmp_path / name
    Image.fromarray(PIXELS).save(path, icc_profile=swapped_profile(), **options)
    applied, ignored = read_image(path), read_image(path, color_profile="ignore")
    np.testing.assert_allclose(applied.pixels.astype(int), PIXELS[..., ::-1], atol=2)
    np.testing.assert_array_equal(ignored.pixels, PIXELS)
    assert applied.notes == ()
    assert ignored.notes == ("colour profile 'sRGB built-in' ignored, as the setting color_profile asks",)
    with Image.open(path) as image:
        np.testing.assert_array_equal(as_picture(image).pixels, applied.pixels)
        np.testing.assert_array_equal(as_picture(image, color_profile="ignore").pixels, PIXELS)


def test_sixteen_bits_stay_where_the_profile_is_ignored(tmp_path):
    deep = np.random.default_rng(3).integers(0, 65_536, (13, 17, 3)).astype(np.uint16)
    (tmp_path / "a.png").write_bytes(encode_png16(deep, profile=swapped_profile()))
    np.testing.assert_array_equal(read_image(tmp_path / "a.png", color_profile="ignore").pixels, deep)


def test_nothing_is_said_of_a_profile_that_would_change_nothing(tmp_path):
    Image.fromarray(PIXELS).save(tmp_path / "a.png", icc_profile=srgb_profile())
    assert read_image(tmp_path / "a.png", color_profile="ignore").notes == ()


def test_the_config_says_what_is_done_with_the_profiles_of_files(tmp_path):
    path = tmp_path / "a.png"
    Image.fromarray(PIXELS).save(path, icc_profile=swapped_profile())
    params = small_params()
    for setting, stored in (("apply", read_image(path).pixels), ("ignore", PIXELS)):
        config = shallow(steps=1, color_profile=setting)
        expected = jnst.stylize(params, stored, stored, config).image
        np.testing.assert_array_equal(jnst.stylize(params, path, path, config).image, expected)
        batch = jnst.stylize_batch(params, stored, stored, config)[0].image
        np.testing.assert_array_equal(jnst.stylize_batch(params, path, path, config)[0].image, batch)
        # What has been read already stays as it is.
        picture = Picture(stored, None, "PNG", ())
        np.testing.assert_array_equal(jnst.stylize(params, picture, picture, config).image, expected)


def test_presets_that_reproduce_programs_without_colour_management_ignore_profiles():
    ignoring = {name for name, config in jnst.PRESETS.items() if config.color_profile == "ignore"}
    assert ignoring == {
        "gordic", "gordic-vgg16", "gordic-vgg16-experimental", "tf-tutorial", "tf-tutorial-tv", "gatys"
    }  # fmt: skip


def test_an_image_of_pillows_that_cannot_be_had_is_not_called_a_damaged_file():
    closed = Image.new("RGB", (8, 8))
    closed.close()
    for image in (closed, Image.new("LA", (8, 8)).convert("La")):
        with pytest.raises(ImageError, match=f"of mode {image.mode}, cannot be read") as refused:
            as_picture(image)
        assert "--allow-damaged" not in str(refused.value)
