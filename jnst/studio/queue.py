"""The paintings that the page and the painting thread both look at, behind one lock."""

import threading

from jnst.errors import ConfigError
from jnst.studio.painting import Painting

# So many paintings are kept, each with its moments; so many may wait.
MAX_PAINTINGS, MAX_QUEUED = 30, 8


class PaintingQueue:
    """The paintings in the order in which they were asked for.

    changed: the lock of all paintings and of `version`, and the way to wait for a change. `version` counts changes.
    """

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.paintings: list[Painting] = []
        self.version = 0
        self.closed = False
        self._made = 0

    def tell(self) -> None:
        """Something changed. To be called under the lock."""
        self.version += 1
        self.changed.notify_all()

    def find(self, number: int) -> Painting:
        """Raises ConfigError where there is no painting of that number. To be called under the lock."""
        for painting in self.paintings:
            if painting.number == number:
                return painting
        raise ConfigError(f"there is no painting {number}")

    def add(self, painting: Painting) -> int:
        """Numbers the painting and puts it into the queue; the oldest that have ended make room.

        Raises:
            ConfigError: where too many wait already.
        """
        with self.changed:
            if sum(one.status == "queued" for one in self.paintings) >= MAX_QUEUED:
                raise ConfigError(f"{MAX_QUEUED} paintings wait already; stop one, or wait")
            self._made += 1
            painting.number = self._made
            self.paintings.append(painting)
            ended = [one for one in self.paintings if one.status in ("done", "stopped", "failed")]
            for one in ended[: max(0, len(self.paintings) - MAX_PAINTINGS)]:
                self.paintings.remove(one)
            self.tell()
            return painting.number

    def next_queued(self) -> Painting | None:
        """Waits for a painting in the queue and returns it as one that is being worked on; None when all is closed."""
        with self.changed:
            self.changed.wait_for(lambda: self.closed or any(one.status == "queued" for one in self.paintings))
            if self.closed:
                return None
            painting = next(one for one in self.paintings if one.status == "queued")
            painting.status, painting.stop, painting.message = "compiling", False, ""
            self.tell()
            return painting
