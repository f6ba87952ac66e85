"""One setting said in two ways on a command line, by its flag and by `--set`: equal is fine, different is refused."""

import argparse
from collections.abc import Mapping
from typing import Any

from jnst.errors import ConfigError, quote

# Flags that `add_config_flags` does not add, by their names among the arguments, and the settings that they decide.
_OTHERS = {
    "network": "network.architecture",
    "optimizer": "optimizer.method",
    "init": "init",
    "tile": "tile",
    "tv_weight": "loss.tv_weight",
}


def check_contradictions(
    arguments: argparse.Namespace, assigned: Mapping[str, Any], flags: Mapping[str, Mapping[str, Any]]
) -> None:
    """Raises ConfigError where a flag and `--set` ask for different values, or `--set` for what the command decides.

    Args:
        arguments: of the command; `decided`, where there is one, holds the paths of settings that the command decides
            itself.
        assigned: the settings of `--set`, by path.
        flags: the settings that each flag replaces, by the flag as it was written.
    """
    for path in getattr(arguments, "decided", ()):
        if path in assigned:
            raise ConfigError(f"--set {path} would change nothing: this command decides that itself; leave it out")
    if assigned.get("preset", preset := getattr(arguments, "preset", None) or "default") != preset:
        raise ConfigError("--set preset would change the name alone; --preset chooses another preset")
    if "--full-size" in flags and "size.pixels" in assigned:
        raise ConfigError("--full-size and --set size.pixels contradict each other; leave one of them out")
    given = {name: getattr(arguments, name, None) for name in _OTHERS}
    others = {
        f"--{name.replace('_', '-')} {_show(value)}": {_OTHERS[name]: _as_setting(name, value)}
        for name, value in given.items()
        if value is not None
    }
    for flag, changes in {**flags, **others}.items():
        for path, value in changes.items():
            if path in assigned and assigned[path] != value:
                raise ConfigError(
                    f"{flag} and --set {path}={_show(assigned[path])} contradict each other; leave one of them out"
                )


def _as_setting(name: str, value: Any) -> Any:
    return int(value) if name == "tile" and value.isdecimal() and len(value) < 10 else value


def _show(value: Any) -> str:
    """A value as it would be written.

    >>> _show("adam"), _show(7), _show([["relu1_1", 0.5]])
    ('adam', '7', 'relu1_1:0.5')
    """
    if isinstance(value, list) and all(isinstance(part, list) and len(part) == 2 for part in value):
        value = ",".join(f"{name}:{weight:g}" for name, weight in value)
    elif isinstance(value, tuple) and len(value) == 1:
        value = f"x{value[0]:g}"
    return quote(value)[1:-1] if isinstance(value, str) else quote(value)
