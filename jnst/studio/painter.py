"""One picture in the making: moved a few steps at a time under weights that may change between them."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np

from jnst.array_types import Gram, Params
from jnst.config import Colors, Config, compile_key
from jnst.config_fields import is_weight
from jnst.errors import ConfigError, describe_unknown, quote
from jnst.images.inputs import PictureForm, StylePicture, as_styles
from jnst.images.resizing import to_unit
from jnst.images.sizing import fit
from jnst.loss.region_targets import blend_grams
from jnst.loss.targets import content_targets, loss_weights, style_grams
from jnst.loss.term import Targets
from jnst.transfer.loop import CAPACITY, advance
from jnst.transfer.regions_at_scale import guide
from jnst.transfer.restart import restart
from jnst.transfer.scales import at_scale, check_size, content_at_scale, first_image, styles_at_scale
from jnst.transfer.state import Trace, TransferState, current_picture, init_state
from jnst.transfer.stopping import MAX_REJECTED

# What the curves show; the names are those of the trace.
CURVES = ("total", "content", "style", "total_variation")
_MOST_SMOOTHNESS = 1000.0


# Ways with colours that are put on at the end, and so can be changed while a picture is painted.
_COLORS = ("style", "content")


@dataclass(frozen=True)
class Knobs:
    """What may be changed while a picture is painted; each acts at the next step.

    strength: of the style, 0 to 1, as in the config: a tenth more doubles the style weight.
    smoothness: factor on the preset's total variation weight (on one, where the preset has none).
    blend: weight of each style picture.
    colors: "style", or "content" for the photo's own colours. They are put on at the end and change no step.
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
        if self.colors not in _COLORS:  # the other ways with colours prepare the style before the first step
            raise ConfigError(describe_unknown("colors of the studio", str(self.colors), _COLORS))


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


def read_trace(trace: Trace) -> dict[str, list[float]]:
    """The trace of `advance` as lists by name."""
    return {name: np.asarray(column).tolist() for name, column in trace.columns().items()}


class Painter:
    """The optimisation of one picture at one size.

    Args:
        params: from `prepare_params`.
        content: RGB, uint8, uint16 or floating point in [0, 1]; brought to working size by `config.size`.
        styles: the same, one or more; what is transparent in one is not looked at.
        config: of any number of scales; this paints one of them.
        knobs: to begin with.
        seed: of a random initial picture.
        initial: picture to begin with in place of `config.init`; brought to the size of this scale.
        size: height and width at this scale; the full size by default.
        scale: number of the scale, 0 for the coarsest. Above that, the picture to begin with is an enlarged result, of
            which only the fine detail is missing.

    Raises:
        ConfigError: where an image is too small for the deepest layer.
    """

    def __init__(
        self,
        params: Params,
        content: np.ndarray,
        styles: Sequence[np.ndarray | PictureForm | StylePicture],
        config: Config,
        knobs: Knobs,
        *,
        seed: int = 0,
        initial: np.ndarray | None = None,
        size: tuple[int, int] | None = None,
        scale: int = 0,
    ) -> None:
        self._params, self._knobs = params, knobs
        self._config, self._key = at_scale(config, scale), compile_key(config)
        self._canvas = fit(content, config.size)
        unit = to_unit(self._canvas)
        full = (unit.shape[0], unit.shape[1])
        self._size = full if size is None else size
        check_size(self._size, config, "content")
        self._content = content_at_scale(unit, self._size)
        several = as_styles(list(styles), color_profile=config.color_profile)
        painted = styles_at_scale(several, config, full, self._size)
        guide(None, self._size, painted, config)
        self._grams = [self._style_grams(one) for one in painted]
        self._targets = self._blended()
        self._aim()
        enlarged = scale > 0 or (initial is not None and initial.shape[:2] == self._size)
        before, given = (to_unit(initial), None) if enlarged else (None, initial)  # pyright: ignore
        first = first_image(config, self._content, several[0].pixels, before=before, initial=given, seed=seed)
        self._state = self._begin(first)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the picture at this scale."""
        return self._size

    @property
    def canvas(self) -> np.ndarray:
        """The photo at full size."""
        return self._canvas

    def _begin(self, picture: np.ndarray) -> TransferState:
        return init_state(to_unit(picture), self._config)

    def _style_grams(self, style: StylePicture) -> dict[str, Gram]:
        mask = None if style.mask is None else jnp.asarray(style.mask)[..., None]
        return style_grams(self._params, jnp.asarray(style.pixels), None, mask, config=self._key)

    def _blended(self) -> Targets:
        """Targets for the blend, from the program that `make_targets` runs: another one would round the scales of the
        Gram matrices otherwise, and every step after."""
        return content_targets(
            self._params, jnp.asarray(self._content), blend_grams(self._grams, self._knobs.blend), config=self._key
        )

    def _aim(self) -> None:
        """Brings the loss weights in line with the knobs; they are data of the loop, as the targets are."""
        self._targets = self._targets._replace(weights=loss_weights(turned(self._config, self._knobs)))

    def compile(self) -> None:
        """Compiles the loop for this size, where it has not been; makes no step."""
        self._state, _ = advance(self._params, self._targets, self._state, self._config, num_steps=0, in_place=True)

    def paint(self, steps: int) -> dict[str, list[float]]:
        """Goes on by so many steps (at most 256) and returns their trace by name; the first step only evaluates."""
        self._state, trace = advance(
            self._params, self._targets, self._state, self._config, num_steps=min(steps, CAPACITY), in_place=True
        )
        return read_trace(trace)

    def set_knobs(self, knobs: Knobs) -> bool:
        """Sets the knobs; returns whether the loss is another now, and what was measured before is forgotten."""
        before, self._knobs = self._knobs, knobs
        if dataclasses.replace(before, colors=knobs.colors) == knobs:
            return False
        if before.blend != knobs.blend:
            self._targets = self._blended()
        self._aim()
        self._state = restart(self._state)
        return True

    def go_back(self, picture: np.ndarray) -> None:
        """Begins again with an earlier picture."""
        self._state = self._begin(picture)

    def picture(self) -> np.ndarray:
        """The picture in the style's colours: RGB in [0, 1], height × width × 3."""
        fresh = int(self._state.step) == 0
        return current_picture(self._state, self._config, best=self._config.run.keep == "best" and not fresh)

    @property
    def stuck(self) -> bool:
        """Whether no step lowers the loss any further."""
        return int(self._state.rejected) >= MAX_REJECTED
