"""A run from the shell on the studio's page: the same bytes when nobody touches it, and steered when somebody does."""

import http.client
import json
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from small import shallow
from studio_material import jpeg, small_run

from jnst.errors import ConfigError, JnstError
from jnst.images.reading import read_image
from jnst.jobs.job import Job
from jnst.jobs.region_files import RegionFiles
from jnst.jobs.run import run_job
from jnst.presets.resolve import Run
from jnst.progress.callbacks import Progress, Silent
from jnst.studio import worker as worker_module
from jnst.studio.live import check_job, paint_live
from jnst.studio.painter import Painter
from jnst.studio.server import listen, serving
from jnst.studio.session import Studio
from jnst.transfer.film_options import Film


class Listener(Silent):
    """Writes down what it is told, and does something at a step."""

    def __init__(self, act=None, at=3):
        self.heard, self.records, self._act, self._at = [], [], act, at

    def doing(self, text):
        self.heard.append(text)

    def __call__(self, progress: Progress):
        self.records.append(progress)
        if self._act is not None and progress.step >= self._at:
            act, self._act = self._act, None
            act()


@pytest.fixture
def slow(monkeypatch):
    """One step a chunk, and time to steer."""
    monkeypatch.setattr(worker_module, "CHUNK_SECONDS", 0.0)
    paint = Painter.paint
    monkeypatch.setattr(Painter, "paint", lambda self, steps: (time.sleep(0.05), paint(self, steps))[1])


@pytest.fixture
def job(tmp_path):
    for name, subject, seed in (("photo.jpg", "shapes", 0), ("painting.jpg", "marble", 1), ("other.jpg", "weave", 2)):
        (tmp_path / name).write_bytes(jpeg(subject, seed=seed))
    config = shallow(steps=6, run={"scales": 2})
    return Job(
        tmp_path / "photo.jpg", (tmp_path / "painting.jpg",), tmp_path / "out.png", config, weights_source="small"
    )


@pytest.fixture
def studio(job):
    run = small_run()
    opened = Studio(Run(job.config, run.weights, run.source, ()), job.output.parent, single=True)
    yield opened
    opened.close()


def live(studio, job, listener=None, interrupted=lambda: False):
    """The whole run: pictures read, painted on the page, written."""

    def paint(job, initial, signalled, printer):
        return paint_live(studio, job, initial, lambda: signalled() or interrupted(), printer)

    record, _ = run_job(job, studio.run.weights, listener or Silent(), paint=paint)
    return record


def half_hidden(channels, path):
    """A picture of noise, transparent in its left half where there are four channels."""
    pixels = np.random.default_rng(channels).integers(0, 256, (40, 48, channels), np.uint8)
    if channels == 4:
        pixels[..., 3] = np.where(np.arange(48) < 24, 0, 255)
    Image.fromarray(pixels).save(path)
    return path


@pytest.mark.parametrize(
    ("initial", "alpha", "colors"),
    [
        (False, False, "style"),
        (False, True, "luminance"),
        (False, False, "match"),
        (True, False, "luminance"),
        (True, True, "style"),
    ],
)
def test_untouched_it_writes_the_bytes_that_stylize_writes(studio, job, tmp_path, initial, alpha, colors):
    job = replace(job, config=replace(job.config, run=replace(job.config.run, colors=colors)))
    if alpha:
        job = replace(job, content=half_hidden(4, tmp_path / "photo.png"))
    if initial:
        job = replace(job, initial=half_hidden(3 + alpha, tmp_path / "begin.png"))
    plain = replace(job, output=tmp_path / "plain.png")
    expected, _ = run_job(plain, studio.run.weights, Silent())
    record = live(studio, job)
    ours, theirs = read_image(job.output), read_image(plain.output)
    np.testing.assert_array_equal(ours.pixels, theirs.pixels)
    assert (ours.alpha is not None) == alpha
    np.testing.assert_array_equal(ours.alpha, theirs.alpha)
    changing = ("seconds", "written")
    assert {name: value for name, value in record.items() if name not in changing} == {
        name: value for name, value in expected.items() if name not in changing
    }


def test_a_knob_acts_and_is_in_the_record(studio, job, slow):
    def act():
        studio.set_knobs(1, {"strength": 0.9, "colors": "content"})

    record = live(studio, job, Listener(act))
    assert record["stopped"] == "steps"
    assert record["config"]["loss"]["strength"] == 0.9
    assert record["config"]["run"]["colors"] == "content"
    (change,) = record["studio"]["steering"]
    assert (change["strength"], change["colors"]) == (0.9, "content")
    assert change["step"] >= 3
    assert len(record["trace"]["total"]) <= 7  # of the last scale


def test_a_blend_that_is_moved_is_in_the_record(studio, job, slow, tmp_path):
    job = replace(job, styles=(*job.styles, tmp_path / "other.jpg"), style_weights=(2.0, 1.0))
    record = live(studio, job, Listener(lambda: studio.set_knobs(1, {"blend": [0, 1]})))
    assert record["inputs"]["style_weights"] == [0, 1]
    assert live(studio, replace(job, output=tmp_path / "again.png"))["inputs"]["style_weights"] == [2, 1]


def test_the_printer_hears_of_scales_steps_and_a_pause(studio, job, slow):
    listener = Listener()
    listener._act = lambda: studio.pause(1)

    def go_on():
        if "paused on the page" in listener.heard:
            studio.go_on(1)
        return False

    live(studio, job, listener, go_on)
    assert [text for text in listener.heard if "compiling" in text] == [
        "compiling 24×20 (once per size)",
        "compiling 48×40 (once per size)",
    ]
    steps = [record.step for record in listener.records]
    assert steps == sorted(steps)
    assert (steps[-1], listener.records[-1].steps) == (12, 12)
    assert {record.scale for record in listener.records} == {1, 2}
    assert [record.fraction for record in listener.records][-1] == 1
    assert set(listener.records[-1].terms) == {"content", "style", "total_variation"}
    assert listener.heard[-1] == "writing out.png"


def test_stopped_on_the_page_it_writes_what_is_there(studio, job, slow):
    record = live(studio, job, Listener(lambda: studio.stop(1)))
    assert record["stopped"] == "callback"
    assert job.output.exists()


def test_ctrl_c_writes_what_is_there(studio, job, slow):
    seen = Listener()
    record = live(studio, job, seen, lambda: any(record.step >= 3 for record in seen.records))
    assert record["stopped"] in ("callback", "interrupted")
    assert 3 <= seen.records[-1].step < 12
    assert job.output.exists()


def test_before_the_first_step_nothing_is_written(studio, job):
    with pytest.raises(KeyboardInterrupt):
        live(studio, job, None, lambda: True)
    assert not job.output.exists()


def test_max_time_ends_it(studio, job, slow):
    job = replace(job, config=replace(job.config, run=replace(job.config.run, steps=4000, max_time=0.5)))
    assert live(studio, job)["stopped"] in ("time", "no step")


def test_a_failure_is_raised_in_its_words(studio, job, monkeypatch):
    def fail(*_, **__):
        raise MemoryError("RESOURCE_EXHAUSTED")

    monkeypatch.setattr(Painter, "compile", fail)
    with pytest.raises(JnstError, match="out of memory"):
        live(studio, job)


def test_its_page_paints_nothing_else(studio, job, slow):
    def act():
        for ask in (studio.paint, lambda: studio.double(1)):
            with pytest.raises(ConfigError, match="this page shows one run of `jnst stylize`"):
                ask()

    live(studio, job, Listener(act))
    assert studio.state()["single"]


@pytest.mark.parametrize(
    ("flag", "changes"),
    [
        ("--tolerance", {"run": {"tolerance": 0.01}}),
        ("--save-every", {"run": {"save_every": 5}}),
        ("--resume", {"resume": True}),
        ("--split-rows", {"split_rows": True}),
        ("--animate", {"film": Film(Path("film.webp"))}),
        ("a mask", {"regions": RegionFiles(keep="face.png")}),
    ],
)
def test_what_the_studio_does_not_do_is_refused(job, flag, changes):
    run = replace(job.config.run, **changes.pop("run", {}))
    with pytest.raises(ConfigError, match=f"--live cannot be combined with {flag}"):
        check_job(replace(job, config=replace(job.config, run=run), **changes))
    check_job(job)


def test_the_page_is_told_when_the_run_has_ended(studio):
    studio.farewell = "that was it"
    with listen(0) as listener, serving(studio, listener) as link:
        port, token = listener.getsockname()[1], link.partition("token=")[2]
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        connection.request("GET", "/events", headers={"Cookie": f"jnst-studio-{port}={token}"})
        answer = connection.getresponse()
        assert answer.status == 200
        first = answer.readline()
        assert json.loads(first.removeprefix(b"data: "))["single"]
    rest = answer.read()
    connection.close()
    assert b'event: closed\ndata: "that was it"\n\n' in rest
