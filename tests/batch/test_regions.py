"""Regions in batches: as in single runs, and in lists of work."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from small import picture, shallow, small_params

from jnst import Region
from jnst.batch.api import stylize_batch
from jnst.batch.manifest import read_records
from jnst.batch.pairs import Reading, Rows, read_pairs
from jnst.batch.worklist import Entry
from jnst.cli.flags import parse_named
from jnst.config import Config, SizeConfig
from jnst.images.reading import Picture
from jnst.jobs.region_files import RegionFiles
from jnst.presets.settings import replace_settings, setting_names
from jnst.transfer.driver import stylize

# One that fills its padded size, and two that do not.
CONTENTS = [np.asarray(picture(*one)) for one in (("shapes", 32, 48), ("hills", 27, 37), ("weave", 30, 33))]
MARBLE, HILLS = np.asarray(picture("marble", 27, 36, 3)), np.asarray(picture("hills", 30, 31))
PARAMS = small_params()


def half(content: np.ndarray) -> np.ndarray:
    mask = np.zeros(content.shape[:2])
    mask[: content.shape[0] // 2] = 1
    return mask


REGIONS = [(Region(half(one), MARBLE, np.tri(27, 36)), Region("rest", HILLS, weight=0.5)) for one in CONTENTS]


def test_a_batch_paints_what_single_runs_do():
    config = shallow(steps=4, run={"scales": 2})
    config = dataclasses.replace(config, size=dataclasses.replace(config.size, rule="keep"))
    keeps = [None, np.eye(27, 37), np.zeros((30, 33))]
    batch = stylize_batch(PARAMS, CONTENTS, None, config, regions=REGIONS, keeps=keeps)
    for content, regions, keep, result in zip(CONTENTS, REGIONS, keeps, batch, strict=True):
        alone = stylize(PARAMS, content, None, config, regions=regions, keep=keep)
        assert result.trace["total"] == pytest.approx(alone.trace["total"], rel=1e-3)
        np.testing.assert_allclose(result.image, alone.image, atol=5e-3)


def test_images_with_and_without_regions_share_a_call():
    config = shallow(steps=2)
    batch = stylize_batch(PARAMS, CONTENTS[:2], MARBLE, config, regions=[None, REGIONS[1]])
    plain = stylize(PARAMS, CONTENTS[0], MARBLE, config)
    guided = stylize(PARAMS, CONTENTS[1], None, config, regions=REGIONS[1])
    for ours, theirs in zip(batch, (plain, guided), strict=True):
        assert ours.trace["total"] == pytest.approx(theirs.trace["total"], rel=1e-4)


def test_a_tiled_image_of_a_batch_has_its_regions():
    config = shallow(steps=2)
    tiled = dataclasses.replace(config, tile=16)
    (ours,) = stylize_batch(PARAMS, CONTENTS[:1], None, tiled, regions=REGIONS[0])
    theirs = stylize(PARAMS, CONTENTS[0], None, config, regions=REGIONS[0])
    assert ours.trace["total"] == pytest.approx(theirs.trace["total"], rel=1e-4)


@pytest.mark.parametrize("colors", ["style", "match", "luminance"])
def test_a_tiled_image_of_a_batch_is_the_tiled_image_alone(colors):
    # Shrunk to 27 × 41, which is not quite the masks' aspect ratio; a quarter of it is hidden.
    content = np.asarray(picture("shapes", 67, 100))
    alpha = np.full(content.shape[:2], 255, np.uint8)
    alpha[:33, :50] = 0
    photo = Picture(np.rint(255 * content).astype(np.uint8), alpha, "test", ())
    regions = (Region(half(content), MARBLE**3), Region("rest", HILLS))
    config = dataclasses.replace(shallow(steps=1, run={"colors": colors}), tile=16, size=SizeConfig("long", 41))
    (ours,) = stylize_batch(PARAMS, [photo], None, config, regions=[regions])
    theirs = stylize(PARAMS, photo, None, config, regions=regions)
    assert ours.trace["total"] == theirs.trace["total"]
    assert np.array_equal(ours.image, theirs.image)
    assert ours.alpha is not None
    assert np.array_equal(ours.alpha, theirs.alpha)


def read(path: Path, text: str) -> Rows:
    path.write_text(text)
    reading = Reading(["s.png"], lambda changes: replace_settings(Config(), changes), parse_named, setting_names())
    return read_pairs(str(path), reading)


def test_a_row_names_the_masks_of_its_styles(tmp_path: Path):
    text = (
        "content,style,mask,style_mask,keep,region_weights\np.jpg,a.png|b.png,m.png:#ff0000|rest,all|s.png,k.png,1|2\n"
    )
    rows = read(tmp_path / "list.csv", text)
    (entry,) = rows.entries
    here = str(tmp_path)
    expected = RegionFiles((f"{here}/m.png:#ff0000", "rest"), ("all", f"{here}/s.png"), f"{here}/k.png", (1.0, 2.0))
    assert entry.regions == expected
    assert entry.inputs[3:] == (f"{here}/m.png", f"{here}/s.png", f"{here}/k.png")
    told = json.dumps({"content": "p.jpg", "style": ["a.png", "b.png"], "mask": ["m.png", "rest"]})
    assert read(tmp_path / "list.jsonl", told).entries[0].regions == RegionFiles((f"{here}/m.png", "rest"))


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("mask", "a.png|b.png", "masks: 2, styles: 1"),
        ("keep", "a.png|b.png", "keep names 2 masks"),
        ("keep", "rest", "the mask of what to keep is 'rest'"),
        ("region_weights", "heavy", "expected numbers, such as 2|1"),
        ("mask", "m.png:nocolour", "'nocolour' is no colour"),
        ("style_mask", "rest", "a mask of a style is 'rest'"),
    ],
)
def test_a_row_with_a_wrong_mask_costs_itself(tmp_path: Path, column, value, message):
    rows = read(tmp_path / "list.csv", f"content,{column}\ngood.png,\nbad.png,{value}\n")
    assert [entry.content for entry in rows.entries] == [f"{tmp_path}/good.png"]
    assert message in rows.bad[0].reason


def test_masks_are_a_part_of_what_a_picture_is():
    plain = Entry("a.png", "c.png", ("s.png",), Config())
    keys = {dataclasses.replace(plain, regions=one).key("w") for one in (None, RegionFiles(keep="k.png"))}
    assert len(keys) == 2


def test_a_folder_job_paints_with_masks(tmp_path: Path, monkeypatch):
    from small import tiny_weights

    from jnst.cli.main import main

    monkeypatch.chdir(tmp_path)
    for name, image in (
        ("c", CONTENTS[0]),
        ("a", MARBLE),
        ("b", HILLS),
        ("m", np.repeat(half(CONTENTS[0])[..., None], 3, 2)),
    ):
        Image.fromarray((np.asarray(image) * 255).astype(np.uint8)).save(f"{name}.png")
    keep = np.zeros((32, 48), np.uint8)
    keep[:, 40:] = 255
    Image.fromarray(keep).save("k.png")
    Path("list.csv").write_text(
        "content,style,mask,keep,output\nc.png,a.png|b.png,m.png|rest,k.png,out.png\nc.png,a.png,lost.png,,no.png\n"
    )
    layers = ["--content-layers", "relu2_1", "--style-layers", "relu1_1,relu2_1"]
    code = main(
        [
            "batch",
            "--pairs",
            "list.csv",
            "-o",
            "out",
            "--weights",
            tiny_weights(),
            "--steps",
            "3",
            "--full-size",
            "--quiet",
            *layers,
        ]
    )
    assert code == 1
    painted = np.asarray(Image.open("out/out.png"))
    original = np.asarray(Image.open("c.png"))
    np.testing.assert_array_equal(painted[:, 40:], original[:, 40:])
    assert np.abs(painted[:, :40].astype(int) - original[:, :40]).mean() > 1
    told = list(read_records("out"))
    done = [line for line in told if line.get("status") == "done"]
    assert [line["regions"]["keep"] for line in done] == ["k.png"]
    assert any("no picture at" in line.get("reason", "") for line in told)
