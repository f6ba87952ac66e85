"""What is to be painted next: pictures, size and steps, and the painting that is made of them."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from jnst.config import Config
from jnst.errors import ConfigError, quote
from jnst.images.sizing import fit_size, scale_sizes
from jnst.studio.knobs import change_knobs, first_knobs
from jnst.studio.library import Library
from jnst.studio.painting import Painting
from jnst.transfer.planning import plan_run
from jnst.transfer.scales import check_given_size, smallest_scale

MAX_SIDE, MAX_STEPS, MAX_STYLES = 4096, 5000, 6
_LIMITS: Mapping[str, tuple[int, int]] = {"size": (16, MAX_SIDE), "steps": (1, MAX_STEPS)}


@dataclass(frozen=True)
class Draft:
    """The choice for the next painting: ids of the photo and the paintings, longer side in pixels, steps."""

    size: int
    steps: int
    content: str | None = None
    styles: tuple[str, ...] = ()

    def change(self, changes: Mapping[str, Any], library: Library) -> "Draft":
        """The draft with some fields set anew, from plain JSON values.

        Raises:
            JnstError: for a field that does not exist, a picture that does not, or a value out of range.
        """
        checked: dict[str, Any] = {}
        for name, value in changes.items():
            if name == "content":
                checked[name] = None if value is None else library[_text(name, value)].id
            elif name == "styles":
                if not isinstance(value, list | tuple) or len(value) > MAX_STYLES:
                    raise ConfigError(f"styles is {quote(value)}; expected a list of at most {MAX_STYLES} pictures")
                checked[name] = tuple(library[_text(name, one)].id for one in value)
            elif name in _LIMITS:
                least, most = _LIMITS[name]
                if type(value) is not int or not least <= value <= most:
                    raise ConfigError(f"{name} is {quote(value)}; expected a whole number from {least} to {most}")
                checked[name] = value
            else:
                known = ", ".join(field.name for field in dataclasses.fields(Draft))
                raise ConfigError(f"the draft has no {quote(name)}; it has {known}")
        return dataclasses.replace(self, **checked)

    def compose(self, config: Config, library: Library, knobs: Mapping[str, Any], *, seed: int) -> Painting:
        """A painting of the draft, with the preset in `config` and knobs from plain JSON values.

        Raises:
            ConfigError: where a picture is missing or a point, or the size does not fit into memory.
        """
        if self.content is None or not self.styles:
            missing = "a photo" if self.content is None else "a painting"
            raise ConfigError(f"{missing} is missing; drop one, or pick one of the pictures at hand")
        content, styles = library[self.content], tuple(library[id] for id in self.styles)
        config = dataclasses.replace(
            config,
            size=dataclasses.replace(config.size, rule="long", pixels=self.size),
            run=dataclasses.replace(config.run, steps=self.steps, tolerance=0.0, max_time=0.0),
        )
        check_given_size((content.height, content.width), config, "content")
        config = fit_memory(config, content.height, content.width)
        chosen = change_knobs(first_knobs(config, len(styles)), knobs)
        height, width = fit_size(content.height, content.width, config.size)
        sizes = tuple(scale_sizes(height, width, config.run.scales, minimum=smallest_scale(config)))
        return Painting(0, content, styles, config, chosen, seed, None, sizes, goal=self.steps * len(sizes))


def enlarge(old: Painting) -> Painting:
    """The same, twice as large: begun from the picture as it is, with half the steps, for the detail that is missing.

    Raises:
        ConfigError: where there is no picture yet, or the larger one is too large.
    """
    if old.picture is None or old.canvas is None:
        raise ConfigError(f"painting {old.number} has no picture yet; wait until it has been compiled")
    longest = 2 * max(old.canvas.shape[:2])
    if longest > MAX_SIDE:
        raise ConfigError(f"twice as large is {longest} pixels; the studio ends at {MAX_SIDE}")
    goal = max(1, old.config.run.steps // 2)
    config = dataclasses.replace(
        old.config,
        tile=0,
        size=dataclasses.replace(old.config.size, rule="long", pixels=longest),
        run=dataclasses.replace(old.config.run, steps=goal, scales=1),
    )
    config = fit_memory(config, old.content.height, old.content.width)
    start = old.as_start(detail=True)
    size = fit_size(old.content.height, old.content.width, config.size)
    return Painting(0, old.content, old.styles, config, old.wanted or old.knobs, old.seed, start, (size,), goal=goal)


def fit_memory(config: Config, height: int, width: int) -> Config:
    """The config, in tiles where the whole image would not fit into memory.

    Raises:
        ConfigError: where no tile fits either.
    """
    plan = plan_run(fit_size(height, width, config.size), config)
    if not plan.fits:
        raise ConfigError(f"{plan.size[1]} × {plan.size[0]} pixels do not fit into memory; choose a smaller size")
    return plan.config


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise ConfigError(f"{name} is {quote(value)}; expected the id of a picture")
    return value
