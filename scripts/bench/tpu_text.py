"""What the compiler for TPUs makes of the loop, read from its text; no TPU is needed, `libtpu` is.

    scripts/test_tpu                                   # once: makes .venv-tpu
    .venv-tpu/bin/python scripts/bench/tpu_text.py single --size 512 --precision bfloat16

Prints a line of JSON: of one step the cycles that the compiler expects, the share of relayout copies among them, how
many such copies there are, the bytes that its operations read from and write to the chip's memory (what lies in the
chip's own, vector memory does not count), floating point operations; of the program arguments, temporary memory and the
seconds that compiling took.
"""

import argparse
import collections
import dataclasses
import json
import math
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).parents[2] / "tests" / "support"))
sys.path.insert(0, str(Path(__file__).parents[2]))

import ahead_of_time
import jax

from jnst.config import Config
from jnst.presets.presets import PRESETS

BYTES = {"pred": 1, "u8": 1, "s8": 1, "bf16": 2, "u16": 2, "f16": 2}
# Names for what lies elsewhere, and transfers that are counted where they start.
FREE = ("get-tuple-element", "constant", "bitcast", "tuple", "parameter", "copy-done", "slice-done", "async-done")
# Parts of a step by the names of its operations, the first that fits.
PARTS = {
    "convolutions": "conv_general",
    "Gram matrices": "pc,",
    "pools": "_pool",
    "cosine transforms": "ijc",
    "network": "VGG",
}


class Operation(NamedTuple):
    """One line of a compiled computation."""

    name: str
    shape: str
    kind: str
    operands: tuple[str, ...]
    line: str


def computations(text: str) -> dict[str, str]:
    """The parts of a compiled text by their names."""
    parts = re.split(r"\n(?=(?:ENTRY |%)[^\n]*\{\n)", text)
    found = ((re.match(r"(?:ENTRY )?%(\S+) \(", part), part) for part in parts)
    return {match.group(1): part for match, part in found if match}


def operations(computation: str) -> Iterator[Operation]:
    """Its lines."""
    for line in computation.split("\n")[1:]:
        match = re.match(r"\s+(?:ROOT )?%(\S+) = (\(.*?\)|\S+) ([a-z\-]+)\((.*?)\)", line)
        if match:
            name, shape, kind, operands = match.groups()
            yield Operation(name, shape, kind, tuple(re.findall(r"%([\w.\-]+)", operands)), line)


def stored_bytes(shape: str) -> int:
    """Bytes in the chip's memory of an array, or of all arrays of a tuple, filled up to whole tiles."""
    total = 0
    for kind, axes, layout in re.findall(r"([a-z]+\d*)\[([\d,]*)\](?:\{([^}]*)\})?", shape):
        if "S(" in layout:  # vector memory, or the scalar core's
            continue
        lengths = [int(axis) for axis in axes.split(",") if axis]
        order = [int(axis) for axis in layout.split(":")[0].split(",") if axis] or list(range(len(lengths)))[::-1]
        lengths = [lengths[axis] for axis in order]
        tile = re.search(r"T\(([\d,]+)\)", layout)
        for index, rows in enumerate(reversed(tile.group(1).split(",")) if tile else ()):
            if index < len(lengths):
                lengths[index] = -(-lengths[index] // int(rows)) * int(rows)
        total += math.prod(lengths) * BYTES.get(kind, 4)
    return total


def count(parts: dict[str, str], name: str) -> collections.Counter[str]:
    """Figures of one run of a computation, loops inside it included."""
    total: collections.Counter[str] = collections.Counter()
    lines = list(operations(parts[name]))
    shapes = {line.name: line.shape for line in lines}
    for one in lines:
        if one.kind in FREE:
            continue
        if one.kind == "while":
            body = re.search(r"body=%([\w.\-]+)", one.line)
            times = re.search(r'known_trip_count":\{"n":"(\d+)"', one.line)
            for figure, value in count(parts, body.group(1)).items() if body else ():
                total[figure] += value * (int(times.group(1)) if times else 1)
            continue
        told = re.search(r'"estimated_cycles":"(\d+)"', one.line)
        cycles = int(told.group(1)) if told else 0
        purpose = re.search(r'op_name="([^"]*)"', one.line)
        part = next((part for part, sign in PARTS.items() if purpose and sign in purpose.group(1)), "rest")
        total["cycles"] += cycles
        total[f"cycles: {part}"] += cycles
        if one.kind == "copy" and "[]" not in one.shape:
            total["copies"] += 1
            total["cycles: copies"] += cycles
        if one.kind.endswith("-start"):  # between the two memories
            total["bytes"] += stored_bytes(one.shape)
        else:
            total["bytes"] += stored_bytes(one.shape) + sum(stored_bytes(shapes.get(name, "")) for name in one.operands)
    return total


def step(text: str) -> dict[str, int]:
    """Figures of one step of the loop: of the computation with the most fused operations outside of main."""
    parts = computations(text)
    body = max((name for name in parts if not name.startswith("main")), key=lambda name: parts[name].count(" fusion("))
    return dict(sorted(count(parts, body).items()))


def lower(arguments: argparse.Namespace) -> Any:
    """The program asked for."""
    config: Config = PRESETS["default"]
    network = dataclasses.replace(config.network, architecture=arguments.network)
    config = dataclasses.replace(config, network=network, precision=arguments.precision)
    size = (arguments.size, arguments.size)
    if arguments.kind == "batched":
        return ahead_of_time.batched_on_one(config, size, arguments.slice, batch_size=arguments.batch_size)
    return getattr(ahead_of_time, arguments.kind)(config, size, arguments.slice)


def main() -> None:
    """Prints one line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=["single", "batched", "rows"])
    parser.add_argument("--slice", default="v5e:2x2", help="whose chip it is compiled for")
    parser.add_argument("--network", choices=["vgg16", "vgg19"], default="vgg16")
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--precision", choices=["float32", "tf32", "bfloat16"], default="bfloat16")
    parser.add_argument("--batch-size", type=int, default=4, help="images in a batch")
    parser.add_argument("--text", type=Path, metavar="FILE", help="where to keep the compiled text")
    arguments = parser.parse_args()
    jax.config.update("jax_platforms", "cpu")  # libtpu would look for a TPU
    lowered, begin = lower(arguments), time.monotonic()
    compiled = lowered.compile()
    seconds, report, text = time.monotonic() - begin, compiled.memory_analysis(), compiled.as_text()
    if arguments.text:
        arguments.text.write_text(text)
    figures = step(text) | {
        "operations": compiled.cost_analysis().get("flops", 0),
        "arguments": report.argument_size_in_bytes,
        "temporary": report.temp_size_in_bytes,
        "collectives": ahead_of_time.collectives(compiled),
        "seconds to compile": round(seconds),
    }
    print(json.dumps({name: value for name, value in vars(arguments).items() if name != "text"} | figures))


if __name__ == "__main__":
    main()
