"""A run that is killed and resumed ends in the very picture of one that was left alone."""

import dataclasses
import io
import json
import os
import random
import zipfile
from pathlib import Path

import hostile
import material
import numpy as np
import pytest

from jnst.config import Config, LossConfig, NetworkConfig, OptimizerConfig, RunConfig, SizeConfig
from jnst.errors import JnstError
from jnst.loss.term import Term
from jnst.transfer.checkpoint import Checkpoint, read_about
from jnst.transfer.driver import stylize
from jnst.vgg.convolution import prepare_params

CONTENT = material.with_noise(material.paint("shapes", 48, 64), 1)
STYLE = material.paint("marble", 40, 40)
CONFIG = Config(
    network=NetworkConfig(width=1 / 16, pooling="average"),
    size=SizeConfig(rule="keep"),
    loss=LossConfig(
        content_layers=(("relu2_1", 1.0),),
        style_layers=(("relu1_1", 1.0), ("relu2_1", 1.0)),
        content_normalization="target_variance",
        style_normalization="target_norm",
    ),
    optimizer=OptimizerConfig(history=3, frequency_exponent=0.5),
    run=RunConfig(steps=9, chunk=3, scales=2),
)


@pytest.fixture(scope="module")
def params():
    return prepare_params(material.random_params("vgg19", 1 / 16, 0))


def test_the_state_stays_in_the_folder_that_was_at_hand_when_the_run_began(tmp_path, monkeypatch, params):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "other").mkdir()

    def wander(snapshot):
        os.chdir(tmp_path / "other")
        return snapshot.progress.step >= 3

    stylize(params, CONTENT, STYLE, CONFIG, callback=wander, checkpoint=Checkpoint("run.state", 1e-6))
    assert (tmp_path / "run.state").exists()
    assert not list((tmp_path / "other").iterdir())
    monkeypatch.chdir(tmp_path)
    checkpoint = Checkpoint("run.state", 1e-6, resume=True)
    os.chdir(tmp_path / "other")
    assert checkpoint.load() is not None
    checkpoint.remove()
    assert not (tmp_path / "run.state").exists()


class Killed(Exception):
    pass


def killer(after: int):
    """A callback that kills the run from the given number of steps on, over all scales."""

    def callback(snapshot):
        if snapshot.progress.step >= after:
            raise Killed

    return callback


@pytest.mark.parametrize(
    ("tile", "optimizer"),
    [
        (0, OptimizerConfig(history=3, frequency_exponent=0.5)),
        (32, OptimizerConfig(history=3, frequency_exponent=0.5, history_precision="bfloat16")),
        (32, OptimizerConfig(method="adam")),
    ],
    ids=["lbfgs", "compact lbfgs in tiles", "adam in tiles"],
)
def test_a_killed_run_resumes_to_the_same_bits(params, tmp_path, tile, optimizer):
    config = dataclasses.replace(CONFIG, tile=tile, optimizer=optimizer)
    expected = stylize(params, CONTENT, STYLE, config)
    path = tmp_path / "run.state"
    with pytest.raises(Killed):
        stylize(params, CONTENT, STYLE, config, callback=killer(14), checkpoint=Checkpoint(path, 1e-9, {"run": "mine"}))
    assert read_about(path)["index"] == 1  # killed at the second of two scales
    resumed = stylize(params, CONTENT, STYLE, config, checkpoint=Checkpoint(path, 0, {"run": "mine"}, resume=True))
    assert resumed.image.tobytes() == expected.image.tobytes()
    assert resumed.trace == expected.trace
    assert (resumed.best_step, resumed.stopped) == (expected.best_step, expected.stopped)


def test_a_run_stopped_by_its_callback_leaves_its_state(params, tmp_path):
    path = tmp_path / "run.state"
    stopped = stylize(params, CONTENT, STYLE, CONFIG, callback=lambda _: True, checkpoint=Checkpoint(path, 0, {}))
    assert stopped.stopped == "callback"
    assert read_about(path)["index"] == 0


def test_a_state_of_other_terms_is_refused(params, tmp_path):
    def term(name):
        return Term(name, 1.0, "image", lambda image, wanted, context: image.mean())

    config = dataclasses.replace(CONFIG, optimizer=OptimizerConfig(method="adam"))

    def run(name, **options):
        return stylize(
            params, CONTENT, STYLE, config, extra_terms=[term(name)], callback=lambda snapshot: True, **options
        )

    run("a", checkpoint=Checkpoint(tmp_path / "run.state", every=0))
    with pytest.raises(JnstError, match=r"with the terms a, content.*; this one has b, content"):
        run("b", checkpoint=Checkpoint(tmp_path / "run.state", every=0, resume=True))


def test_a_state_of_another_run_is_refused_with_what_differs(params, tmp_path):
    path = tmp_path / "run.state"
    stylize(params, CONTENT, STYLE, CONFIG, callback=lambda _: True, checkpoint=Checkpoint(path, 0, {"seed": 1}))
    with pytest.raises(JnstError, match="seed was 1 and is now 2"):
        Checkpoint(path, 0, {"seed": 2}, resume=True).load()


def test_no_state_and_damaged_states_are_refused(tmp_path):
    path = tmp_path / "run.state"
    with pytest.raises(JnstError, match=r"there is no state at .*; leave out --resume"):
        Checkpoint(path, 0, {}, resume=True).load()
    path.write_bytes(b"not a state")
    with pytest.raises(JnstError, match="cannot be read as the state of a run"):
        Checkpoint(path, 0, {}, resume=True).load()
    with zipfile.ZipFile(path, "w") as parts:
        parts.writestr("about.json", '{"format": 99}')
    with pytest.raises(JnstError, match="its format is 99, and this version reads 2"):
        Checkpoint(path, 0, {}, resume=True).load()


def test_a_failed_write_leaves_the_last_state_alone(params, tmp_path, monkeypatch):
    path = tmp_path / "run.state"
    stylize(params, CONTENT, STYLE, CONFIG, callback=lambda _: True, checkpoint=Checkpoint(path, 0, {"run": 1}))
    before = path.read_bytes()

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np.lib.format, "write_array", full)
    told = []
    checkpoint = Checkpoint(path, 0, {"run": 1}, report=told.append)
    result = stylize(params, CONTENT, STYLE, CONFIG, callback=lambda _: True, checkpoint=checkpoint)
    assert result.image.shape == (48, 64, 3)
    assert len(told) == 1
    assert "cannot write the state to" in told[0]
    assert "No space left" in told[0]
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["run.state"]


@pytest.mark.parametrize(("steps", "length"), [(5, 7), (6, 7), (9, 10)])
def test_steps_may_change_on_resuming(params, tmp_path, steps, length):
    """Fewer, as many or more than the six that were made; with fewer, what there is so far is the result."""
    path, config = tmp_path / "run.state", dataclasses.replace(CONFIG, run=RunConfig(steps=8, chunk=3))
    checkpoint = Checkpoint(path, 0, {})
    stylize(params, CONTENT, STYLE, config, callback=lambda shown: shown.progress.step == 6, checkpoint=checkpoint)
    changed = dataclasses.replace(config, run=RunConfig(steps=steps, chunk=3))
    resumed = stylize(params, CONTENT, STYLE, changed, checkpoint=Checkpoint(path, 0, {}, resume=True))
    assert (resumed.stopped, len(resumed.trace["total"])) == ("steps", length)
    expected = stylize(params, CONTENT, STYLE, dataclasses.replace(config, run=RunConfig(steps=length - 1, chunk=3)))
    assert resumed.image.tobytes() == expected.image.tobytes()


def test_the_time_allowed_is_that_of_each_run(params, tmp_path):
    path, config = tmp_path / "run.state", dataclasses.replace(CONFIG, run=RunConfig(steps=9, chunk=3, max_time=1e-9))
    first = stylize(params, CONTENT, STYLE, config, checkpoint=Checkpoint(path, 0, {}))
    assert (first.stopped, len(first.trace["total"])) == ("no step", 1)
    longer = dataclasses.replace(config, run=dataclasses.replace(config.run, max_time=600))
    with zipfile.ZipFile(path) as parts:
        about = json.loads(parts.read("about.json"))
    about["clock"]["elapsed"] = 10_000.0
    _rewrite(path, lambda: json.dumps(about).encode())
    resumed = stylize(params, CONTENT, STYLE, longer, checkpoint=Checkpoint(path, 0, {}, resume=True))
    assert resumed.stopped == "steps"


def _rewrite(path, about=None, leaf=None):
    """The state with another description, or with its first array replaced by these bytes."""
    with zipfile.ZipFile(path) as parts:
        contents = {name: parts.read(name) for name in parts.namelist()}
    contents |= {} if about is None else {"about.json": about()}
    contents |= {} if leaf is None else {"0.npy": leaf}
    with zipfile.ZipFile(path, "w") as parts:
        for name, data in contents.items():
            parts.writestr(name, data)


def _load(params, path):
    stylize(params, CONTENT, STYLE, CONFIG, callback=lambda _: True, checkpoint=Checkpoint(path, 0, {}, resume=True))


def test_a_damaged_state_is_refused_with_one_sentence(params, tmp_path):
    """Bytes flipped, cut, or a description that says something else: a sentence that names the file, or taken."""
    good, path, generator, refused = tmp_path / "good.state", tmp_path / "run.state", random.Random(0), 0
    stylize(params, CONTENT, STYLE, CONFIG, callback=lambda _: True, checkpoint=Checkpoint(good, 0, {}))
    whole = good.read_bytes()
    about = read_about(good)
    for number in range(120):
        path.write_bytes(whole)
        if number % 3 == 0:
            _rewrite(path, lambda: hostile.dumps(hostile.mutate(about, generator)).encode())
        else:
            data = bytearray(whole if number % 3 == 1 else whole[: generator.randrange(len(whole))])
            for _ in range(generator.randint(1, 20)):
                # The directory and the description lie at the ends.
                place = generator.choice(
                    [generator.randrange(len(data)), -1 - generator.randrange(min(600, len(data)))]
                )
                data[place] = generator.randrange(256)
            path.write_bytes(data)
        message = hostile.refusal(lambda: Checkpoint(path, 0, {}, resume=True).load())
        if message is not None:
            refused += 1
            assert str(path) in message
            assert message.isprintable()
    assert refused > 60


@pytest.mark.parametrize("shape", [(2**62,), (-1,), (10**6, 10**6), (2**31, 2**31, 2**31)])
def test_a_state_cannot_announce_more_than_it_holds(params, tmp_path, shape):
    path = tmp_path / "run.state"
    stylize(params, CONTENT, STYLE, CONFIG, callback=lambda _: True, checkpoint=Checkpoint(path, 0, {}))
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": shape})
    _rewrite(path, leaf=header.getvalue())
    with pytest.raises(JnstError, match="which is not what it holds"):
        _load(params, path)


def test_a_state_of_more_scales_or_other_arrays_is_refused(params, tmp_path):
    path = tmp_path / "run.state"
    stylize(params, CONTENT, STYLE, CONFIG, callback=lambda _: True, checkpoint=Checkpoint(path, 0, {}))
    about = read_about(path)
    _rewrite(path, lambda: json.dumps(about | {"index": 5}).encode())
    with pytest.raises(JnstError, match="of scale 6, but this run has 2"):
        _load(params, path)
    longer = {name: [*values, values[-1]] for name, values in about["trace"].items()}
    _rewrite(path, lambda: json.dumps(about | {"trace": longer}).encode())
    with pytest.raises(JnstError, match="step 1, but losses of 2 steps"):
        _load(params, path)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("every", "600", "every is '600'; expected seconds"),
        ("every", float("nan"), "every is nan"),
        ("every", -1, "every is -1"),
        ("every", None, "every is None"),
        (
            "identity",
            {"photo": Path("photo.jpg")},
            r"PosixPath is not JSON serializable\); expected JSON",
        ),
        ("identity", {"array": np.zeros(2)}, "expected JSON types"),
        ("identity", {"seed": np.int64(1)}, "expected JSON types"),
        ("identity", {"x": float("nan")}, "expected no NaN"),
        ("identity", "photo.jpg", "identity is str; expected what the result depends on"),
        ("identity", None, "identity is NoneType"),
        ("resume", "no", "resume is 'no'; expected True or False"),
        ("report", "log", "report is str; expected a function"),
        ("path", "a\0.state", "holds a NUL character"),
        ("path", 3, "path is int"),
    ],
)
def test_what_could_never_be_written_or_resumed_is_refused_before_the_run(field, value, message):
    """Else the run would end when the first state is written, or its state would never be taken for its own."""
    with pytest.raises(JnstError, match=message):
        Checkpoint(**({"path": "run.state", "every": 1.0} | {field: value}))


def test_an_identity_is_compared_as_the_file_gives_it_back(params, tmp_path):
    """Tuples become lists there, and numbers as names become text."""
    path, identity = tmp_path / "run.state", {"sizes": (1, 2), "seeds": {1: 2}}
    config = dataclasses.replace(CONFIG, run=dataclasses.replace(CONFIG.run, scales=1))
    stylize(params, CONTENT, STYLE, config, checkpoint=Checkpoint(path, 0, identity), callback=lambda seen: True)
    assert Checkpoint(path, 0, identity, resume=True).load() is not None
