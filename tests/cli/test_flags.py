"""Flags made from the config's fields."""

import argparse
import random
from typing import get_args

import hostile
import pytest

from jnst.cli import flags
from jnst.cli.flags import add_config_flags, parse_layers, read_settings
from jnst.cli.main import main
from jnst.config import Config
from jnst.errors import ConfigError
from jnst.presets.presets import PRESETS
from jnst.presets.settings import Factor, replace_settings


def settings(*words: str) -> dict[str, object]:
    parser = argparse.ArgumentParser()
    add_config_flags(parser)
    return read_settings(parser.parse_args(words))


def test_nothing_given_replaces_nothing() -> None:
    assert settings() == {}


def test_the_strength_is_a_flag_and_a_setting() -> None:
    assert settings("--strength", "0.8") == settings("--set", "loss.strength=0.8") == {"loss.strength": 0.8}


def test_values_take_the_type_of_their_field() -> None:
    given = settings("--iterations", "5", "--style-weight", "2", "--pooling", "average", "--style-layers", "relu1_1:2")
    assert given == {
        "run.steps": 5,
        "loss.style_weight": 2.0,
        "network.pooling": "average",
        "loss.style_layers": [["relu1_1", 2.0]],
    }
    assert settings("--set", "optimizer.clip=true", "--set", "variable.mean=1,2,3") == {
        "optimizer.clip": True,
        "variable.mean": [1.0, 2.0, 3.0],
    }


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--height", "9"], {"size.rule": "height", "size.pixels": 9}),
        (["--size", "9"], {"size.rule": "long", "size.pixels": 9}),
        (["--full-size"], {"size.rule": "keep"}),
    ],
)
def test_three_ways_to_give_a_size(words: list[str], expected: dict[str, object]) -> None:
    assert settings(*words) == expected


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--iterations", "2.5"], "expected a whole number"),
        (["--style-weight", "much"], "expected a number"),
        (["--set", "optimizer.clip=perhaps"], "expected true or false"),
        (["--set", "steps"], "expected PATH=VALUE"),
        (["--set", "variable.mean=a,b,c"], "variable.mean"),
        (["--set", "network.channels=4,x"], "network.channels is 'x'; expected a whole number"),
        (["--set", f"network.channels={'9' * 5000}"], "network.channels is '9+…'?; expected a whole number"),
        (["--style-layers", "relu1_1:x"], "is not a number"),
    ],
)
def test_a_wrong_value_is_refused(words: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        settings(*words)


def test_layers_without_weights_share_evenly() -> None:
    assert parse_layers("relu1_1, relu2_1,") == [["relu1_1", 0.5], ["relu2_1", 0.5]]


def test_help_states_unit_and_choices() -> None:
    parser = argparse.ArgumentParser()
    add_config_flags(parser)
    shown = " ".join(parser.format_help().split())
    default = PRESETS["default"]
    assert f"--steps N, --iterations N optimiser steps at full size [steps] ({default.run.steps})" in shown
    assert "--pooling {max,average} how 2×2 windows are pooled (max)" in shown
    assert f"weight of the style term ({default.loss.style_weight:g})" in shown


def test_steps_have_a_second_spelling_and_a_factor_multiplies() -> None:
    assert settings("--steps", "5") == settings("--iterations", "5") == settings("--set", "steps=5") == {"run.steps": 5}
    assert settings("--style-weight", "x2.5") == {"loss.style_weight": Factor(2.5)}
    for wrong in ("x", "x-1", "xinf", "xnan", "x2x"):
        with pytest.raises(ConfigError, match="expected a"):
            settings("--style-weight", wrong)


def test_settings_of_any_text_end_in_one_sentence() -> None:
    generator = random.Random(0)
    letters = ["9", "x", "-", ".", "e", "1e400", "\0", "\x1b", "\u202e", "9" * 5000, "=", ",", ":", " "]
    for _ in range(300):
        text = "".join(generator.choice(letters) for _ in range(generator.randint(1, 6)))
        flag = generator.choice(["--steps", "--style-weight", "--style-layers", "--pooling", "--size", "--set"])
        words = [f"{flag}={text}"] if flag != "--set" else ["--set", f"run.steps={text}"]
        try:
            message = hostile.refusal(lambda words=words: replace_settings(Config(), settings(*words)))
        except SystemExit:  # argparse alone; the program's own parser says it in a sentence
            continue
        assert message is None or (len(message) < 400 and message.isprintable())


@pytest.mark.parametrize(
    ("flag", "assignment"),
    [
        (["--size", "64"], "size.pixels=32"),
        (["--size", "64"], "height=64"),
        (["--size", "64"], "size.rule=keep"),
        (["--height", "64"], "size=64"),
        (["--full-size"], "size.rule=long"),
        (["--full-size"], "size.pixels=32"),
        *((row, f"{path}={value}") for row, path, value in (
            (["--steps", "5"], "run.steps", "6"),
            (["--iterations", "5"], "steps", "6"),
            (["--style-weight", "x2"], "style_weight", "9"),
            (["--strength", "0.2"], "loss.strength", "0.3"),
            (["--style-layers", "relu1_1"], "style_layers", "relu2_1"),
            (["--keep", "last"], "run.keep", "best"),
            (["--precision", "float32"], "precision", "bfloat16"),
        )),
    ],
)  # fmt: skip
def test_a_flag_and_a_setting_that_contradict_each_other_are_refused(flag: list[str], assignment: str) -> None:
    with pytest.raises(ConfigError, match=r"--\S+( .*)? and --set .* contradict each other"):
        settings(*flag, "--set", assignment)


def test_a_flag_and_a_setting_may_say_the_same() -> None:
    for words in (["--size", "64", "--set", "size=64"], ["--size", "64", "--set", "size.pixels=64"]):
        assert settings(*words) == {"size.pixels": 64, "size.rule": "long"}
    assert settings("--steps", "5", "--set", "run.steps=5") == {"run.steps": 5}
    assert settings("--style-layers", "relu1_1", "--set", "style_layers=relu1_1:1") == {
        "loss.style_layers": [["relu1_1", 1.0]]
    }


def test_every_flag_of_a_setting_is_compared_with_its_setting() -> None:
    """Whatever flags there are: a value of each, and another one by --set."""
    values = {int: ("3", "4"), float: ("0.25", "0.5")}
    for flag, path, _ in flags._SETTINGS:
        _, hint = flags.setting_field(path)
        pair = values.get(hint) or (("relu1_1", "relu2_1") if path.endswith("_layers") else get_args(hint)[:2])
        settings(flag, pair[0], "--set", f"{path}={pair[0]}")
        with pytest.raises(ConfigError, match="contradict each other"):
            settings(flag, pair[0], "--set", f"{path}={pair[1]}")


OTHER_TWINS = [
    ("stylize a b", "--optimizer adam", "optimizer=lbfgs"),
    ("stylize a b", "--init content", "init=random"),
    ("stylize a b", "--init photo.png", "init=random"),
    ("stylize a b", "--network vgg16", "network.architecture=vgg19"),
    ("stylize a b", "--tile 64", "tile=0"),
    ("stylize a b", "--tile auto", "tile=64"),
    ("plan a", "--tile 64", "tile=0"),
    ("batch a --style b -o out", "--optimizer adam", "optimizer.method=lbfgs"),
    ("batch a --style b -o out", "--init content", "init=random"),
    ("texture a", "--style-size 64", "size.pixels=32"),
    ("texture a", "--optimizer adam", "optimizer=lbfgs"),
    ("texture a", "--scales 2", "scales=1"),
    ("reconstruct a", "--tv-weight 1", "tv_weight=2"),
    ("studio", "--network vgg16", "network.architecture=vgg19"),
    ("targets a", "--network vgg16", "network.architecture=vgg19"),
]


@pytest.mark.parametrize(("command", "flag", "assignment"), OTHER_TWINS)
def test_the_flags_of_single_commands_are_compared_too(
    command: str, flag: str, assignment: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*command.split(), *flag.split(), "--set", assignment]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"jnst: error: {flag.split()[0]} ")
    assert said.endswith("contradict each other; leave one of them out\n")


@pytest.mark.parametrize(
    ("command", "assignment", "message"),
    [
        ("texture a", "init=content", "--set init would change nothing"),
        ("texture a", "content_weight=2", "--set loss.content_weight would change nothing"),
        ("reconstruct a", "content_layers=relu1_1", "--set loss.content_layers would change nothing"),
        ("stylize a b", "preset=gatys", "--set preset would change the name alone; --preset"),
        ("stylize a b --preset gatys", "preset=paper", "--set preset would change the name alone; --preset"),
    ],
)
def test_a_setting_that_would_change_nothing_is_refused(
    command: str, assignment: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*command.split(), "--set", assignment]) == 2
    assert message in capsys.readouterr().err
