"""Which padded sizes images share, and how many a batch has: few programs, whatever is left over."""

import dataclasses
import itertools
from collections import Counter

import numpy as np
import pytest
from small import picture, shallow, small_params

from jnst.batch.padded_sizes import PaddedSizes, choose_batch_size, compile_cost, look_ahead
from jnst.batch.requests import Item, Task, own_padding, prepare
from jnst.batch.scheduler import BatchScheduler, Plan
from jnst.transfer.driver import stylize

STYLE = picture("marble", 40, 36, 3)
# Height and width; eight shapes of the same longer side.
SHAPES = [(171, 256), (256, 192), (144, 256), (256, 256), (192, 256), (256, 171), (256, 205), (256, 144)]


def config_of(steps: int = 100, **run):
    return shallow(steps=steps, run={"scales": 2, **run})


def item_of(size: tuple[int, int], config=None) -> Item:
    """An image of that size at its last of two scales, and half of it before."""
    config = config or config_of()
    sizes = ((-(-size[0] // 2), -(-size[1] // 2)), size)
    empty = np.zeros((1, 1, 3), np.float32)
    return Item(Task(None, (), config), empty, sizes, empty, own_padding(sizes, config))


def choose_all(items: list[Item], platform: str = "cpu", *, own: bool = False, looked_at: int = 16) -> list[Item]:
    """As a job does: some are looked at before the first is chosen for."""
    sizes, chosen = PaddedSizes(platform, own=own), []
    for index in range(len(items) + looked_at):
        if index < len(items):
            sizes.see(items[index])
        if 0 <= index - looked_at < len(items):
            chosen.append(sizes.choose(items[index - looked_at], max(0, len(items) - index - 1)))
    return chosen


def area(items: list[Item]) -> int:
    return sum(height * width for item in items for (height, width), _ in item.padding)


def shapes(count: int, config=None) -> list[Item]:
    return [item_of(size, config) for size in itertools.islice(itertools.cycle(SHAPES), count)]


def test_few_images_of_many_shapes_share_sizes():
    items = shapes(30)
    chosen = choose_all(items)
    assert len({item.padding for item in items}) == 8
    assert len({item.padding for item in chosen}) == 5
    assert 1.0 < area(chosen) / area(items) < 1.1
    # What is dear to compile and quick to paint shares more.
    assert len({item.padding for item in choose_all(items, "gpu")}) == 3


def test_many_images_of_a_shape_have_their_own_size():
    items = shapes(400)
    assert [item.padding for item in choose_all(items)] == [item.padding for item in items]


@pytest.mark.parametrize("size", SHAPES)
@pytest.mark.parametrize("count", [1, 3, 30])
def test_images_of_one_size_are_padded_no_further_than_alone(size, count):
    items = [item_of(size)] * count
    assert [item.padding for item in choose_all(items)] == [item.padding for item in items]
    assert [item.padding for item in choose_all(items, "gpu")] == [item.padding for item in items]


def test_every_image_fits_and_only_full_ones_share_a_size_without_padding():
    generator = np.random.default_rng(0)
    for platform, count in itertools.product(("cpu", "gpu"), (3, 40, 200)):
        items = [item_of(tuple(map(int, generator.integers(20, 300, 2)))) for _ in range(count)]
        chosen = choose_all(items, platform)
        assert len({item.group for item in chosen}) <= len({item.group for item in items})
        for after in chosen:
            for (height, width), scale in zip(after.sizes, after.padding, strict=True):
                padded_height, padded_width = scale.size
                assert padded_height >= height
                assert padded_width >= width
                assert not scale.exact or scale.size == (height, width)


@pytest.mark.parametrize("change", ["own", "circular", "tile"])
def test_sizes_are_not_shared_where_they_must_not_be(change):
    config = config_of()
    if change == "circular":
        config = dataclasses.replace(config, network=dataclasses.replace(config.network, padding="circular"))
    if change == "tile":
        config = dataclasses.replace(config, tile=64)
    items = shapes(16, config)
    assert [item.padding for item in choose_all(items, own=change == "own")] == [item.padding for item in items]


def test_programs_of_other_settings_are_not_shared():
    few, many = config_of(), config_of(steps=120)
    items = [item_of(SHAPES[0], few), item_of(SHAPES[2], many)]
    assert [item.padding for item in choose_all(items)] == [item.padding for item in items]


def test_the_price_of_compiling_falls_with_the_size_and_the_steps():
    assert compile_cost(item_of((256, 256)), "cpu") == pytest.approx(5e6 / (256 * 256 * 100))
    assert compile_cost(item_of((512, 256), config_of(steps=50)), "tpu") == pytest.approx(3e8 / (512 * 256 * 50))


@pytest.mark.parametrize(("pixels", "most"), [(0, 16), (1_000_000, 8), (7_000_000, 1), (90_000_000, 0)])
def test_few_images_wait_while_others_are_looked_at_and_of_large_ones_none(pixels, most):
    taken: list[int] = []

    def images():
        for number in range(40):
            taken.append(number)
            yield number

    found = []
    for number, followed in look_ahead(images(), lambda _: pixels):
        assert followed == len(taken) - number - 1
        found.append((number, followed))
    assert [number for number, _ in found] == list(range(40))
    assert max(followed for _, followed in found) == most


# --- how many a batch has ---


@pytest.mark.parametrize(
    ("waiting", "compiled", "cost", "expected"),
    [
        # Compiling costs nothing: no idle element.
        ((20, 8, 7, 3, 1), (), 0.0, [8, 8, 4, 2, 1]),
        # One idle image is less than another program, or than two.
        ((7, 6, 5, 3, 2, 1), (), 1.0, [8, 4, 4, 4, 2, 1]),
        ((7, 6, 5, 3, 2, 1), (8,), 2.5, [8, 8, 8, 4, 2, 1]),
        # There is a program for what is left.
        ((3, 5), (1, 2, 4), 100.0, [2, 4]),
        ((3, 5), (8,), 100.0, [8, 8]),
    ],
)
def test_what_is_left_over_costs_least(waiting, compiled, cost, expected):
    found = [choose_batch_size(count, 8, devices=1, compiled=compiled, cost=cost) for count in waiting]
    assert found == expected


@pytest.mark.parametrize("devices", [1, 3, 4])
def test_all_are_painted_in_batches_that_devices_divide(devices):
    for count, cost in itertools.product(range(1, 70), (0.0, 0.5, 3.0, 50.0)):
        left, compiled, limit = count, set(), 8 * devices
        while left > 0:
            size = choose_batch_size(left, limit, devices=devices, compiled=tuple(compiled), cost=cost)
            assert 0 < size <= limit
            assert size % devices == 0
            compiled.add(size)
            left -= size
        assert len(compiled) <= 4


def test_images_that_share_a_size_are_painted_as_alone():
    plans: list[Plan] = []
    config = shallow(steps=3)
    scheduler = BatchScheduler(small_params(), report=plans.append)
    contents = [picture("shapes", *size, seed) for seed, size in enumerate([(40, 64), (44, 60), (33, 50), (48, 64)])]
    items = [prepare(Task(content, (STYLE,), config)) for content in contents]
    for item in items:
        scheduler.padded_sizes.see(item)
    chosen = [scheduler.padded_sizes.choose(item) for item in items]
    assert Counter(item.padding[-1].size for item in chosen) == {(48, 64): 4}
    results = scheduler.run(chosen)
    assert [(plan.size, plan.batch_size) for plan in plans] == [((48, 64), 4)]
    for content, result in zip(contents, results, strict=True):
        alone = stylize(small_params(), content, STYLE, config)
        np.testing.assert_allclose(result.trace["total"], alone.trace["total"], rtol=1e-4)
        np.testing.assert_allclose(result.image, alone.image, atol=1e-3)
