"""One record of how far a run is, and its printers: a bar on a terminal, plain lines elsewhere, or silence."""

import contextlib
import math
import os
import sys
import time
from collections import deque
from collections.abc import Callable
from typing import TextIO

from jnst.errors import one_line
from jnst.transfer.callbacks import Progress, Silent

_REDRAW = 0.1  # seconds between two drawings of the bar
_LINE_EVERY = 10.0  # seconds, or a tenth of the work, between two plain lines
_RECENT = 9  # steps of the clock that the speed is taken from


class Pace:
    """Speed and time left, from the records themselves.

    Only differences between records of one scale count, less what was spent compiling, and of the recent ones the
    lower median: a first chunk that was compiled within, or a machine that slept, falls out.
    """

    def __init__(self) -> None:
        self._last: Progress | None = None
        self._per_work: deque[float] = deque(maxlen=_RECENT)
        self._per_evaluation: deque[float] = deque(maxlen=_RECENT)

    def add(self, progress: Progress) -> None:
        last, self._last = self._last, progress
        if last is None or (last.label, last.steps) != (progress.label, progress.steps):
            self._per_work.clear()
            self._per_evaluation.clear()
            return
        if last.scale != progress.scale:
            self._per_evaluation.clear()
            return
        passed = (progress.seconds - progress.compile_seconds) - (last.seconds - last.compile_seconds)
        if passed <= 0:
            return
        if progress.fraction > last.fraction:
            self._per_work.append(passed / (progress.fraction - last.fraction))
        if progress.evaluations > last.evaluations:
            self._per_evaluation.append(passed / (progress.evaluations - last.evaluations))

    @property
    def evaluations_per_second(self) -> float | None:
        """At the present scale; None until it can be told."""
        return 1 / _lower_median(self._per_evaluation) if self._enough(self._per_evaluation) else None

    @property
    def seconds_left(self) -> float | None:
        """None until it can be told."""
        if self._last is None or not self._enough(self._per_work):
            return None
        return _lower_median(self._per_work) * (1 - self._last.fraction)

    def _enough(self, values: deque[float]) -> bool:
        # One difference is enough only if what it holds of compilation was told and taken off.
        return len(values) >= (1 if self._last is not None and self._last.compile_seconds > 0 else 2)


class ProblemsOnly(Silent):
    """Nothing but what went wrong, a line for each."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def problem(self, text: str) -> None:
        with contextlib.suppress(OSError, ValueError):
            print(one_line(text), file=self._stream, flush=True)


class ProgressBar(Silent):
    """One line that is drawn anew, if the stream is a terminal; else a plain line for every tenth or ten seconds."""

    def __init__(self, stream: TextIO | None = None, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = sys.stderr if stream is None else stream
        self._clock = clock
        self._pace = Pace()
        self._live = bool(getattr(self._stream, "isatty", lambda: False)())
        self._drawn = 0  # columns of the line that stands unfinished
        self._pending: Progress | None = None  # newest record that has not been shown
        self._shown: Progress | None = None
        self._shown_at = -math.inf

    def __call__(self, progress: Progress) -> None:
        self._pace.add(progress)
        self._pending = progress
        now, shown = self._clock(), self._shown
        finished = progress.step >= progress.steps
        if self._live:
            if finished or now - self._shown_at >= _REDRAW:
                self._show(now)
            return
        further = progress.fraction - shown.fraction if shown else 1.0
        another = shown is not None and shown.label != progress.label
        if finished or another or further >= 0.1 - 1e-9 or now - self._shown_at >= _LINE_EVERY:
            self._show(now)

    def note(self, text: str) -> None:
        """A line of its own; the bar goes on below it."""
        self._erase()
        self._write(one_line(text) + "\n")
        if self._live and self._shown is not None:
            self._draw(self._shown)

    def close(self) -> None:
        """Shows the newest record, if it has not been, and ends the line. Safe to call twice."""
        if self._pending is not None:
            self._show(self._clock())
        if self._drawn:
            self._write("\n")
            self._drawn = 0

    def _show(self, now: float) -> None:
        progress, self._pending = self._pending, None
        if progress is None:
            return
        self._shown, self._shown_at = progress, now
        if self._live:
            self._draw(progress)
        else:
            self._write(describe(progress, self._pace) + "\n")

    def _draw(self, progress: Progress) -> None:
        line = draw_bar(progress, self._pace, columns=self._columns(), ascii_only=not self._can_draw())
        # Blanks instead of escape codes: every terminal knows them.
        self._write("\r" + line.ljust(self._drawn))
        self._drawn = len(line)

    def _erase(self) -> None:
        if self._drawn:
            self._write("\r" + " " * self._drawn + "\r")
            self._drawn = 0

    def _columns(self) -> int:
        try:
            columns = os.get_terminal_size(self._stream.fileno()).columns
        except (OSError, ValueError, AttributeError):
            columns = 0
        # The last column stays free: some terminals wrap as soon as it is filled.
        return (columns or 80) - 1

    def _can_draw(self) -> bool:
        try:
            "━─·×".encode(getattr(self._stream, "encoding", None) or "utf-8")
        except (UnicodeEncodeError, LookupError):
            return False
        return True

    def _write(self, text: str) -> None:
        try:
            if not self._can_draw():
                text = text.replace("×", "x").replace("·", "|").encode("ascii", "replace").decode()
            self._stream.write(text)
            self._stream.flush()
        except (OSError, ValueError):
            pass  # whoever was reading has gone; the run goes on


def describe(progress: Progress, pace: Pace) -> str:
    """The record as one plain line.

    >>> describe(Progress(step=30, steps=300, total=0.48, seconds=12), Pace())
    '30/300 · loss 0.48 · 0:12'
    """
    return " · ".join(text for text in _parts(progress, pace, elapsed=True) if text)


def draw_bar(progress: Progress, pace: Pace, *, columns: int = 79, ascii_only: bool = False) -> str:
    """The record as a line of at most `columns` columns; what does not fit is left out, the least needed first.

    >>> draw_bar(Progress(step=150, steps=300, total=0.48), Pace(), columns=40)
    ' 50 % ━━━━━━━─────── 150/300 · loss 0.48'
    """
    percent = f"{math.floor(100 * progress.fraction):3d} %"
    separator = " | " if ascii_only else " · "
    # From the first to go to the last: size, best, speed, label, counts, time left, loss.
    label, counts, loss, best, speed, left, size = _parts(progress, pace, elapsed=False)
    for dropped in range(8):
        gone = (size, best, speed, label, counts, left, loss)[:dropped]
        kept = [text for text in (label, counts, loss, best, speed, left, size) if text and text not in gone]
        text = separator.join(kept)
        room = columns - len(percent) - len(text) - (2 if text else 1)
        if room >= 10 or dropped == 7:
            bar = _bar(progress.fraction, min(room, 30), ascii_only)
            line = " ".join(part for part in (percent, bar, text) if part)
            return (line.replace("×", "x") if ascii_only else line)[: max(columns, 0)]
    raise AssertionError


def _bar(fraction: float, width: int, ascii_only: bool) -> str:
    if width <= 0:
        return ""
    done = round(fraction * width)
    return ("#" * done + "-" * (width - done)) if ascii_only else ("━" * done + "─" * (width - done))


def _parts(progress: Progress, pace: Pace, *, elapsed: bool) -> tuple[str, str, str, str, str, str, str]:
    """Label, counts, loss, best, speed, time, size; empty where there is nothing to say."""
    worse = math.isfinite(progress.best) and not progress.total <= progress.best
    rate, left = pace.evaluations_per_second, pace.seconds_left
    times = [format_duration(progress.seconds)] if elapsed else []
    if left is not None and progress.fraction < 1:
        times.append(f"{format_duration(left)} left")
    elif not elapsed and progress.fraction >= 1:
        times.append(format_duration(progress.seconds))
    scale = f"scale {progress.scale}/{progress.scales} " if progress.scales > 1 else ""
    size = f"{progress.size[1]}×{progress.size[0]}" if any(progress.size) else ""
    return (
        progress.label,
        f"{progress.step}/{progress.steps}",
        f"loss {progress.total:.4g}",
        f"best {progress.best:.4g}" if worse else "",
        (f"{rate:.1f}/s" if rate < 100 else f"{rate:.0f}/s") if rate is not None else "",
        ", ".join(times),
        (scale + size).strip(),
    )


def format_duration(seconds: float) -> str:
    """Minutes and seconds, with hours and days where there are any.

    >>> format_duration(75), format_duration(3675), format_duration(90_000)
    ('1:15', '1:01:15', '1 d 1:00:00')
    """
    if not math.isfinite(seconds):
        return "?"
    whole = max(0, round(seconds))
    days, hours, minutes = whole // 86_400, whole // 3600 % 24, whole // 60 % 60
    if whole < 3600:
        return f"{minutes}:{whole % 60:02d}"
    return (f"{days} d " if days else "") + f"{hours}:{minutes:02d}:{whole % 60:02d}"


def _lower_median(values: deque[float]) -> float:
    return sorted(values)[(len(values) - 1) // 2]
