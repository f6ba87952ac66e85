"""What can go wrong on the user's side. Every message names what was given, what was expected and what to do."""

import difflib
from collections.abc import Iterable


class JnstError(Exception):
    """Base of every error that jnst raises on purpose."""


class ConfigError(JnstError, ValueError):
    """A setting is out of range, unknown, or contradicts another one."""


class ImageError(JnstError, ValueError):
    """A picture cannot be read, written, or used at the size asked for."""


class ArrayError(JnstError, ValueError):
    """An array has another shape or type than the function expects."""


class WeightsError(JnstError, ValueError):
    """A weights file is missing, damaged, or belongs to another network."""


class TargetsError(JnstError, ValueError):
    """A saved style does not fit the run it was handed to."""


def describe_unknown(kind: str, given: str, known: Iterable[str]) -> str:
    """Sentence for a name that does not exist, with the closest known name or else all of them.

    >>> describe_unknown("layer", "relu4_22", ["relu4_1", "relu4_2"])
    "unknown layer 'relu4_22'; did you mean 'relu4_2'?"
    """
    names = list(known)
    close = difflib.get_close_matches(given, names, n=1) or difflib.get_close_matches(given.lower(), names, n=1)
    if close:
        return f"unknown {kind} {given!r}; did you mean {close[0]!r}?"
    return f"unknown {kind} {given!r}; known are: {', '.join(names)}"


def check_choice(kind: str, given: object, known: Iterable[str]) -> None:
    """Raises ConfigError unless the option is one of those that are known.

    >>> check_choice("reduction", "average", ["mean", "sum"])
    Traceback (most recent call last):
    ...
    jnst.errors.ConfigError: unknown reduction 'average'; known are: mean, sum
    """
    names = list(known)
    if not isinstance(given, str):
        raise ConfigError(f"{kind} is {type(given).__name__}, not text; known are: {', '.join(names)}")
    if given not in names:
        raise ConfigError(describe_unknown(kind, given, names))
