"""Settings as plain JSON types, and back."""

import dataclasses
from typing import Any, get_args, get_origin

from jnst.config import Config
from jnst.config_fields import field_types, plain_value, require
from jnst.errors import ConfigError, describe_unknown, quote

# More than any list of layers has.
_MOST_ITEMS = 1000


def to_dict(config: Any) -> dict[str, Any]:
    """The settings as plain JSON types.

    >>> from jnst.config import RunConfig
    >>> to_dict(RunConfig(steps=5))["steps"]
    5
    """
    return _plain(dataclasses.asdict(config))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value


def from_dict(data: dict[str, Any], kind: type = Config) -> Any:
    """The inverse of `to_dict`. Fields that are absent take their defaults.

    Raises:
        ConfigError: for a field that does not exist or a value of the wrong type, with its path.
    """
    return _build(kind, data, kind.__name__)


def _build(hint: Any, value: Any, path: str) -> Any:
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        if not isinstance(value, dict):
            raise ConfigError(f"{path} is {quote(value)}; expected an object with named fields")
        hints = field_types(hint)
        for name in value:
            if name not in hints:
                raise ConfigError(describe_unknown(f"field of {path}", str(name), hints))
        return hint(**{name: _build(hints[name], item, f"{path}.{name}") for name, item in value.items()})
    if get_origin(hint) is tuple:
        return _build_tuple(get_args(hint), value, path)
    if hint in (int, float, bool, str):
        return plain_value(hint, value, path)
    return value  # one of a few words, which the dataclass checks itself


def _build_tuple(inner: tuple[Any, ...], value: Any, path: str) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise ConfigError(f"{path} is {quote(value)}; expected a list")
    if len(inner) == 2 and inner[1] is Ellipsis:
        require(len(value) <= _MOST_ITEMS, f"{path} has {len(value)} entries; expected at most {_MOST_ITEMS}")
        inner = (inner[0],) * len(value)
    require(len(value) == len(inner), f"{path} has {len(value)} entries; expected {len(inner)}")
    return tuple(_build(one, item, f"{path}[{i}]") for i, (one, item) in enumerate(zip(inner, value, strict=True)))
