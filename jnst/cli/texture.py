"""`jnst texture`: a picture of any size in a style, from noise, with no content."""

import argparse
from pathlib import Path

from jnst.cli.flags import parse_whole
from jnst.cli.one_input import add_run_flags, read_run, run_single
from jnst.config import Config
from jnst.errors import ConfigError, quote

# There is no content to weigh, and the picture's colours are the style's.
_WITHOUT = ("loss.strength", "loss.content_weight", "loss.content_layers", "run.colors", "run.scales")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of the command; nothing heavy is imported for them."""
    parser.add_argument("styles", nargs="+", metavar="STYLE", help="picture whose style to take; several are blended")
    parser.add_argument("-o", "--output", metavar="OUT", help="result; its suffix is its format (STYLE-texture.png)")
    parser.add_argument("--size", default="512", metavar="N|WxH", help="of the texture in pixels (512)")
    parser.add_argument("--seamless", action="store_true", help="copies side by side show no seam")
    parser.add_argument(
        "--style-size", type=parse_whole, metavar="N",
        help="longer side to which a larger style picture is shrunk, in pixels (the preset's size)",
    )  # fmt: skip
    parser.add_argument(
        "--scales", dest="set:run.scales", metavar="N",
        help="sizes of a coarse-to-fine run, each half the next (as many as leave 128 pixels to the shorter side)",
    )  # fmt: skip
    parser.add_argument("--style-blend", metavar="F,F,…", help="weight of each of several styles (equal)")
    add_run_flags(parser, sizes=False, without=_WITHOUT)
    parser.set_defaults(decided=("init", "optimizer.content_lead", *_WITHOUT[:-1]))


def parse_size(text: str) -> tuple[int, int]:
    """Height and width from N or from width x height.

    >>> parse_size("512"), parse_size("640x480")
    ((512, 512), (480, 640))
    """
    width, cross, height = text.lower().replace("×", "x").partition("x")
    sides = (height if cross else width, width)
    if not all(side.isdecimal() and len(side) <= 5 and 1 <= int(side) <= 65_535 for side in sides):
        raise ConfigError(f"size is {quote(text)}; expected pixels such as 512, or width x height such as 640x480")
    return int(sides[0]), int(sides[1])


def run(arguments: argparse.Namespace) -> int:
    """Runs the command; returns the exit code."""
    settings, size = read_run(arguments), parse_size(arguments.size)
    if arguments.seamless and arguments.split_rows:
        raise ConfigError("--seamless and --split-rows contradict each other: rows divided among devices cannot tile")
    from jnst.cli.inputs import parse_blend

    blend = parse_blend(arguments.style_blend) if arguments.style_blend else None
    if blend is not None and len(blend) != len(arguments.styles):
        raise ConfigError(f"style blend has {len(blend)} weights for {len(arguments.styles)} styles; expected one each")

    def adapt(config: Config) -> Config:
        from jnst.transfer.texture import texture_config

        return texture_config(config, size, seamless=arguments.seamless, scales=settings.get("run.scales"))

    return run_single(
        arguments,
        settings,
        arguments.styles,
        Path(arguments.output or f"{Path(arguments.styles[0]).stem}-texture.png"),
        adapt,
        canvas=size,
        style_weights=None if blend is None else tuple(blend),
    )
