"""Public functions given arguments of another kind: one sentence of ours, before anything is computed."""

import dataclasses
import io
import os
import subprocess
import sys

import numpy as np
import pytest
import wrong_arguments
from small import shallow, small_params

import jnst
from jnst.errors import ConfigError, JnstError
from jnst.transfer.checkpoint import Checkpoint
from jnst.transfer.inspection import Inspection
from jnst.transfer.layer_view import LayerView
from jnst.transfer.planning import plan_run


def test_an_argument_of_another_kind_is_named_in_one_sentence():
    """Every wrong argument in every place, in a process without the tests' own check of types."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, wrong_arguments.__file__]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout == ""


NESTED = {
    "variable": ("variable", None, "variable is None; expected a PixelSpace"),
    "loss": ("loss", None, "loss is None; expected a LossConfig"),
    "run": ("run", {}, r"run is \{\}; expected a RunConfig"),
    "layers": ("loss.style_layers", "relu1_1", "style layers is 'relu1_1'; expected a list"),
    "a layer": ("loss.style_layers", ("relu1_1",), r"style layers\[0\] is 'relu1_1'; expected a list"),
    "a weight": ("loss.style_layers", (("relu1_1", "2"),), r"style layers\[0\]\[1\] is '2'; expected a number"),
    "a name": ("loss.content_layers", ((1, 1.0),), r"content layers\[0\]\[0\] is 1; expected text"),
    "a mean": ("variable.mean", (1, 2), "mean has 2 entries; expected 3"),
    "a number": ("variable.mean", 3, "mean is 3; expected a list"),
    "channels": ("network.channels", (4.5,), r"channels\[0\] is 4.5; expected a whole number"),
}


@pytest.mark.parametrize("name", NESTED)
def test_settings_of_another_type_are_refused_by_dataclasses_replace(name):
    """As those from files are; whoever writes them by hand meets no error of Python's later."""
    path, value, message = NESTED[name]
    group, _, field = path.partition(".")
    config = jnst.Config()
    if field:
        inner = getattr(config, group)
        with pytest.raises(ConfigError, match=message):
            dataclasses.replace(inner, **{field: value})
    else:
        with pytest.raises(ConfigError, match=message):
            dataclasses.replace(config, **{group: value})


def test_lists_of_layers_are_tuples_of_them():
    loss = dataclasses.replace(jnst.Config().loss, style_layers=[["relu1_1", 1]])
    assert loss.style_layers == (("relu1_1", 1.0),)
    hash(loss)


class Named:
    """A path-like object with any name."""

    def __init__(self, name):
        self._name = name

    def __fspath__(self):
        return self._name


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("a\0.png", "holds a NUL character"),
        (Named("a\0.png"), "holds a NUL character"),
        (Named(b"a.png"), "expected the name of a file"),  # as os.scandir(b".") gives them
        (Named(3), "expected the name of a file"),
        (3, "expected the name of a file"),
        (None, "expected the name of a file"),
        (["a.png"], "expected the name of a file"),
        (io.BytesIO(), "expected the name of a file"),
    ],
)
def test_what_is_no_path_is_named(path, message):
    picture, seen = np.full((16, 16, 3), 0.5, np.float32), jnst.Animation()
    prepared = jnst.prepare_style(small_params(), picture, shallow(steps=1))
    for call in (jnst.read_image, *([] if path is None else [seen.write, jnst.Animation])):
        with pytest.raises(JnstError, match=message):
            call(path)
    with pytest.raises(JnstError, match=message):
        jnst.write_image(path, picture)
    with pytest.raises(JnstError, match=message):
        jnst.write_style(path, prepared)
    with pytest.raises(JnstError, match=message):
        jnst.read_style(path)
    for call in (jnst.load_params, lambda weights: jnst.load_preset("default", weights=weights)):
        with pytest.raises(JnstError, match=r"the weights are|weights file"):
            call(path)


def test_an_empty_path_is_said_to_be_empty():
    picture, params, config = np.full((16, 16, 3), 0.5, np.float32), small_params(), shallow(steps=1)
    prepared = jnst.prepare_style(params, picture, config)
    seen = jnst.Animation()
    for call in (
        lambda: jnst.read_image(""),
        lambda: jnst.write_image("", picture),
        lambda: jnst.stylize(params, "", picture, config),
        lambda: jnst.stylize(params, picture, [""], config),
        lambda: jnst.stylize(params, picture, picture, config, animate=""),
        lambda: jnst.Animation(""),
        lambda: seen.write(""),
        lambda: Checkpoint("", 1),
        lambda: jnst.read_style(""),
        lambda: jnst.write_style("", prepared),
    ):
        with pytest.raises(JnstError, match="path is empty"):
            call()
    for call in (jnst.load_params, lambda weights: jnst.load_preset("default", weights=weights)):
        with pytest.raises(JnstError, match='the weights are ""'):
            call("")


@pytest.mark.parametrize("batch", [False, True])
def test_a_callback_that_answers_neither_true_nor_false_is_named(batch):
    picture = np.full((16, 16, 3), 0.5, np.float32)
    paint = jnst.stylize_batch if batch else jnst.stylize
    with pytest.raises(ConfigError, match="callback returned ndarray; expected something true or false"):
        paint(small_params(), picture, picture, shallow(steps=1), callback=lambda snapshot: np.array([True, False]))


@pytest.mark.parametrize(
    "options",
    [{"channels": 0}, {"channels": -1}, {"channels": 2.5}, {"channels": 10**6}, {"height": 0}, {"height": 10**5}],
)
def test_sheets_that_cannot_be_are_refused(options):
    layer = LayerView("relu1_1", np.ones((2, 3, 4), np.float32), np.ones((4, 4), np.float32))
    with pytest.raises(ConfigError, match=r"(channels|height) is .*; expected (1 to|a whole)"):
        Inspection(np.zeros((2, 3, 3), np.float32), {"relu1_1": layer}).sheet(**options)


def test_sheets_are_the_same_for_integers_of_any_type_and_go_where_a_path_says(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    layer = LayerView("relu1_1", np.ones((2, 3, 4), np.float32), np.ones((4, 4), np.float32))
    seen = Inspection(np.zeros((2, 3, 3), np.float32), {"relu1_1": layer})
    np.testing.assert_array_equal(
        seen.sheet(channels=np.int8(3), height=np.uint8(100)), seen.sheet(channels=3, height=100)
    )
    for path, message in (
        (3, "path is int"),
        (None, "path is NoneType"),
        ("", "path is empty"),
        ("x" * 300, "too long"),
    ):
        with pytest.raises(JnstError, match=message):
            seen.save(path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("size", "options", "message"),
    [
        ((0, 5), {}, r"size\[0\] is 0; expected a whole number, 1 or more"),
        ((5, -1), {}, r"size\[1\] is -1"),
        ((1, 2, 3), {}, "expected height and width in pixels"),
        ((True, 5), {}, r"size\[0\] is True"),
        ((8, 8), {"devices": 0}, "devices is 0; expected a whole number, 1 or more"),
        ((8, 8), {"regions": -1}, "regions is -1; expected a whole number, 0 or more"),
        ((8, 8), {"available": float("nan")}, "available is nan; expected bytes"),
        ((8, 8), {"available": -1}, "available is -1; expected bytes"),
    ],
)
def test_a_run_that_cannot_be_is_not_planned(size, options, message):
    with pytest.raises(ConfigError, match=message):
        plan_run(size, shallow(), **options)
