"""What shows how far a run is when it is started from Python: a bar, in a notebook the picture as well; and Ctrl-C."""

import signal
import sys
import threading
import time
from typing import Any, Self

from jnst.images.display import in_notebook, to_pil
from jnst.progress.bar import ProgressBar
from jnst.progress.callbacks import Progress, Silent, Snapshot
from jnst.progress.line import describe_terms
from jnst.runtime import Interruptions

# Seconds between two pictures in a notebook.
PICTURE_EVERY = 2.0


class Indicator:
    """Passes what a run tells on to a printer, and remembers Ctrl-C.

    Ctrl-C is taken over in the main thread alone, and only where nobody else has: there the first one ends the run
    after the present chunk.
    """

    def __init__(self, printer: Silent, *, own: bool = False) -> None:
        self._printer, self._own = printer, own
        default = signal.getsignal(signal.SIGINT) is signal.default_int_handler
        ours = default and threading.current_thread() is threading.main_thread()
        self._interruptions = Interruptions((signal.SIGINT,)) if ours else None

    def doing(self, text: str) -> None:
        """Something begins that may take long."""
        self._printer.doing(text)

    def compiling(self, size: tuple[int, int]) -> None:
        """The loop is about to be compiled for an image of that height and width."""
        self._printer.compiling(size)

    def note(self, text: str) -> None:
        """Something that the user should know."""
        self._printer.note(text)

    def __call__(self, snapshot: Snapshot) -> None:
        """A chunk of steps is done."""
        if isinstance(self._printer, NotebookBar):
            self._printer.show_picture(snapshot)
        self._printer(snapshot.progress)

    @property
    def interrupted(self) -> bool:
        """Whether there was a Ctrl-C."""
        return self._interruptions is not None and bool(self._interruptions.signal)

    def __enter__(self) -> Self:
        if self._interruptions is not None:
            self._interruptions.__enter__()
        return self

    def __exit__(self, *reason: object) -> None:
        if self._interruptions is not None:
            self._interruptions.__exit__(*reason)
        if self._own:  # one that was handed in is its owner's to close
            self._printer.close()


def make_indicator(progress: bool | Silent | None) -> Indicator:
    """The indicator for `stylize(progress=…)`: None shows in notebooks and terminals, and nowhere else."""
    if isinstance(progress, Silent):
        return Indicator(progress)
    notebook = in_notebook()
    if progress is None:
        progress = notebook or bool(getattr(sys.stderr, "isatty", lambda: False)())
    if not progress:
        return Indicator(Silent())
    return Indicator(NotebookBar() if notebook else ProgressBar(sys.stderr), own=True)


class NotebookBar(Silent):
    """tqdm's bar, over all scales, and below it the picture, drawn again every other second."""

    def __init__(self) -> None:
        self._bar: Any = None
        self._place: Any = None
        self._shown = 0.0

    def _open(self, total: int | None) -> Any:
        if self._bar is None:
            from tqdm.auto import tqdm

            self._bar = tqdm(total=total, unit="step", dynamic_ncols=True)
        return self._bar

    def doing(self, text: str) -> None:
        """Names what is being done in front of the bar."""
        self._open(None).set_description(f"{text} …")

    def note(self, text: str) -> None:
        """A line of its own."""
        self._open(None).write(text)

    def __call__(self, progress: Progress) -> None:
        """A record."""
        bar = self._open(progress.steps)
        bar.total = progress.steps
        height, width = progress.size
        scale = f"scale {progress.scale}/{progress.scales}, " if progress.scales > 1 else ""
        bar.set_description(f"{scale}{width}×{height}", refresh=False)
        bar.set_postfix({"loss": f"{progress.total:.4g}", **describe_terms(progress)}, refresh=False)
        bar.update(progress.step - bar.n)
        bar.refresh()

    def show_picture(self, snapshot: Snapshot) -> None:
        """Brings the best picture so far up to date, if the last one is old enough."""
        from IPython.display import display  # pyright: ignore[reportMissingImports]

        now, finished = time.monotonic(), snapshot.progress.step >= snapshot.progress.steps
        if now - self._shown < PICTURE_EVERY and not finished:
            return
        self._shown = now
        picture = to_pil(snapshot.image())
        if self._place is None:
            self._place = display(picture, display_id=True)
        else:
            self._place.update(picture)

    def close(self) -> None:
        """Ends the bar, and takes the picture away: the result itself is what the cell shows."""
        if self._bar is not None:
            self._bar.close()
        if self._place is not None:
            self._place.update({"text/plain": ""}, raw=True)
            self._place = None
