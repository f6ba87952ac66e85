"""How files are read and written: flags that the commands share."""

import argparse
from typing import Any

from jnst.cli.flags import parse_whole
from jnst.errors import ConfigError


def add_overwrite_flag(group: Any) -> None:
    """`--overwrite`."""
    group.add_argument("--overwrite", action="store_true", help="replace what is there")


def add_picture_flags(group: Any) -> None:
    """How pictures are written: `--overwrite`, `--bits`, `--quality`; and read: see `add_reading_flags`."""
    add_overwrite_flag(group)
    group.add_argument("--bits", type=int, choices=(8, 16), default=8, help="per channel, 16 for PNG and TIFF (8)")
    group.add_argument(
        "--quality", type=parse_whole, metavar="N", default=95, help="of JPEG, WebP, AVIF: 1 to 100 (95)"
    )
    add_reading_flags(group)


def add_reading_flags(group: Any) -> None:
    """Which pictures are read: `--allow-large`, `--allow-damaged`."""
    group.add_argument("--allow-large", action="store_true", help="read pictures above the decompression limit")
    group.add_argument("--allow-damaged", action="store_true", help="read what is there of damaged pictures")


def add_state_flags(group: Any) -> None:
    """What a run that may be stopped leaves beside its picture, and whether to go on from it."""
    group.add_argument("--resume", action="store_true", help="go on from OUT.state, which a run that was stopped left")
    group.add_argument(
        "--checkpoint-every", type=float, default=10.0, metavar="MINUTES", help="write OUT.state so often; 0 never (10)"
    )
    group.add_argument("--plot", action="store_true", help="write OUT-losses.png, the loss curves")


def add_quiet_flag(group: Any, but: str = "errors") -> None:
    """`--quiet`, and what is printed all the same."""
    group.add_argument("--quiet", action="store_true", help=f"print nothing but {but}")


def check_file_flags(arguments: argparse.Namespace) -> None:
    """Raises ConfigError for a quality, or for minutes between two states, that cannot be."""
    if not 1 <= arguments.quality <= 100:
        raise ConfigError(f"quality is {arguments.quality}; expected 1 to 100")
    if not 0 <= getattr(arguments, "checkpoint_every", 0.0) < 1e6:
        raise ConfigError(
            f"checkpoint every is {arguments.checkpoint_every} minutes; expected zero or more, below a million"
        )
