"""What users are told."""

import ast
import pickle
import random
from pathlib import Path

import pytest

from jnst import errors
from jnst.errors import one_line, quote

CHILDREN = [errors.ConfigError, errors.ImageError, errors.WeightsError, errors.TargetsError]


@pytest.mark.parametrize("kind", CHILDREN)
def test_every_error_is_ours_and_a_value_error(kind):
    assert issubclass(kind, errors.JnstError)
    assert issubclass(kind, ValueError)
    assert not issubclass(errors.JnstError, ValueError)


def test_a_near_miss_is_pointed_out():
    known = ["relu4_1", "relu4_2", "pool4"]
    assert errors.describe_unknown("layer", "relu42", known) == "unknown layer 'relu42'; did you mean 'relu4_2'?"


def test_a_far_miss_lists_what_there_is():
    text = errors.describe_unknown("optimizer", "xyz", iter(["adam", "lbfgs"]))
    assert text == "unknown optimizer 'xyz'; known are: adam, lbfgs"


def test_quoted_text_has_no_control_characters_and_no_more_than_a_line() -> None:
    generator = random.Random(0)
    for _ in range(300):
        text = "".join(chr(generator.choice([0, 7, 10, 27, 65, 955, 0x202E, 0xDC80, 0x1F600])) for _ in range(200))
        for value in (text, [text] * 50, {text: text}, {"a": [[[[text]]]]}, 10 ** generator.randrange(9000)):
            shown = quote(value)
            assert len(shown) <= 400
            assert shown.isprintable()
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]
    assert len(quote(deep)) < 100


def test_a_message_is_one_printable_line() -> None:
    assert one_line("a\nb\x1b[2Jc") == r"a\nb\x1b[2Jc"
    assert one_line("× · λ") == "× · λ"
    assert len(one_line("9" * 10_000)) < 100
    assert len(one_line("word " * 10_000)) == 2000


@pytest.mark.parametrize("kind", [errors.JnstError, *CHILDREN])
def test_every_message_is_one_line_that_any_terminal_can_show(kind) -> None:
    """Whatever it quotes, also where the place that raises it forgot to."""
    error = kind("no layer a\x1b[31m\nb\u202e\udc80 in " + "x" * 100_000)
    assert str(error).isprintable()
    assert str(error).startswith("no layer a\\x1b[31m\\nb\\u202e\\udc80 in xxx")
    assert len(str(error)) < 500
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
    assert kind("é − 4").args == ("é − 4",)


def test_foreign_text_is_quoted_by_our_own_function() -> None:
    """A quotation by Python's `repr` would be of any length."""
    package = Path(errors.__file__).parent
    for path in package.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FormattedValue):
                assert node.conversion != ord("r"), f"{path.name}:{node.lineno}: say quote(…) in place of !r"
