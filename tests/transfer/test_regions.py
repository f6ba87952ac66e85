"""Regions and what is kept, from masks to pictures: whole, in tiles, at several scales, and what is refused."""

import dataclasses

import material
import numpy as np
import pytest
from PIL import Image
from small import SHALLOW, picture, shallow, small_params

import jnst
from jnst import Region
from jnst.config import LossConfig, OptimizerConfig
from jnst.errors import ConfigError, ImageError
from jnst.images.inputs import as_styles
from jnst.images.masks import as_mask
from jnst.images.reading import read_image
from jnst.progress.callbacks import Silent
from jnst.transfer.driver import stylize
from jnst.transfer.regions import prepare_regions

HEIGHT, WIDE = 40, 48
CONTENT, MARBLE, HILLS = (
    np.asarray(picture(*one)) for one in (("shapes", HEIGHT, WIDE), ("marble", 27, 36, 3), ("hills", 30, 30))
)
LEFT = np.zeros((HEIGHT, WIDE), np.float32)
LEFT[:, : WIDE // 2] = 1
TWO = [Region(LEFT, MARBLE), Region("rest", HILLS, weight=2.0)]
# As in photographs: what is not changed is to come out to the bit.
BYTES = material.to_eight_bits(CONTENT)


def prepared(regions, keep=None, content=CONTENT):
    return prepare_regions(content, as_styles([one.style for one in regions]), regions, keep)


def test_masks_are_normalised_where_they_overlap_and_soft_elsewhere():
    first, second = np.full((4, 6), 0.75), np.full((4, 6), 0.75)
    first[:, :2], second[:, 4:] = 0.25, 0.0
    both = prepared([Region(first, MARBLE), Region(second, MARBLE)], content=np.zeros((4, 6, 3))).at_size((4, 6))
    np.testing.assert_allclose(both.masks[0, [0, 2, 4]], [[0.25, 0.75], [0.5, 0.5], [0.75, 0.0]])
    np.testing.assert_allclose(both.masks.sum(2)[0], [1, 1, 1, 1, 0.75, 0.75])


def test_the_rest_is_what_the_others_leave_and_what_is_kept_belongs_to_none():
    keep = np.zeros((HEIGHT, WIDE))
    keep[:10] = 1
    masks = prepared(TWO, keep).at_size((HEIGHT, WIDE)).masks
    assert (masks[10:, : WIDE // 2] == [1, 0]).all()
    assert (masks[10:, WIDE // 2 :] == [0, 1]).all()
    assert not masks[:10].any()


@pytest.mark.parametrize("form", [bool, np.uint8, np.uint16, np.float64])
def test_every_form_of_a_mask_is_the_same(form):
    white = 1 if form in (bool, np.float64) else np.iinfo(form).max
    plain = (LEFT * white).astype(form)
    for mask in (plain, plain[..., None], np.repeat(plain[..., None], 3, axis=2)):
        if form is bool and mask.ndim == 3 and mask.shape[2] == 3:
            mask = mask.astype(np.float32)
        np.testing.assert_array_equal(prepared([Region(mask, MARBLE)]).masks[0], LEFT)


@pytest.mark.parametrize("exponent", [0.0, 0.5])
def test_what_is_kept_stays_to_the_bit(exponent):
    keep = np.zeros((HEIGHT, WIDE), bool)
    keep[12:30, 10:25] = True
    optimizer = OptimizerConfig(frequency_exponent=exponent)
    config = shallow(steps=5, init="random", optimizer=optimizer, run={"scales": 2})
    seen = []
    result = stylize(
        small_params(), BYTES, MARBLE, config, keep=keep, callback=lambda snapshot: seen.append(snapshot.image())
    )
    np.testing.assert_array_equal(result.image[keep], BYTES[keep])
    np.testing.assert_array_equal(seen[-1][keep], BYTES[keep])
    assert np.abs(result.image - BYTES)[~keep].mean() > 0.01
    assert result.trace["total"][-1] < result.trace["total"][0]


def test_a_run_in_tiles_paints_what_a_whole_one_does():
    config = shallow(steps=4)
    regions = [dataclasses.replace(TWO[0], style_mask=np.tri(27, 36)), TWO[1]]
    keep = np.zeros((HEIGHT, WIDE))
    keep[:, 20:24] = 0.5
    whole, tiled = (
        stylize(small_params(), CONTENT, None, one, regions=regions, keep=keep)
        for one in (config, dataclasses.replace(config, tile=16))
    )
    assert tiled.trace["total"] == pytest.approx(whole.trace["total"], rel=1e-4)
    np.testing.assert_allclose(tiled.image, whole.image, atol=2e-3)


def test_each_region_takes_on_its_own_style():
    """A dark style left of the middle and a light one right of it, without content."""
    loss = LossConfig(content_weight=0.0, style_weight=1.0, style_layers=(("relu1_1", 1.0),), gram_divisor="pixels")
    config = shallow(steps=60, loss=loss, optimizer=OptimizerConfig(method="adam", learning_rate=0.02))
    grey = np.full((HEIGHT, WIDE, 3), 0.5, np.float32)
    dark, light = (np.full((32, 32, 3), level, np.float32) for level in (0.1, 0.9))
    result = stylize(small_params(), grey, None, config, regions=[Region(LEFT, dark), Region("rest", light)])
    assert min(result.trace["style"]) < 0.1 * result.trace["style"][0]
    left, right = (result.image[:, side].mean() for side in (slice(0, WIDE // 2), slice(WIDE // 2, None)))
    assert left < right - 0.05


def test_what_no_region_covers_is_left_alone_beyond_the_receptive_field():
    loss = dataclasses.replace(SHALLOW, style_layers=(("relu1_1", 1.0),), content_layers=(("relu1_1", 1.0),))
    loss = dataclasses.replace(loss, tv_weight=0.0)
    result = stylize(small_params(), BYTES, None, shallow(steps=6, loss=loss), regions=[Region(LEFT, MARBLE)])
    moved = np.abs(result.image - BYTES).max(2)
    assert moved[:, : WIDE // 2].mean() > 0.01
    assert moved[:, WIDE // 2 + 4 :].max() < 1e-3


def test_a_mask_of_another_size_is_resized_with_a_note():
    class Notes(Silent):
        told = ()

        def note(self, text):
            self.told = (*self.told, text)

    notes = Notes()
    half = LEFT[::2, ::2]
    small = stylize(small_params(), CONTENT, None, shallow(steps=1), regions=[Region(half, MARBLE)], progress=notes)
    assert small.image.shape == CONTENT.shape
    assert notes.told == (
        "the mask of the region is 24 × 20 pixels and the content image 48 × 40; the mask is resized",
    )


@pytest.mark.parametrize(
    ("regions", "keep", "message"),
    [
        ([], None, "there are 0 regions"),
        ([Region(LEFT[:, :30], MARBLE, name="sky.png")], None, r"mask of region 1 \(sky.png\) is 30 × 40 .* aspect"),
        ([Region(LEFT, MARBLE, np.ones((9, 30)))], None, "style mask of the region is 30 × 9 .*style image 36 × 27"),
        ([Region(0 * LEFT, MARBLE), TWO[1]], None, "region 1 has no pixels on the content image at 48 × 40"),
        ([Region(LEFT, MARBLE)], LEFT, "the region, without what is kept, has no pixels"),
        ([Region("rest", MARBLE), Region("rest", HILLS)], None, "2 regions are the rest"),
        ([Region("sky.png", MARBLE)], None, "the text 'sky.png'"),
        ([Region(2 * LEFT, MARBLE)], None, r"from 0 to 2; expected \[0, 1\]"),
        ([Region(LEFT.astype(np.uint8), MARBLE)], None, "uint8 and nothing above 1, where white is 255"),
        ([Region(LEFT * np.nan, MARBLE)], None, "from nan to nan"),
        ([Region(LEFT[0], MARBLE)], None, r"has shape \(48,\); expected height × width"),
        ([Region(CONTENT, MARBLE)], None, r"has colours \(#"),
        ([Region(np.repeat(LEFT.astype(np.uint8)[..., None], 3, 2), MARBLE)], None, "uint8 and nothing above 1, where"),
        ([Region(LEFT, MARBLE, weight=1e39)], None, "weight of the region is 1e.39; expected a finite number"),
        ([Region(LEFT, MARBLE, weight=-1.0)], None, "weight of the region is -1.0"),
        ([Region(LEFT, MARBLE, weight=float("nan"))], None, "weight of the region is nan"),
        ([Region(LEFT, MARBLE[..., 0])], None, "style image has shape"),
        ([Region(LEFT, MARBLE, np.zeros((27, 36)))], None, "the style mask of the region has no pixels on the style"),
    ],
)
def test_what_cannot_be_is_refused_in_one_sentence(regions, keep, message):
    with pytest.raises((ConfigError, ImageError), match=message) as caught:
        stylize(small_params(), CONTENT, None, shallow(), regions=regions, keep=keep)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("regions", "keep", "bare", "message"),
    [
        (TWO, None, True, "regions need a style layer, and .*style_layers is empty; leave the regions out"),
        (TWO, LEFT, True, "regions need a style layer, and .*style_layers is empty; leave the regions out"),
        (None, LEFT, True, "a mask of what to keep needs a style layer, .* is empty; leave the mask out"),
        (None, 0 * LEFT + 1, False, "what the mask of what to keep leaves has no pixels .*; make that mask black some"),
        ([Region(LEFT, MARBLE)], LEFT, False, "make its mask white somewhere outside what is kept"),
    ],
)
def test_what_is_said_is_of_what_was_given(regions, keep, bare, message):
    loss = dataclasses.replace(SHALLOW, style_layers=()) if bare else SHALLOW
    with pytest.raises(ConfigError, match=message):
        stylize(
            small_params(),
            CONTENT,
            MARBLE if regions is None else None,
            shallow(loss=loss),
            regions=regions,
            keep=keep,
        )


def test_a_region_that_a_layer_does_not_see_is_named_with_the_layer():
    mask = np.zeros((HEIGHT, WIDE))
    mask[5:8, 5:8] = 1
    loss = dataclasses.replace(SHALLOW, style_layers=(("relu1_1", 0.5), ("relu4_1", 0.5)))
    with pytest.raises(ConfigError, match=r"region 1 has no pixels left at relu4_1 of a content image of 48 × 40"):
        stylize(small_params(), CONTENT, None, shallow(loss=loss), regions=[Region(mask, MARBLE), TWO[1]])


def test_a_style_beside_regions_is_refused_and_so_are_weights_to_blend():
    with pytest.raises(ConfigError, match="both a style and regions"):
        stylize(small_params(), CONTENT, MARBLE, shallow(), regions=TWO)
    with pytest.raises(ConfigError, match="each region has its own"):
        stylize(small_params(), CONTENT, None, shallow(), regions=TWO, style_weights=[1, 1])


def test_a_colour_of_a_map_is_a_mask():
    painted = np.zeros((6, 8, 3), np.uint8)
    painted[:, :4], painted[:, 4:] = (250, 5, 3), (0, 0, 255)
    mask = jnst.color_mask(painted, "red")
    assert (mask[:, :4] == 1).all()
    assert (mask[:, 4:] == 0).all()
    np.testing.assert_array_equal(jnst.color_mask(painted, "#0000ff"), 1 - mask)
    with pytest.raises(ConfigError, match="no pixel of colour 'green'; its colours are #0000ff, #fa0503"):
        jnst.color_mask(painted, "green")
    with pytest.raises(ConfigError, match="'reddish' is no colour"):
        jnst.color_mask(painted, "reddish")


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_masks_of_pillow_and_of_read_image_are_taken_as_they_are_shown(tmp_path, suffix):
    shown = (255 * LEFT).astype(np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 3  # stored upside down
    path = tmp_path / f"mask.{suffix}"
    Image.fromarray(shown[::-1, ::-1].copy()).save(path, exif=exif)
    with Image.open(path) as opened:
        np.testing.assert_allclose(as_mask(opened, "mask"), LEFT, atol=0.05)
    np.testing.assert_allclose(as_mask(read_image(path), "mask"), LEFT, atol=0.05)
    palette = Image.fromarray(shown).convert("P", palette=Image.Palette.ADAPTIVE, colors=2)
    np.testing.assert_array_equal(as_mask(palette, "mask"), LEFT)
