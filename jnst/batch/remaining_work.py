"""What a job of many pictures has before it: which are painted now, how many are left of each size, how much work."""

import os
import threading
from collections import Counter
from collections.abc import Hashable, Sequence
from typing import Any, NamedTuple

from jnst.batch.requests import Item
from jnst.progress.callbacks import BatchSnapshot, Silent


class _Group(NamedTuple):
    """Pictures that share a compiled program: their padded size, and the work of one of them in pixels × steps."""

    size: tuple[int, int]
    work: float


class RemainingWork:
    """Follows a job, and tells a printer what is being done.

    Pictures are read shortly before they are painted, so that the sizes of the last ones are not known at first; they
    are taken to be as much work as those read so far on average.

    Args:
        pictures: to be made.
        printer: called with what is being done, where that takes long.
    """

    def __init__(self, pictures: int, printer: Silent) -> None:
        self._printer, self._lock = printer, threading.Lock()
        self._unread, self._read = pictures, 0
        self._groups: dict[Hashable, _Group] = {}
        self._left: Counter[Hashable] = Counter()
        self._known_work = self._done_work = 0.0
        self._compiled: dict[Hashable, float] = {}  # seconds that the first batch of a group compiled for
        self._compile_before = self._compile_now = 0.0
        self._names: Sequence[str] = ()
        self._group: Hashable = None
        self._shown: tuple[int, ...] = ()  # positions in the batch of the pictures that are painted now
        self._finished = 0  # pictures of the batch that were painted before those

    def doing(self, text: str) -> None:
        """Something begins that may take long."""
        self._printer.doing(text)

    def read(self, item: Item) -> None:
        """A picture has been read and waits for others of its kind."""
        with self._lock:
            if item.group not in self._groups:
                sizes = [scale.size for scale in item.padding]
                work = float(sum(height * width for height, width in sizes) * max(1, item.task.config.run.steps))
                self._groups[item.group] = _Group(sizes[-1], work)
            self._unread -= 1
            self._read += 1
            self._left[item.group] += 1
            self._known_work += self._groups[item.group].work

    @property
    def unread(self) -> int:
        """Pictures that were not read yet, as far as is known."""
        return max(0, self._unread)

    def unreadable(self) -> None:
        """A picture could not be read."""
        with self._lock:
            self._unread -= 1

    def begin(self, paths: Sequence[str], item: Item) -> None:
        """A batch of those pictures, of the item's kind, is about to be painted."""
        with self._lock:
            self._names = [os.path.basename(path) for path in paths]
            self._group, self._shown, self._finished = item.group, (), 0
        first = self._names[0]
        self.doing(f"preparing {first}" + (f" and {len(paths) - 1} more" if len(paths) > 1 else ""))

    def end(self) -> None:
        """The batch has been painted, or given up."""
        with self._lock:
            count = len(self._names)
            self._left[self._group] -= count
            self._done_work += count * self._groups[self._group].work
            self._compiled.setdefault(self._group, self._compile_now)
            self._compile_before += self._compile_now
            self._names, self._shown, self._compile_now = (), (), 0.0

    def fields(self, snapshot: BatchSnapshot) -> dict[str, Any]:
        """Fields of a `Progress`: label, note, work, seconds of compilation so far and to come."""
        with self._lock:
            if self._group is None:
                return {"label": f"batch of {len(snapshot.progress)}"}
            if snapshot.indices != self._shown:
                self._finished += len(self._shown)
                self._shown = snapshot.indices
            compiled = snapshot.progress[0].compile_seconds
            if compiled < self._compile_now:  # another part of the batch
                self._compile_before += self._compile_now
            self._compile_now = compiled
            running = self._finished + sum(one.fraction for one in snapshot.progress)
            done = self._done_work + running * self._groups[self._group].work
            every = self._known_work + self._unread * self._known_work / self._read
            names = [self._names[index] for index in snapshot.indices]
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            return {
                "label": f"{names[0]}{more}",
                "note": self._note(),
                "work": min(1.0, done / every),
                "compile_seconds": self._compile_before + compiled,
                "compile_ahead": snapshot.progress[0].compile_ahead + self._compile_ahead(),
            }

    def _note(self) -> str:
        """How many are left after the present batch, by size."""
        left: Counter[tuple[int, int]] = Counter()
        for group, count in self._left.items():
            left[self._groups[group].size] += count - (len(self._names) if group == self._group else 0)
        parts = [f"{width}×{height}: {count}" for (height, width), count in left.most_common() if count > 0]
        parts += [f"not read yet: {self._unread}"] if self._unread > 0 else []
        return f"then {', '.join(parts)}" if parts else ""

    def _compile_ahead(self) -> float:
        """Seconds that sizes which wait and were not compiled for will take, as those before did on average."""
        known = list(self._compiled.values()) or [self._compile_now]
        new = [group for group, count in self._left.items() if count > 0 and group not in self._compiled]
        return sum(known) / len(known) * sum(group != self._group for group in new)
