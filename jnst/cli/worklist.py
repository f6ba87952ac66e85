"""The list of work of `jnst batch`, from its command line."""

import argparse
import os
from collections.abc import Callable, Mapping
from typing import Any

from jnst.batch.discovery import check_path, check_there, find_pictures
from jnst.batch.folders import read_picture
from jnst.batch.pairs import Reading, read_pairs
from jnst.batch.worklist import Entry, check_names, combine
from jnst.cli.flags import parse_named
from jnst.config import Config
from jnst.images.writing import check_format
from jnst.presets.settings import replace_settings, setting_names
from jnst.transfer.style_file import is_style_file, read_style
from jnst.transfer.style_targets import check_style_targets


def read_worklist(
    arguments: argparse.Namespace, config: Config, note: Callable[[str], Any]
) -> tuple[list[Entry], list[str]]:
    """The entries, and the rows of a list, or pictures of a folder, that no picture can be made of.

    Every style named on the command line is looked at before anything begins; `note` is called with what was left out.

    Raises:
        ConfigError: for a path that is not there, a list that is none, or names that cannot all be files.
        ImageError: for a style that cannot be read, or a format that cannot hold the bits asked for.
        TargetsError: for a prepared style that does not fit.
    """
    styles = _read_styles(arguments, config, note)
    entries: list[Entry] = []
    bad: list[str] = []
    if arguments.pairs:

        def override(changes: Mapping[str, Any]) -> Config:
            return replace_settings(config, changes)

        reading = Reading(styles, override, parse_named, setting_names(), arguments.name, arguments.seed)
        rows = read_pairs(arguments.pairs, reading)
        entries += rows.entries
        bad += map(str, rows.bad)
    if arguments.contents:
        contents = _find_contents(arguments, note)
        entries += combine(contents, styles, config, template=arguments.name, seed=arguments.seed, refuse=bad.append)
    check_names(entries)
    for entry in entries:
        check_format(entry.name, arguments.bits)
    return entries, bad


def _find_contents(arguments: argparse.Namespace, note: Callable[[str], Any]) -> list[tuple[str, str]]:
    """Every picture once, however often and by whatever path it was named."""
    check_there(arguments.contents)
    found: dict[str, tuple[str, str]] = {}
    for pattern in arguments.contents:
        pictures = find_pictures(pattern, without=arguments.output)
        if pictures.left_out:
            note(pictures.note(pattern))
        for path, folder in pictures.pictures:
            found.setdefault(path if "://" in path else os.path.realpath(path), (path, folder))
    return list(found.values())


def _read_styles(arguments: argparse.Namespace, config: Config, note: Callable[[str], Any]) -> list[str]:
    styles = []
    for pattern in arguments.styles:
        check_path(pattern)
        if is_style_file(pattern):
            check_style_targets(read_style(pattern), config)
            styles.append(pattern)
            continue
        found = find_pictures(pattern)
        if found.left_out:
            note(found.note(pattern))
        for path, _ in found.pictures:
            read_picture(path, allow_large=arguments.allow_large, allow_damaged=arguments.allow_damaged)
            styles.append(path)
    return styles
