"""Lists of work from CSV and JSONL files. A row that is wrong is reported with its line, and costs itself alone."""

import csv
import difflib
import io
import json
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, NamedTuple

from jnst.argument_checks import check_seed
from jnst.batch import folders
from jnst.batch.discovery import check_path
from jnst.batch.worklist import Entry, check_names, clean_name, fill_template
from jnst.config import Config
from jnst.config_fields import is_weight
from jnst.errors import ConfigError, ImageError, describe_unknown, quote
from jnst.files import check_length
from jnst.jobs.region_files import RegionFiles, check_region_files
from jnst.transfer.regions import WORDS

_REGION_COLUMNS = ("mask", "style_mask", "keep", "region_weights")
COLUMNS = ("content", "style", "output", "seed", "style_weights", *_REGION_COLUMNS)
_SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs"}
# What a line without a value consists of.
_NOTHING = " \t,;"
_DEFAULT_TEMPLATE = "{content}-{style}.png"


class BadRow(NamedTuple):
    """A row that no picture can be made of: the list, its line, and why."""

    path: str
    line: int
    reason: str

    def __str__(self) -> str:
        return f"line {self.line} of {self.path}: {self.reason}"


class Rows(NamedTuple):
    """What a list asks for, and the rows that are wrong."""

    entries: list[Entry]
    bad: list[BadRow]


class Reading(NamedTuple):
    """How the rows of a list are understood.

    styles: for rows that name no style; then exactly one.
    override: makes the config of a row from its settings by name.
    parse: makes a setting's value from its name and text.
    known: names of settings that a column may have.
    template, seed: of rows that do not say their own.
    """

    styles: Sequence[str]
    override: Callable[[Mapping[str, Any]], Config]
    parse: Callable[[str, str], Any]
    known: Sequence[str] = ()
    template: str | None = None
    seed: int = 0


def read_pairs(path: str, reading: Reading) -> Rows:
    """The entries of a CSV file (with a head line; commas, semicolons or tabs) or of a JSONL file (an object per line).

    Columns: content, style (or a list of styles, in JSONL; separated by | in CSV), output, seed, style_weights; mask,
    style_mask and region_weights, as many as styles, and keep; every other column is a setting, such as steps or
    optimizer.history, and empty means as for the rest. Paths are relative to the file.

    Raises:
        ConfigError: the file is no such list, or none of its rows is right; or two rows would become one file.
    """
    try:
        check_length(path, "a list of work")
        text = folders.read_bytes(path, pipes=True).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 text; save it as CSV in UTF-8") from error
    except ImageError as error:
        raise ConfigError(str(error)) from error
    if not text.strip():
        raise ConfigError(f"{path} is empty; expected a row for each picture")
    lines = path.lower().endswith((".jsonl", ".ndjson"))
    rows = _json_rows(text, reading) if lines else _csv_rows(path, text, reading)
    reading = reading._replace(override=_remembering(reading.override))
    base, entries, bad = path.replace("\\", "/").rpartition("/")[0], [], []
    for index, (number, row) in enumerate(rows):
        if isinstance(row, str):
            bad.append(BadRow(path, number, row))
            continue
        try:
            entries.append(_row_entry(row, base, reading, index))
        except ConfigError as error:
            bad.append(BadRow(path, number, str(error)))
    if not entries:
        more = f"; so are {len(bad) - 1} other rows, and none is right" if len(bad) > 1 else ""
        raise ConfigError(f"{bad[0]}{more}" if bad else f"{path} names no pictures")
    check_names(entries)
    return Rows(entries, bad)


def _remembering(override: Callable[[Mapping[str, Any]], Config]) -> Callable[[Mapping[str, Any]], Config]:
    """The function, with one config for all rows of the same settings: making ten thousand takes half a minute."""
    known: dict[Hashable, Config] = {}

    def remembered(settings: Mapping[str, Any]) -> Config:
        if any(isinstance(value, list | dict) for value in settings.values()):
            return override(settings)
        key = tuple((name, type(value), value) for name, value in settings.items())
        if key not in known:
            known[key] = override(settings)
        return known[key]

    return remembered


def _csv_rows(path: str, text: str, reading: Reading) -> list[tuple[int, dict[str, Any] | str]]:
    """Line and row, or what is wrong with it."""
    separator, names = _read_head(path, text, reading)
    limit = csv.field_size_limit(max(len(text) + 1, 131_072))
    try:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
        while not any(value.strip(_NOTHING) for value in next(reader)):
            pass  # empty lines above the head
        rows: list[tuple[int, dict[str, Any] | str]] = []
        last = reader.line_num
        for values in reader:
            first, last = last + 1, reader.line_num
            cells = [value.strip() for value in values]
            if not any(cells):
                continue
            if any("\n" in cell or "\r" in cell for cell in cells):
                lines = f"a quotation mark makes lines {first} to {last} one row"
                rows.append((first, f"{lines}; close it in its own line, or write it twice inside quotation marks"))
                continue
            if any(cells[len(names) :]):
                rows.append(
                    (reader.line_num, f"more values than the head line has names, {len(cells)} for {len(names)}")
                )
                continue
            rows.append((reader.line_num, {name: cell for name, cell in zip(names, cells, strict=False) if cell}))
        return rows
    except csv.Error as error:
        raise ConfigError(f"{path} cannot be read as a table: {error}") from error
    finally:
        csv.field_size_limit(limit)


def _read_head(path: str, text: str, reading: Reading) -> tuple[str, list[str]]:
    """The separator and the names of the columns."""
    lines = [line for line in text.splitlines() if line.strip()]
    first = next((line for line in lines if line.strip(_NOTHING)), lines[0])
    heads = {sign: [name.strip().strip('"').strip() for name in first.split(sign)] for sign in _SEPARATORS}
    separator = max(heads, key=lambda sign: ("content" in map(str.lower, heads[sign]), len(heads[sign])))
    known = {name.lower(): name for name in (*COLUMNS, *reading.known)}
    names = [known.get(name.lower(), name) for name in heads[separator]]
    while names and not names[-1]:
        names.pop()
    if "content" not in names:
        close = difflib.get_close_matches("content", names, n=1)
        hint = f"; did you mean content by {quote(close[0])}?" if close else ""
        raise ConfigError(
            f"{path} begins with {quote(first)}; expected a head line with a column named content, and columns "
            f"separated by {', '.join(_SEPARATORS.values())}{hint}"
        )
    for number, name in enumerate(names, start=1):
        if name not in known.values() and reading.known:
            raise ConfigError(f"line 1 of {path}: column {number}: {describe_unknown('column', name, known.values())}")
        if name in names[: number - 1]:
            raise ConfigError(f"line 1 of {path}: two columns are named {quote(name)}")
    return separator, names


def _json_rows(text: str, reading: Reading) -> list[tuple[int, dict[str, Any] | str]]:
    rows: list[tuple[int, dict[str, Any] | str]] = []
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except RecursionError:
            row = "nested too deeply"
        except ValueError as error:
            row = f"not JSON: {error}" if isinstance(error, json.JSONDecodeError) else "a number with too many digits"
        else:
            row = row if isinstance(row, dict) else f"{quote(row)} is not an object with named values"
        if isinstance(row, dict):
            unknown = [name for name in row if name not in (*COLUMNS, *reading.known)]
            if unknown and reading.known:
                row = describe_unknown("column", unknown[0], (*COLUMNS, *reading.known))
        rows.append((number, row))
    return rows


def _row_entry(row: dict[str, Any], base: str, reading: Reading, index: int) -> Entry:
    content = row.get("content")
    if not isinstance(content, str) or not content:
        raise ConfigError("no content; expected the path of a picture")
    path, chosen = _resolve(content, base), _row_styles(row, base, reading.styles)
    weights = _row_weights(row.get("style_weights"), len(chosen))
    regions = check_region_files(_row_regions(row, base), chosen, blend=weights is not None)
    seed = row.get("seed", reading.seed)
    if isinstance(seed, str):
        seed = int(seed) if seed.isascii() and seed.isdigit() and len(seed) < 20 else seed
    seed = check_seed(seed)
    settings = {
        name: reading.parse(name, value) if isinstance(value, str) else value
        for name, value in row.items()
        if name not in COLUMNS and value is not None
    }
    config = reading.override(settings)
    output = row.get("output")
    if output is not None and not isinstance(output, str):
        raise ConfigError(f"output is {quote(output)}; expected the name of a file in the output folder")
    template = reading.template or _DEFAULT_TEMPLATE
    name = clean_name(output) if output else fill_template(template, path, chosen, "", index, seed)
    return Entry(name, path, chosen, config, seed, weights, regions)


def _row_styles(row: dict[str, Any], base: str, given: Sequence[str]) -> tuple[str, ...]:
    style = row.get("style")
    if style is None:
        if len(given) != 1:
            raise ConfigError(f"no style, and {len(given)} styles given with --style; expected one of the two")
        return tuple(given)
    names = style.split("|") if isinstance(style, str) else style
    if not isinstance(names, list) or not names or not all(isinstance(name, str) and name.strip() for name in names):
        raise ConfigError(f"style is {quote(style)}; expected the path of a picture, or several")
    return tuple(_resolve(name.strip(), base) for name in names)


def _row_regions(row: dict[str, Any], base: str) -> RegionFiles:
    """The masks that a row names."""

    def files(column: str) -> tuple[str, ...]:
        given = row.get(column)
        names = given.split("|") if isinstance(given, str) else [] if given is None else given
        if not isinstance(names, list) or not all(isinstance(name, str) and name.strip() for name in names):
            raise ConfigError(f"{column} is {quote(given)}; expected the path of a picture, or several")
        return tuple(name if name in WORDS else _resolve(name, base) for name in map(str.strip, names))

    keep, given = files("keep"), row.get("region_weights")
    if len(keep) > 1:
        raise ConfigError(f"keep names {len(keep)} masks; expected one, drawn together")
    parts: list[Any] = given.split("|") if isinstance(given, str) else given if isinstance(given, list) else [given]
    try:
        weights = None if given is None else tuple(float(part) for part in parts)
    except (ValueError, TypeError, OverflowError):
        raise ConfigError(f"region weights are {quote(given)}; expected numbers, such as 2|1") from None
    return RegionFiles(files("mask"), files("style_mask"), keep[0] if keep else "", weights)


def _row_weights(given: Any, count: int) -> tuple[float, ...] | None:
    if given is None:
        return None
    parts: list[Any] = given.split("|") if isinstance(given, str) else given if isinstance(given, list) else [given]
    try:
        weights = tuple(float(part) for part in parts)
    except (ValueError, TypeError, OverflowError):
        raise ConfigError(f"style weights are {quote(given)}; expected numbers, such as 2|1") from None
    if len(weights) != count:
        raise ConfigError(f"{len(weights)} style weights for {count} styles; expected one each")
    if not all(map(is_weight, weights)) or not sum(weights) > 0:
        raise ConfigError(f"style weights are {quote(given)}; expected zero or more, and one of them above zero")
    return weights


def _resolve(path: str, base: str) -> str:
    absolute = folders.is_remote(path) or path.startswith("/") or path[1:3] in (":\\", ":/")
    whole = path if absolute or not base else f"{base}/{path}"
    check_path(whole)
    return whole
