"""The command line: finds the command's room, and is the only place that prints an error and exits."""

import argparse
import importlib
import importlib.metadata
import os
import sys
from collections.abc import Sequence

from jnst.errors import JnstError, describe_unknown

# Each command lives in a room of its own, which is imported when it is called for and not before.
COMMANDS: dict[str, tuple[str, str]] = {
    "stylize": ("jnst.cli.stylize", "repaint one content image in the style of another"),
    "batch": ("jnst.cli.batch", "repaint many pictures: folders, lists, several styles, restartable"),
    "targets": ("jnst.cli.targets", "prepare a style once, for many batches"),
    "plan": ("jnst.cli.plan", "say what a run would need: memory, tiles, time"),
    "presets": ("jnst.cli.presets", "list the recipes, or show one"),
    "weights": ("jnst.cli.weights", "list, fetch, convert, verify and describe weights"),
}


def _help_text() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {summary}" for name, (_, summary) in COMMANDS.items()]
    return "\n".join(["commands:", *lines, "", "`jnst COMMAND --help` explains one."])


class _Parser(argparse.ArgumentParser):
    """One line and exit code 2 for a wrong argument, as for every other error of the user's."""

    def error(self, message: str) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        raise JnstError(f"{message}; `{self.prog} --help` shows what is expected")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command line and returns the exit code: 0, 2 for the user's errors, 128 + n after signal n, else 1."""
    words = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in words
    words = [word for word in words if word != "--debug"]
    # XLA reports harmless differences of machine names in long lines whenever it loads a cached program.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        return _dispatch(words)
    except JnstError as error:
        if debug:
            raise
        print(f"jnst: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("jnst: stopped", file=sys.stderr)
        return 130
    except BrokenPipeError:
        sys.stderr.close()
        return 1
    except SystemExit as leave:
        return leave.code if isinstance(leave.code, int) else 0
    except Exception as error:
        if debug:
            raise
        if missing := _missing_platform():
            print(f"jnst: error: {missing}", file=sys.stderr)
            return 2
        reason = str(error).partition("\n")[0] or type(error).__name__
        if isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in reason:
            print(f"jnst: error: out of memory; a smaller --size needs less ({reason})", file=sys.stderr)
        else:
            print(f"jnst: internal error: {reason} (--debug shows where; please report it)", file=sys.stderr)
        return 1


def _missing_platform() -> str | None:
    """Why JAX cannot start, where that is what went wrong."""
    if "jax" not in sys.modules:
        return None
    from jnst.devices import missing_platform

    return missing_platform()


def _dispatch(words: list[str]) -> int:
    parser = _Parser(
        prog="jnst",
        description="Neural style transfer: repaint an image in the style of another.",
        epilog=_help_text(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"jnst {importlib.metadata.version('jnst')}")
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
    room, summary = COMMANDS[arguments.command]
    module = importlib.import_module(room)
    command = _Parser(
        prog=f"jnst {arguments.command}", description=summary[0].upper() + summary[1:] + ".", allow_abbrev=False
    )
    command.add_argument("--debug", action="store_true", help="show where an error came from")
    module.add_arguments(command)
    return module.run(command.parse_args(words[first + 1 :]))
