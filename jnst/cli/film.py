"""The flags of a film, for every command that makes one picture."""

import argparse
from pathlib import Path

from jnst.cli.flags import parse_whole
from jnst.errors import ConfigError
from jnst.transfer.film_options import Film


def add_film_flags(parser: argparse.ArgumentParser) -> None:
    """The flags."""
    group = parser.add_argument_group("film")
    group.add_argument(
        "--animate", metavar="OUT.mp4|.gif|.webp", help="film of the run, its frames evenly spaced by the change seen"
    )
    group.add_argument("--animate-seconds", type=float, metavar="F", help="its length (6, and a second on the result)")
    group.add_argument(
        "--animate-size", type=parse_whole, metavar="N",
        help="its longer side in pixels (the result's, at most 1080; .webp 720, .gif 480)",
    )  # fmt: skip


def read_film(arguments: argparse.Namespace) -> Film | None:
    """The film that is asked for, if one is.

    Raises:
        ConfigError: its length or size is given, and no film.
    """
    seconds, size = arguments.animate_seconds, arguments.animate_size
    if arguments.animate is None:
        if seconds is not None or size is not None:
            given = "--animate-seconds" if seconds is not None else "--animate-size"
            raise ConfigError(f"{given} is given without a film; add --animate OUT.mp4, or leave it out")
        return None
    return Film(Path(arguments.animate), 6.0 if seconds is None else seconds, size)
