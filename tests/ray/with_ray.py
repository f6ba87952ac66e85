"""A real local Ray with two actors, one of them killed in the middle. Run by `scripts/test_ray`, not by the suite."""

import os
import signal
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from material import paint
from PIL import Image
from small import tiny_weights

from jnst.batch.discovery import find_pictures
from jnst.batch.job import FolderJob, run_folder
from jnst.batch.manifest import latest, read_records
from jnst.batch.options import Options
from jnst.batch.ray_engine import ray_engine
from jnst.batch.worklist import combine
from jnst.cli.main import main
from jnst.presets.resolve import resolve_run
from jnst.progress.callbacks import Silent

SETTINGS = {
    "run.steps": 300,
    "size.rule": "keep",
    "init": "content",
    "optimizer.method": "adam",
    "loss.content_layers": [["relu1_2", 1.0]],
    "loss.style_layers": [["relu1_1", 1.0]],
}
COUNT = 24


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("JNST_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    Path("in").mkdir()
    for number in range(COUNT):
        Image.fromarray(np.uint8(255 * paint("hills", 32, 32, number))).save(f"in/{number:02d}.png")
    Path("in/bad.png").write_bytes(b"nothing")
    Image.fromarray(np.uint8(255 * paint("weave", 32, 32))).save("style.png")
    return tmp_path


def test_two_actors_one_killed_in_the_middle_and_a_resume(folder):
    run = resolve_run("default", weights=tiny_weights(), settings=SETTINGS)
    entries = combine(find_pictures("in").pictures, ["style.png"], run.config)
    options = Options("out", batch_size=2)
    engine = ray_engine(run.weights, options, actors=(2, 2))
    killed = []

    def murderous(todo, deliver, callback):
        def kill_the_first(record):
            deliver(record)
            if not killed:
                killed.append(record["worker"])
                os.kill(record["worker"], signal.SIGKILL)

        engine(todo, kill_the_first, callback)

    summary = run_folder(FolderJob(tuple(entries), options), run.weights, Silent(), engine=murderous)
    assert killed
    assert (summary.done, summary.failed, summary.left) == (COUNT, 1, 0)
    items = [record for record in read_records("out") if record["kind"] == "item"]
    assert max(Counter(record["name"] for record in items).values()) == 1
    assert len({record["worker"] for record in items}) > 1
    assert latest(items)["bad.png"]["status"] == "failed"
    moments = {path: path.stat().st_mtime_ns for path in Path("out").glob("*.png")}
    assert len(moments) == COUNT
    # The same job again, by the other engine: nothing is left to do.
    again = run_folder(FolderJob(tuple(entries), options, resume=True), run.weights, Silent())
    assert (again.done, again.failed, again.done_before, again.failed_before) == (0, 0, COUNT, 1)
    assert {path: path.stat().st_mtime_ns for path in moments} == moments


def test_the_command_line_with_ray(folder):
    words = ["batch", "in", "--style", "style.png", "-o", "out", "--engine", "ray", "--actors", "1-2", "--quiet"]
    words += ["--full-size", "--iterations", "1", "--optimizer", "adam", "--weights", tiny_weights()]
    words += ["--content-layers", "relu1_2", "--style-layers", "relu1_1"]
    assert main(words) == 1
    assert len(list(Path("out").glob("*.png"))) == COUNT
