"""Entry after entry from file to file: pictures are read and written by threads while batches are being painted."""

import collections
import dataclasses
import errno
import functools
import time
from collections.abc import Callable, Hashable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jnst.batch import remote
from jnst.batch.inputs import describe_inputs, hash_bytes, without_stamps
from jnst.batch.outlook import Outlook
from jnst.batch.records import Record, finite, make_failure
from jnst.batch.requests import Item, Task, prepare
from jnst.batch.scheduler import BatchScheduler, Plan
from jnst.batch.worklist import Entry
from jnst.config import ColorProfile, to_dict
from jnst.errors import ImageError, JnstError
from jnst.images.inputs import StylePicture, as_style
from jnst.images.reading import Picture
from jnst.transfer.callbacks import BatchSnapshot, Silent
from jnst.transfer.region_files import read_regions
from jnst.transfer.result import Result
from jnst.transfer.style_targets import StyleTargets, is_style_file, read_style
from jnst.vgg.convolution import prepare_params
from jnst.weights.store import Weights

# Pictures read ahead of the batch at hand, and pictures that wait for others of their size.
_READ_AHEAD = 8
_MOST_WAITING = 128
_REMEMBERED_STYLES = 64
# What the system says of a name, not of the disk.
_OWN_TROUBLE = {
    errno.ENAMETOOLONG,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.EEXIST,
    errno.EILSEQ,
    errno.EINVAL,
    errno.ELOOP,
}


@dataclass(frozen=True)
class Options:
    """What is the same for all entries of a job. `output` is a folder or its URL; `lanes` None takes what fits."""

    output: str
    overwrite: bool = False
    keep_going: bool = False
    bits: int = 8
    quality: int = 95
    allow_large: bool = False
    allow_damaged: bool = False
    lanes: int | None = None
    threads: int = 2


class _Style(NamedTuple):
    """A style as read, notes on its file, and the hash of that."""

    image: StylePicture | StyleTargets
    notes: tuple[str, ...]
    sha256: str


class _Ready(NamedTuple):
    entry: Entry
    item: Item
    notes: tuple[str, ...]
    inputs: dict[str, Any]


Deliver = Callable[[Record], Any]


class Workshop:
    """Holds what all entries share: prepared parameters, compiled programs, styles.

    Args:
        weights: from `read_weights`.
        options: where to and how.
        report: is told of every new batch size.
        outlook: follows the work.
    """

    def __init__(
        self,
        weights: Weights,
        options: Options,
        *,
        report: Callable[[Plan], Any] | None = None,
        outlook: Outlook | None = None,
    ) -> None:
        self.options, self.sha256 = options, weights.info.sha256
        self.outlook = Outlook(0, Silent()) if outlook is None else outlook
        self.outlook.doing("preparing the network")
        self.painter = BatchScheduler(
            prepare_params(weights.params),
            lanes=options.lanes,
            report=report,
            doing=self.outlook.doing,
            weights_sha256=self.sha256,
        )
        self._style = functools.lru_cache(_REMEMBERED_STYLES)(self._read_style)

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
                self.outlook.doing("writing pictures")
                readers.shutdown(cancel_futures=True)
                writers.shutdown()
            for future in written:
                future.result()

    def _batches(
        self, entries: Iterable[Entry], readers: ThreadPoolExecutor, deliver: Deliver
    ) -> Iterator[list[_Ready]]:
        """Entries of one kind, as many as a batch holds; what is left over at the end in smaller ones."""
        waiting: dict[Hashable, list[_Ready]] = {}
        for entry, future in _ahead(entries, readers, self._read):
            if not future.done():
                self.outlook.doing("reading pictures")
            try:
                ready = future.result()
            except Exception as error:  # a picture can be broken in ways that no library foresees
                self.outlook.unreadable()
                deliver(make_failure(entry, error))
                continue
            self.outlook.read(ready.item)
            group = waiting.setdefault(ready.item.group, [])
            group.append(ready)
            if len(group) >= self.painter.limit(ready.item):
                yield waiting.pop(ready.item.group)
            elif sum(map(len, waiting.values())) >= _MOST_WAITING:
                yield waiting.pop(max(waiting, key=lambda kind: len(waiting[kind])))
        yield from waiting.values()

    def _read(self, entry: Entry) -> _Ready:
        """In a thread: from the files to an item at working size."""
        profile = entry.config.color_profile
        styles = [self._style(path, profile) for path in entry.styles]
        hashes = {path: style.sha256 for path, style in zip(entry.styles, styles, strict=True)}
        picture, hashes[entry.content] = self._read_picture(entry.content, profile)
        chosen = tuple(style.image for style in styles if isinstance(style.image, StylePicture))
        prepared = [style.image for style in styles if isinstance(style.image, StyleTargets)]
        if prepared and len(styles) > 1:
            raise ImageError("a prepared style cannot be blended with others; prepare the blend with `jnst targets`")
        if prepared and entry.regions is not None and (entry.regions.masks or entry.regions.style_masks):
            raise ImageError("a prepared style cannot be given a mask; give the style picture instead")

        def read_mask(path: str) -> Picture:
            mask, hashes[path] = remote.read_picture(path, allow_large=self.options.allow_large)
            return mask

        regions, keep = read_regions(entry.regions, chosen, read_mask)
        inputs = describe_inputs(entry.content, entry.styles, hashes, entry.masks)
        task = Task(
            picture,
            prepared[0] if prepared else chosen,
            entry.config,
            entry.seed,
            entry.style_weights,
            style_key=entry.styles if regions is None else None,
            regions=None if regions is None else tuple(regions),
            keep=keep,
        )
        item = prepare(task)
        notes = [note for style in styles for note in style.notes]
        notes += [] if item.masks is None else item.masks.notes
        return _Ready(entry, item, (*picture.notes, *notes), inputs)

    def _read_style(self, path: str, color_profile: ColorProfile) -> _Style:
        """What a picture hides is filled here once, and not for every content."""
        if is_style_file(path):
            return _Style(read_style(path), (), hash_bytes(Path(path).read_bytes()))
        try:
            picture, sha256 = self._read_picture(path, color_profile)
            return _Style(as_style(picture), picture.notes, sha256)
        except ImageError as error:
            raise ImageError(f"style: {error}") from error

    def _read_picture(self, path: str, color_profile: ColorProfile) -> tuple[Picture, str]:
        options = self.options
        return remote.read_picture(
            path,
            allow_large=options.allow_large,
            allow_damaged=options.allow_damaged,
            color_profile=color_profile,
        )

    def _paint(
        self, batch: list[_Ready], deliver: Deliver, callback: Callable[[BatchSnapshot], Any] | None
    ) -> list[tuple[_Ready, Result, float]]:
        begin = time.monotonic()
        self.outlook.begin([ready.entry.content for ready in batch], batch[0].item)
        try:
            results = self.painter.paint([ready.item for ready in batch], callback=callback)
        except JnstError as error:
            if len(batch) == 1:
                self.outlook.end()
                deliver(make_failure(batch[0].entry, error))
                return []
            # One of them spoils the batch; alone, each gets what it deserves.
            return [done for ready in batch for done in self._paint([ready], deliver, callback)]
        self.outlook.end()
        seconds = (time.monotonic() - begin) / len(batch)
        return [(ready, result, seconds) for ready, result in zip(batch, results, strict=True)]

    def _finish(self, ready: _Ready, result: Result, seconds: float, deliver: Deliver) -> None:
        """In a thread: writes the picture, then tells of it."""
        entry, totals = ready.entry, result.trace["total"]
        if not np.isfinite(totals[0]) or not np.isfinite(result.image).all():
            deliver(make_failure(entry, JnstError("the loss is not finite for this picture")))
            return
        record = {
            "kind": "item",
            "name": entry.name,
            "status": "done",
            "key": entry.key(self.sha256),
            "content": entry.content,
            "styles": list(entry.styles),
            **({} if entry.regions is None else {"regions": dataclasses.asdict(entry.regions)}),
            "seed": entry.seed,
            "height": result.image.shape[0],
            "width": result.image.shape[1],
            "stopped": result.stopped,
            "best_step": result.best_step,
            "loss": [finite(totals[0]), finite(min(totals))],
            "seconds": round(seconds, 3),
            "notes": list(ready.notes),
            "inputs": ready.inputs,
        }
        try:
            remote.write_picture(
                remote.join(self.options.output, entry.name),
                result.image,
                overwrite=self.options.overwrite or entry.replace,
                alpha=result.alpha,
                metadata=record | {"config": to_dict(entry.config), "inputs": without_stamps(ready.inputs)},
                rounding=entry.config.run.rounding,
                quality=self.options.quality,
                bits=self.options.bits,
            )
        except ImageError as error:
            # A name that is taken is this picture's own trouble; a disk that is full is everybody's and ends the job:
            # it is no failure of this picture, which `--resume` has to make.
            cause = error.__cause__
            if isinstance(cause, OSError) and cause.errno not in _OWN_TROUBLE and not self.options.keep_going:
                raise
            deliver(make_failure(entry, error))
            return
        deliver(record)


def _ahead(
    entries: Iterable[Entry], readers: ThreadPoolExecutor, read: Callable[[Entry], _Ready]
) -> Iterator[tuple[Entry, Future[_Ready]]]:
    """The entries in their order, a few of them already being read."""
    pending: collections.deque[tuple[Entry, Future[_Ready]]] = collections.deque()
    for entry in entries:
        pending.append((entry, readers.submit(read, entry)))
        if len(pending) > _READ_AHEAD:
            yield pending.popleft()
    yield from pending
