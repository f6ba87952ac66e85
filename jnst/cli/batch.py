"""`jnst batch`: folders, globs and lists of pictures, in one or many styles, restartable."""

import argparse
import json
from typing import Any, get_args

from jnst.argument_checks import check_seed
from jnst.cli.file_flags import add_picture_flags, add_quiet_flag, check_file_flags
from jnst.cli.flags import add_config_flags, parse_whole, read_settings
from jnst.cli.preset_flags import add_preset_flags
from jnst.cli.terminal import open_printer, reporting
from jnst.config import Init
from jnst.errors import ConfigError, JnstError, one_line, quote
from jnst.progress.callbacks import Silent

_INITS, _ENGINES = get_args(Init), ("local", "ray")


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
    add_preset_flags(parser)
    parser.add_argument("--init", choices=_INITS, help="picture to begin with (the preset's)")
    parser.add_argument("--seed", type=parse_whole, default=0, metavar="N", help="of random initial pictures (0)")
    add_config_flags(parser)
    work = parser.add_argument_group("work")
    work.add_argument(
        "--pairs",
        metavar="FILE",
        help="CSV or JSONL: content, style, output, seed, mask, keep, and settings such as steps",
    )
    work.add_argument(
        "--name", metavar="TEMPLATE",
        help="names of the results, from {folder}, {parent}, {content}, {style}, {suffix}, {index} and {seed}; the "
        "suffix is the format ({folder}/{content}.png; several styles: {folder}/{content}-{style}.png)",
    )  # fmt: skip
    work.add_argument("--batch-size", default="auto", metavar="auto|N", help="pictures at once (auto: what fits)")
    work.add_argument("--shard", metavar="I/N|auto", help="this process's part; auto asks jax.distributed")
    work.add_argument("--resume", action="store_true", help="go on with what an earlier run left undone")
    work.add_argument("--retry-failed", action="store_true", help="with --resume, try failures again")
    work.add_argument(
        "--keep-going", action="store_true", help="go on even where results cannot be written; exit 0 despite failures"
    )
    work.add_argument("--engine", choices=_ENGINES, default="local", help="ray divides the work among hosts (local)")
    work.add_argument("--actors", metavar="N|N-M", default="1", help="ray: processes, or their least and most (1)")
    files = parser.add_argument_group("files")
    add_picture_flags(files)
    add_quiet_flag(files, but="errors and failures")
    files.add_argument("--animate", metavar="OUT", help=argparse.SUPPRESS)  # refused, with the place where it is
    files.add_argument("--json", action="store_true", help="print the summary, or the plan of --dry-run, as JSON")
    files.add_argument("--dry-run", action="store_true", help="say what would be made, and make nothing")


def run(arguments: argparse.Namespace) -> int:
    """Runs the command. Exit code 0, 1 where pictures failed (unless --keep-going), 128 + n after signal n."""
    settings = read_settings(arguments)
    arguments.seed = check_seed(arguments.seed, "--seed")
    batch_size = _batch_size(arguments.batch_size)
    actors = _actors(arguments.actors)
    check_file_flags(arguments)
    if settings.get("run.save_every"):
        raise ConfigError("--save-every writes the frames of a single picture; `jnst stylize` has it")
    if arguments.animate is not None:
        raise ConfigError("--animate films the way to a single picture; `jnst stylize` has it")
    if not arguments.contents and not arguments.pairs:
        raise JnstError("CONTENT is missing; expected pictures, folders or globs, or --pairs FILE")
    if arguments.contents and not arguments.styles:
        raise JnstError("--style is missing; expected one or more style pictures")
    with open_printer(quiet=arguments.quiet) as printer:
        return _paint(arguments, settings, batch_size, actors, printer)


def _paint(
    arguments: argparse.Namespace,
    settings: dict[str, Any],
    batch_size: int | None,
    actors: tuple[int, int],
    printer: Silent,
) -> int:
    """Makes the pictures, or says what would be made; returns the exit code."""
    from jnst.batch.shards import Share, join_fleet, parse_share
    from jnst.cli.plain_files import check_files

    if arguments.pairs == "-":
        raise ConfigError("--pairs - names no file; /dev/stdin reads a list in CSV from standard input")
    check_files([*arguments.contents, *arguments.styles, arguments.output], urls=True)
    # Processes have to find each other before anything else uses JAX.
    share = Share()
    if arguments.shard is not None:
        share = join_fleet() if arguments.shard == "auto" else parse_share(arguments.shard)
    from jnst.batch.job import FolderJob, run_folder
    from jnst.batch.options import Options
    from jnst.cli.worklist import read_worklist
    from jnst.presets.resolve import resolve_run
    from jnst.runtime import configure_jax

    notice = configure_jax()
    if notice:
        printer.note(notice)
    printer.doing("reading the weights")
    resolved = resolve_run(
        arguments.preset,
        weights=arguments.weights,
        network=arguments.network,
        optimizer=arguments.optimizer,
        init=arguments.init,
        settings=settings,
    )
    for line in resolved.notices:
        printer.note(line)
    printer.doing("looking for pictures")
    entries, bad = read_worklist(arguments, resolved.config, printer.note)
    options = Options(
        output=arguments.output,
        overwrite=arguments.overwrite,
        keep_going=arguments.keep_going,
        bits=arguments.bits,
        quality=arguments.quality,
        allow_large=arguments.allow_large,
        allow_damaged=arguments.allow_damaged,
        batch_size=batch_size,
    )
    job = FolderJob(tuple(entries), options, share, arguments.resume, arguments.retry_failed, tuple(bad))
    if arguments.dry_run:
        printer.close()
        return _show_plan(job, resolved.weights.info.sha256, as_json=arguments.json)
    engine = None
    if arguments.engine == "ray":
        from jnst.batch.ray_engine import ray_engine

        engine = ray_engine(resolved.weights, options, actors=actors)
    summary = run_folder(job, resolved.weights, printer, engine=engine)
    printer.close()
    with reporting(summary.signal):
        _report(arguments, summary, share)
    if summary.signal:
        return 128 + summary.signal
    return int(summary.failed + summary.failed_before > 0 and not arguments.keep_going)


def _report(arguments: argparse.Namespace, summary: Any, share: Any) -> None:
    if arguments.json:
        print(json.dumps(summary.to_dict() | {"shard": str(share), "output": arguments.output}, indent=1))
    elif not arguments.quiet:
        part = f"shard {share}: " if share.count > 1 else ""
        print("\n".join([f"{part}{summary}; {arguments.output}", *map(one_line, summary.first_failures())]))


def _show_plan(job: Any, sha256: str, *, as_json: bool) -> int:
    """Prints what would be done, and makes nothing. Returns 1 where something could not be."""
    from jnst.batch.folders import exists, join
    from jnst.batch.input_changes import Comparison
    from jnst.batch.job import find_state
    from jnst.batch.manifest import latest, read_records

    output = job.options.output
    before = latest(read_records(output)) if exists(output) else {}
    rows, comparison = [], Comparison()
    for entry in job.entries:
        if job.share.owns(entry.name):
            state = find_state(job, entry, before, sha256, comparison)[0]
            rows.append(
                {
                    "content": entry.content,
                    "styles": [*entry.styles],
                    "output": join(output, entry.name),
                    "state": state,
                }
            )
    bad = [row for row in job.bad_rows if job.share.owns(row)]
    if as_json:
        print(json.dumps({"pictures": rows, "bad_rows": bad}, indent=1))
    else:
        for row in rows:
            print(one_line(f"{row['state']}: {row['content']} in {' + '.join(row['styles'])} -> {row['output']}"))
        for line in bad:
            print(one_line(f"failed: {line}"))
        new = sum(row["state"] in ("new", "changed") for row in rows)
        print(f"{new} of {len(rows)} pictures to make; nothing was written")
    return int(bool(bad) or any(row["state"] == "taken" for row in rows))


def _batch_size(text: str) -> int | None:
    if text == "auto":
        return None
    if not text.isdecimal() or len(text) > 9 or int(text) < 1:
        raise ConfigError(f"batch size is {quote(text)}; expected auto, or one or more pictures")
    return int(text)


def _actors(text: str) -> tuple[int, int]:
    least, dash, most = text.partition("-")
    try:
        counts = int(least), int(most if dash else least)
    except ValueError:
        counts = 0, 0
    if not 1 <= counts[0] <= counts[1] < 10**6:
        raise ConfigError(
            f"actors is {quote(text)}; expected a number such as 4, or the least and the most, such as 2-16"
        )
    return counts
