"""A finished run of one image: the picture, the losses, and why the run ended."""

import math
import os
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from jnst.config import Config
from jnst.config_json import to_dict
from jnst.images.display import show, to_pil
from jnst.images.writing import write_image
from jnst.transfer.display import card, outcome_line, settings_line


class Result(NamedTuple):
    """A finished run.

    image: RGB in [0, 1], clipped, height × width × 3, float32.
    trace: lists of equal length, as in `Trace`; of the full-size run where there were several scales.
    best_step: the step that `image` entered, where the best is kept.
    stopped: "steps", "tolerance", "time", "callback", "interrupted" or "stuck"; "no step" where the time ran out before
        the first step, "no descent" where the loss never fell below that of the initial picture.
    seconds: "compile" and "run".
    config: what it was made with, where that is known.
    alpha: opacity in [0, 1], height × width, float32; None where the content picture has none.
    """

    image: np.ndarray
    trace: dict[str, list[float]]
    best_step: int
    stopped: str
    seconds: dict[str, float]
    config: Config | None = None
    alpha: np.ndarray | None = None

    def __repr__(self) -> str:
        return f"Result({outcome_line(self.image, self.trace, self.stopped, self.seconds)})"

    def _repr_html_(self) -> str:
        settings = [] if self.config is None else [settings_line(self.config)]
        lines = [*settings, outcome_line(self.image, self.trace, self.stopped, self.seconds)]
        return card(self.image, lines, self.trace.get("total", ()))

    def to_pil(self) -> Any:
        """The picture for Pillow.

        Returns:
            An image of mode RGB, 8 bits a channel.
        """
        return to_pil(self.image)

    def show(self) -> None:
        """Shows the picture: below the cell of a notebook, else in the system's viewer."""
        show(self.image)

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Writes the picture by the path's suffix, with config and outcome inside (`jnst stylize --config` reads it).

        Args:
            path: ends in .png, .jpg, .webp, .avif or .tif.
            overwrite: whether a file that is there may be replaced.

        Raises:
            ImageError: for an unknown suffix, a file that exists without `overwrite`, or a place that is not writable.
        """
        record = {"stopped": self.stopped, "best_step": self.best_step, "seconds": self.seconds}
        if self.config is not None:
            record["config"] = to_dict(self.config)
        rounding = "round" if self.config is None else self.config.run.rounding
        write_image(path, self.image, alpha=self.alpha, metadata=record, rounding=rounding, overwrite=overwrite)


def has_fallen(totals: Sequence[float]) -> bool:
    """Whether the loss was ever below its first value."""
    return len(totals) > 1 and min(totals[1:]) < totals[0]


def describe_end(reason: str, totals: Sequence[float], fallen: bool) -> str:
    """`Result.stopped` for the reason that ended the loop, the losses of the last scale, and whether any scale's fell.

    >>> describe_end("time", [3.0], False), describe_end("steps", [3.0, 4.0], False)
    ('no step', 'no descent')
    """
    if reason == "time" and len(totals) == 1 and not fallen:
        return "no step"
    if reason in ("steps", "tolerance") and len(totals) > 1 and not fallen and math.isfinite(totals[0]):
        return "no descent"
    return reason
