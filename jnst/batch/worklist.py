"""The list of work of a folder job: which content in which style, with what settings, under which name."""

import csv
import hashlib
import io
import json
import string
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from jnst.batch import remote
from jnst.config import Config, to_dict
from jnst.errors import ConfigError, ImageError, describe_unknown

_FIELDS = ("folder", "content", "style", "index", "seed", "suffix")
_COLUMNS = ("content", "style", "output", "seed", "style_weights")


@dataclass(frozen=True)
class Entry:
    """One picture to make.

    name: of the result, relative to the output folder, with slashes; unique in a job.
    content, styles: paths or URLs; several styles are blended.
    """

    name: str
    content: str
    styles: tuple[str, ...]
    config: Config = field(repr=False)
    seed: int = 0
    style_weights: tuple[float, ...] | None = None

    def key(self, weights_sha256: str) -> str:
        """Hash of everything that the result depends on, but for the bytes of the pictures."""
        told = [self.content, self.styles, to_dict(self.config), self.seed, self.style_weights, weights_sha256]
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]


def combine(
    contents: Iterable[tuple[str, str]],
    styles: Sequence[str],
    config: Config,
    *,
    template: str | None = None,
    seed: int = 0,
) -> list[Entry]:
    """Every content in every style.

    Args:
        contents: paths, each with its folder relative to where it was found (`list_pictures`).
        styles: paths of style pictures or prepared styles.
        template: name of a result; knows {folder}, {content}, {style}, {suffix} (of the content), {index}, {seed}. By
            default {folder}/{content}.png, and {folder}/{content}-{style}.png where there are several styles.
    """
    template = template or ("{folder}/{content}.png" if len(styles) == 1 else "{folder}/{content}-{style}.png")
    rows = [(content, folder, style) for content, folder in contents for style in styles]
    entries = [
        Entry(fill_template(template, content, (style,), folder, index, seed), content, (style,), config, seed)
        for index, (content, folder, style) in enumerate(rows)
    ]
    check_names(entries)
    return entries


def fill_template(
    template: str, content: str, styles: Sequence[str], folder: str = "", index: int = 0, seed: int = 0
) -> str:
    """The result's name.

    >>> fill_template("{folder}/{content}-{index:04d}.png", "in/a/cat.jpg", ["b.png"], "a", 7)
    'a/cat-0007.png'

    Raises:
        ConfigError: for a field that does not exist, or a name outside the output folder.
    """
    for _, name, _, _ in string.Formatter().parse(template):
        if name is not None and name not in _FIELDS:
            raise ConfigError(describe_unknown("field of the name template", name, _FIELDS))
    stem, suffix = remote.name_parts(content)
    style = "+".join(remote.name_parts(one)[0] for one in styles)
    try:
        name = template.format(
            folder=folder, content=stem, style=style, suffix=suffix.lstrip("."), index=index, seed=seed
        )
    except ValueError as error:
        raise ConfigError(f"name template {template!r}: {error}") from error
    return _clean_name(name)


def _clean_name(name: str) -> str:
    parts = [part for part in name.replace("\\", "/").split("/") if part not in ("", ".")]
    if not parts or ".." in parts or name.startswith("~") or PurePosixPath(name.replace("\\", "/")).drive:
        raise ConfigError(f"the result's name {name!r} does not lie inside the output folder")
    return "/".join(parts)


def check_names(entries: Sequence[Entry]) -> None:
    """Raises ConfigError where two entries would write the same file."""
    seen: dict[str, Entry] = {}
    for entry in entries:
        # Some file systems take Cat.png and cat.png for the same file.
        other = seen.setdefault(entry.name.lower(), entry)
        if other is not entry:
            raise ConfigError(
                f"{other.content} and {entry.content} would both become {entry.name}; give --name a template that "
                "tells them apart, such as '{folder}/{content}-{suffix}-{style}.png' or '{index:06d}.png'"
            )


def read_pairs(
    path: str,
    styles: Sequence[str],
    override: Callable[[Mapping[str, Any]], Config],
    parse: Callable[[str, str], Any],
    *,
    template: str | None = None,
    seed: int = 0,
) -> list[Entry]:
    """The entries of a CSV file (with a head line) or of a JSONL file (an object per line).

    Columns: content, style (or a list of styles, in JSONL; separated by | in CSV), output, seed, style_weights; every
    other column is a setting by its path, such as run.steps, and empty means as for the rest. Paths are relative to
    the file.

    Args:
        path: the file or its URL.
        styles: for rows that name no style; then exactly one.
        override: makes the config of a row from its settings by path.
        parse: makes a setting's value from its text.

    Raises:
        ConfigError: with the line's number.
    """
    try:
        text = remote.read_bytes(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 text") from error
    except ImageError as error:
        raise ConfigError(str(error)) from error
    rows = _json_rows(path, text) if path.lower().endswith((".jsonl", ".ndjson")) else _csv_rows(path, text)
    base = path.replace("\\", "/").rpartition("/")[0]
    template = template or "{content}-{style}.png"
    entries = []
    for index, (number, row) in enumerate(rows):
        try:
            entries.append(_row_entry(row, base, styles, override, parse, template, index, seed))
        except (ConfigError, ValueError, TypeError) as error:
            raise ConfigError(f"line {number} of {path}: {error}") from error
    if not entries:
        raise ConfigError(f"{path} names no pictures")
    check_names(entries)
    return entries


def _csv_rows(path: str, text: str) -> list[tuple[int, dict[str, Any]]]:
    reader = csv.DictReader(io.StringIO(text))
    if not reader.fieldnames or "content" not in reader.fieldnames:
        raise ConfigError(f"{path} begins with {reader.fieldnames}; expected a head line with a column named content")
    rows = []
    for row in reader:
        if None in row:
            raise ConfigError(f"line {reader.line_num} of {path} has more values than the head line has names")
        rows.append((reader.line_num, {name: value for name, value in row.items() if value not in (None, "")}))
    return rows


def _json_rows(path: str, text: str) -> list[tuple[int, dict[str, Any]]]:
    rows = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise ConfigError(f"line {number} of {path} is not JSON: {error}") from error
        if not isinstance(row, dict):
            raise ConfigError(f"line {number} of {path} is not an object")
        rows.append((number, row))
    return rows


def _row_entry(
    row: dict[str, Any],
    base: str,
    styles: Sequence[str],
    override: Callable[[Mapping[str, Any]], Config],
    parse: Callable[[str, str], Any],
    template: str,
    index: int,
    seed: int,
) -> Entry:
    content = row.get("content")
    if not isinstance(content, str) or not content:
        raise ConfigError("no content; expected the path of a picture")
    given = row.get("style")
    if given is None:
        if len(styles) != 1:
            raise ConfigError(f"no style, and {len(styles)} styles given with --style; expected one of the two")
        chosen = tuple(styles)
    else:
        names = given if isinstance(given, list) else str(given).split("|")
        chosen = tuple(_resolve(str(name).strip(), base) for name in names)
    blend = row.get("style_weights")
    if isinstance(blend, str):
        blend = blend.split("|")
    weights = None if blend is None else tuple(float(part) for part in blend)
    if weights is not None and len(weights) != len(chosen):
        raise ConfigError(f"{len(weights)} style weights for {len(chosen)} styles; expected one each")
    own_seed = int(row.get("seed", seed))
    settings = {
        name: _parse_setting(parse, name, value) if isinstance(value, str) else value
        for name, value in row.items()
        if name not in _COLUMNS
    }
    config = override(settings)
    path = _resolve(content, base)
    output = row.get("output")
    name = _clean_name(str(output)) if output else fill_template(template, path, chosen, "", index, own_seed)
    return Entry(name, path, chosen, config, own_seed, weights)


def _parse_setting(parse: Callable[[str, str], Any], name: str, text: str) -> Any:
    try:
        return parse(name, text)
    except (StopIteration, KeyError, TypeError):
        return text  # an unknown path; whoever replaces it names the closest


def _resolve(path: str, base: str) -> str:
    absolute = remote.is_remote(path) or path.startswith("/") or path[1:3] in (":\\", ":/")
    return path if absolute or not base else f"{base}/{path}"
