"""What can go wrong on the user's side. Every message names what was given, what was expected and what to do."""

import difflib
import re
import reprlib
from collections.abc import Iterable

# Foreign text is shown up to this many letters, a whole message up to that many.
_LONGEST_QUOTE, _LONGEST_WORD, _LONGEST_MESSAGE = 80, 400, 2000

# Whatever is made of such an array, its mask would be lost without a word.
MASKED = "is a masked array; expected a plain one, such as array.filled(0)"


class JnstError(Exception):
    """Base of every error that jnst raises on purpose.

    Whatever its message quotes, it is one line that any terminal can show (`one_line`).
    """

    def __init__(self, *arguments: object) -> None:
        super().__init__(*(one_line(item) if isinstance(item, str) else item for item in arguments))


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


def quote(value: object, longest: int = _LONGEST_QUOTE) -> str:
    """Text from a file or the command line in quotation marks, or any other value: control characters escaped, cut.

    >>> quote("relu4_2\\x1b[31m"), quote("x" * 100, 10), quote(10**5000)
    ("'relu4_2\\\\x1b[31m'", "'xxxxxx…'", 'a whole number of more than 4000 digits')
    """
    if isinstance(value, str):
        shown = repr(value if len(value) <= longest - 2 else value[: longest - 4] + "…")
        return shown if len(shown) <= 4 * longest else shown[:longest] + "…" + shown[0]
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 10**4000:
        return "a whole number of more than 4000 digits"
    short = reprlib.Repr()
    short.maxlevel, short.maxstring, short.maxother, short.maxlong = 3, longest, longest, longest
    try:
        shown = one_line(short.repr(value))
    except Exception:  # a representation of somebody else's, or a number too long to show
        return f"a value of type {type(value).__name__}"
    return shown if len(shown) <= longest else shown[: longest - 1] + "…"


def escape(text: str) -> str:
    """The text with what no terminal shows as it is written: line ends, control characters, halves of letters.

    >>> escape("a\\nb\\x1b[31m")
    'a\\\\nb\\\\x1b[31m'
    """
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)


def one_line(text: object) -> str:
    """A message as one line that any terminal can show: control characters are escaped, what is too long is cut.

    >>> one_line("no picture at a\\nb")
    'no picture at a\\\\nb'
    """
    shown = escape(str(text)[:100_000])
    shown = re.sub(rf"\S{{{_LONGEST_WORD},}}", lambda word: f"{word[0][:60]}…{word[0][-20:]}", shown)
    return shown if len(shown) <= _LONGEST_MESSAGE else shown[: _LONGEST_MESSAGE - 1] + "…"


def describe_unknown(kind: str, given: str, known: Iterable[str]) -> str:
    """Sentence for a name that does not exist, with the closest known name or else all of them.

    >>> describe_unknown("layer", "relu4_22", ["relu4_1", "relu4_2"])
    "unknown layer 'relu4_22'; did you mean 'relu4_2'?"
    """
    names = list(known)
    # difflib takes time with the square of the length.
    close = []
    if len(given) <= 200:
        close = difflib.get_close_matches(given, names, n=1) or difflib.get_close_matches(given.lower(), names, n=1)
    if close:
        return f"unknown {kind} {quote(given)}; did you mean {quote(close[0])}?"
    return f"unknown {kind} {quote(given)}; known are: {', '.join(names)}"


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
