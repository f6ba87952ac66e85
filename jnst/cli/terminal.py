"""Standard streams that may be closed, full, gone, or of an encoding that lacks half of the letters; and who prints."""

import codecs
import contextlib
import os
import sys

from jnst.errors import one_line
from jnst.progress.bar import ProblemsOnly, ProgressBar
from jnst.progress.callbacks import Silent

_PLAIN = {"×": "x", "·": "|", "…": "...", "→": "->", "━": "#", "─": "-", "–": "-", "λ": "lambda"}


def _replace_letters(error: UnicodeError) -> tuple[str, int]:
    """Something that ASCII has for a letter that the stream's encoding lacks, or else its escape."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    letters = error.object[error.start : error.end]
    escaped = (_PLAIN.get(letter) or letter.encode("ascii", "backslashreplace").decode() for letter in letters)
    return "".join(escaped), error.end


def prepare_streams() -> None:
    """Makes printing safe: a closed stream swallows what is written to it, and letters that it lacks are replaced."""
    # The number of a closed stream would go to the next file that is opened, and libraries would write into it.
    with contextlib.suppress(OSError):
        while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
            os.set_inheritable(descriptor, True)
        os.close(descriptor)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 - for as long as the process
    codecs.register_error("jnst", _replace_letters)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, ValueError, OSError):
            stream.reconfigure(errors="jnst")  # pyright: ignore[reportAttributeAccessIssue]


def complain(text: str) -> None:
    """A line on standard error, whether or not anybody can read it."""
    with contextlib.suppress(OSError, ValueError):
        print(one_line(text), file=sys.stderr, flush=True)


def open_printer(*, quiet: bool = False) -> Silent:
    """What a command shows its progress by, on standard error. It says that JAX is starting, if that takes long."""
    printer = ProblemsOnly(sys.stderr) if quiet else ProgressBar(sys.stderr)
    printer.doing("starting JAX")
    return printer
