"""`jnst stylize`: one content image, one style image, one result."""

import argparse
import os
from pathlib import Path
from typing import Any, get_args

from jnst.argument_checks import check_seed
from jnst.cli.file_flags import add_picture_flags, add_quiet_flag, add_state_flags, check_file_flags
from jnst.cli.film import add_film_flags, read_film
from jnst.cli.flags import add_config_flags, parse_whole, read_settings, take_keep_mask
from jnst.cli.live_page import add_live_flags, check_port, make_painter
from jnst.cli.plan import add_memory_flags, read_memory, read_tile
from jnst.cli.preset_flags import add_preset_flags
from jnst.cli.regions import add_region_flags
from jnst.cli.report import report, report_elsewhere
from jnst.cli.terminal import open_printer, reporting
from jnst.config import Init
from jnst.errors import ConfigError, describe_unknown
from jnst.progress.callbacks import Silent

_INITS = get_args(Init)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of the command; nothing heavy is imported for them."""
    parser.add_argument(
        "content", nargs="?", metavar="CONTENT", help="picture to repaint: a file, a URL, or - for standard input"
    )
    parser.add_argument(
        "styles", nargs="*", metavar="STYLE", help="picture whose style to take, likewise; several are blended"
    )
    parser.add_argument(
        "-o", "--output", metavar="OUT",
        help="result: a file, a URL, or - for standard output; its suffix is its format (CONTENT-STYLE.png)",
    )  # fmt: skip
    parser.add_argument("--format", metavar="{png,jpg,webp,avif,tif}", help="of standard output (png)")
    add_preset_flags(parser, defaults=False)
    parser.add_argument(
        "--init", metavar="{" + ",".join(_INITS) + "}|FILE", help="picture to begin with (the preset's)"
    )
    parser.add_argument("--style-blend", metavar="F,F,…", help="weight of each of several styles (equal)")
    parser.add_argument("--seed", type=parse_whole, metavar="N", help="of a random initial picture (0)")
    add_region_flags(parser)
    add_memory_flags(parser)
    add_config_flags(parser, keeps_masks=True)
    add_film_flags(parser)
    add_live_flags(parser)
    files = parser.add_argument_group("files")
    files.add_argument("--config", metavar="FILE", help="repeat the run of an OUT.json or of the picture beside it")
    add_state_flags(files)
    files.add_argument("--sheet", action="store_true", help="write OUT-sheet.png: content, style, result side by side")
    add_picture_flags(files)
    add_quiet_flag(files)


def run(arguments: argparse.Namespace) -> int:
    """Runs the command; returns the exit code."""
    arguments.keep_mask = take_keep_mask(arguments)
    settings, memory = read_settings(arguments), read_memory(arguments.memory)
    read_film(arguments)
    tile = read_tile(arguments.tile)
    if tile is not None:
        settings["tile"] = tile
    check_file_flags(arguments)
    check_port(arguments.port)
    seed = None if arguments.seed is None else check_seed(arguments.seed, "--seed")
    initial = _initial_file(arguments.init)
    from jnst.cli.streams import FORMATS, Streams, check_elsewhere

    if arguments.format is not None and arguments.format not in FORMATS:
        raise ConfigError(describe_unknown("format", arguments.format, FORMATS))
    with Streams(arguments.output, arguments.format) as streams:
        beside = {"--plot": arguments.plot, "--sheet": arguments.sheet}
        check_elsewhere(streams, settings, resume=arguments.resume, beside=beside)
        return _run(arguments, settings, memory, initial, seed, streams)


def _run(
    arguments: argparse.Namespace,
    settings: dict[str, Any],
    memory: int | None,
    initial: str | None,
    seed: int | None,
    streams: Any,
) -> int:
    # From here on JAX is needed; bad flags have been refused by now.
    with open_printer(quiet=arguments.quiet) as printer:
        output, record, signal = _paint(arguments, settings, memory, seed, initial, streams, printer)
    streams.deliver(output)
    if not arguments.quiet:
        from jnst.jobs.record import record_path

        with reporting(signal):
            if streams.elsewhere:
                report_elsewhere(arguments.output, record, streams)
            else:
                report(output, record, record_path(output), resumable=not arguments.live)
    return 128 + signal if signal else 0


def _paint(
    arguments: argparse.Namespace,
    settings: dict[str, Any],
    memory: int | None,
    seed: int | None,
    initial: str | None,
    streams: Any,
    printer: Silent,
) -> tuple[Path, dict[str, Any], int]:
    """Makes the picture. Returns where it is, its record, and the signal that ended the run early, or 0."""
    from jnst.cli.inputs import choose_inputs
    from jnst.cli.streams import stem_of
    from jnst.jobs.job import Job
    from jnst.jobs.outputs import check_outputs
    from jnst.jobs.record import read_record
    from jnst.jobs.run import run_job
    from jnst.runtime import configure_jax

    record = read_record(Path(arguments.config)) if arguments.config else None
    if record is not None and record.get("canvas"):
        raise ConfigError(f"{arguments.config} is the record of a texture, which `jnst texture` makes")
    chosen = choose_inputs(arguments, record, initial, streams)
    content, styles = chosen.content, chosen.styles
    default = f"{stem_of(str(content))}-{stem_of(str(styles[0]))}.png"
    output = streams.place(default, overwrite=arguments.overwrite)
    cache = configure_jax()
    init = None if chosen.initial else arguments.init
    printer.doing("reading the weights")
    resolved = _resolve(arguments, record, settings, init=init)
    seed = (record or {}).get("seed", 0) if seed is None else seed
    job = Job(
        content=content,
        styles=styles,
        output=output,
        config=resolved.config,
        seed=seed or 0,
        style_weights=chosen.style_weights,
        weights_source=resolved.source,
        initial=chosen.initial,
        overwrite=arguments.overwrite,
        plot=arguments.plot,
        sheet=arguments.sheet,
        bits=arguments.bits,
        quality=arguments.quality,
        allow_large=arguments.allow_large,
        allow_damaged=arguments.allow_damaged,
        notices=(*filter(None, [cache]), *chosen.notices, *resolved.notices),
        # A run that is repeated keeps its tiles, and what `--set tile=N` says is what the user wants.
        choose_tile=arguments.config is None and "tile" not in settings,
        memory=memory,
        checkpoint_every=0.0 if streams.elsewhere else 60 * arguments.checkpoint_every,
        resume=arguments.resume,
        split_rows=arguments.split_rows,
        film=read_film(arguments),
        regions=chosen.regions,
    )
    job = check_outputs(job, resolved.weights)
    paint = make_painter(arguments, resolved, job)
    return output, *run_job(job, resolved.weights, printer, paint=paint)


def _initial_file(init: str | None) -> str | None:
    """The file given as --init, or None where it is one of the words."""
    if init is None or init in _INITS:
        return None
    if init != "-" and "://" not in init and not os.path.exists(init):
        raise ConfigError(describe_unknown("initial picture", init, (*_INITS, "a file that exists")))
    return init


def _resolve(
    arguments: argparse.Namespace, record: dict[str, Any] | None, settings: dict[str, Any], *, init: str | None
) -> Any:
    from jnst.jobs.record import record_config
    from jnst.presets.resolve import Run, adapt_to_weights, replace_settings, resolve_run

    if record is None:
        return resolve_run(
            arguments.preset or "default",
            weights=arguments.weights or "auto",
            network=arguments.network,
            optimizer=arguments.optimizer,
            init=init,  # pyright: ignore[reportArgumentType]
            settings=settings,
        )
    if arguments.preset or arguments.network:
        raise ConfigError("--config holds all settings of a run; leave out --preset and --network, or --config")
    from jnst.weights.registry import resolve_weights
    from jnst.weights.store import read_weights

    stored = record.get("weights", {})
    source = arguments.weights or _stored_source(stored.get("source"), Path(arguments.config))
    weights = read_weights(resolve_weights(source).path)
    notices = ()
    if arguments.weights is None and stored.get("sha256") not in (None, weights.info.sha256):
        notices = (f"the weights {weights.info.name} have changed since that run; the result will differ",)
    config = record_config(record)
    if arguments.weights is not None:
        config = adapt_to_weights(config, weights.info)
    changes = dict(settings)
    if arguments.optimizer:
        changes["optimizer"] = arguments.optimizer
    if init:
        changes["init"] = init
    return Run(replace_settings(config, changes), weights, source, notices)


def _stored_source(source: str | None, record_file: Path) -> str:
    """The weights' name or path in a record; a path is looked for beside the record too."""
    if source is None:
        return "auto"
    beside = [record_file.parent / source, record_file.parent / Path(source).name]
    return next((str(path) for path in (Path(source), *beside) if os.path.isfile(path)), source)
