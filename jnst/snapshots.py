"""What a callback is shown of a run between two chunks of turns."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from jnst.errors import JnstError
from jnst.progress import Progress


class Glance:
    """A way to see pictures that are there while a callback runs, and whose memory is then the next turns'."""

    def __init__(self, see: Callable[..., np.ndarray]) -> None:
        self._see: Callable[..., np.ndarray] | None = see

    def __call__(self, *lane: int) -> np.ndarray:
        """The picture, or that of one lane: RGB in [0, 1], height × width × 3, float32.

        Raises:
            JnstError: when the callback has returned.
        """
        if self._see is None:
            raise JnstError(
                "a snapshot's image is there only until its callback returns, since the next turns take over its "
                "memory; call image() in the callback and keep what it returns"
            )
        return self._see(*lane)

    def close(self) -> None:
        """The callback has returned."""
        self._see = None


class Snapshot(NamedTuple):
    """What a callback is shown between chunks. `image()` brings the best picture so far to the host, RGB in [0, 1],
    as long as the callback runs."""

    progress: Progress
    image: Callable[[], np.ndarray]


class BatchSnapshot(NamedTuple):
    """What a callback is shown: of which tasks (by position), how far each is, and their best pictures so far, as long
    as it runs."""

    indices: tuple[int, ...]
    progress: tuple[Progress, ...]
    image: Callable[[int], np.ndarray]
