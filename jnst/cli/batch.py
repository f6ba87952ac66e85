"""`jnst batch`: folders, globs and lists of pictures, in one or many styles, restartable."""

import argparse
import sys
from collections.abc import Sequence
from typing import Any, get_args

from jnst.cli.flags import add_config_flags, parse_setting, read_settings
from jnst.config import Config, Init, Method
from jnst.errors import ConfigError, JnstError, describe_unknown

_OPTIMIZERS, _INITS, _ENGINES = get_args(Method), get_args(Init), ("local", "ray")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of the command; nothing heavy is imported for them."""
    parser.add_argument(
        "contents", nargs="*", metavar="CONTENT", help="pictures, folders, globs, or URLs such as s3://bucket/photos"
    )
    parser.add_argument(
        "--style", dest="styles", nargs="+", action="extend", default=[], metavar="STYLE",
        help="pictures, folders or globs, or styles prepared by `jnst targets`; each content is painted in each style",
    )  # fmt: skip
    parser.add_argument("-o", "--output", metavar="OUTDIR", required=True, help="folder or URL for the results")
    parser.add_argument("--preset", default="default", metavar="NAME", help="recipe; `jnst presets` lists them")
    parser.add_argument("--weights", default="auto", metavar="NAME|FILE", help="network weights (auto)")
    parser.add_argument("--network", metavar="NAME", help="vgg19, vgg16, or gordic's vgg16-experimental")
    parser.add_argument("--optimizer", choices=_OPTIMIZERS, help="optimiser (the preset's)")
    parser.add_argument("--init", choices=_INITS, help="picture to begin with (the preset's)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of random initial pictures (0)")
    add_config_flags(parser)
    work = parser.add_argument_group("work")
    work.add_argument(
        "--pairs", metavar="FILE", help="CSV or JSONL: content, style, output, seed, and settings by their path"
    )
    work.add_argument(
        "--name", metavar="TEMPLATE",
        help="names of the results, from {folder}, {content}, {style}, {suffix}, {index} and {seed}; the suffix is the "
        "format ({folder}/{content}.png; several styles: {folder}/{content}-{style}.png)",
    )  # fmt: skip
    work.add_argument("--batch-size", default="auto", metavar="auto|N", help="pictures at once (auto: what fits)")
    work.add_argument("--shard", metavar="I/N|auto", help="this process's part; auto asks jax.distributed")
    work.add_argument("--resume", action="store_true", help="go on with what an earlier run left undone")
    work.add_argument("--retry-failed", action="store_true", help="with --resume, try failures again")
    work.add_argument(
        "--keep-going", action="store_true", help="go on even where results cannot be written; exit 0 despite failures"
    )
    work.add_argument("--engine", choices=_ENGINES, default="local", help="ray spreads the work over a cluster (local)")
    work.add_argument("--actors", metavar="N|N-M", default="1", help="ray: processes, or their least and most (1)")
    files = parser.add_argument_group("files")
    files.add_argument("--overwrite", action="store_true", help="replace what is there")
    files.add_argument("--bits", type=int, choices=(8, 16), default=8, help="per channel, 16 for PNG and TIFF (8)")
    files.add_argument("--quality", type=int, metavar="N", default=95, help="of JPEG and WebP, 1 to 100 (95)")
    files.add_argument("--allow-large", action="store_true", help="read pictures above the decompression limit")
    files.add_argument("--quiet", action="store_true", help="print nothing but errors")


def run(arguments: argparse.Namespace) -> int:
    """Runs the command. Exit code 0, 1 where pictures failed (unless --keep-going), 128 + n after signal n."""
    settings = read_settings(arguments)
    lanes = _batch_size(arguments.batch_size)
    actors = _actors(arguments.actors)
    if not 1 <= arguments.quality <= 100:
        raise ConfigError(f"quality is {arguments.quality}; expected 1 to 100")
    if settings.get("run.save_every"):
        raise ConfigError("--save-every writes the frames of a single picture; `jnst stylize` has it")
    if not arguments.contents and not arguments.pairs:
        raise JnstError("CONTENT is missing; expected pictures, folders or globs, or --pairs FILE")
    if arguments.contents and not arguments.styles:
        raise JnstError("--style is missing; expected one or more style pictures")
    from jnst.batch.shards import Share, join_fleet, parse_share

    # Processes have to find each other before anything else uses JAX.
    share = Share()
    if arguments.shard is not None:
        share = join_fleet() if arguments.shard == "auto" else parse_share(arguments.shard)
    from jnst.batch.job import FolderJob, run_folder
    from jnst.batch.pipeline import Options
    from jnst.cli.progress_bar import ProgressBar
    from jnst.presets.resolve import replace_settings, resolve_run
    from jnst.runtime import configure_jax
    from jnst.transfer.callbacks import Silent

    configure_jax()
    resolved = resolve_run(
        arguments.preset,
        weights=arguments.weights,
        network=arguments.network,
        method=arguments.optimizer,
        init=arguments.init,
        settings=settings,
    )
    entries = _entries(arguments, resolved.config, lambda changes: replace_settings(resolved.config, changes))
    options = Options(
        output=arguments.output,
        overwrite=arguments.overwrite,
        keep_going=arguments.keep_going,
        bits=arguments.bits,
        quality=arguments.quality,
        allow_large=arguments.allow_large,
        lanes=lanes,
    )
    job = FolderJob(tuple(entries), options, share, arguments.resume, arguments.retry_failed)
    engine = None
    if arguments.engine == "ray":
        from jnst.batch.ray_engine import ray_engine

        engine = ray_engine(resolved.weights, options, actors=actors)
    with Silent() if arguments.quiet else ProgressBar(sys.stderr) as printer:
        for notice in resolved.notices:
            printer.note(notice)
        summary = run_folder(job, resolved.weights, printer, engine=engine)
    if not arguments.quiet:
        part = f"shard {share}: " if share.count > 1 else ""
        print(f"{part}{summary}; {arguments.output}")
    if summary.signal:
        return 128 + summary.signal
    return int(summary.failed + summary.failed_before > 0 and not arguments.keep_going)


def _batch_size(text: str) -> int | None:
    if text == "auto":
        return None
    if not text.isdigit() or int(text) < 1:
        raise ConfigError(f"batch size is {text!r}; expected auto, or one or more pictures")
    return int(text)


def _actors(text: str) -> tuple[int, int]:
    least, dash, most = text.partition("-")
    try:
        counts = int(least), int(most if dash else least)
    except ValueError:
        counts = 0, 0
    if not 1 <= counts[0] <= counts[1]:
        raise ConfigError(f"actors is {text!r}; expected a number such as 4, or the least and the most, such as 2-16")
    return counts


def _entries(arguments: argparse.Namespace, config: Config, override: Any) -> Sequence[Any]:
    """The list of work; every style named on the command line is looked at before anything begins."""
    from jnst.batch.remote import list_pictures, name_parts, read_picture
    from jnst.batch.worklist import check_names, combine, read_pairs
    from jnst.transfer.style_targets import check_style_targets, is_style_file, read_style

    styles = [path for pattern in arguments.styles for path in _expand_style(pattern, list_pictures)]
    for style in styles:
        if is_style_file(style):
            check_style_targets(read_style(style), config)
        else:
            read_picture(style, allow_large=arguments.allow_large)
    entries = []
    if arguments.pairs:
        entries += read_pairs(
            arguments.pairs, styles, override, parse_setting, template=arguments.name, seed=arguments.seed
        )
    if arguments.contents:
        found = dict(
            pair for pattern in arguments.contents for pair in list_pictures(pattern, without=arguments.output)
        )
        entries += combine(found.items(), styles, config, template=arguments.name, seed=arguments.seed)
    check_names(entries)
    from jnst.images.writing import SUFFIXES

    for entry in entries:
        suffix = name_parts(entry.name)[1].lower()
        if suffix not in SUFFIXES:
            raise ConfigError(f"cannot tell the format of {entry.name}: {describe_unknown('suffix', suffix, SUFFIXES)}")
    return entries


def _expand_style(pattern: str, list_pictures: Any) -> list[str]:
    from jnst.transfer.style_targets import is_style_file

    return [pattern] if is_style_file(pattern) else [path for path, _ in list_pictures(pattern)]
