"""What a callback is shown of a run between two chunks of steps."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, Self

from jnst.errors import JnstError

if TYPE_CHECKING:  # the progress bar reads these records, and must not wait for NumPy
    import numpy as np

_NAN = math.nan


@dataclass(frozen=True)
class Progress:
    """What the host knows after a chunk of steps.

    Attributes:
        step: steps done, over all scales, out of `steps`.
        evaluations: of the loss and its gradient, over all scales.
        scale: number of the present size, from 1, out of `scales`.
        size: height and width of the picture in pixels.
        total: weighted loss.
        terms: unweighted terms of the loss by name.
        best: lowest weighted loss so far at this size.
        seconds: since the run began, compilation included.
        compile_seconds: the part of them spent compiling, as far as known.
        compile_ahead: seconds that compiling what is still to come is expected to take.
        work: share of the whole work that is done, from 0 to 1, where steps cost differently (small scales cost
            less); None takes step / steps.
        label: which picture, where there are several.
        note: what else there is to say, for a wide line.
    """

    step: int
    steps: int
    evaluations: int = 0
    scale: int = 1
    scales: int = 1
    size: tuple[int, int] = (0, 0)
    total: float = _NAN
    terms: Mapping[str, float] = field(default_factory=dict)
    best: float = _NAN
    seconds: float = 0.0
    compile_seconds: float = 0.0
    compile_ahead: float = 0.0
    work: float | None = None
    label: str = ""
    note: str = ""

    @property
    def fraction(self) -> float:
        """Share of the work that is done, from 0 to 1.

        >>> Progress(step=75, steps=300).fraction
        0.25
        """
        share = self.work if self.work is not None else self.step / self.steps if self.steps else 1.0
        return min(max(share, 0.0), 1.0)


class Silent:
    """Shows nothing. Every printer takes records by a call, notes by `note`, what went wrong by `problem`, and ends by
    `close` or a `with` block.

    `doing` names something that begins and may take long, such as reading or compiling; the next record, or the next
    thing that begins, ends it.
    """

    def __call__(self, progress: Progress) -> None:
        pass

    def doing(self, text: str) -> None:
        pass

    def compiling(self, size: tuple[int, int]) -> None:
        """A picture of that height and width is about to be compiled for."""
        self.doing(f"compiling {size[1]}×{size[0]} (once per size)")

    def note(self, text: str) -> None:
        pass

    def problem(self, text: str) -> None:
        """Something went wrong, and the work goes on: even who wants to see nothing else sees this."""
        self.note(text)

    def close(self) -> None:
        pass

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *reason: object) -> None:
        self.close()


class DeferredImage:
    """A way to see pictures that are there while a callback runs, and whose memory is then the next steps'."""

    def __init__(self, see: Callable[..., "np.ndarray"]) -> None:
        self._see: Callable[..., np.ndarray] | None = see

    def __call__(self, *element: int) -> "np.ndarray":
        """The picture, or that of one batch element: RGB in [0, 1], height × width × 3, float32.

        Raises:
            JnstError: when the callback has returned.
        """
        if self._see is None:
            raise JnstError(
                "a snapshot's image is there only until its callback returns, since the next steps take over its "
                "memory; call image() in the callback and keep what it returns"
            )
        return self._see(*element)

    def close(self) -> None:
        """The callback has returned."""
        self._see = None


class Snapshot(NamedTuple):
    """What a callback receives about once a second; valid as long as it runs.

    progress: how far the run is, and its losses.
    image: () -> the best picture so far, RGB in [0, 1], height × width × 3, brought to the host: in the colours that
        the result will have, at the size of the present scale.
    """

    progress: Progress
    image: Callable[[], "np.ndarray"]


class BatchSnapshot(NamedTuple):
    """What a batch's callback receives; valid as long as it runs.

    indices: positions of the images of the batch in the list that was given.
    progress: of each of them.
    image: (position within the batch) -> its best picture so far, RGB in [0, 1], height × width × 3, on the host.
    """

    indices: tuple[int, ...]
    progress: tuple[Progress, ...]
    image: Callable[[int], "np.ndarray"]
