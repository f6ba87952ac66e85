"""How far a job of many pictures is: a line of the manifest for each of them, and what is shown of it."""

import datetime
import threading
import time
from collections import Counter

from jnst.batch.manifest import Manifest
from jnst.batch.outlook import Outlook
from jnst.batch.records import Record
from jnst.errors import one_line
from jnst.progress.callbacks import BatchSnapshot, Progress, Silent
from jnst.runtime import Interruptions


class Interrupted(Exception):
    """Raised in a callback to leave a batch."""


class Counts:
    """Writes the lines of the manifest, and knows how far the job is."""

    def __init__(self, manifest: Manifest, printer: Silent, outlook: Outlook, *, total: int, finished: int) -> None:
        self.manifest, self.printer, self.outlook = manifest, printer, outlook
        self.total, self.finished = total, finished
        self.by_status: Counter[str] = Counter()
        self.failures: list[str] = []
        self.begin, self._lock = time.monotonic(), threading.Lock()

    @property
    def done(self) -> int:
        return self.finished + sum(self.by_status.values())

    def describe_kept(self, output: str) -> str:
        """What there is when the job has to end, and what to do then."""
        kept = self.finished + self.by_status["done"]
        return f"{kept} of {self.total} pictures are in {output} and in its manifest; mend that and pass --resume"

    def deliver(self, record: Record) -> None:
        self.manifest.append(record | {"time": now()})
        with self._lock:
            self.by_status[record["status"]] += 1
        if record["status"] == "failed":
            self._tell(f"{record['content']}: {record['reason']}")

    def refuse(self, row: str) -> None:
        """A row of a list that no picture can be made of."""
        self.manifest.append({"kind": "row", "status": "failed", "reason": row, "time": now()})
        self.by_status["failed"] += 1
        self._tell(row)

    def _tell(self, failure: str) -> None:
        failure = one_line(failure)
        self.failures.append(failure)
        self.printer.problem(failure)

    def watch(self, interruptions: Interruptions, snapshot: BatchSnapshot | None) -> None:
        if interruptions.signal:
            raise Interrupted
        if snapshot is None:  # the work is done elsewhere
            self.printer(Progress(self.done, self.total, seconds=time.monotonic() - self.begin))
            return
        first, losses = snapshot.progress[0], [one.total for one in snapshot.progress]
        self.printer(
            Progress(
                step=self.done,
                steps=self.total,
                scale=first.scale,
                scales=first.scales,
                size=first.size,
                total=sum(losses) / len(losses),
                seconds=time.monotonic() - self.begin,
                **self.outlook.fields(snapshot),
            )
        )


def now() -> str:
    """The moment, as it stands in the manifest."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
