"""Whether the arguments of public functions are what they should be, before anything is made of them."""

import numbers
import operator
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from typing import Any

from jnst.config import Config, PixelSpace
from jnst.errors import ConfigError, WeightsError, quote


def check_config(config: Any) -> None:
    """Raises ConfigError for anything but a Config, such as the name of a preset."""
    if not isinstance(config, Config):
        given = quote(config) if isinstance(config, str) else type(config).__name__
        raise ConfigError(f"config is {given}; expected a jnst.Config, such as that of jnst.load_preset('default')")


def check_space(space: Any) -> None:
    """Raises ConfigError for anything but a PixelSpace."""
    if not isinstance(space, PixelSpace):
        raise ConfigError(f"space is {type(space).__name__}; expected a PixelSpace, such as config.variable")


def check_mapping(params: Any) -> None:
    """Raises WeightsError for anything but layers by name, such as the name of a weights file."""
    if not isinstance(params, Mapping):
        given = quote(params) if isinstance(params, str) else type(params).__name__
        raise WeightsError(
            f"params is {given}; expected layers by name, as jnst.load_params, load_preset and prepare_params give them"
        )


def check_kind(name: str, value: Any, kind: type | tuple[type, ...], expected: str) -> None:
    """Raises ConfigError for a value of another type.

    >>> check_kind("targets", 3, dict, "what jnst.make_targets returns")
    Traceback (most recent call last):
    ...
    jnst.errors.ConfigError: targets is int; expected what jnst.make_targets returns
    """
    if not isinstance(value, kind):
        raise ConfigError(f"{name} is {type(value).__name__}; expected {expected}")


def check_whole(name: str, value: Any) -> int:
    """The value as a whole number; raises ConfigError for anything else."""
    try:
        return operator.index(value)
    except TypeError:
        raise ConfigError(f"{name} is {type(value).__name__}; expected a whole number") from None


def check_count(name: str, value: Any, least: int) -> int:
    """The value as a whole number; raises ConfigError where it is none, is true or false, or is below the least.

    >>> check_count("devices", 4, 1)
    4
    """
    if isinstance(value, bool) or check_whole(name, value) < least:
        raise ConfigError(f"{name} is {quote(value)}; expected a whole number, {least} or more")
    return operator.index(value)


def check_series(name: str, values: Any, expected: str) -> list[Any]:
    """The values in their order; raises ConfigError for what has none, and for text and bytes: "11" is not 1 and 1.

    >>> check_series("seeds", "11", "a list of whole numbers")
    Traceback (most recent call last):
    ...
    jnst.errors.ConfigError: seeds is '11'; expected a list of whole numbers
    """
    unordered = isinstance(values, str | bytes | bytearray | memoryview | Mapping | Set)
    if unordered or not isinstance(values, Iterable):
        raise ConfigError(f"{name} is {quote(values)}; expected {expected}")
    try:
        return list(values)
    except Exception as error:
        if isinstance(values, Iterator):  # whoever wrote it knows its errors
            raise
        raise ConfigError(
            f"{name} is {type(values).__name__}, which cannot be gone through; expected {expected}"
        ) from error


def check_pair(name: str, value: Any) -> tuple[int, int]:
    """Height and width in pixels; raises ConfigError for anything but two whole numbers of one or more."""
    if isinstance(value, str | bytes | bytearray) or not isinstance(value, Sequence) or len(value) != 2:
        raise ConfigError(f"{name} is {quote(value)}; expected height and width in pixels")
    return check_count(f"{name}[0]", value[0], 1), check_count(f"{name}[1]", value[1], 1)


def check_switch(name: str, value: Any) -> bool:
    """The value; raises ConfigError for anything but True and False: the text "false" would count as true."""
    if type(value).__name__ not in ("bool", "bool_"):  # NumPy's as well, which is not imported for that
        raise ConfigError(f"{name} is {quote(value)}; expected True or False")
    return bool(value)


def check_callback(callback: Any) -> None:
    """Raises ConfigError for what cannot be called."""
    if callback is not None and not callable(callback):
        raise ConfigError(f"callback is {type(callback).__name__}; expected a function, or None")


def asks_to_stop(answer: Any) -> bool:
    """What a callback returned, as true or false; raises ConfigError for what is neither, such as several numbers."""
    try:
        return bool(answer)
    except Exception as error:  # of foreign types, anything
        raise ConfigError(f"callback returned {type(answer).__name__}; expected something true or false") from error


def check_names(name: str, values: Any) -> tuple[str, ...]:
    """The values as a tuple; raises ConfigError unless they are texts."""
    found = tuple(values) if isinstance(values, Iterable) and not hasattr(values, "dtype") else None
    if found is None or not all(isinstance(value, str) for value in found):
        raise ConfigError(f"{name} is {quote(values)}; expected a list of names")
    return found


def check_seed(seed: Any, path: str = "seed") -> int:
    """The seed of a random initial picture, which has 32 bits: larger ones would be taken for smaller ones by JAX.

    Raises:
        ConfigError: it is no whole number from 0 to 4294967295.
    """
    if isinstance(seed, numbers.Integral) and not isinstance(seed, bool) and 0 <= int(seed) < 2**32:
        return int(seed)
    raise ConfigError(f"{path} is {quote(seed)}; expected a whole number from 0 to 4294967295")
