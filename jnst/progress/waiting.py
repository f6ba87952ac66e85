"""Saying that something takes long, while it does, from a thread of its own."""

import threading
import time
from collections.abc import Callable
from typing import Any

SPINNER = "|/-\\"


class Waiting:
    """Calls `say(seconds passed)` after `first` seconds and then every `every` seconds, until `end`.

    What is over before `first` is never spoken of. `every` zero says it once. `lock` is held while something is said:
    that of whatever else writes to the same place.
    """

    def __init__(
        self,
        say: Callable[[float], None],
        *,
        first: float,
        every: float,
        lock: Any = None,
    ) -> None:
        self._say, self._first, self._every = say, first, every
        self._lock = threading.RLock() if lock is None else lock
        self._over, self._begin = threading.Event(), time.monotonic()
        self._thread = threading.Thread(target=self._run, name="waiting", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        pause = self._first
        while not self._over.wait(pause):
            with self._lock:
                if self._over.is_set():
                    return
                self._say(time.monotonic() - self._begin)
            if not self._every:
                return
            pause = self._every

    def end(self) -> None:
        """It is over; when this returns, nothing more is said."""
        with self._lock:
            self._over.set()
