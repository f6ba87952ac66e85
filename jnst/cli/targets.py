"""`jnst targets`: prepare a style once, for `jnst batch --style STYLE.h5`."""

import argparse
from pathlib import Path
from typing import Any

from jnst.cli.file_flags import add_overwrite_flag, add_quiet_flag, add_reading_flags
from jnst.cli.flags import add_config_flags, read_settings
from jnst.cli.preset_flags import add_preset_flags
from jnst.cli.terminal import open_printer
from jnst.errors import ConfigError
from jnst.progress.callbacks import Silent


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of the command; nothing heavy is imported for them."""
    parser.add_argument("styles", nargs="+", metavar="STYLE", help="style picture; several are blended")
    parser.add_argument("-o", "--output", metavar="OUT.h5", help="file to write (STYLE.h5)")
    add_preset_flags(parser, optimizer=False)
    parser.add_argument("--style-blend", metavar="F,F,…", help="weight of each of several styles (equal)")
    add_config_flags(parser)
    add_overwrite_flag(parser)
    add_reading_flags(parser)
    add_quiet_flag(parser)


def run(arguments: argparse.Namespace) -> int:
    """Runs the command; returns the exit code."""
    settings = read_settings(arguments)
    output = Path(arguments.output or f"{Path(arguments.styles[0]).stem}.h5")
    with open_printer(quiet=arguments.quiet) as printer:
        said = _prepare(arguments, settings, output, printer)
    if not arguments.quiet:
        print(said)
    return 0


def _prepare(arguments: argparse.Namespace, settings: dict[str, Any], output: Path, printer: Silent) -> str:
    """Writes the file; returns what to say of it."""
    from jnst.batch.folders import read_picture
    from jnst.cli.inputs import parse_blend
    from jnst.cli.plain_files import check_files
    from jnst.files import check_keeps_inputs, check_writable_file
    from jnst.presets.resolve import resolve_run
    from jnst.runtime import configure_jax
    from jnst.transfer.style_file import is_style_file, write_style
    from jnst.transfer.style_targets import prepare_style
    from jnst.vgg.convolution import prepare_params

    blend = parse_blend(arguments.style_blend) if arguments.style_blend else None
    check_files(arguments.styles, urls=True)
    check_files(filter(None, [arguments.output]))
    if not is_style_file(output):
        raise ConfigError(f"{output} is not the name of a prepared style; expected one that ends in .h5")
    check_keeps_inputs([output], [*arguments.styles, arguments.weights])
    check_writable_file(output, overwrite=arguments.overwrite)
    cache = configure_jax()
    printer.doing("reading the weights")
    resolved = resolve_run(arguments.preset, weights=arguments.weights, network=arguments.network, settings=settings)
    for notice in filter(None, (cache, *resolved.notices)):
        printer.note(notice)
    printer.doing("reading the pictures")
    options = {"allow_large": arguments.allow_large, "allow_damaged": arguments.allow_damaged}
    options["color_profile"] = resolved.config.color_profile
    pictures = [read_picture(style, **options)[0] for style in arguments.styles]
    printer.doing("computing Gram matrices")
    targets = prepare_style(
        prepare_params(resolved.weights.params),
        pictures,
        resolved.config,
        style_weights=blend,
        weights_sha256=resolved.weights.info.sha256,
    )
    write_style(output, targets)
    size, layers = targets.picture.shape, len(targets.grams[0])
    return f"wrote {output}: {layers} layers, {size[1]} × {size[0]} pixels, scales: {len(targets.grams)}"
