"""Writes the parts of docs/ that are made from the code: flags, settings, presets, and the list of public names.

    python scripts/docs/make_reference.py            rewrites what has changed and names it
    python scripts/docs/make_reference.py --check    changes nothing; exits 1 where a page is out of date

A page holds regions between `<!-- made by scripts/docs/make_reference.py: NAME -->` and `<!-- end of NAME -->`. Only
what stands between the two lines is replaced; the text around them is written by hand.
"""

import argparse
import dataclasses
import importlib
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import jnst
from jnst.cli.main import COMMANDS
from jnst.config import Config
from jnst.config_json import to_dict
from jnst.presets.presets import NOTES, PRESETS

DOCS = Path(__file__).parents[2] / "docs"
_BEGIN, _END = "<!-- made by scripts/docs/make_reference.py: {} -->", "<!-- end of {} -->"
# Subjects of the public names, by the package that a name lives in.
_SUBJECTS = {
    "transfer": "Style transfer of one image",
    "batch": "Many images",
    "presets": "Presets and weights",
    "config": "Settings",
    "loss": "Losses and targets",
    "vgg": "Feature extraction",
    "images": "Pictures and pixel spaces",
    "array_types": "Types",
    "devices": "Devices",
    "errors": "Errors",
}


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join("| " + " | ".join(map(_cell, row)) + " |" for row in lines)


def _flag_row(action: argparse.Action) -> tuple[str, str]:
    metavar = action.metavar if isinstance(action.metavar, str) else None
    if action.choices and metavar is None:
        metavar = "{" + ",".join(map(str, action.choices)) + "}"
    if not action.option_strings:
        many = {"?": "[{}]", "*": "[{} …]", "+": "{} [{} …]"}.get(str(action.nargs), "{}")
        name = metavar or action.dest
        return f"`{many.format(name, name)}`", action.help or ""
    value = "" if action.nargs == 0 else " " + (metavar or action.dest.upper())
    return ", ".join(f"`{option}{value}`" for option in action.option_strings), action.help or ""


def _parser_tables(parser: argparse.ArgumentParser) -> Iterator[str]:
    """A table for each group of flags, and for each action of a command that has actions."""
    for group in parser._action_groups:
        actions = [
            action
            for action in group._group_actions
            if action.dest != "help" and action.help not in (None, argparse.SUPPRESS)
        ]
        rows = [_flag_row(action) for action in actions if not isinstance(action, argparse._SubParsersAction)]
        if rows:
            title = group.title if group.title not in ("positional arguments", "options") else ""
            about = f" ({group.description})" if title and group.description else ""
            yield (f"**{str(title).capitalize()}**{about}\n\n" if title else "") + _table(("argument", "meaning"), rows)
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            helps = {choice.dest: choice.help for choice in action._choices_actions}
            for name, inner in action.choices.items():
                yield f"**`{parser.prog} {name}`**: {helps.get(name)}"
                yield from _parser_tables(inner)


def command_reference() -> str:
    """Every command with every flag, from the parsers that the commands themselves use."""
    parts = []
    for name, (module, summary) in COMMANDS.items():
        parser = argparse.ArgumentParser(prog=f"jnst {name}")
        importlib.import_module(module).add_arguments(parser)
        parts += [f"### jnst {name}", summary[0].upper() + summary[1:] + ".", *_parser_tables(parser)]
    return "\n\n".join(parts)


def _type_name(hint: Any) -> str:
    if get_origin(hint) is Literal:
        return " or ".join(f"`{value}`" for value in get_args(hint))
    if get_origin(hint) is not None:
        return "list"
    return {bool: "true or false", int: "whole number", float: "number", str: "text"}.get(hint, "")


def setting_reference() -> str:
    """Every setting by its path, with type, default and help, from the fields of the configuration."""

    def rows(kind: type, prefix: str) -> Iterator[tuple[str, ...]]:
        hints = get_type_hints(kind)
        for field in dataclasses.fields(kind):
            if dataclasses.is_dataclass(hints[field.name]):
                yield from rows(hints[field.name], f"{prefix}{field.name}.")
                continue
            unit = f" [{field.metadata['unit']}]" if field.metadata.get("unit") else ""
            yield (
                f"`{prefix}{field.name}`",
                _type_name(hints[field.name]),
                f"`{_show(to_dict(_Value(field.default))['value'])}`",
                field.metadata.get("help", "") + unit,
            )

    return _table(("setting", "values", "default of `Config`", "meaning"), list(rows(Config, "")))


@dataclasses.dataclass
class _Value:
    value: Any


def _show(value: Any) -> str:
    """A setting as people write it.

    >>> _show([["relu1_1", 0.2]]), _show(30.0), _show(True)
    ('relu1_1:0.2', '30', 'true')
    """
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list):
        return ", ".join(":".join(map(_show, item)) if isinstance(item, list) else _show(item) for item in value)
    return str(value) or "none"


def _flat(data: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in data.items():
        found |= _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return found


def preset_reference() -> str:
    """Every preset: summary, reference, what surprises in it, and each setting that differs from `Config`'s default."""
    plain = _flat(to_dict(Config()))
    parts = []
    for name, config in PRESETS.items():
        notes = NOTES[name]
        parts += [f"### {name}", notes.summary, f"Reference: {notes.reference}"]
        if notes.quirks:
            parts.append("\n".join(f"- {quirk}" for quirk in notes.quirks))
        changed = {path: value for path, value in _flat(to_dict(config)).items() if plain.get(path) != value}
        changed.pop("preset", None)
        rows = [(f"`{path}`", f"`{_show(value)}`") for path, value in changed.items()]
        parts.append(_table(("setting", "value"), rows))
    return "\n\n".join(parts)


def preset_overview() -> str:
    """One row a preset."""
    rows = []
    for name, config in PRESETS.items():
        optimizer = config.optimizer.method
        row = (f"[`{name}`](#{name})", NOTES[name].summary, config.network.architecture, config.lineage, optimizer)
        rows.append((*row, str(config.run.steps), config.init))
    return _table(("preset", "what it reproduces", "network", "made for", "optimiser", "steps", "start"), rows)


def public_names() -> str:
    """mkdocstrings directives for the public names, by subject."""
    subjects: dict[str, list[str]] = {}
    for name in jnst.__all__:
        package = jnst._MODULES[name].removeprefix("jnst.").partition(".")[0]
        subjects.setdefault(_SUBJECTS.get(package, package), []).append(name)
    order = [*_SUBJECTS.values()]
    parts = []
    for subject in sorted(subjects, key=lambda one: order.index(one) if one in order else len(order)):
        parts += [f"## {subject}", *(f"::: jnst.{name}" for name in subjects[subject])]
    return "\n\n".join(parts)


# Page and region, and what fills it.
REGIONS: dict[tuple[str, str], Callable[[], str]] = {
    ("cli.md", "commands"): command_reference,
    ("settings.md", "settings"): setting_reference,
    ("presets.md", "overview"): preset_overview,
    ("presets.md", "presets"): preset_reference,
    ("api.md", "names"): public_names,
}


def render(page: str, text: str) -> str:
    """The page with its regions made again.

    Raises:
        ValueError: where a page lacks the two lines of a region.
    """
    for (owner, name), make in REGIONS.items():
        if owner != page:
            continue
        begin, end = _BEGIN.format(name), _END.format(name)
        pattern = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
        if len(pattern.findall(text)) != 1:
            raise ValueError(f"docs/{page} needs the lines {begin} and {end}, once and in this order")
        body = f"{begin}\n\n{make()}\n\n{end}"
        text = pattern.sub(lambda _, body=body: body, text)
    return text


def main() -> int:
    """Rewrites or checks the pages; returns the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="change nothing; exit 1 where a page is out of date")
    check = parser.parse_args().check
    stale = []
    for page in sorted({page for page, _ in REGIONS}):
        path = DOCS / page
        text = path.read_text(encoding="utf-8")
        made = render(page, text)
        if made != text:
            stale.append(page)
            if not check:
                path.write_text(made, encoding="utf-8")
    for page in stale:
        print(f"docs/{page} {'is out of date; run scripts/docs/make_reference.py' if check else 'rewritten'}")
    return int(check and bool(stale))


if __name__ == "__main__":
    sys.exit(main())
