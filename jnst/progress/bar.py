"""Printers of records: a bar on a terminal, plain lines elsewhere, or nothing but what went wrong."""

import contextlib
import functools
import math
import os
import sys
import threading
import time
from collections.abc import Callable
from typing import TextIO

from jnst.errors import one_line
from jnst.progress.callbacks import Progress, Silent
from jnst.progress.line import describe, draw_bar
from jnst.progress.pace import Pace, format_duration
from jnst.progress.waiting import SPINNER, Waiting

_REDRAW = 0.1  # seconds between two drawings of the bar
_LINE_EVERY = 10.0  # seconds, or a tenth of the work, between two plain lines
_PATIENCE = (
    1.0  # seconds without a word, until what is being done is named; the first word on a terminal waits for none
)
_PLAIN = {"×": "x", "·": "|", "…": "..."}


class ProblemsOnly(Silent):
    """Nothing but what went wrong, a line for each."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def problem(self, text: str) -> None:
        with contextlib.suppress(OSError, ValueError):
            print(one_line(text), file=self._stream, flush=True)


class ProgressBar(Silent):
    """One line that is drawn again, if the stream is a terminal; else a plain line for every tenth or ten seconds.

    Its methods may be called from several threads.
    """

    def __init__(self, stream: TextIO | None = None, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = sys.stderr if stream is None else stream
        self._clock = clock
        self._lock = threading.RLock()
        self._pace = Pace()
        self._losses: list[float] = []  # at this scale
        self._live = bool(getattr(self._stream, "isatty", lambda: False)())
        self._drawn = 0  # columns of the line that stands unfinished
        self._spinning = False  # whether that line is the spinner's
        self._pending: Progress | None = None  # newest record that has not been shown
        self._shown: Progress | None = None
        self._shown_at = -math.inf
        # Imports may hold the interpreter for a second each, so that a terminal hears of what comes first beforehand.
        self._written_at = -math.inf if self._live else time.monotonic()
        self._waiting: Waiting | None = None
        self._doing = ""

    def doing(self, text: str) -> None:
        """Names what is being done, as soon as nothing has been said for a second: with a spinner on a terminal, which
        hears the first word at once, else on one line."""
        with self._lock:
            self._end_waiting()
            if self._live and self._shown is not None and self._shown.step >= self._shown.steps and not self._spinning:
                self._finish_line()
            self._doing = text
            first = max(0.0, _PATIENCE - (time.monotonic() - self._written_at))
            say = functools.partial(self._say, text)
            self._waiting = Waiting(say, first=first, every=0.25 if self._live else 0.0, lock=self._lock)

    def _say(self, text: str, seconds: float) -> None:
        if not self._live:
            self._write(f"{text} …\n")
            return
        left = self._pace.seconds_left
        then = f" · {format_duration(left - seconds)} left" if left is not None and left > seconds else ""
        line = f"{SPINNER[int(4 * seconds) % len(SPINNER)]} {text} … {format_duration(seconds)}{then}"
        self._put(line[: self._columns()])
        self._spinning = True

    def _end_waiting(self) -> None:
        if self._waiting is not None:
            self._waiting.end()
            self._waiting, self._doing = None, ""

    def __call__(self, progress: Progress) -> None:
        with self._lock:
            self._end_waiting()
            self._take(progress)
            now, shown = self._clock(), self._shown
            finished = progress.step >= progress.steps
            if self._live:
                if finished or self._spinning or now - self._shown_at >= _REDRAW:
                    self._show(now)
                return
            further = progress.fraction - shown.fraction if shown else 1.0
            another = shown is not None and shown.label != progress.label
            if finished or another or further >= 0.1 - 1e-9 or now - self._shown_at >= _LINE_EVERY:
                self._show(now)

    def _take(self, progress: Progress) -> None:
        last = self._pending or self._shown
        if last is not None and (last.label, last.scale) != (progress.label, progress.scale):
            self._losses.clear()
        self._losses.append(progress.total)
        self._pace.add(progress)
        self._pending = progress

    def note(self, text: str) -> None:
        """A line of its own; the bar, or what is being done, goes on below it."""
        with self._lock:
            doing = self._doing
            self._end_waiting()
            self._erase()
            self._write(one_line(text) + "\n")
            if self._live and doing:
                self.doing(doing)
            elif self._live and self._shown is not None:
                self._draw(self._shown)

    def close(self) -> None:
        """Shows the newest record, if it has not been, and ends the line. Safe to call twice."""
        with self._lock:
            self._end_waiting()
            if self._spinning:
                self._erase()
            self._finish_line()

    def _finish_line(self) -> None:
        if self._pending is not None:
            self._show(self._clock())
        if self._drawn:
            self._write("\n")
            self._drawn = 0
        self._shown = None

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
        columns, plain = self._columns(), not self._can_draw()
        self._put(draw_bar(progress, self._pace, columns=columns, ascii_only=plain, losses=self._losses))
        self._spinning = False

    def _put(self, line: str) -> None:
        """Draws the line over the one that stands there. Blanks instead of escape codes: every terminal knows them."""
        self._write("\r" + line.ljust(self._drawn))
        self._drawn = len(line)

    def _erase(self) -> None:
        if self._drawn:
            self._write("\r" + " " * self._drawn + "\r")
        self._drawn, self._spinning = 0, False

    def _columns(self) -> int:
        try:
            columns = os.get_terminal_size(self._stream.fileno()).columns
        except (OSError, ValueError, AttributeError):
            columns = 0
        # The last column stays free: some terminals wrap as soon as it is filled.
        return (columns or 80) - 1

    def _can_draw(self) -> bool:
        try:
            "━─·×▁".encode(getattr(self._stream, "encoding", None) or "utf-8")
        except (UnicodeEncodeError, LookupError):
            return False
        return True

    def _write(self, text: str) -> None:
        self._written_at = time.monotonic()
        try:
            if not self._can_draw():
                for letter, plain in _PLAIN.items():
                    text = text.replace(letter, plain)
                text = text.encode("ascii", "replace").decode()
            self._stream.write(text)
            self._stream.flush()
        except (OSError, ValueError):
            pass  # whoever was reading has gone; the run goes on
