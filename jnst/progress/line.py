"""A record of how far a run is as one line of text: plain, or with a bar and as much as the terminal is wide."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from jnst.progress.callbacks import Progress
from jnst.progress.pace import Pace, format_duration

_SPARKS = "▁▂▃▄▅▆▇█"
_SPARKLINE = 16  # columns
_WIDEST_BAR, _NARROWEST_BAR = 30, 10
_WIDE = 99  # columns from which there is a curve
_SHORT = {"total_variation": "tv"}


class _Part(NamedTuple):
    """A piece of the line. Where it does not fit, the part of the lowest rank goes first."""

    rank: int
    text: str


def describe(progress: Progress, pace: Pace) -> str:
    """The record as one plain line.

    >>> describe(Progress(step=30, steps=300, total=0.48, seconds=12), Pace())
    '30/300 · loss 0.48 · 0:12'
    """
    return " · ".join(part.text for part in _parts(progress, pace, elapsed=True) if part.text)


def draw_bar(
    progress: Progress,
    pace: Pace,
    *,
    columns: int = 79,
    ascii_only: bool = False,
    losses: Sequence[float] = (),
) -> str:
    """The record as a line of at most `columns` columns; what does not fit is left out, the least needed first.

    Args:
        progress: the record.
        pace: that has been given it.
        columns: of the terminal.
        ascii_only: whether the stream has no other letters.
        losses: at this scale so far, for a curve.

    >>> draw_bar(Progress(step=150, steps=300, total=0.48), Pace(), columns=40)
    ' 50 % ━━━━━━━─────── 150/300 · loss 0.48'
    """
    percent = f"{math.floor(100 * progress.fraction):3d} %"
    separator = " | " if ascii_only else " · "
    curve = "" if ascii_only or columns < _WIDE else sparkline(losses)
    parts = [part for part in _parts(progress, pace, elapsed=False, curve=curve) if part.text]
    for gone in range(len(parts) + 1):
        lowest = sorted(part.rank for part in parts)[gone:]
        text = separator.join(part.text for part in parts if part.rank in lowest)
        room = columns - len(percent) - len(text) - (2 if text else 1)
        if room >= _NARROWEST_BAR or gone == len(parts):
            bar = _bar(progress.fraction, min(room, _WIDEST_BAR), ascii_only)
            line = " ".join(part for part in (percent, bar, text) if part)
            return (line.replace("×", "x") if ascii_only else line)[: max(columns, 0)]
    raise AssertionError


def sparkline(values: Sequence[float], columns: int = _SPARKLINE) -> str:
    """Positive numbers as a row of blocks on a logarithmic scale; empty where there are fewer than two.

    >>> sparkline([8.0, 4.0, 2.0, 1.0])
    '█▆▃▁'
    """
    logs = [math.log(value) for value in values if math.isfinite(value) and value > 0]
    if len(logs) < 2:
        return ""
    count = min(columns, len(logs))
    chosen = [logs[round(index * (len(logs) - 1) / (count - 1))] for index in range(count)]
    low, span = min(chosen), max(max(chosen) - min(chosen), 1e-9)
    return "".join(_SPARKS[round((value - low) / span * (len(_SPARKS) - 1))] for value in chosen)


def describe_terms(progress: Progress) -> dict[str, str]:
    """The unweighted terms by short names, as short numbers.

    >>> describe_terms(Progress(step=1, steps=2, terms={"content": 0.25, "total_variation": 1.0}))
    {'content': '0.25', 'tv': '1'}
    """
    return {_SHORT.get(name, name): f"{value:.3g}" for name, value in progress.terms.items()}


def _bar(fraction: float, width: int, ascii_only: bool) -> str:
    if width <= 0:
        return ""
    done = round(fraction * width)
    return ("#" * done + "-" * (width - done)) if ascii_only else ("━" * done + "─" * (width - done))


def _parts(progress: Progress, pace: Pace, *, elapsed: bool, curve: str = "") -> tuple[_Part, ...]:
    """The pieces in their order; the text is empty where there is nothing to say."""
    worse = math.isfinite(progress.best) and not progress.total <= progress.best
    rate, left = pace.evaluations_per_second, pace.seconds_left
    times = [format_duration(progress.seconds)] if elapsed else []
    if left is not None and progress.fraction < 1:
        times.append(f"{format_duration(left)} left")
    elif not elapsed and progress.fraction >= 1:
        times.append(format_duration(progress.seconds))
    scale = f"scale {progress.scale}/{progress.scales} " if progress.scales > 1 else ""
    size = f"{progress.size[1]}×{progress.size[0]}" if any(progress.size) else ""
    loss = f"loss {progress.total:.4g}"
    terms = ", ".join(f"{name} {value}" for name, value in describe_terms(progress).items())
    speed = "" if rate is None else f"{rate:.1f}/s" if rate < 100 else f"{rate:.0f}/s"
    return (
        _Part(6, progress.label),
        _Part(7, f"{progress.step}/{progress.steps}"),
        _Part(9, loss if math.isfinite(progress.total) or not progress.note else ""),
        _Part(0, curve),
        _Part(1, terms),
        _Part(4, f"best {progress.best:.4g}" if worse else ""),
        _Part(5, speed),
        _Part(8, ", ".join(times)),
        _Part(3, (scale + size).strip()),
        _Part(2, progress.note),
    )
