"""Chips that a run can be planned for without having one: what their makers publish, and how they lay arrays out."""

from typing import NamedTuple

from jnst.errors import ConfigError, describe_unknown


class Chip(NamedTuple):
    """One chip, which JAX sees as one device.

    name: as TPUs are named in slices, such as v5e in v5e:2x2.
    memory: bytes beside the chip. bandwidth: bytes a second to and from it.
    operations: floating point operations a second in products of bfloat16 numbers, added up in float32.
    lanes, rows: arrays are stored in tiles of rows × lanes numbers, and the last two axes are filled up to whole tiles.
    near: bytes of fast memory on the chip itself in which the compiler keeps what does not live from step to step: of
        128 MiB what is left for that, fitted to its figures.
    """

    name: str
    memory: int
    operations: float
    bandwidth: float
    lanes: int = 128
    rows: int = 8
    near: int = 68 * 10**6

    def channels(self, count: int) -> int:
        """Channels of a map as they are stored, along the lanes."""
        return _fill(count, self.lanes)

    def plane(self, height: int, width: int) -> int:
        """Pixels of one channel of an image as they are stored, that side along the lanes which wastes less."""
        return min(
            _fill(along, self.lanes) * _fill(across, self.rows) for along, across in ((height, width), (width, height))
        )

    def kernel(self, inputs: int, outputs: int) -> int:
        """Numbers of a 3 × 3 kernel as they are stored."""
        return 9 * _fill(inputs, self.rows) * _fill(outputs, self.lanes)


def _fill(length: int, unit: int) -> int:
    return -(-length // unit) * unit


# Where arrays are stored as they are.
PLAIN = Chip("", 0, 0, 0, lanes=1, rows=1, near=0)


GIGABYTE = 10**9

# Memory, peak and bandwidth of one chip: cloud.google.com/tpu/docs/v4, v5p, v5e and v6e, "System architecture". Where
# gigabytes may be binary, the smaller ones are taken.
CHIPS = {
    chip.name: chip
    for chip in (
        Chip("v4", 32 * GIGABYTE, 275e12, 1228e9),
        Chip("v5p", 95 * GIGABYTE, 459e12, 2765e9),
        Chip("v5e", 16 * GIGABYTE, 197e12, 819e9),
        Chip("v6e", 32 * GIGABYTE, 918e12, 1640e9),
    )
}

# Products of bfloat16 numbers that one product takes: float32 numbers are split into three parts each, and of the nine
# products the six largest are taken.
PASSES = {"bfloat16": 1, "tf32": 1, "float32": 6}


def find_chip(name: str) -> Chip:
    """The chip of that name.

    Raises:
        ConfigError: for an unknown one, with the closest name.

    >>> find_chip("v5e").memory
    16000000000
    """
    if name not in CHIPS:
        raise ConfigError(describe_unknown("chip", name, CHIPS))
    return CHIPS[name]


def describe_chip(chip: Chip) -> str:
    """A line for the user.

    >>> describe_chip(find_chip("v5e"))
    'chip: TPU v5e, not here (16 GB, 197 TFLOP/s in bfloat16, 819 GB/s by its maker)'
    """
    return (
        f"chip: TPU {chip.name}, not here ({chip.memory / 1e9:.0f} GB, {chip.operations / 1e12:.0f} TFLOP/s in "
        f"bfloat16, {chip.bandwidth / 1e9:.0f} GB/s by its maker)"
    )
