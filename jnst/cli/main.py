"""The command line: finds the command's module, and is the only place that prints an error and exits."""

import argparse
import contextlib
import difflib
import importlib
import itertools
import os
import signal
import sys
from collections.abc import Sequence
from typing import Any

import jnst
from jnst.cli.terminal import complain, prepare_streams
from jnst.errors import JnstError, describe_unknown, quote

# Each command is a module of its own, which is imported when it is called for and not before.
COMMANDS: dict[str, tuple[str, str]] = {
    "stylize": ("jnst.cli.stylize", "repaint one content image in the style of another"),
    "batch": ("jnst.cli.batch", "repaint many pictures: folders, lists, several styles, restartable"),
    "texture": ("jnst.cli.texture", "make a picture of any size in a style, from noise, that may tile"),
    "reconstruct": ("jnst.cli.reconstruct", "paint from noise what a layer of the network keeps of a picture"),
    "inspect": ("jnst.cli.inspect", "show a picture's feature maps and Gram matrices"),
    "studio": ("jnst.cli.studio", "paint and steer on a page in the browser"),
    "targets": ("jnst.cli.targets", "prepare a style once, for many batches"),
    "plan": ("jnst.cli.plan", "say what a run would need: memory, tiles, time"),
    "presets": ("jnst.cli.presets", "list the presets, or show one"),
    "weights": ("jnst.cli.weights", "list, fetch, convert, verify and describe weights"),
}


def _named_preset(words: Sequence[str]) -> str | None:
    """The value of --preset in a command line, if it has one.

    >>> _named_preset(["stylize", "--preset", "gordic", "--help"]), _named_preset(["--preset=paper"])
    ('gordic', 'paper')
    """
    for index, word in enumerate(words):
        flag, equals, value = word.partition("=")
        if flag == "--preset" and (equals or words[index + 1 : index + 2]):
            return value if equals else words[index + 1]
    return None


def _help_text() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {summary}" for name, (_, summary) in COMMANDS.items()]
    return "\n".join(["commands:", *lines, "", "`jnst COMMAND --help` explains one."])


class _Parser(argparse.ArgumentParser):
    """One line and exit code 2 for a wrong argument, as for every other error of the user's.

    preset: the preset whose values the help of settings shows.
    """

    preset = "default"

    def error(self, message: str) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        if message.endswith("expected one argument"):
            message += " (a value that begins with a dash is written --FLAG=VALUE, a file also ./-NAME)"
        raise JnstError(f"{message}; `{self.prog} --help` shows what is expected")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        """As argparse's, but a mistyped word is named together with the closest one."""
        if action.choices is not None and value not in action.choices:
            name = "/".join(action.option_strings) or str(action.metavar or action.dest)
            self.error(describe_unknown(name, str(value), [str(choice) for choice in action.choices]))

    def _get_values(self, action: argparse.Action, arg_strings: list[str]) -> Any:
        """As argparse's, but an empty word, as of a variable of the shell that is not set, never stands for a default.

        What is parsed further says for itself what it expects, and no layer at all is a choice.
        """
        own = action.type is not None or action.choices is not None or action.dest.startswith("set:")
        name = str(action.metavar or action.dest)
        if not own and "" in arg_strings and not name.startswith("LAYER"):
            self.error(f"{action.option_strings[0] if action.option_strings else name} is empty; expected {name}")
        return super()._get_values(action, arg_strings)  # pyright: ignore[reportAttributeAccessIssue]

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As argparse's, but a mistyped flag is named together with the closest one."""
        known = [flag for flag in self._option_string_actions if flag.startswith("--")]
        for word in itertools.takewhile(lambda word: word != "--", args or () if self._subparsers is None else ()):
            flag = word.partition("=")[0]
            if flag.startswith("--") and flag not in known:
                close = difflib.get_close_matches(flag[:200], known, n=1)
                self.error(f"unknown flag {quote(flag)}" + (f"; did you mean {close[0]}?" if close else ""))
        return super().parse_known_args(args, namespace)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command line and returns the exit code: 0, 2 for the user's errors, 128 + n after signal n, else 1."""
    words = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in words
    words = [word for word in words if word != "--debug"]
    # XLA reports harmless differences of machine names in long lines whenever it loads a cached program.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    prepare_streams()
    code = _run(words, debug)
    try:
        sys.stdout.flush()
    except (OSError, ValueError) as error:
        if not isinstance(error, BrokenPipeError):
            complain(f"jnst: error: standard output cannot be written: {getattr(error, 'strerror', None) or error}")
        _forget_output()
        return code or (1 if isinstance(error, BrokenPipeError) else 2)
    return code


def _run(words: list[str], debug: bool) -> int:
    try:
        return _dispatch(words)
    except KeyboardInterrupt as stopped:
        complain("jnst: stopped")
        return 128 + (stopped.args[0] if stopped.args else signal.SIGINT)
    except BrokenPipeError:
        return 1
    except SystemExit as leave:
        return leave.code if isinstance(leave.code, int) else 0
    except Exception as error:
        if debug:
            raise
        message, code = _explain(error)
        complain(f"jnst: {message}")
        return code


def _forget_output() -> None:
    """Whoever was reading has gone, or the disk is full; Python would try again, and complain, when it ends."""
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.close()


def _explain(error: Exception) -> tuple[str, int]:
    """What an error is to the user, and the exit code. Only our own mistakes are called internal."""
    if isinstance(error, JnstError):
        return f"error: {error}", 2
    if missing := _missing_platform():
        return f"error: {missing}", 2
    reason = str(error).partition("\n")[0] or type(error).__name__
    if isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in reason:
        return f"error: out of memory; a smaller --size needs less ({reason})", 1
    if isinstance(error, ImportError) and not (error.name or "").startswith("jnst"):
        return f"error: a library cannot be loaded, which can be for want of memory: {reason}", 2
    if isinstance(error, FileNotFoundError) and not _is_somewhere():
        return "error: the folder that this was started in is gone; change to one that is there", 2
    if isinstance(error, OSError) and error.errno is not None:
        where = f" {quote(os.fsdecode(error.filename))}" if isinstance(error.filename, str | bytes) else ""
        return f"error: the system refuses{where or ' an operation'}: {error.strerror}", 2
    if isinstance(error, ValueError) and "for environment" in reason:  # JAX, of a variable that it reads
        return f"error: {reason}; unset it, or give it a value that JAX knows", 2
    if isinstance(error, ValueError) and "null byte" in reason:
        return "error: a path holds a NUL character, which no path can", 2
    return f"internal error: {reason} (--debug shows where; please report it)", 1


def _is_somewhere() -> bool:
    try:
        os.getcwd()
    except OSError:
        return False
    return True


def _missing_platform() -> str | None:
    """Why JAX cannot start, where that is what went wrong."""
    if "jax" not in sys.modules:
        return None
    from jnst.devices import missing_platform

    return missing_platform()


def _dispatch(words: list[str]) -> int:
    if words[:1] == ["help"]:  # `jnst help` and `jnst help COMMAND`
        words = [*words[1:2], "--help"]
    parser = _Parser(
        prog="jnst",
        description="Neural style transfer: repaint an image in the style of another.",
        epilog=_help_text(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"jnst {jnst.__version__}")
    parser.add_argument("--debug", action="store_true", help="show where an error came from")
    parser.add_argument("command", nargs="?", metavar="COMMAND", help="see below")
    parser.add_argument("rest", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    # A flag before the command is the program's own; everything after the command belongs to the command.
    first = next((index for index, word in enumerate(words) if not word.startswith("-")), len(words))
    arguments = parser.parse_args(words[: first + 1])
    if arguments.command is None:
        parser.print_help()
        return 0
    if arguments.command not in COMMANDS:
        raise JnstError(describe_unknown("command", arguments.command, COMMANDS))
    module_name, summary = COMMANDS[arguments.command]
    module = importlib.import_module(module_name)
    command = _Parser(
        prog=f"jnst {arguments.command}", description=summary[0].upper() + summary[1:] + ".", allow_abbrev=False
    )
    command.add_argument("--debug", action="store_true", help="show where an error came from")
    command.preset = _named_preset(words) or command.preset
    module.add_arguments(command)
    return module.run(command.parse_args(words[first + 1 :]))
