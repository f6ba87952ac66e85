"""What may be changed while a picture is painted, and the config with it."""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_args

from jnst.config import Colors, Config
from jnst.config_fields import is_weight
from jnst.errors import ConfigError, check_choice, describe_unknown, quote

_MOST_SMOOTHNESS = 1000.0


@dataclass(frozen=True)
class Knobs:
    """What may be changed while a picture is painted; each acts at the next step.

    strength: of the style, 0 to 1, as in the config: a tenth more doubles the style weight.
    smoothness: factor on the preset's total variation weight (on one, where the preset has none).
    blend: weight of each style picture.
    colors: as in the config. "content" is put on at the end and changes no step; "match" and "luminance" prepare the
        style pictures, and luminance the photo, anew.
    """

    strength: float = 0.5
    smoothness: float = 1.0
    blend: tuple[float, ...] = (1.0,)
    colors: Colors = "style"

    def __post_init__(self) -> None:
        for name, most in (("strength", 1.0), ("smoothness", _MOST_SMOOTHNESS)):
            value = getattr(self, name)
            if not (math.isfinite(value) and 0 <= value <= most):
                raise ConfigError(f"{name} is {value}; expected a number from 0 to {most:g}")
        if not all(map(is_weight, self.blend)) or not sum(self.blend) > 0:
            raise ConfigError(f"blend is {list(self.blend)}; expected weights of zero or more, not all zero")
        check_choice("colors", self.colors, get_args(Colors))


def change_knobs(knobs: Knobs, changes: Mapping[str, Any]) -> Knobs:
    """The knobs with some of them set anew, from plain JSON values.

    >>> change_knobs(Knobs(), {"strength": 1}).strength
    1.0

    Raises:
        ConfigError: for a knob that does not exist, a value of the wrong type, or a blend of another length.
    """
    fields = {field.name for field in dataclasses.fields(Knobs)}
    checked: dict[str, Any] = {}
    for name, value in changes.items():
        if name not in fields:
            raise ConfigError(describe_unknown("knob", name, fields))
        numbers: list[Any] = value if name == "blend" and isinstance(value, list) else [value]
        if name != "colors" and not all(type(number) in (int, float) for number in numbers):
            raise ConfigError(
                f"{name} is {quote(value)}; expected a number" + (" per painting" if name == "blend" else "")
            )
        if name == "blend" and len(numbers) != len(knobs.blend):
            raise ConfigError(f"blend has {len(numbers)} weights; expected {len(knobs.blend)}, one per painting")
        checked[name] = (
            tuple(map(float, numbers)) if name == "blend" else value if name == "colors" else float(numbers[0])
        )
    return dataclasses.replace(knobs, **checked)


def turned(config: Config, knobs: Knobs) -> Config:
    """The config with the knobs in it."""
    loss = config.loss
    loss = dataclasses.replace(
        loss,
        strength=knobs.strength,
        tv_weight=(loss.tv_weight or 1.0) * knobs.smoothness,
    )
    return dataclasses.replace(config, loss=loss, run=dataclasses.replace(config.run, colors=knobs.colors))


def first_knobs(config: Config, styles: int) -> Knobs:
    """The knobs that leave the config as it is, with that many style pictures weighing the same."""
    smoothness = 1.0 if config.loss.tv_weight else 0.0
    return Knobs(config.loss.strength, smoothness, blend=(1.0,) * styles, colors=config.run.colors)
