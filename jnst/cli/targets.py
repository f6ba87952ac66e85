"""`jnst targets`: prepare a style once, for `jnst batch --style STYLE.h5`."""

import argparse
import sys
from pathlib import Path

from jnst.cli.flags import add_config_flags, read_settings
from jnst.errors import ConfigError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of the command; nothing heavy is imported for them."""
    parser.add_argument("styles", nargs="+", metavar="STYLE", help="style picture; several are blended")
    parser.add_argument("-o", "--output", metavar="OUT.h5", help="file to write (STYLE.h5)")
    parser.add_argument("--preset", default="default", metavar="NAME", help="recipe; `jnst presets` lists them")
    parser.add_argument("--weights", default="auto", metavar="NAME|FILE", help="network weights (auto)")
    parser.add_argument("--network", metavar="NAME", help="vgg19, vgg16, or gordic's vgg16-experimental")
    parser.add_argument("--style-blend", metavar="F,F,…", help="weight of each of several styles (equal)")
    add_config_flags(parser)
    parser.add_argument("--overwrite", action="store_true", help="replace what is there")
    parser.add_argument("--allow-large", action="store_true", help="read pictures above the decompression limit")
    parser.add_argument("--quiet", action="store_true", help="print nothing but errors")


def run(arguments: argparse.Namespace) -> int:
    """Runs the command; returns the exit code."""
    settings = read_settings(arguments)
    output = Path(arguments.output or f"{Path(arguments.styles[0]).stem}.h5")
    from jnst.batch.discovery import check_path
    from jnst.batch.remote import read_picture
    from jnst.cli.inputs import parse_blend
    from jnst.files import check_keeps_inputs, check_writable_file
    from jnst.presets.resolve import resolve_run
    from jnst.runtime import configure_jax
    from jnst.transfer.style_targets import is_style_file, prepare_style, write_style
    from jnst.vgg.convolution import prepare_params

    blend = parse_blend(arguments.style_blend) if arguments.style_blend else None
    for path in (str(output), *arguments.styles):
        check_path(path)
    if not is_style_file(output):
        raise ConfigError(f"{output} is not the name of a prepared style; expected one that ends in .h5")
    check_keeps_inputs([output], [*arguments.styles, arguments.weights])
    check_writable_file(output, overwrite=arguments.overwrite)
    cache = configure_jax()
    resolved = resolve_run(arguments.preset, weights=arguments.weights, network=arguments.network, settings=settings)
    pictures = [read_picture(style, allow_large=arguments.allow_large)[0].pixels for style in arguments.styles]
    targets = prepare_style(
        prepare_params(resolved.weights.params),
        pictures,
        resolved.config,
        style_weights=blend,
        weights_sha256=resolved.weights.info.sha256,
    )
    write_style(output, targets)
    if not arguments.quiet:
        for notice in filter(None, (cache, *resolved.notices)):
            print(notice, file=sys.stderr)
        size, layers = targets.picture.shape, len(targets.grams[0])
        print(f"wrote {output}: {layers} layers, {size[1]} × {size[0]} pixels, scales: {len(targets.grams)}")
    return 0
