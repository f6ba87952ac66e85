"""How fast a run is and how long it will take, from its records."""

import math
from collections import deque

from jnst.progress.callbacks import Progress

_RECENT = 9  # differences between records that the speed is taken from


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
        """Takes a record into account."""
        last, self._last = self._last, progress
        # A batch's picture has another name, and the work goes on at the same speed.
        if last is None or (last.label, last.steps) != (progress.label, progress.steps):
            if last is None or progress.fraction < last.fraction or last.steps != progress.steps:
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
        """At the present scale; None until it is known."""
        return 1 / _lower_median(self._per_evaluation) if self._enough(self._per_evaluation) else None

    @property
    def seconds_left(self) -> float | None:
        """Compilation of the scales to come included; None until it is known."""
        last = self._last
        if last is None or not self._enough(self._per_work):
            return None
        return _lower_median(self._per_work) * (1 - last.fraction) + last.compile_ahead

    def _enough(self, values: deque[float]) -> bool:
        # One difference is enough only once compile time has been reported and subtracted.
        return len(values) >= (1 if self._last is not None and self._last.compile_seconds > 0 else 2)


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
