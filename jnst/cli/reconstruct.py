"""`jnst reconstruct`: from noise, the picture that some layers of the network see in another."""

import argparse
from pathlib import Path

from jnst.cli.one_input import add_run_flags, read_run, run_single
from jnst.config import Config

# There is no style, and the layers have a flag of their own.
_WITHOUT = (
    "loss.strength",
    "loss.content_weight",
    "loss.style_weight",
    "loss.content_layers",
    "loss.style_layers",
    "loss.style_statistics",
    "run.colors",
    "size.style_scale",
    "loss.tv_weight",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of the command; nothing heavy is imported for them."""
    parser.add_argument("picture", metavar="PICTURE", help="picture whose feature maps are to be met")
    parser.add_argument("-o", "--output", metavar="OUT", help="result; its suffix is its format (PICTURE-LAYER.png)")
    parser.add_argument(
        "--layer", default="relu4_2", metavar="LAYER[,LAYER…]", help="of the network, such as relu2_2 (relu4_2)"
    )
    parser.add_argument(
        "--tv-weight",
        type=float,
        metavar="F",
        help="weight of the total variation term, for less noise (0)",
    )
    add_run_flags(parser, sizes=True, without=_WITHOUT)
    parser.set_defaults(decided=("init", "optimizer.content_lead", "size.style", *_WITHOUT[:-1]))


def run(arguments: argparse.Namespace) -> int:
    """Runs the command; returns the exit code."""
    settings, picture = read_run(arguments), arguments.picture
    variation = settings.get("loss.tv_weight", 0.0) if arguments.tv_weight is None else arguments.tv_weight
    layers = [name.strip() for name in arguments.layer.split(",") if name.strip()]

    def adapt(config: Config) -> Config:
        from jnst.transfer.texture import reconstruction_config

        return reconstruction_config(config, layers, variation=variation)

    return run_single(
        arguments,
        settings,
        [picture],
        Path(arguments.output or f"{Path(picture).stem}-{'-'.join(layers)}.png"),
        adapt,
    )
