"""Command-line flags made from the config's fields: their help, unit and type stand there and nowhere else."""

import argparse
import dataclasses
import math
from collections.abc import Container
from typing import Any, Literal, get_args, get_origin, get_type_hints

from jnst.cli.contradictions import check_contradictions
from jnst.config import Config, Keep
from jnst.errors import ConfigError, quote
from jnst.presets.presets import PRESETS
from jnst.presets.settings import NAMES, Factor, by_path

# Flag, the setting that it replaces, and what its value is called in the help.
_SETTINGS: tuple[tuple[str, str, str], ...] = (
    ("--steps", "run.steps", "N"),
    ("--strength", "loss.strength", "F"),
    ("--content-weight", "loss.content_weight", "F"),
    ("--style-weight", "loss.style_weight", "F"),
    ("--tv-weight", "loss.tv_weight", "F"),
    ("--content-layers", "loss.content_layers", "LAYER[:F],…"),
    ("--style-layers", "loss.style_layers", "LAYER[:F],…"),
    ("--style-statistics", "loss.style_statistics", ""),
    ("--pooling", "network.pooling", ""),
    ("--colors", "run.colors", ""),
    ("--style-scale", "size.style_scale", "F"),
    ("--scales", "run.scales", "N"),
    ("--learning-rate", "optimizer.learning_rate", "F"),
    ("--history", "optimizer.history", "N"),
    ("--history-precision", "optimizer.history_precision", ""),
    ("--line-search", "optimizer.line_search", ""),
    ("--precision", "precision", ""),
    ("--tolerance", "run.tolerance", "F"),
    ("--max-time", "run.max_time", "SECONDS"),
    ("--keep", "run.keep", ""),
    ("--save-every", "run.save_every", "N"),
)
_FLAGS = {path: flag for flag, path, _ in _SETTINGS}


def setting_field(path: str) -> tuple[dataclasses.Field[Any], Any]:
    """The dataclass field behind a setting's path, and its type.

    >>> setting_field("run.steps")[1]
    <class 'int'>
    """
    kind: Any = Config
    *groups, name = path.split(".")
    for group in groups:
        kind = get_type_hints(kind)[group]
    return next(field for field in dataclasses.fields(kind) if field.name == name), get_type_hints(kind)[name]


def parse_layers(text: str) -> list[list[Any]]:
    """Layers with their weights; equal weights that sum to one where none is given.

    >>> parse_layers("relu1_1,relu2_1")
    [['relu1_1', 0.5], ['relu2_1', 0.5]]
    >>> parse_layers("relu4_2:2")
    [['relu4_2', 2.0]]
    """
    parts = [part.strip() for part in text.split(",") if part.strip()]
    layers = []
    for part in parts:
        name, _, weight = part.partition(":")
        try:
            layers.append([name, float(weight) if weight else 1.0 / len(parts)])
        except ValueError:
            raise ConfigError(
                f"layer {quote(part)}: {quote(weight)} is not a number; expected LAYER or LAYER:WEIGHT"
            ) from None
    return layers


def parse_setting(path: str, text: str) -> Any:
    """A setting's value from its text, by the field's type; x2 for a number is twice what it was.

    >>> parse_setting("run.steps", "7"), parse_setting("loss.style_weight", "x2")
    (7, Factor(by=2.0))
    """
    _, hint = setting_field(path)
    if path.endswith("_layers"):
        return parse_layers(text)
    if hint is bool:
        if text.lower() not in ("true", "false"):
            raise ConfigError(f"{path} is {quote(text)}; expected true or false")
        return text.lower() == "true"
    if hint is float and text[:1] in ("x", "×"):
        try:
            factor = float(text[1:])
        except ValueError:
            factor = math.nan
        if not 0 <= factor < math.inf:
            raise ConfigError(f"{path} is {quote(text)}; expected a factor such as x2 or x0.5")
        return Factor(factor)
    if hint is float:
        return _parse_number(path, text)
    if hint is int:
        return _parse_whole(path, text)
    if get_origin(hint) is tuple:
        number = get_args(hint)[0]
        return [_parse_whole(path, part) if number is int else _parse_number(path, part) for part in text.split(",")]
    return text


def _parse_whole(path: str, text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ConfigError(f"{path} is {quote(text)}; expected a whole number") from None


def _parse_number(path: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ConfigError(f"{path} is {quote(text)}; expected a number") from None


def parse_named(name: str, text: str) -> Any:
    """A setting's value from its text; the setting is called by its short name or its path.

    >>> parse_named("steps", "7")
    7
    """
    try:
        return parse_setting(NAMES.get(name, name), text)
    except (StopIteration, KeyError, TypeError):
        return text  # an unknown path; whoever replaces it names the closest


def parse_whole(text: str) -> int:
    """A whole number of at most 64 bits, for argparse."""
    try:
        number = int(text)
    except ValueError:
        number = 2**63
    if abs(number) >= 2**63:
        raise argparse.ArgumentTypeError(f"{quote(text)} is not a whole number of at most 64 bits")
    return number


def add_config_flags(
    parser: argparse.ArgumentParser, *, sizes: bool = True, without: Container[str] = (), keeps_masks: bool = False
) -> None:
    """Adds a flag for each setting that people change, `--set` for all the others, and the ways to give a size.

    Args:
        parser: of the command.
        sizes: whether the size is one of the settings.
        without: paths of settings that have no flag here.
        keeps_masks: whether --keep takes a mask as well (`take_keep_mask`).
    """
    if sizes:
        ways = parser.add_argument_group("size").add_mutually_exclusive_group()
        ways.add_argument("--height", type=parse_whole, metavar="N", help="height of the result, in pixels")
        ways.add_argument("--size", type=parse_whole, metavar="N", help="longer side of the result, in pixels")
        ways.add_argument("--full-size", action="store_true", help="keep the content image's size")
    parser.set_defaults(has_sizes=sizes)
    preset = getattr(parser, "preset", "default")
    preset = preset if preset in PRESETS else "default"
    about = f"in brackets what preset {preset} has; `--preset NAME --help` shows another's; x2 doubles a number"
    group = parser.add_argument_group("settings", about)
    for flag, path, metavar in (row for row in _SETTINGS if row[1] not in without):
        field, hint = setting_field(path)
        choices = "{" + ",".join(get_args(hint)) + "}" if get_origin(hint) is Literal else ""
        unit = field.metadata["unit"]
        text = field.metadata["help"] + (f" [{unit}]" if unit and metavar.lower() != unit else "")
        text = f"{text} ({_default(preset, path)})".replace("%", "%%")
        if flag == "--keep" and keeps_masks:
            text = f"MASK: what stays the content picture, to the pixel; best or last: {text}"
            group.add_argument(flag, dest=f"set:{path}", action="append", metavar="MASK|{best,last}", help=text)
            continue
        flags = [flag, "--iterations"] if flag == "--steps" else [flag]  # as other programs call it
        group.add_argument(*flags, dest=f"set:{path}", metavar=metavar or choices, help=text)
    group.add_argument(
        "--set",
        dest="settings",
        action="append",
        default=[],
        metavar="PATH=VALUE",
        help="any other setting by its path in the config, such as optimizer.beta1=0.99; repeatable",
    )


def take_keep_mask(arguments: argparse.Namespace) -> str | None:
    """The mask among what --keep was given; which picture to keep remains with the settings.

    Raises:
        ConfigError: for two masks.
    """
    given, words = vars(arguments)["set:run.keep"] or [], get_args(Keep)
    masks = [text for text in given if text not in words]
    if len(masks) > 1:
        raise ConfigError(
            f"--keep names {len(masks)} masks ({', '.join(map(quote, masks))}); expected one, drawn together"
        )
    setattr(arguments, "set:run.keep", next((text for text in reversed(given) if text in words), None))
    return masks[0] if masks else None


def _default(preset: str, path: str) -> str:
    """The value that a preset has, as it would be written."""
    value: Any = PRESETS[preset]
    for name in path.split("."):
        value = getattr(value, name)
    if isinstance(value, tuple):
        return ",".join(layer for layer, _ in value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def read_settings(arguments: argparse.Namespace) -> dict[str, Any]:
    """The settings that the flags replace, by path.

    Raises:
        ConfigError: for a value of the wrong kind, a path that does not exist, or a flag and `--set` that ask for
            different values.
    """
    flags = {
        f"{_FLAGS[path]} {quote(text)[1:-1]}": {path: parse_setting(path, text)}
        for path, text in ((name[4:], text) for name, text in vars(arguments).items() if name.startswith("set:"))
        if text is not None
    }
    flags |= _read_size(arguments)
    assigned = _read_assignments(arguments)
    check_contradictions(arguments, assigned, flags)
    return {path: value for changes in (assigned, *flags.values()) for path, value in changes.items()}


def _read_assignments(arguments: argparse.Namespace) -> dict[str, Any]:
    settings: dict[str, Any] = {}
    for assignment in arguments.settings:
        path, equals, text = assignment.partition("=")
        if not equals:
            raise ConfigError(f"--set {quote(assignment)}: expected PATH=VALUE, such as optimizer.beta1=0.99")
        try:
            settings |= by_path({path: parse_named(path, text)})
        except ValueError as error:
            raise ConfigError(f"--set {quote(assignment)}: {error}") from None
    return settings


def _read_size(arguments: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """The flag of the size that was given, with the settings that it replaces."""
    if (longest := getattr(arguments, "style_size", None)) is not None:  # of `jnst texture`
        return {f"--style-size {longest}": {"size.rule": "long", "size.pixels": longest}}
    if not arguments.has_sizes:
        return {}
    if arguments.height is not None:
        return {f"--height {arguments.height}": {"size.rule": "height", "size.pixels": arguments.height}}
    if arguments.size is not None:
        return {f"--size {arguments.size}": {"size.rule": "long", "size.pixels": arguments.size}}
    return {"--full-size": {"size.rule": "keep"}} if arguments.full_size else {}
