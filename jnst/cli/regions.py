"""The flags that say which style goes where, for `jnst stylize` and `jnst plan`."""

import argparse


def add_region_flags(parser: argparse.ArgumentParser) -> None:
    """The flags that say which style goes where."""
    about = (
        "pictures, white where the region is, grey where it ends softly; MAP.png:COLOUR takes the parts of one colour, "
        "a name or #rrggbb"
    )
    group = parser.add_argument_group("regions", about)
    group.add_argument(
        "--mask", dest="masks", action="append", default=[], metavar="MASK|all|rest",
        help="where a style goes, once for each STYLE in their order; rest: what the other masks leave",
    )  # fmt: skip
    group.add_argument(
        "--style-mask", dest="style_masks", action="append", default=[], metavar="MASK|all",
        help="which part of a style picture is looked at, once for each STYLE in their order; all: all of it",
    )  # fmt: skip
    group.add_argument("--region-weights", metavar="F,F,…", help="strength of the style in each region (1 each)")
