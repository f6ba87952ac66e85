"""`jnst inspect`: a picture's feature maps and Gram matrices as sheets, and their statistics."""

import argparse
import json
from pathlib import Path
from typing import Any, get_args

from jnst.cli.file_flags import add_overwrite_flag, add_quiet_flag, add_reading_flags
from jnst.cli.flags import parse_whole
from jnst.cli.preset_flags import add_preset_flags
from jnst.config import Pooling
from jnst.errors import ConfigError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of the command; nothing heavy is imported for them."""
    parser.add_argument("picture", metavar="PICTURE", help="picture to look at")
    parser.add_argument(
        "-o", "--output", metavar="OUT.png|OUTDIR",
        help="one sheet of all layers, or a folder for a sheet of each layer's maps and one of its Gram matrix "
        "(PICTURE-layers.png)",
    )  # fmt: skip
    parser.add_argument("--layers", metavar="LAYER,…", help="of the network, such as relu1_1,relu4_2 (the preset's)")
    parser.add_argument(
        "--channels",
        type=parse_whole,
        metavar="N",
        help="how many of each layer to show, the strongest (7; folder: 36)",
    )
    parser.add_argument(
        "--size", type=parse_whole, metavar="N", help="longer side of the picture, in pixels (the preset's)"
    )
    add_preset_flags(parser, optimizer=False)
    parser.add_argument("--pooling", choices=get_args(Pooling), help="how 2×2 windows are pooled (the preset's)")
    add_overwrite_flag(parser)
    add_reading_flags(parser)
    parser.add_argument("--json", action="store_true", help="print the statistics as JSON")
    add_quiet_flag(parser, but="errors, and JSON where that is asked for")


def run(arguments: argparse.Namespace) -> int:
    """Runs the command; returns the exit code."""
    if arguments.channels is not None and not 1 <= arguments.channels <= 512:
        raise ConfigError(f"channels is {arguments.channels}; expected 1 to 512")
    layers = [name.strip() for name in (arguments.layers or "").split(",") if name.strip()]
    if arguments.layers is not None and not layers:
        raise ConfigError("--layers names no layer; expected names such as relu1_1,relu4_2")
    settings: dict[str, Any] = {}
    if arguments.size is not None:
        settings |= {"size.rule": "long", "size.pixels": arguments.size}
    if arguments.pooling is not None:
        settings["network.pooling"] = arguments.pooling
    from jnst.cli.plain_files import check_files
    from jnst.files import check_keeps_inputs
    from jnst.images.reading import read_image
    from jnst.presets.resolve import resolve_run
    from jnst.runtime import configure_jax
    from jnst.transfer.inspection import check_place, inspect
    from jnst.transfer.layer_view import describe_statistics
    from jnst.vgg.convolution import prepare_params

    output = Path(arguments.output or f"{Path(arguments.picture).stem}-layers.png")
    check_files((arguments.picture, *filter(None, [arguments.output])))
    configure_jax()
    resolved = resolve_run(arguments.preset, weights=arguments.weights, network=arguments.network, settings=settings)
    targets = check_place(output, layers or resolved.config.loss.layers, overwrite=arguments.overwrite)
    check_keeps_inputs(targets, [arguments.picture])
    picture = read_image(arguments.picture, allow_large=arguments.allow_large, allow_damaged=arguments.allow_damaged)
    seen = inspect(prepare_params(resolved.weights.params), picture, resolved.config, layers=layers)
    written = seen.save(output, channels=arguments.channels, overwrite=arguments.overwrite)
    statistics = seen.statistics()
    if arguments.json:
        print(json.dumps({"layers": statistics, "files": [str(path) for path in written]}, indent=1))
    elif not arguments.quiet:
        print(describe_statistics(statistics))
        print(f"written: {output}" if len(written) == 1 else f"written: {len(written)} sheets in {output}")
    return 0
