"""How results and prepared styles look in a notebook: the picture, the settings in a line, the loss as a curve."""

import html
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jnst.config import Config
from jnst.images.display import image_tag

_WIDTH, _HEIGHT = 320, 72


def settings_line(config: Config) -> str:
    """The settings that one asks for first.

    >>> settings_line(Config())
    'default · vgg19 · lbfgs, 300 steps · content 1, style 1, total variation 0'
    """
    loss, run = config.loss, config.run
    scales = ", scales by size" if run.scales == 0 else f", {run.scales} scales" if run.scales > 1 else ""
    return (
        f"{config.preset} · {config.network.architecture} · {config.optimizer.method}, {run.steps} steps{scales} · "
        f"content {loss.content_weight:g}, style {loss.style_weight:g}, total variation {loss.tv_weight:g}"
    )


def outcome_line(image: np.ndarray, trace: Mapping[str, Sequence[float]], stopped: str, seconds: Any) -> str:
    """Size, steps, first and last loss, time, and why it ended."""
    totals = trace.get("total", ())
    finite = [value for value in totals if math.isfinite(value)]
    losses = f"loss {totals[0]:.4g} → {min(finite):.4g}" if finite else "no finite loss" if len(totals) else "no steps"
    time = f", {seconds['run']:.1f} s and {seconds['compile']:.1f} s to compile" if "run" in seconds else ""
    return f"{image.shape[1]} × {image.shape[0]}, {max(len(totals) - 1, 0)} steps, {losses}{time}, stopped: {stopped}"


def curve_svg(values: Sequence[float]) -> str:
    """Positive numbers as a curve on a logarithmic scale; what is not finite is left out, and more than can be seen.

    >>> curve_svg([8.0, 4.0, 2.0]).count(",")
    3
    """
    chosen = range(0, len(values), max(1, len(values) // (2 * _WIDTH)))
    known = [(index, math.log(values[index])) for index in chosen if 0 < values[index] < math.inf]
    if len(known) < 2:
        return ""
    low, high = min(value for _, value in known), max(value for _, value in known)
    span, last = max(high - low, 1e-9), known[-1][0]
    scaled = ((index / last * _WIDTH, _HEIGHT - 2 - (value - low) / span * (_HEIGHT - 4)) for index, value in known)
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in scaled)
    return (
        f'<svg width="{_WIDTH}" height="{_HEIGHT}" role="img" aria-label="loss by step">'
        f'<polyline fill="none" stroke="#2457a8" stroke-width="1.5" points="{points}"/></svg>'
    )


def card(image: np.ndarray, lines: Sequence[str], values: Sequence[float] = ()) -> str:
    """A picture, lines of text below it, and a curve, as HTML."""
    text = "".join(f"<div>{html.escape(line)}</div>" for line in lines)
    try:
        picture = image_tag(image)
    except ValueError as error:  # what cannot be shown does not hide the rest
        picture = f"<div>{html.escape(str(error))}</div>"
    return f"<div>{picture}{text}{curve_svg(values)}</div>"
