"""What `jnst texture` and `jnst reconstruct` share: the flags of a run with one kind of input, and the run."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jnst.argument_checks import check_seed
from jnst.cli.file_flags import add_picture_flags, add_quiet_flag, add_state_flags, check_file_flags
from jnst.cli.film import add_film_flags, read_film
from jnst.cli.flags import add_config_flags, parse_whole, read_settings
from jnst.cli.plan import add_memory_flags, read_memory, read_tile
from jnst.cli.preset_flags import add_preset_flags
from jnst.cli.terminal import open_printer, reporting
from jnst.config import Config
from jnst.progress.callbacks import Silent


def add_run_flags(parser: argparse.ArgumentParser, *, sizes: bool, without: tuple[str, ...]) -> None:
    """Preset, settings, memory, film and files.

    Args:
        parser: of the command.
        sizes: whether the flags of the content image's size are wanted.
        without: paths of settings that mean nothing here.
    """
    add_preset_flags(parser)
    parser.add_argument("--seed", type=parse_whole, default=0, metavar="N", help="of the noise to begin with (0)")
    add_memory_flags(parser)
    add_config_flags(parser, sizes=sizes, without=without)
    add_film_flags(parser)
    files = parser.add_argument_group("files")
    add_state_flags(files)
    add_picture_flags(files)
    add_quiet_flag(files)


def read_run(arguments: argparse.Namespace) -> dict[str, Any]:
    """The settings by path that the flags replace; every flag is checked, and nothing is imported that is heavy.

    Raises:
        ConfigError: for a value of the wrong kind.
    """
    settings, tile = read_settings(arguments), read_tile(arguments.tile)
    if tile is not None:
        settings["tile"] = tile
    check_file_flags(arguments)
    check_seed(arguments.seed, "--seed")
    read_memory(arguments.memory)
    read_film(arguments)
    return settings


def run_single(
    arguments: argparse.Namespace,
    settings: dict[str, Any],
    pictures: list[str],
    output: Path,
    adapt: Callable[[Config], Config],
    **fields: Any,
) -> int:
    """Makes the picture and writes it; returns the exit code.

    Args:
        arguments: of the command.
        settings: from `read_run`.
        pictures: what is read: the content picture, and the styles, which may be the same.
        output: the picture to write.
        adapt: makes the command's config out of the preset's.
        fields: of `jnst.jobs.job.Job`: canvas, style_weights.
    """
    with open_printer(quiet=arguments.quiet) as printer:
        record, signal = _paint(arguments, settings, pictures, output, adapt, fields, printer)
    if not arguments.quiet:
        from jnst.cli.report import report
        from jnst.jobs.record import record_path

        with reporting(signal):
            report(output, record, record_path(output))
    return 128 + signal if signal else 0


def _paint(
    arguments: argparse.Namespace,
    settings: dict[str, Any],
    pictures: list[str],
    output: Path,
    adapt: Callable[[Config], Config],
    fields: dict[str, Any],
    printer: Silent,
) -> tuple[dict[str, Any], int]:
    """Makes the picture. Returns its record, and the signal that ended the run early, or 0."""
    from jnst.cli.plain_files import check_files
    from jnst.jobs.job import Job
    from jnst.jobs.outputs import check_outputs
    from jnst.jobs.run import run_job
    from jnst.presets.resolve import resolve_run
    from jnst.runtime import configure_jax

    check_files((*pictures, *filter(None, [arguments.output])))
    cache = configure_jax()
    printer.doing("reading the weights")
    resolved = resolve_run(
        arguments.preset,
        weights=arguments.weights,
        network=arguments.network,
        optimizer=arguments.optimizer,
        settings=settings,
    )
    job = Job(
        content=Path(pictures[0]),
        styles=tuple(Path(picture) for picture in pictures),
        output=output,
        config=adapt(resolved.config),
        seed=arguments.seed,
        weights_source=resolved.source,
        overwrite=arguments.overwrite,
        plot=arguments.plot,
        bits=arguments.bits,
        quality=arguments.quality,
        allow_large=arguments.allow_large,
        allow_damaged=arguments.allow_damaged,
        notices=(*filter(None, [cache]), *resolved.notices),
        memory=read_memory(arguments.memory),
        checkpoint_every=60 * arguments.checkpoint_every,
        resume=arguments.resume,
        split_rows=arguments.split_rows,
        film=read_film(arguments),
        choose_tile="tile" not in settings,
        **fields,
    )
    job = check_outputs(job, resolved.weights)
    return run_job(job, resolved.weights, printer)
