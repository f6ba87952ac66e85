"""Command-line flags made from the config's fields: their help, unit and type stand there and nowhere else."""

import argparse
import dataclasses
from typing import Any, Literal, get_args, get_origin, get_type_hints

from jnst.config import Config
from jnst.errors import ConfigError

# Flag, the setting that it replaces, and what its value is called in the help.
_SETTINGS: tuple[tuple[str, str, str], ...] = (
    ("--iterations", "run.steps", "N"),
    ("--content-weight", "loss.content_weight", "F"),
    ("--style-weight", "loss.style_weight", "F"),
    ("--tv-weight", "loss.tv_weight", "F"),
    ("--content-layers", "loss.content_layers", "LAYER[:F],…"),
    ("--style-layers", "loss.style_layers", "LAYER[:F],…"),
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
            raise ConfigError(f"layer {part!r}: {weight!r} is not a number; expected LAYER or LAYER:WEIGHT") from None
    return layers


def parse_setting(path: str, text: str) -> Any:
    """A setting's value from its text, by the field's type."""
    _, hint = setting_field(path)
    if path.endswith("_layers"):
        return parse_layers(text)
    if hint is bool:
        if text.lower() not in ("true", "false"):
            raise ConfigError(f"{path} is {text!r}; expected true or false")
        return text.lower() == "true"
    if hint in (int, float):
        try:
            return hint(text)
        except ValueError:
            wanted = "a whole number" if hint is int else "a number"
            raise ConfigError(f"{path} is {text!r}; expected {wanted}") from None
    if get_origin(hint) is tuple:
        return [float(part) for part in text.split(",")]
    return text


def add_config_flags(parser: argparse.ArgumentParser) -> None:
    """Adds a flag for each setting that people change, `--set` for all the others, and the ways to give a size."""
    sizes = parser.add_argument_group("size").add_mutually_exclusive_group()
    sizes.add_argument("--height", type=int, metavar="N", help="height of the result, in pixels")
    sizes.add_argument("--size", type=int, metavar="N", help="longer side of the result, in pixels")
    sizes.add_argument("--full-size", action="store_true", help="keep the content image's size")
    group = parser.add_argument_group("settings", "defaults are the preset's; `jnst presets NAME` shows them")
    for flag, path, metavar in _SETTINGS:
        field, hint = setting_field(path)
        choices = "{" + ",".join(get_args(hint)) + "}" if get_origin(hint) is Literal else ""
        unit = field.metadata["unit"]
        text = field.metadata["help"] + (f" [{unit}]" if unit and metavar.lower() != unit else "")
        group.add_argument(flag, dest=f"set:{path}", metavar=metavar or choices, help=text)
    group.add_argument(
        "--set",
        dest="settings",
        action="append",
        default=[],
        metavar="PATH=VALUE",
        help="any other setting by its path in the config, such as optimizer.beta1=0.99; repeatable",
    )


def read_settings(arguments: argparse.Namespace) -> dict[str, Any]:
    """The settings that the flags replace, by path.

    Raises:
        ConfigError: for a value of the wrong kind or a path that does not exist.
    """
    settings: dict[str, Any] = {}
    for name, text in vars(arguments).items():
        if name.startswith("set:") and text is not None:
            settings[name[4:]] = parse_setting(name[4:], text)
    for assignment in arguments.settings:
        path, equals, text = assignment.partition("=")
        if not equals:
            raise ConfigError(f"--set {assignment}: expected PATH=VALUE, such as optimizer.beta1=0.99")
        try:
            settings[path] = parse_setting(path, text)
        except (StopIteration, KeyError, TypeError):
            settings[path] = text  # an unknown path; replace_settings names the closest
        except ValueError as error:
            raise ConfigError(f"--set {assignment}: {error}") from None
    if arguments.height is not None:
        settings |= {"size.rule": "height", "size.pixels": arguments.height}
    elif arguments.size is not None:
        settings |= {"size.rule": "long", "size.pixels": arguments.size}
    elif arguments.full_size:
        settings |= {"size.rule": "keep"}
    return settings
