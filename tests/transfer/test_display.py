"""What a notebook shows of results, pictures and targets, and how little a shell does."""

import base64
import io
import re

import numpy as np
import pytest
from oracles import paint
from PIL import Image
from small import shallow, small_params

import jnst
from jnst.images.display import image_tag, png_bytes, to_pil
from jnst.images.reading import Picture, read_image
from jnst.images.writing import read_metadata
from jnst.jobs.record import read_record, record_config
from jnst.transfer.display import curve_svg
from jnst.transfer.result import Result

IMAGE = paint("shapes", 12, 20)


def made(**fields) -> Result:
    values = {"total": [8.0, 2.0, 4.0], "evaluation": [1, 2, 3]}
    return Result(np.asarray(IMAGE), values, 1, "steps", {"compile": 1.5, "run": 2.25}, **fields)


def test_a_result_says_in_a_line_what_it_is():
    expected = "Result(20 × 12, 2 steps, loss 8 → 2, 2.2 s and 1.5 s to compile, stopped: steps)"
    assert repr(made()) == expected
    assert (
        repr(Result(np.zeros((4, 4, 3), np.float32), {}, 0, "time", {}))
        == "Result(4 × 4, 0 steps, no steps, stopped: time)"
    )


def test_a_result_shows_its_picture_settings_and_curve():
    shown = made(config=shallow(steps=2))._repr_html_()
    found = re.search(r"data:image/png;base64,([^\"]+)", shown)
    assert found
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(found[1]))))
    np.testing.assert_array_equal(pixels, np.rint(IMAGE * 255).astype(np.uint8))
    assert "vgg19 · lbfgs, 2 steps" in shown
    assert "<polyline" in shown
    assert "https://" not in shown


def test_a_real_result_knows_its_config_and_saves_it(tmp_path):
    config = shallow(steps=2)
    result = jnst.stylize(small_params(), IMAGE, paint("marble", 16, 16), config)
    assert result.config == config
    result.save(tmp_path / "out.png")
    np.testing.assert_allclose(read_image(tmp_path / "out.png").pixels / 255, result.image, atol=0.51 / 255)
    record = read_metadata(tmp_path / "out.png")
    assert record is not None
    assert record["stopped"] == "steps"
    assert record_config(read_record(tmp_path / "out.png")) == config
    with pytest.raises(jnst.JnstError, match="exists already"):
        result.save(tmp_path / "out.png")
    result.save(tmp_path / "out.png", overwrite=True)


def test_pictures_for_pillow_and_png():
    assert to_pil(np.full((2, 3, 3), 65_535, np.uint16)).getpixel((2, 1)) == (255, 255, 255)
    assert made().to_pil().size == (20, 12)
    decoded = np.asarray(Image.open(io.BytesIO(png_bytes(IMAGE))))
    np.testing.assert_array_equal(decoded, np.rint(IMAGE * 255).astype(np.uint8))
    assert 'width="640"' in image_tag(np.zeros((2, 2000, 3)))


def test_a_picture_shows_itself():
    picture = Picture(np.zeros((4, 6, 3), np.uint8), None, "PNG", ("first of 2 frames",))
    assert repr(picture) == "Picture(6 × 4, uint8, PNG, first of 2 frames)"
    assert picture._repr_png_()[:4] == b"\x89PNG"
    assert picture.to_pil().size == (6, 4)
    assert repr(picture._replace(alpha=np.zeros((4, 6), np.uint8))).count("with alpha") == 1


def test_targets_are_a_line_and_a_prepared_style_shows_its_picture():
    config = shallow()
    targets = jnst.make_targets(small_params(), IMAGE, paint("marble", 16, 16), config)
    assert repr(targets) == "Targets(content: relu2_1 6×10×8; Gram matrices: relu1_1 4², relu2_1 8²)"
    prepared = jnst.prepare_style(small_params(), paint("marble", 16, 24), config)
    assert repr(prepared) == "StyleTargets(24 × 16, scales: 1, layers: relu1_1, relu2_1)"
    assert "data:image/png" in prepared._repr_html_()


def test_a_curve_goes_from_the_first_to_the_last_and_leaves_out_what_is_no_number():
    points = re.findall(r"([\d.]+),([\d.]+)", curve_svg([100.0, float("nan"), 10.0, 0.0, 1.0]))
    assert [(float(x), float(y)) for x, y in points] == [(0, 2), (160, 36), (320, 70)]
    assert curve_svg([1.0]) == curve_svg([]) == curve_svg([float("inf")] * 5) == ""
