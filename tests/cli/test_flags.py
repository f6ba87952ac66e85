"""Flags made from the config's fields."""

import argparse
import random

import hostile
import pytest

from jnst.cli.flags import add_config_flags, parse_layers, read_settings
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
