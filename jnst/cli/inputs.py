"""Content, styles and initial picture of `jnst stylize`: as given, or else from the record of an earlier run."""

import argparse
from pathlib import Path
from typing import Any, NamedTuple

from jnst.batch.discovery import check_path
from jnst.batch.folders import is_remote
from jnst.cli.streams import Streams
from jnst.config_fields import is_weight
from jnst.errors import ConfigError, JnstError, quote
from jnst.files import NamedFile
from jnst.jobs.record import find_input
from jnst.jobs.region_files import RegionFiles, check_region_files, stored_regions


class Inputs(NamedTuple):
    """What a run is made of, and what the user should know of it."""

    content: Path | NamedFile
    styles: tuple[Path | NamedFile, ...]
    style_weights: tuple[float, ...] | None
    initial: Path | NamedFile | None
    notices: tuple[str, ...]
    regions: RegionFiles | None = None


def choose_inputs(
    arguments: argparse.Namespace, record: dict[str, Any] | None, initial: str | None, streams: Streams
) -> Inputs:
    """The inputs of the command line, filled up from the record.

    Args:
        arguments: content, styles, style_blend, init, config and the masks are read.
        record: from `read_record`, where there is --config.
        initial: the file given as --init.
        streams: where what is not a file here is kept for the run.

    Raises:
        ConfigError: weights of another number than styles, or a path that no file can have.
        ImageError: a URL or standard input that cannot be read.
        JnstError: something is missing, or what the record names is nowhere.
    """
    stored: dict[str, Any] = (record or {}).get("inputs", {})
    notices: list[str] = []

    def find(described: Any) -> Path | NamedFile:
        if is_remote(described["path"]):
            path, notice = streams.fetch_again(described["path"], described["sha256"])
        else:
            path, notice = find_input(described, Path(arguments.config))
        notices.append(notice)
        return path

    for path in (arguments.content, *arguments.styles, arguments.output, initial):
        if path is not None:
            check_path(path)
    content = streams.fetch(arguments.content) if arguments.content else None
    if content is None and stored.get("content"):
        content = find(stored["content"])
    styles = [streams.fetch(style) for style in arguments.styles] or [find(style) for style in stored.get("styles", [])]
    if content is None or not styles:
        missing = "CONTENT and STYLE are" if content is None else "STYLE is"
        raise JnstError(f"{missing} missing; expected `jnst stylize CONTENT STYLE`, or --config with an earlier run")
    start = None if initial is None else streams.fetch(initial)
    if initial is None and arguments.init is None and stored.get("initial"):
        start = find(stored["initial"])
    blend = stored.get("style_weights") if not arguments.styles else None
    if arguments.style_blend:
        blend = parse_blend(arguments.style_blend)
    if blend is not None and len(blend) != len(styles):
        raise ConfigError(f"style blend has {len(blend)} weights for {len(styles)} styles; expected one each")
    regions = choose_regions(arguments, stored_regions(None if arguments.styles else stored.get("regions"), find))
    checked = check_region_files(regions, styles, blend=blend is not None)
    for path in () if checked is None else checked.paths():
        check_path(path)
    told = tuple(filter(None, notices))
    return Inputs(content, tuple(styles), None if blend is None else tuple(blend), start, told, checked)


def choose_regions(arguments: argparse.Namespace, stored: RegionFiles) -> RegionFiles:
    """The masks of the command line, and from the record those that it leaves out."""
    weights = stored.weights if not arguments.masks else None
    if arguments.region_weights:
        weights = tuple(parse_numbers("region weights", arguments.region_weights))
    return RegionFiles(
        masks=tuple(arguments.masks) or stored.masks,
        style_masks=tuple(arguments.style_masks) or stored.style_masks,
        keep=stored.keep if arguments.keep_mask is None else arguments.keep_mask,
        weights=weights,
    )


def parse_numbers(kind: str, text: str) -> list[float]:
    """Numbers with commas between them.

    >>> parse_numbers("region weights", "1,0.5")
    [1.0, 0.5]
    """
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise ConfigError(f"{kind} is {quote(text)}; expected numbers such as 2,1") from None


def parse_blend(text: str) -> list[float]:
    """The weights of several styles.

    >>> parse_blend("2,1")
    [2.0, 1.0]
    """
    blend = parse_numbers("style blend", text)
    if not all(map(is_weight, blend)) or not sum(blend) > 0:
        raise ConfigError(f"style blend is {quote(text)}; expected zero or more, and one of them above zero")
    return blend
