"""The loops compiled for TPUs by the compiler in `libtpu`, without a TPU. Run by `scripts/test_tpu` alone."""

import dataclasses
import functools

import ahead_of_time
import pytest

from jnst.presets.presets import PRESETS
from jnst.transfer.chips import find_chip
from jnst.transfer.memory import compiled_bytes, estimate_memory

SIDE, BATCH = 128, 4
LOSS = dataclasses.replace(
    PRESETS["default"].loss,
    content_layers=(("relu2_2", 1.0),),
    style_layers=(("relu1_1", 0.3), ("relu2_1", 0.3), ("relu3_1", 0.4)),
)
SLICES = ["v5e:2x2", "v6e:2x2"]
PRECISIONS = ["float32", "bfloat16"]


def config(precision):
    """The preset `default` on the first blocks of VGG16, at full width."""
    return dataclasses.replace(PRESETS["default"], loss=LOSS, precision=precision)


@functools.cache
def compiled(kind, topology, precision):
    """Each program is compiled once: half a minute of a core."""
    size = (SIDE, SIDE)
    if kind == "batched":
        return ahead_of_time.batched(config(precision), size, topology, batch_size=BATCH).compile()
    return getattr(ahead_of_time, kind)(config(precision), size, topology).compile()


def memory_model(kind, topology, precision):
    """What the planner says that the compiled program takes: all but what lies on the host."""
    chip = find_chip(topology.partition(":")[0])
    options = {"rows": {"devices": 4}, "batched": {"images": BATCH}}.get(kind, {})
    return estimate_memory((SIDE, SIDE), config(precision), chip=chip, **options).total


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("topology", SLICES)
@pytest.mark.parametrize("kind", ["single", "batched", "rows"])
def test_the_compilers_memory_is_within_a_tenth_of_the_plans(kind, topology, precision):
    told = compiled_bytes(compiled(kind, topology, precision))
    assert memory_model(kind, topology, precision) == pytest.approx(told, rel=0.1)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("topology", SLICES)
def test_images_of_a_batch_never_wait_for_each_other(topology, precision):
    assert ahead_of_time.collectives(compiled("batched", topology, precision)) == {}


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("topology", SLICES)
def test_rows_on_several_chips_are_never_gathered(topology, precision):
    found = ahead_of_time.collectives(compiled("rows", topology, precision))
    assert "all-gather" not in found
    assert found["collective-permute"] > 0
    assert found["all-reduce"] > 0


def test_a_whole_slices_program_is_that_of_each_chip():
    """`jnst batch` on sixteen chips: one program, and what it takes of each chip is what it takes of one of four."""
    whole = compiled("batched", "v5e:4x4", "bfloat16")
    assert ahead_of_time.collectives(whole) == {}
    assert compiled_bytes(whole) == pytest.approx(compiled_bytes(compiled("batched", "v5e:2x2", "bfloat16")), rel=0.01)


@pytest.mark.parametrize("topology", SLICES)
def test_kernels_are_cast_once_before_the_loop(topology):
    """Inside the loop none is read as float32: the only parameters of that shape are cast outside."""
    text = compiled("single", topology, "bfloat16").as_text()
    loops = [part for part in text.split("\n\n") if "while/body" in part and not part.startswith("ENTRY")]
    assert loops
    assert not any("f32[3,3,64,128]" in part for part in loops)
