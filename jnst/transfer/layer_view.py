"""One layer's view of a picture: its statistics, and pictures of its feature maps and Gram matrix."""

from dataclasses import dataclass
from typing import Any

import numpy as np

# Colours from nothing to the largest value.
_COLORS = np.array([[0, 0, 0], [32, 44, 112], [176, 56, 96], [248, 168, 64], [255, 250, 225]], np.float32) / 255


@dataclass(frozen=True, eq=False)
class LayerView:
    """One layer's view of a picture.

    map: height × width × channels, float32.
    gram: channels × channels, divided as the config says.
    """

    name: str
    map: np.ndarray
    gram: np.ndarray

    def statistics(self) -> dict[str, Any]:
        """Plain numbers.

        - height, width, channels: of the map.
        - mean, std, largest: of its entries; zeros is the share of those that are exactly zero.
        - silent: channels that are zero everywhere.
        - energy: mean of the Gram matrix's diagonal.
        - coupling: mean of its other entries in units of the diagonal's, from 0 (channels that never answer together)
          to 1 (always).
        - dimensions: (trace G)² / trace G², how many channels the matrix is as good as: 1 where all are alike, as many
          as there are where all are equally strong and never answer together.
        """
        map_, gram = self.map.astype(np.float64), self.gram.astype(np.float64)
        diagonal, count = np.diag(gram), gram.shape[0]
        energy, squares = float(diagonal.mean()), float(np.square(gram).sum())
        others = (float(gram.sum()) - float(diagonal.sum())) / max(1, count * (count - 1))
        return {
            "height": map_.shape[0],
            "width": map_.shape[1],
            "channels": map_.shape[2],
            "mean": float(map_.mean()),
            "std": float(map_.std()),
            "largest": float(map_.max()),
            "zeros": float(np.mean(map_ == 0)),
            "silent": int(np.sum(~map_.any((0, 1)))),
            "energy": energy,
            "coupling": others / energy if energy > 0 else 0.0,
            "dimensions": float(diagonal.sum()) ** 2 / squares if squares > 0 else 0.0,
        }

    def strongest(self, count: int) -> list[int]:
        """The channels with the largest sums of squares, strongest first."""
        energy = np.square(self.map.astype(np.float64)).sum((0, 1))
        return [int(channel) for channel in np.argsort(-energy, kind="stable")[:count]]

    def maps(self, count: int, height: int) -> tuple[list[np.ndarray], list[str]]:
        """Pictures of the strongest channels, each to its own largest value, and a label for each."""
        pictures, labels = [], []
        for channel in self.strongest(count):
            values = np.abs(self.map[..., channel].astype(np.float32))
            pictures.append(_enlarged(_paint(values), height))
            labels.append(f"{self.name} #{channel}: {self.map[..., channel].max():.3g}")
        return pictures, labels

    def gram_picture(self, height: int) -> np.ndarray:
        """The Gram matrix: the root of each entry's size, to the largest."""
        return _enlarged(_paint(np.sqrt(np.abs(self.gram.astype(np.float32)))), height)


def describe_statistics(statistics: dict[str, dict[str, Any]]) -> str:
    """A table in plain text, a line for each layer."""
    head = (
        "layer",
        "size",
        "channels",
        "mean",
        "std",
        "largest",
        "zeros",
        "silent",
        "energy",
        "coupling",
        "dimensions",
    )
    rows = [
        (
            name,
            f"{one['width']} × {one['height']}",
            str(one["channels"]),
            *(f"{one[key]:.3g}" for key in ("mean", "std", "largest")),
            f"{one['zeros']:.0%}",
            str(one["silent"]),
            *(f"{one[key]:.3g}" for key in ("energy", "coupling", "dimensions")),
        )
        for name, one in statistics.items()
    ]
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    lines = []
    for row in (head, *rows):
        cells = (cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))
        lines.append("  ".join([row[0].ljust(widths[0]), *cells]))
    return "\n".join(lines)


def _paint(values: np.ndarray) -> np.ndarray:
    """Values of zero or more as colours, the largest the lightest: height × width × 3 in [0, 1]."""
    largest = float(values.max())
    places = values / largest * (len(_COLORS) - 1) if largest > 0 else np.zeros_like(values)
    stops = np.arange(len(_COLORS))
    return np.stack([np.interp(places, stops, _COLORS[:, channel]) for channel in range(3)], axis=-1).astype(np.float32)


def _enlarged(picture: np.ndarray, height: int) -> np.ndarray:
    """A small picture with every pixel repeated, so that its pixels stay visible."""
    factor = max(1, height // picture.shape[0])
    return picture.repeat(factor, 0).repeat(factor, 1)
