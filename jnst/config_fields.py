"""Fields of the settings: how one is declared, and how its value is checked."""

import functools
import numbers
from dataclasses import field
from typing import Any, Literal, get_args, get_origin, get_type_hints

from jnst.errors import ConfigError, describe_unknown, quote

# Fields that users know by another name.
_LABELS = {"method": "optimizer"}

field_types = functools.cache(get_type_hints)


def setting(default: Any, help: str, *, unit: str = "") -> Any:
    """A dataclass field whose help text and unit the command line reads."""
    return field(default=default, metadata={"help": help, "unit": unit})


def require(condition: bool, message: str) -> None:
    """Raises ConfigError with that message unless the condition holds."""
    if not condition:
        raise ConfigError(message)


def check_fields(config: Any) -> None:
    """Every field holds a value of its type; every `Literal` field one of its values."""
    for name, hint in field_types(type(config)).items():
        value, label = getattr(config, name), _LABELS.get(name, name).replace("_", " ")
        if get_origin(hint) is Literal:
            if value not in get_args(hint):
                known = get_args(hint)
                sentence = describe_unknown(label, value, known) if isinstance(value, str) else ""
                raise ConfigError(sentence or f"{label} is {quote(value)}; expected one of {', '.join(known)}")
        elif hint in (int, float, bool, str):
            object.__setattr__(config, name, plain_value(hint, value, label))  # frozen, but not yet in use
        elif get_origin(hint) is tuple:
            object.__setattr__(config, name, tuple_value(get_args(hint), value, label))
        elif isinstance(hint, type) and not isinstance(value, hint):
            raise ConfigError(f"{label} is {quote(value)}; expected a {hint.__name__}")


def tuple_value(inner: tuple[Any, ...], value: Any, path: str) -> tuple[Any, ...]:
    """The value as a tuple of plain values, or of such tuples; lists count as tuples.

    Args:
        inner: the types of its parts; of one type and an ellipsis, any number.
        value: to be checked.
        path: for messages.

    Raises:
        ConfigError: it is no list, is of another length, or a part is of another type.

    >>> tuple_value((tuple[str, float], ...), [["relu1_1", 1]], "style layers")
    (('relu1_1', 1.0),)
    """
    if not isinstance(value, list | tuple):
        raise ConfigError(f"{path} is {quote(value)}; expected a list")
    if len(inner) == 2 and inner[1] is Ellipsis:
        inner = (inner[0],) * len(value)
    require(len(value) == len(inner), f"{path} has {len(value)} entries; expected {len(inner)}")
    return tuple(
        tuple_value(get_args(kind), part, f"{path}[{index}]")
        if get_origin(kind) is tuple
        else plain_value(kind, part, f"{path}[{index}]")
        for index, (kind, part) in enumerate(zip(inner, value, strict=True))
    )


def plain_value(hint: type, value: Any, path: str) -> Any:
    """The value as int, float, bool or str of Python.

    Raises:
        ConfigError: it is of another type, or a number too large for that type.
    """
    number: Any = value
    truth = isinstance(value, bool) or type(value).__name__ == "bool"  # NumPy's own
    wanted = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}[hint]
    if hint is bool or hint is str:
        if not (truth if hint is bool else isinstance(value, str)):
            raise ConfigError(f"{path} is {quote(value)}; expected {wanted}")
        return hint(value)
    if truth or not isinstance(value, numbers.Integral if hint is int else numbers.Real):
        raise ConfigError(f"{path} is {quote(value)}; expected {wanted}")
    if hint is int and abs(number) >= 2**63:
        raise ConfigError(f"{path} is {quote(value)}; expected a whole number of at most 64 bits")
    try:
        return hint(number)
    except OverflowError:
        raise ConfigError(f"{path} is {quote(value)}; expected a number below 1e308") from None


# Runs compute in 32 bits: a larger number is infinite there, and a smaller one that is not zero nearly none.
LARGEST, SMALLEST = 3.4e38, 1.2e-38


def is_weight(value: float) -> bool:
    """Whether a weight is finite in 32 bits, and zero or more.

    >>> is_weight(0), is_weight(1e38), is_weight(1e39), is_weight(-1), is_weight(float("nan"))
    (True, True, False, False, False)
    """
    return 0 <= value <= LARGEST


def check_weight(name: str, value: float) -> None:
    """Raises ConfigError unless the value is a weight."""
    require(is_weight(value), f"{name} is {value}; expected a finite number that is zero or more, at most {LARGEST:g}")


def check_positive(name: str, value: float, expected: str = "a number above zero") -> None:
    """Raises ConfigError unless the value is above zero and finite, in 32 bits too."""
    require(SMALLEST <= value <= LARGEST, f"{name} is {value}; expected {expected}, from {SMALLEST:g} to {LARGEST:g}")
