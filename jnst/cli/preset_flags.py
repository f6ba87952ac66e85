"""Which preset, weights, network and optimiser: flags that most commands have."""

import argparse
from typing import get_args

from jnst.config import Method


def add_preset_flags(
    parser: argparse.ArgumentParser, *, optimizer: bool = True, defaults: bool = True, absent: bool = False
) -> None:
    """`--preset`, `--weights`, `--network` and `--optimizer`.

    Args:
        parser: of the command.
        optimizer: whether the command optimises anything.
        defaults: whether a flag that is not given has a value; not so where a record may say what it is.
        absent: whether the weights need not be on this machine.
    """
    weights = "; they need not be there yet" if absent else "; `jnst weights list`"
    parser.add_argument(
        "--preset",
        metavar="NAME",
        default="default" if defaults else None,
        help="named settings; `jnst presets` lists them (default)",
    )
    parser.add_argument(
        "--weights",
        metavar="NAME|FILE",
        default="auto" if defaults else None,
        help=f"network weights{weights} (auto)",
    )
    parser.add_argument("--network", metavar="NAME", help="vgg19, vgg16, or gordic's vgg16-experimental")
    if optimizer:
        parser.add_argument("--optimizer", choices=get_args(Method), help="optimiser (the preset's)")
