"""A run that is killed and resumed ends in the very picture of one that was left alone."""

import dataclasses
import zipfile

import material
import numpy as np
import pytest

from jnst.config import Config, LossConfig, NetworkConfig, OptimizerConfig, RunConfig, SizeConfig
from jnst.errors import JnstError
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
    with pytest.raises(JnstError, match="format 99; this version reads 2"):
        Checkpoint(path, 0, {}, resume=True).load()


def test_a_failed_write_leaves_the_last_state_alone(params, tmp_path, monkeypatch):
    path = tmp_path / "run.state"
    stylize(params, CONTENT, STYLE, CONFIG, callback=lambda _: True, checkpoint=Checkpoint(path, 0, {"run": 1}))
    before = path.read_bytes()

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np.lib.format, "write_array", full)
    with pytest.raises(JnstError, match=r"cannot write the state to .*No space left"):
        stylize(params, CONTENT, STYLE, CONFIG, callback=lambda _: True, checkpoint=Checkpoint(path, 0, {"run": 1}))
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["run.state"]
