"""What a batch says of itself: which pictures, how many are left of each size, and an honest share of the work."""

from types import SimpleNamespace
from typing import Any

import pytest

from jnst.batch.remaining_work import RemainingWork
from jnst.batch.requests import PaddedScale
from jnst.progress.callbacks import BatchSnapshot, Progress, Silent


class Listener(Silent):
    def __init__(self) -> None:
        self.heard: list[str] = []

    def doing(self, text: str) -> None:
        self.heard.append(text)


def item(height: int, width: int, steps: int = 10) -> Any:
    config = SimpleNamespace(run=SimpleNamespace(steps=steps))
    padding = (PaddedScale((height, width), exact=True),)
    return SimpleNamespace(group=(height, width), padding=padding, task=SimpleNamespace(config=config))


def snapshot(*steps: int, first: int = 0, compiled: float = 0.0) -> BatchSnapshot:
    progress = tuple(Progress(step, 10, compile_seconds=compiled) for step in steps)
    return BatchSnapshot(tuple(range(first, first + len(steps))), progress, lambda _: None)  # type: ignore[arg-type,return-value]


def test_it_names_the_pictures_and_counts_the_others_by_size() -> None:
    listener = Listener()
    remaining = RemainingWork(9, listener)
    small, large = item(32, 32), item(64, 64)
    for one in (small, small, small, large, large, large, large):
        remaining.read(one)
    remaining.unreadable()
    remaining.begin(["photos/a.jpg", "photos/b.jpg"], small)
    assert listener.heard == ["preparing a.jpg and 1 more"]
    fields = remaining.fields(snapshot(0, 0))
    assert fields["label"] == "a.jpg and 1 more"
    assert fields["note"] == "then 64×64: 4, 32×32: 1, not read yet: 1"
    remaining.end()
    remaining.begin(["photos/c.jpg"], small)
    assert remaining.fields(snapshot(0))["label"] == "c.jpg"
    assert remaining.fields(snapshot(0))["note"] == "then 64×64: 4, not read yet: 1"


def test_work_is_counted_by_pixels_and_those_not_read_are_taken_for_the_mean() -> None:
    remaining = RemainingWork(4, Silent())
    small, large = item(32, 32), item(64, 64)  # one of these is four of those
    remaining.read(small)
    remaining.begin(["a"], small)
    assert remaining.fields(snapshot(5))["work"] == pytest.approx(0.5 / 4)
    remaining.end()
    remaining.read(large)
    remaining.begin(["b"], large)
    # One unit done, four at half; two unread of two and a half each.
    assert remaining.fields(snapshot(5))["work"] == pytest.approx(3 / 10)
    remaining.end()
    remaining.unreadable()
    remaining.unreadable()
    remaining.read(small)
    remaining.begin(["c"], small)
    assert remaining.fields(snapshot(10))["work"] == 1


def test_a_batch_that_is_painted_in_parts_goes_on_counting() -> None:
    remaining = RemainingWork(3, Silent())
    one = item(32, 32)
    for _ in range(3):
        remaining.read(one)
    remaining.begin(["a", "b", "c"], one)
    assert remaining.fields(snapshot(10, 10, compiled=4.0))["work"] == pytest.approx(2 / 3)
    later = remaining.fields(snapshot(5, first=2, compiled=1.0))
    assert (later["label"], later["work"]) == ("c", pytest.approx(2.5 / 3))
    assert later["compile_seconds"] == 5


def test_sizes_that_wait_are_expected_to_compile_as_long_as_those_before() -> None:
    remaining = RemainingWork(4, Silent())
    sizes = [item(32, 32), item(32, 32), item(48, 48), item(64, 64)]
    for one in sizes:
        remaining.read(one)
    remaining.begin(["a"], sizes[0])
    assert remaining.fields(snapshot(1, compiled=6.0))["compile_ahead"] == 12
    remaining.end()
    remaining.begin(["b"], sizes[2])
    fields = remaining.fields(snapshot(1, compiled=8.0))
    assert fields["compile_seconds"] == 14
    assert fields["compile_ahead"] == 6  # of the third size; the first one that is left is compiled


def test_work_done_elsewhere_is_a_number_alone() -> None:
    assert RemainingWork(4, Silent()).fields(snapshot(1, 2)) == {"label": "batch of 2"}
