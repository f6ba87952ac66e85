"""Settings by name: the short names that the command line, Python and lists share, and changes by path."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from jnst.config import Config
from jnst.config_json import from_dict, to_dict
from jnst.errors import ConfigError, describe_unknown, quote

# The names by which settings are called everywhere; all others are called by their path.
NAMES = {
    "steps": "run.steps",
    "optimizer": "optimizer.method",
    "scales": "run.scales",
    "content_weight": "loss.content_weight",
    "style_weight": "loss.style_weight",
    "tv_weight": "loss.tv_weight",
    "strength": "loss.strength",
    "content_layers": "loss.content_layers",
    "style_layers": "loss.style_layers",
    "style_statistics": "loss.style_statistics",
    "pooling": "network.pooling",
    "size": "size.pixels",
    "height": "size.pixels",
}
_SIZE_RULES = {"size": "long", "height": "height"}


class Factor(NamedTuple):
    """In the place of a number: that many times the number that was there."""

    by: float


def setting_names() -> list[str]:
    """All that a setting may be called: short names first, then paths."""
    return [*NAMES, *setting_paths()]


def setting_paths() -> list[str]:
    """Paths of all settings, such as run.steps."""
    paths = []
    for name, value in to_dict(Config()).items():
        paths += [f"{name}.{inner}" for inner in value] if isinstance(value, dict) else [name]
    return paths


def by_path(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings with short names replaced by paths; a size or height brings its rule with it.

    >>> by_path({"steps": 3, "size": 99})
    {'run.steps': 3, 'size.pixels': 99, 'size.rule': 'long'}

    Raises:
        ConfigError: where a setting is named twice, by its name and by its path, say, with different values.
    """
    paths: dict[str, Any] = {}
    names: dict[str, str] = {}
    for name, value in settings.items():
        changes = {NAMES.get(name, name): value} | ({"size.rule": _SIZE_RULES[name]} if name in _SIZE_RULES else {})
        for path, new in changes.items():
            if path in paths and not _same(paths[path], new):
                raise ConfigError(f"{names[path]} and {name} contradict each other; leave one of them out")
            paths[path], names[path] = new, name
    return paths


def _same(first: Any, second: Any) -> bool:
    try:
        return first is second or bool(first == second)
    except Exception:  # of values that are no settings, anything
        return False


def replace_settings(config: Config, settings: Mapping[str, Any]) -> Config:
    """The config with settings replaced by their short names or paths, such as steps or optimizer.history.

    A line search or another optimiser brings a history in float32 with it, unless the precision is given too.

    Raises:
        ConfigError: for a field that does not exist or a value that it refuses.

    >>> replace_settings(Config(), {"run.steps": 7}).run.steps
    7
    """
    data, settings = to_dict(config), by_path(settings)
    if settings.get("optimizer.line_search", "none") != "none" or settings.get("optimizer.method", "lbfgs") != "lbfgs":
        settings = {"optimizer.history_precision": "float32", **settings}
    for path, value in settings.items():
        *groups, name = path.split(".")
        inner = data
        for group in groups:
            inner = inner.get(group) if isinstance(inner, dict) else None
        if not isinstance(inner, dict) or name not in inner:
            raise ConfigError(describe_unknown("setting", path, setting_paths()))
        inner[name] = _times(path, inner[name], value) if isinstance(value, Factor) else value
    return from_dict(data)


def _times(path: str, before: Any, factor: Factor) -> float:
    if isinstance(before, bool) or not isinstance(before, int | float):
        raise ConfigError(f"{path} is {quote(before)}, which cannot be multiplied by {factor.by:g}")
    return before * factor.by
