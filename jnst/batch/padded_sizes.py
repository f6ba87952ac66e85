"""Which padded sizes the images of a job share: compiling for a size takes time, and so do the pixels of padding.

An image has padded sizes of its own, one for each scale, which depend on its size alone: eight sides per doubling.
Where few images are alike, a program for each such size costs more than it saves. Images of other sizes are then padded
to sizes that they share: two sides per doubling at the last scale, one at the coarser ones.
"""

import collections
import dataclasses
from collections import Counter
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Sequence
from typing import TypeVar

from jnst.batch.requests import Item, PaddedScale
from jnst.images.padding import padded_size

# Pixels × steps that can be painted in the time that a program takes to compile, with the preset `default`. On two CPU
# cores that is measured; for accelerators it is an estimate.
COMPILING = {"cpu": 5e6, "gpu": 3e8, "tpu": 3e8}
# What masks after every convolution and pool cost a padded image, as a share of the time to paint; an estimate.
_MASKS = 0.05
# Images that are looked at before the first of them gets its padded size, and the pixels that may wait meanwhile: of
# large images each has its own size anyway.
_LOOKED_AT = 16
_MOST_PIXELS = 8_000_000

_T = TypeVar("_T")

Padding = tuple[PaddedScale, ...]


def compile_cost(item: Item, platform: str) -> float:
    """How many images like this one can be painted in the time that their program takes to compile."""
    height, width = item.sizes[-1]
    return COMPILING.get(platform, COMPILING["gpu"]) / (height * width * max(1, item.task.config.run.steps))


class _Counts:
    """Of images that differ in size alone: by their own padding how many were seen and wait, and what was chosen."""

    def __init__(self) -> None:
        self.seen: Counter[Padding] = Counter()
        self.waiting: Counter[Padding] = Counter()
        self.chosen: set[Padding] = set()


class PaddedSizes:
    """Chooses for image after image, and remembers what was chosen.

    Args:
        platform: cpu, gpu or tpu; it decides what compiling costs.
        own: every image gets its own sizes, whatever else is in the job.
    """

    def __init__(self, platform: str, *, own: bool = False) -> None:
        self._platform, self._own = platform, own
        self._programs: dict[Hashable, _Counts] = {}
        self._total = 0

    def see(self, item: Item) -> None:
        """An image has been read; `choose` is asked for it later."""
        self._total += 1
        images = self._programs.setdefault(item.program, _Counts())
        images.seen[item.padding] += 1
        images.waiting[item.padding] += 1

    def choose(self, item: Item, unread: int = 0) -> Item:
        """The image with the padded sizes that it will have.

        Args:
            item: seen before, with its own padding.
            unread: images of the job that were not seen yet. They are taken to be like those seen.
        """
        own, images = item.padding, self._programs[item.program]
        expected = images.waiting[own] + unread * images.seen[own] / self._total
        images.waiting[own] -= 1
        if self._own or item.task.config.tile or item.task.config.network.padding == "circular":
            return item
        if own in images.chosen:
            return item
        shared = min((padding for padding in images.chosen if _fits(item.sizes, padding)), key=_area, default=None)
        if shared is None:
            shared = _shared_padding(item)
            others = (padding for padding, count in images.waiting.items() if count > 0 and padding != own)
            if not any(_fits([scale.size for scale in padding], shared) for padding in others):
                shared = own  # nobody to share with
        waste = _area(shared) / _area(own) - 1 + _MASKS * all(scale.exact for scale in own)
        if waste * expected > compile_cost(item, self._platform):
            shared = own
        images.chosen.add(shared)
        return dataclasses.replace(item, padding=shared)


def look_ahead(images: Iterable[_T], pixels: Callable[[_T], int]) -> Iterator[tuple[_T, int]]:
    """Each image, and how many have been taken that follow it: some, unless images are large.

    Args:
        images: in their order.
        pixels: of an image, which waits in memory.
    """
    taken, waiting = collections.deque[_T](), 0
    for image in images:
        taken.append(image)
        waiting += pixels(image)
        while taken and (len(taken) > _LOOKED_AT or waiting > _MOST_PIXELS):
            first = taken.popleft()
            waiting -= pixels(first)
            yield first, len(taken)
    while taken:
        yield taken.popleft(), len(taken)


def choose_batch_size(waiting: int, limit: int, *, devices: int, compiled: Collection[int], cost: float) -> int:
    """How many images the next batch has, idle elements included.

    The largest batch while there is enough for it. What is left is painted in one batch of a power of two with idle
    elements, or in several that it fills: whatever costs less to compile and to paint.

    Args:
        waiting: images.
        limit: of one batch.
        devices: among which a batch is divided; the result is a multiple of it.
        compiled: batch sizes that there are programs for.
        cost: images that can be painted in the time that a program takes to compile.

    >>> [choose_batch_size(waiting, 8, devices=1, compiled=(), cost=1.0) for waiting in (20, 8, 7, 5, 3, 1)]
    [8, 8, 8, 4, 4, 1]
    """
    if waiting >= limit:
        return limit
    filled = -(-waiting // devices)
    powers = [devices << power for power in reversed(range(filled.bit_length())) if filled & (1 << power)]
    in_parts = cost * sum(part not in compiled for part in powers)
    first = (filled - 1).bit_length()
    wholes = [devices << power for power in range(first, limit.bit_length()) if devices << power <= limit]
    costs = {whole: whole - waiting + cost * (whole not in compiled) for whole in wholes}
    whole = min(wholes, key=costs.__getitem__, default=None)
    return powers[0] if whole is None or costs[whole] > in_parts else whole


def _fits(sizes: Sequence[tuple[int, int]], padding: Padding) -> bool:
    """Whether an image of those sizes, one for each scale, can be padded so."""
    return all(
        size == scale.size if scale.exact else size[0] <= scale.size[0] and size[1] <= scale.size[1]
        for size, scale in zip(sizes, padding, strict=True)
    )


def _shared_padding(item: Item) -> Padding:
    last = len(item.sizes) - 1
    return tuple(
        PaddedScale(padded_size(*size, per_doubling=2 if index == last else 1), False)
        for index, size in enumerate(item.sizes)
    )


def _area(padding: Padding) -> int:
    return sum(scale.size[0] * scale.size[1] for scale in padding)
