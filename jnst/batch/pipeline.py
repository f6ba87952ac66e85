"""Entry after entry from file to file: pictures are read and written by threads while batches are being painted."""

import collections
import errno
import math
import time
from collections.abc import Callable, Hashable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np

from jnst.batch import folders
from jnst.batch.entry_reader import EntryReader, ReadyEntry
from jnst.batch.input_changes import without_stamps
from jnst.batch.options import Options
from jnst.batch.padded_sizes import look_ahead
from jnst.batch.records import Record, make_failure, make_success
from jnst.batch.remaining_work import RemainingWork
from jnst.batch.scheduler import BatchScheduler, Plan
from jnst.batch.worklist import Entry
from jnst.config_json import to_dict
from jnst.errors import ImageError, JnstError
from jnst.progress.callbacks import BatchSnapshot, Silent
from jnst.transfer.result import Result
from jnst.vgg.convolution import prepare_params
from jnst.weights.network import Weights

# Pictures read ahead of the batch at hand, and pictures that wait for others of their size.
_READ_AHEAD = 8
_MOST_WAITING = 128
# What the system says of a name, not of the disk.
_CONCERNS_ONE = {
    errno.ENAMETOOLONG,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.EEXIST,
    errno.EILSEQ,
    errno.EINVAL,
    errno.ELOOP,
}


Deliver = Callable[[Record], Any]


class Pipeline:
    """Holds what all entries share: prepared parameters, compiled programs, styles.

    Args:
        weights: from `read_weights`.
        options: where to and how.
        report: called with the `Plan` of every new batch size.
        remaining: follows the work.
    """

    def __init__(
        self,
        weights: Weights,
        options: Options,
        *,
        report: Callable[[Plan], Any] | None = None,
        remaining: RemainingWork | None = None,
    ) -> None:
        self.options, self.sha256 = options, weights.info.sha256
        self.remaining = RemainingWork(0, Silent()) if remaining is None else remaining
        self.remaining.doing("preparing the network")
        self.scheduler = BatchScheduler(
            prepare_params(weights.params),
            batch_size=options.batch_size,
            report=report,
            doing=self.remaining.doing,
            weights_sha256=self.sha256,
        )
        self._read = EntryReader(options).read

    def work(
        self, entries: Iterable[Entry], deliver: Deliver, *, callback: Callable[[BatchSnapshot], Any] | None = None
    ) -> None:
        """Makes the entries' pictures. `deliver` is given a record for each as soon as its file is in place (or has
        failed), possibly by another thread.

        Raises:
            ImageError: the output cannot be written at all, unless `keep_going`.
            Exception: whatever `callback` raises; batches that were finished are written first.
        """
        with (
            ThreadPoolExecutor(self.options.threads, "jnst-read") as readers,
            ThreadPoolExecutor(self.options.threads, "jnst-write") as writers,
        ):
            written: collections.deque[Future[None]] = collections.deque()
            try:
                for batch in self._batches(entries, readers, deliver):
                    for ready, result, seconds in self._paint(batch, deliver, callback):
                        written.append(writers.submit(self._finish, ready, result, seconds, deliver))
                    # Not more than two batches of finished pictures wait for the disk.
                    while len(written) > 2 * len(batch) or (written and written[0].done()):
                        written.popleft().result()
            finally:
                self.remaining.doing("writing pictures")
                readers.shutdown(cancel_futures=True)
                writers.shutdown()
            for future in written:
                future.result()

    def _batches(
        self, entries: Iterable[Entry], readers: ThreadPoolExecutor, deliver: Deliver
    ) -> Iterator[list[ReadyEntry]]:
        """Entries of one kind, as many as a batch holds; what is left over at the end in smaller ones."""
        waiting: dict[Hashable, list[ReadyEntry]] = {}
        for ready in self._padded(self._readied(entries, readers, deliver)):
            self.remaining.read(ready.item)
            group = waiting.setdefault(ready.item.group, [])
            group.append(ready)
            if len(group) >= self.scheduler.limit(ready.item):
                yield waiting.pop(ready.item.group)
            elif sum(map(len, waiting.values())) >= _MOST_WAITING:
                yield waiting.pop(max(waiting, key=lambda kind: len(waiting[kind])))
        yield from waiting.values()

    def _readied(self, entries: Iterable[Entry], readers: ThreadPoolExecutor, deliver: Deliver) -> Iterator[ReadyEntry]:
        """The entries whose pictures could be read."""
        for entry, future in _ahead(entries, readers, self._read):
            if not future.done():
                self.remaining.doing("reading pictures")
            try:
                ready = future.result()
            except Exception as error:  # a picture can be broken in ways that no library foresees
                self.remaining.unreadable()
                deliver(make_failure(entry, error))
                continue
            yield ready

    def _padded(self, readied: Iterable[ReadyEntry]) -> Iterator[ReadyEntry]:
        """The same with the padded sizes that they will have, which depend on the pictures that follow."""
        sizes = self.scheduler.padded_sizes

        def see(ready: ReadyEntry) -> ReadyEntry:
            sizes.see(ready.item)
            return ready

        for ready, followed in look_ahead(map(see, readied), lambda ready: math.prod(ready.item.sizes[-1])):
            unread = max(0, self.remaining.unread - 1 - followed)
            yield ready._replace(item=sizes.choose(ready.item, unread))

    def _paint(
        self, batch: list[ReadyEntry], deliver: Deliver, callback: Callable[[BatchSnapshot], Any] | None
    ) -> list[tuple[ReadyEntry, Result, float]]:
        begin = time.monotonic()
        self.remaining.begin([ready.entry.content for ready in batch], batch[0].item)
        try:
            results = self.scheduler.run([ready.item for ready in batch], callback=callback)
        except JnstError as error:
            if len(batch) == 1:
                self.remaining.end()
                deliver(make_failure(batch[0].entry, error))
                return []
            # One invalid picture fails the whole batch; each is tried alone to find it.
            return [done for ready in batch for done in self._paint([ready], deliver, callback)]
        self.remaining.end()
        seconds = (time.monotonic() - begin) / len(batch)
        return [(ready, result, seconds) for ready, result in zip(batch, results, strict=True)]

    def _finish(self, ready: ReadyEntry, result: Result, seconds: float, deliver: Deliver) -> None:
        """In a thread: writes the picture, then tells of it."""
        entry = ready.entry
        if not np.isfinite(result.trace["total"][0]) or not np.isfinite(result.image).all():
            deliver(make_failure(entry, JnstError("the loss is not finite for this picture")))
            return
        record = make_success(
            entry, result, seconds, weights_sha256=self.sha256, notes=ready.notes, inputs=ready.inputs
        )
        try:
            folders.write_picture(
                folders.join(self.options.output, entry.name),
                result.image,
                overwrite=self.options.overwrite or entry.replace,
                alpha=result.alpha,
                metadata=record | {"config": to_dict(entry.config), "inputs": without_stamps(ready.inputs)},
                rounding=entry.config.run.rounding,
                quality=self.options.quality,
                bits=self.options.bits,
            )
        except ImageError as error:
            # A name that is taken concerns this picture alone; a full disk concerns all of them and ends the job:
            # it is no failure of this picture, which `--resume` has to make.
            cause = error.__cause__
            if isinstance(cause, OSError) and cause.errno not in _CONCERNS_ONE and not self.options.keep_going:
                raise
            deliver(make_failure(entry, error))
            return
        deliver(record)


def _ahead(
    entries: Iterable[Entry], readers: ThreadPoolExecutor, read: Callable[[Entry], ReadyEntry]
) -> Iterator[tuple[Entry, Future[ReadyEntry]]]:
    """The entries in their order, a few of them already being read."""
    pending: collections.deque[tuple[Entry, Future[ReadyEntry]]] = collections.deque()
    for entry in entries:
        pending.append((entry, readers.submit(read, entry)))
        if len(pending) > _READ_AHEAD:
            yield pending.popleft()
    yield from pending
