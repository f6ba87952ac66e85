"""`jnst weights`: list, fetch, convert, verify and describe weights files."""

import argparse
import json
import os
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, get_args

from jnst.cli.file_flags import add_overwrite_flag
from jnst.errors import JnstError, WeightsError, describe_unknown, one_line, quote
from jnst.progress.bar import ProgressBar
from jnst.progress.callbacks import Silent
from jnst.vgg.layers import describe_width
from jnst.weights.registry import CATALOGUE, WeightsLineage, list_weights, resolve_weights


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The actions and their flags."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION")
    parser.set_defaults(show_help=parser.print_help)
    actions.add_parser("list", help="names, where they come from, and which are here")
    fetch = actions.add_parser("fetch", help="download, verify and convert named weights into the cache")
    fetch.add_argument("name", metavar="NAME", help=", ".join(name for name, entry in CATALOGUE.items() if entry.url))
    fetch.add_argument("--url", help="another address of the same file, such as a mirror; size and hash stay the same")
    convert = actions.add_parser("convert", help="turn a .pth, .safetensors or Keras .h5 into a weights file")
    convert.add_argument("file", metavar="FILE", help="file of another program")
    convert.add_argument("-o", "--output", metavar="OUT.h5", help="weights file to write (FILE-jnst.h5)")
    convert.add_argument(
        "--lineage", metavar="{" + ",".join(get_args(WeightsLineage)) + "}", help="pixels that it was trained on"
    )
    convert.add_argument(
        "--half", action="store_true", help="store half precision, compressed, at less than half the size"
    )
    convert.add_argument("--name", help="what to call the weights (the output's name)")
    convert.add_argument("--source", help="where the file came from (its own name)")
    convert.add_argument("--licence", help="of the weights")
    convert.add_argument(
        "--note", action="append", default=[], metavar="NAME=TEXT", help="a further fact of their origin"
    )
    add_overwrite_flag(convert)
    for action, text in (("verify", "read a weights file and check its hashes"), ("info", "what a weights file says")):
        one = actions.add_parser(action, help=text)
        one.add_argument("file", metavar="FILE|NAME", help="weights file, or a name from `jnst weights list`")


def run(arguments: argparse.Namespace) -> int:
    """Runs the command; returns the exit code."""
    if arguments.action is None:
        arguments.show_help()
        return 0
    return {"list": _list, "fetch": _fetch, "convert": _convert, "verify": _verify, "info": _info}[arguments.action](
        arguments
    )


def _list(arguments: argparse.Namespace) -> int:
    del arguments
    for row in list_weights():
        size = f"{row.download / 1e6:5.0f} MB to fetch" if row.state == "absent" else row.state
        print(f"{row.name:<12} {row.lineage:<11} {size:<16} {row.summary}; {row.licence}")
    return 0


class _Meter:
    """Bytes as they come: a line that redraws itself on a terminal, one line per tenth elsewhere.

    `printer` says what is done before the first byte and after the last one.
    """

    def __init__(self, name: str, printer: Silent) -> None:
        self.name, self.printer, self.shown, self.drawn, self.unfinished = name, printer, -1, 0.0, False
        printer.doing(f"connecting for {name}")

    def __call__(self, done: int, total: int | None) -> None:
        self.printer.close()
        share = "" if not total else f" of {total / 1e6:.0f} MB ({100 * done // total} %)"
        line = f"{self.name}: {done / 1e6:.1f} MB{share}"
        if sys.stderr.isatty():
            now = time.monotonic()
            if now - self.drawn > 0.1 or done == total:
                self.drawn = now
                self.unfinished = True
                print(f"\r{line}\x1b[K", end="", file=sys.stderr, flush=True)
        elif (tenth := 10 * done // total if total else done // 50_000_000) != self.shown:
            self.shown = tenth
            print(line, file=sys.stderr, flush=True)
        if done == total:
            self.close()
            self.printer.doing("checking and converting")

    def close(self) -> None:
        """Ends the line."""
        if self.unfinished:
            print(file=sys.stderr, flush=True)
        self.unfinished = False


def _fetch(arguments: argparse.Namespace) -> int:
    from jnst.weights.fetch import fetch_weights

    catalogue = dict(CATALOGUE)
    if arguments.url and arguments.name in catalogue:
        catalogue[arguments.name] = replace(catalogue[arguments.name], url=arguments.url)
    with ProgressBar(sys.stderr) as printer:
        meter = _Meter(arguments.name, printer)
        try:
            path = fetch_weights(arguments.name, progress=meter, catalogue=catalogue)
        finally:
            meter.close()
    print(path)
    return 0


def _convert(arguments: argparse.Namespace) -> int:
    from jnst.weights.convert import convert_weights

    source = Path(arguments.file)
    output = Path(arguments.output) if arguments.output else source.parent / f"{source.stem}-jnst.h5"
    if os.path.lexists(output) and not arguments.overwrite:
        raise WeightsError(f"{output} exists already; choose another name or pass --overwrite")
    if arguments.lineage is not None and arguments.lineage not in get_args(WeightsLineage):
        raise WeightsError(describe_unknown("lineage", arguments.lineage, get_args(WeightsLineage)))
    notes = dict(text.partition("=")[::2] for text in arguments.note)
    if not all(notes.values()):
        raise WeightsError(f"--note {quote(arguments.note[0])}; expected NAME=TEXT")
    with ProgressBar(sys.stderr) as printer:
        printer.doing(f"converting {source.name}")
        info = convert_weights(
            source,
            output,
            name=arguments.name or "",
            lineage=arguments.lineage,
            origin=arguments.source or "",
            licence=arguments.licence or "",
            dtype="float16" if arguments.half else "float32",
            notes=notes,
        )
    print(one_line(f"{output}: {describe_width(info)}, {info.lineage} lineage"))
    return 0


def _verify(arguments: argparse.Namespace) -> int:
    from jnst.weights.store import read_weights

    path = resolve_weights(arguments.file).path
    with ProgressBar(sys.stderr) as printer:
        printer.doing(f"checking {path.name}")
        info = read_weights(path).info
    print(f"{path}: sound; {describe_width(info)}, {info.lineage} lineage, sha256 {info.sha256}")
    return 0


def _info(arguments: argparse.Namespace) -> int:
    from jnst.weights.store import read_info

    path = resolve_weights(arguments.file).path
    with ProgressBar(sys.stderr) as printer:
        printer.doing(f"reading {path.name}")
        info = read_info(path)
    print(json.dumps(_plain(asdict(info)), indent=1))
    return 0


def _plain(value: Any) -> Any:
    """JSON types of whatever an HDF5 attribute may hold."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, str | int | float | bool) or value is None:
        return value
    if hasattr(value, "tolist"):
        return _plain(value.tolist())
    raise JnstError(f"an attribute holds {type(value).__name__}, which cannot be shown")
