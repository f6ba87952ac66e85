"""Writes the .pth files in tests/golden: torchvision's layout, as PyTorch saves it, at 1/64 of the network's width.

Needs PyTorch, which the tests do not: python scripts/golden/make_weights.py
The values come from a formula (see `fill`), so that the tests can name them without these files.
"""

from collections import OrderedDict
from pathlib import Path

import torch

BLOCKS = {"vgg16": (2, 2, 3, 3, 3), "vgg19": (2, 2, 4, 4, 4)}
CHANNELS = (1, 2, 4, 8, 8)
GOLDEN = Path(__file__).resolve().parents[2] / "tests" / "golden"


def fill(shape: tuple[int, ...], layer: int) -> torch.Tensor:
    """Element k of layer n is ((7 k + 13 n) mod 127 − 63) / 64, exact in every floating-point format used here."""
    count = torch.Size(shape).numel()
    return (((7 * torch.arange(count) + 13 * layer) % 127 - 63) / 64).reshape(shape)


def make_state(architecture: str) -> OrderedDict[str, torch.Tensor]:
    """features.INDEX counts convolutions, activations and pools, as torchvision does; then a tiny classifier."""
    state: OrderedDict[str, torch.Tensor] = OrderedDict()
    index, layer, inputs = 0, 0, 3
    for depth, outputs in zip(BLOCKS[architecture], CHANNELS, strict=True):
        for _ in range(depth):
            state[f"features.{index}.weight"] = fill((outputs, inputs, 3, 3), layer)
            state[f"features.{index}.bias"] = fill((outputs,), layer + 100)
            index, layer, inputs = index + 2, layer + 1, outputs
        index += 1
    for number, shape in ((0, (6, 8)), (3, (6, 6)), (6, (5, 6))):
        state[f"classifier.{number}.weight"] = fill(shape, number)
        state[f"classifier.{number}.bias"] = fill(shape[:1], number)
    return state


if __name__ == "__main__":
    GOLDEN.mkdir(exist_ok=True)
    torch.save(make_state("vgg16"), GOLDEN / "vgg16-legacy.pth", _use_new_zipfile_serialization=False)
    torch.save(make_state("vgg19"), GOLDEN / "vgg19-zip.pth")
    # What a training program saves: one level down, with a parameter's wrapping, in half of the bits.
    checkpoint = {
        "epoch": 3,
        "state_dict": OrderedDict(
            (f"module.{name}", torch.nn.Parameter(tensor.bfloat16())) for name, tensor in make_state("vgg16").items()
        ),
    }
    torch.save(checkpoint, GOLDEN / "vgg16-checkpoint.pth")
