"""The studio without its page: one painting at a time, steered, taken back, kept, and never lost."""

import errno
import hashlib
import io
import json
import os
import time

import numpy as np
import pytest
from PIL import Image
from studio_material import painting, small_run, small_studio, wait, wait_for

from jnst.errors import ConfigError, ImageError
from jnst.images.reading import read_image
from jnst.images.writing import read_metadata
from jnst.studio import files as files_module
from jnst.studio import painting as painting_module
from jnst.studio import worker as worker_module
from jnst.studio.painter import Painter
from jnst.studio.session import Studio


@pytest.fixture
def studio(tmp_path):
    opened = small_studio(tmp_path / "kept", styles=2)
    yield opened
    opened.close()


@pytest.fixture
def slow(monkeypatch):
    """One step a chunk and not too fast, so that there is time to steer."""
    monkeypatch.setattr(worker_module, "CHUNK_SECONDS", 0.0)
    paint = Painter.paint

    def paint_slowly(self, steps):
        time.sleep(0.1)
        return paint(self, steps)

    monkeypatch.setattr(Painter, "paint", paint_slowly)


def paused_at(studio, number, step):
    wait(lambda: painting(studio, number)["step"] >= step, f"step {step}")
    studio.pause(number)
    return wait_for(studio, number, "paused")


def test_a_painting_is_painted_to_its_end(studio):
    number = studio.paint()
    done = wait_for(studio, number, "done")
    assert (done["step"], done["goal"], done["height"], done["width"]) == (12, 12, 27, 32)
    curves = studio.curves(number)
    assert set(curves) == {"total", "content", "style", "total_variation"}
    assert {len(values) for values in curves.values()} == {13}
    assert curves["total"][-1] < curves["total"][0]
    assert studio.look(number).shape == (27, 32, 3)
    assert done["moments"][0] == 0
    assert done["moments"][-1] == 12
    json.dumps(studio.state(), allow_nan=False)


def test_a_knob_acts_while_it_paints(studio, slow):
    studio.set_draft({"steps": 500})
    number = studio.paint()
    wait(lambda: painting(studio, number)["step"] >= 3, "step 3")
    studio.set_knobs(number, {"strength": 0.8})
    change = wait(lambda: painting(studio, number)["steering"], "the knob")[0]
    wait(lambda: painting(studio, number)["step"] >= change["step"] + 2, "two steps more")
    studio.stop(number)
    wait_for(studio, number, "stopped")
    totals, styles = studio.curves(number)["total"], studio.curves(number)["style"]
    # The entry after the change is of the same picture: the total grows by seven times the style term.
    at = change["step"]
    assert change["strength"] == 0.8
    assert totals[at + 1] - totals[at] == pytest.approx(7 * 10 * styles[at], rel=1e-2)
    assert painting(studio, number)["knobs"]["strength"] == 0.8
    assert at in painting(studio, number)["moments"]


def test_a_slider_that_is_dragged_is_one_change(studio, slow):
    number = studio.paint()
    paused_at(studio, number, 2)
    for strength in (0.2, 0.3, 0.4):
        studio.set_knobs(number, {"strength": strength})
        wait(lambda strength=strength: painting(studio, number)["knobs"]["strength"] == strength, "the knob")
    studio.set_knobs(number, {"smoothness": 2})
    wait(lambda: [len(change) for change in painting(studio, number)["steering"]] == [3], "both knobs")
    (change,) = painting(studio, number)["steering"]
    assert (change["strength"], change["smoothness"]) == (0.4, 2)


def test_pause_and_go_on(studio, slow):
    number = studio.paint()
    at = paused_at(studio, number, 2)["step"]
    before = studio.state()["version"]
    assert painting(studio, number)["step"] == at
    studio.go_on(number)
    assert wait_for(studio, number, "done")["step"] == 12
    assert studio.state()["version"] > before


def test_undo_while_paused_shows_the_moment_and_goes_on_from_there(studio, slow):
    number = studio.paint()
    late = paused_at(studio, number, 6)
    early = late["moments"][1]
    seen = studio.look_back(number, early)
    studio.set_knobs(number, {"strength": 0.9})
    wait(lambda: painting(studio, number)["steering"], "the knob")
    version = studio.version
    studio.undo(number, early)
    wait(lambda: painting(studio, number)["step"] == early, "the moment")
    assert studio.version >= version + 2  # asked for, and done: the page hears of both
    assert painting(studio, number)["knobs"]["strength"] == 0.5  # as it was then
    np.testing.assert_allclose(studio.look(number), seen / 65_535, atol=1e-4)
    assert max(painting(studio, number)["moments"]) == early
    assert len(studio.curves(number)["total"]) == early + 1
    studio.go_on(number)
    assert wait_for(studio, number, "done")["step"] == 12


def test_undo_after_the_end_waits_for_go_on(studio):
    number = studio.paint()
    moments = wait_for(studio, number, "done")["moments"]
    studio.undo(number, moments[0])
    assert (painting(studio, number)["status"], painting(studio, number)["step"]) == ("stopped", 0)
    studio.go_on(number)
    assert wait_for(studio, number, "done")["step"] == 12
    studio.go_on(number)  # and as many steps again
    assert wait(lambda: painting(studio, number)["step"] == 24 and painting(studio, number)["status"] == "done", "24")


def test_a_moment_that_is_not_kept_is_named(studio):
    number = studio.paint()
    wait_for(studio, number, "done")
    with pytest.raises(ConfigError, match=r"has no moment at step 999; kept are: 0, \d+"):
        studio.undo(number, 999)
    with pytest.raises(ConfigError, match="there is no painting 7"):
        studio.undo(7, 0)


def test_one_at_a_time_and_the_others_wait(studio, slow):
    studio.set_draft({"steps": 400})
    first, second, third = studio.paint(), studio.paint(), studio.paint()
    wait_for(studio, first, "painting")
    assert [painting(studio, number)["status"] for number in (second, third)] == ["queued", "queued"]
    studio.stop(third)
    assert painting(studio, third)["status"] == "stopped"
    studio.stop(first)
    wait_for(studio, second, "painting")
    assert painting(studio, first)["status"] == "stopped"
    assert painting(studio, third)["step"] == 0
    studio.stop(second)
    wait_for(studio, second, "stopped")


def test_the_queue_is_bounded(studio, slow):
    studio.set_draft({"steps": 400})
    numbers = [studio.paint()]
    wait_for(studio, numbers[0], "painting")
    numbers += [studio.paint() for _ in range(8)]
    with pytest.raises(ConfigError, match="8 paintings wait already"):
        studio.paint()
    for number in reversed(numbers):
        studio.stop(number)


def test_twice_as_large_begins_with_the_picture_enlarged(studio):
    number = studio.paint({"strength": 0.7})
    wait_for(studio, number, "done")
    larger = studio.double(number)
    done = wait_for(studio, larger, "done")
    assert (done["height"], done["width"], done["enlarged"], done["goal"]) == (53, 64, number, 6)
    assert done["knobs"]["strength"] == 0.7
    first = Image.fromarray(studio.look_back(larger, 0)[..., 0].astype(np.int32)).resize((32, 27))
    assert np.abs(np.asarray(first) / 65_535 - studio.look(number)[..., 0]).mean() < 0.05


def test_colours_of_the_photo_act_at_once_and_after_the_end(studio):
    number = studio.paint()
    version = wait_for(studio, number, "done")["version"]
    painted = studio.look(number)
    studio.set_knobs(number, {"colors": "content"})
    assert painting(studio, number)["version"] > version
    mixed = studio.look(number)
    luminance = np.array([0.299, 0.587, 0.114])
    inside = (mixed > 0.01).all(axis=2) & (mixed < 0.99).all(axis=2)
    np.testing.assert_allclose((mixed @ luminance)[inside], (painted @ luminance)[inside], atol=2e-3)
    assert np.abs(mixed - painted).max() > 0.05


def test_ways_with_colours_may_change_on_the_way_and_after_the_end(studio, slow):
    number = studio.paint({"colors": "luminance"})
    paused_at(studio, number, 3)
    photo = studio.look(number) - studio.look(number) @ np.array([0.299, 0.587, 0.114])[:, None]
    for colors in ("match", "luminance", "style", "content", "luminance"):
        studio.set_knobs(number, {"colors": colors})
        shown = studio.look(number)  # before the painter has taken it over, and after
        wait(lambda colors=colors: studio._queue.find(number).knobs.colors == colors, "the knob")
        for picture in (shown, studio.look(number)):
            difference = np.abs(picture - picture @ np.array([0.299, 0.587, 0.114])[:, None] - photo)
            assert np.ptp(picture, axis=2).max() > 0.05  # never the grey that luminance is worked on in
            assert np.median(difference) < 0.02 or colors in ("match", "style")
    studio.go_on(number)
    wait_for(studio, number, "done")
    assert np.ptp(studio.look_back(number, painting(studio, number)["moments"][0]), axis=2).max() > 3000
    before = studio.look(number)
    studio.set_knobs(number, {"colors": "style"})
    np.testing.assert_allclose(studio.look(number), before, atol=1e-5)
    studio.undo(number, painting(studio, number)["moments"][0])
    assert np.ptp(studio.look(number), axis=2).max() > 0.05
    studio.go_on(number)
    assert wait_for(studio, number, "done")["knobs"]["colors"] == "style"


def test_a_photo_of_one_pixel_is_refused(studio):
    data = io.BytesIO()
    Image.new("RGB", (1, 1)).save(data, "PNG")
    studio.add_picture(data.getvalue(), "point.png", "content")
    with pytest.raises(ConfigError, match="is 1 × 1 pixels; a side of one pixel is not enlarged"):
        studio.paint()


def test_the_record_is_inside_what_is_kept_and_downloaded(studio, slow):
    number = studio.paint()
    paused_at(studio, number, 3)
    studio.set_knobs(number, {"blend": [1, 3]})
    wait(lambda: painting(studio, number)["steering"], "the knob")
    studio.go_on(number)
    wait_for(studio, number, "done")
    name = studio.keep(number)
    assert name == "photo-style0-style1-0012.png"
    assert studio.keep(number) == "photo-style0-style1-0012-1.png"
    assert sorted(studio.state()["kept"]) == sorted([name, "photo-style0-style1-0012-1.png"])
    record = read_metadata(studio.kept.folder / name)
    assert record is not None
    assert record["inputs"]["content"]["path"] == "photo.jpg"
    assert [style["path"] for style in record["inputs"]["styles"]] == ["style0.jpg", "style1.jpg"]
    assert record["inputs"]["style_weights"] == [1, 3]
    assert record["studio"]["steps"] == 12
    assert record["studio"]["steering"][0]["blend"] == [1, 3]
    assert record["stopped"] == "steps"
    pixels = read_image(studio.kept.folder / name).pixels
    np.testing.assert_allclose(pixels / 255, studio.look(number), atol=0.51 / 255)
    given, data = studio.download(number)
    assert given == name
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(data))), pixels)


def test_what_is_kept_and_downloaded_has_the_photos_alpha(studio):
    pixels = np.random.default_rng(0).integers(0, 256, (27, 32, 4), np.uint8)
    pixels[..., 3] = np.where(np.arange(32) < 16, 0, 255)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    studio.add_picture(buffer.getvalue(), "cut.png", "content")
    number = studio.paint()
    wait_for(studio, number, "done")
    kept = read_image(studio.kept.folder / studio.keep(number))
    np.testing.assert_array_equal(kept.alpha, pixels[..., 3])
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(studio.download(number)[1])))[..., 3], kept.alpha)
    with Image.open(io.BytesIO(studio.kept.thumbnail(studio.kept.names()[0]))) as small:
        assert np.asarray(small)[:, :8].min() > 240  # hidden, on a white page


def test_a_folder_that_cannot_be_written_is_named(studio, tmp_path):
    number = studio.paint()
    wait_for(studio, number, "done")
    (tmp_path / "kept").write_text("a file")
    with pytest.raises(ImageError, match=r"cannot write to .*kept"):
        studio.keep(number)


def test_a_full_disk_leaves_no_part_of_a_picture(studio, tmp_path, monkeypatch):
    number = studio.paint()
    wait_for(studio, number, "done")

    def refuse(path, data):
        path.write_bytes(data[:9])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(files_module, "write_atomically", refuse)
    with pytest.raises(ImageError, match=r"cannot write to .*kept: No space left on device"):
        studio.keep(number)
    assert not (tmp_path / "kept").exists()


def test_a_file_that_changed_since_it_was_taken_in_is_refused(studio, tmp_path):
    """What a record says of a painting's inputs are the files that it was made of."""
    path = tmp_path / "photo.png"
    Image.new("RGB", (32, 27), "red").save(path)
    entry = studio.library.refer(path)
    assert entry.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    entry.read()
    Image.new("RGB", (32, 27), "blue").save(path)
    with pytest.raises(ImageError, match=r"photo\.png has changed since the studio took it in; open it again"):
        entry.read()
    path.unlink()
    with pytest.raises(ImageError, match=r"there is no picture at photo\.png"):
        entry.read()


def test_kept_names_lead_nowhere_else(studio, tmp_path):
    (tmp_path / "secret.png").write_bytes(b"x")
    for name in ("../secret.png", "..", "", "/etc/passwd"):
        with pytest.raises(ImageError, match="no kept picture"):
            studio.kept.find(name)


def test_one_that_fails_does_not_take_the_studio_with_it(studio):
    studio.set_draft({"size": 16})
    entry = studio.library[studio.state()["draft"]["content"]]
    good = entry.path.read_bytes()
    entry.path.write_bytes(good[:200])
    number = studio.paint()
    assert "photo.jpg has changed since the studio took it in" in wait_for(studio, number, "failed")["message"]
    entry.path.write_bytes(good)
    assert wait_for(studio, studio.paint(), "done")["step"] == 12


def test_what_is_missing_is_said(tmp_path):
    studio = Studio(small_run(), tmp_path)
    with pytest.raises(ConfigError, match="a photo is missing"):
        studio.paint()
    bundled = studio.state()["pictures"][0]["id"]
    studio.set_draft({"content": bundled})
    with pytest.raises(ConfigError, match="a painting is missing"):
        studio.paint()
    with pytest.raises(ConfigError, match="expected a whole number from 16 to 4096"):
        studio.set_draft({"size": 5000})
    with pytest.raises(ConfigError, match="expected a whole number"):
        studio.set_draft({"steps": True})
    with pytest.raises(ConfigError, match="the draft has no 'seed'"):
        studio.set_draft({"seed": 1})
    with pytest.raises(ConfigError, match="expected a list of at most 6"):
        studio.set_draft({"styles": [bundled] * 7})
    with pytest.raises(ConfigError, match="role is 'frame'"):
        studio.add_picture(b"", "x", "frame")
    studio.close()


def test_several_scales_are_painted_from_coarse_to_fine(tmp_path, slow):
    studio = small_studio(tmp_path, size=64, steps=4, run={"scales": 2})
    number = studio.paint()
    assert (painting(studio, number)["goal"], painting(studio, number)["scales"]) == (8, 2)
    done = wait_for(studio, number, "done")
    assert (done["step"], done["scale"], done["height"], done["width"]) == (8, 2, 53, 64)
    sizes = {step: studio.look_back(number, step).shape[:2] for step in done["moments"]}
    assert sizes[0] == sizes[4] == (26, 32)
    assert sizes[8] == sizes[5] == (53, 64)
    # Back to the coarse scale, and through both again.
    studio.undo(number, 2)
    assert studio.look(number).shape == (53, 64, 3)  # shown at full size all the same
    studio.go_on(number)
    again = wait_for(studio, number, "done")
    assert (again["step"], again["scale"]) == (8, 2)
    studio.close()


def test_undo_to_a_coarser_scale_while_it_paints(tmp_path, slow):
    studio = small_studio(tmp_path, size=64, steps=6, run={"scales": 2})
    number = studio.paint()
    wait(lambda: painting(studio, number)["step"] >= 8, "the second scale")
    studio.undo(number, 3)
    wait(lambda: painting(studio, number)["scale"] == 1, "the first scale")
    assert wait_for(studio, number, "done")["step"] == 12
    studio.close()


def test_closing_ends_what_is_painted(tmp_path, slow):
    studio = small_studio(tmp_path, steps=5000)
    number = studio.paint()
    wait_for(studio, number, "painting")
    studio.close()
    assert not studio._worker.is_alive()
    assert painting(studio, number)["status"] == "stopped"


def test_moments_are_few_and_evenly_spread(studio, monkeypatch):
    monkeypatch.setattr(painting_module, "MAX_MOMENTS", 5)
    number = studio.paint()
    moments = wait_for(studio, number, "done")["moments"]
    assert len(moments) <= 5
    assert (moments[0], moments[-1]) == (0, 12)
