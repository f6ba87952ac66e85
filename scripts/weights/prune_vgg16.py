#!/usr/bin/env python3
"""Prunes VGG16 to the small bundled network: the same layers, each with fewer channels, fitted to the large one's maps.

    python scripts/weights/prune_vgg16.py weights/vgg16.h5 weights/vgg16-small.h5

Besides jnst it needs the pictures in the wheels of scikit-image and matplotlib, which need not be importable:
`pip install --no-deps scikit-image==0.26.0 matplotlib==3.11.2` in an environment of their own, or
`pip install --no-deps --target FOLDER …` and FOLDER on PYTHONPATH. Nothing is downloaded.

1. Channels. Of each layer's maps after the ReLU, on all pictures, the second moments are taken, each picture's divided
   by its own energy, as style terms are. Pivoted Cholesky picks channels until the share of the energy that the picked
   ones do not explain is within the layer's budget.
2. Kernels. From the input on, each layer's kernel and bias are fitted by ridge least squares to the large network's
   values before the ReLU, from the kept maps of the layer below as the small network itself computes them.
3. Scales. A style term sees a map through inner products of positions alone; each kept channel is scaled so that these
   are most nearly what all channels give. The next kernel takes the scale back, so no deeper map changes.

The same inputs, versions and machine give the same bytes.
"""

import argparse
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent))
from pruning import LeastSquares, choose_width, gram_weights, rank_channels
from training_pictures import PHOTOGRAPHS, training_pictures
from vgg_in_jax import AREAS, NAMES, Params, all_maps, before_layer, convolve, network_input

from jnst.weights.network import Weights, WeightsInfo, describe_weights
from jnst.weights.store import read_weights, write_weights

SEED, SIZE, PICTURES = 0, 256, 288
POOLINGS = ("max", "max", "max", "average")  # in turn over the pictures, so that the network serves both
POSITIONS = 1024  # of each map of each picture
RIDGE = 1e-4
# Largest share of a layer's energy that the kept channels may leave unexplained. conv1_2 costs most per pixel; conv2_2
# takes Winograd's form from 96 channels on, so 96 cost less than 88 do.
BUDGETS = {
    "conv1_1": 0.03, "conv1_2": 0.015, "conv2_1": 0.06, "conv2_2": 0.035, "conv3_1": 0.1, "conv3_2": 0.1,
    "conv3_3": 0.1, "conv4_1": 0.16, "conv4_2": 0.16, "conv4_3": 0.15, "conv5_1": 0.105,
}  # fmt: skip


class Samples(NamedTuple):
    """The large network's maps, by layer: per picture the sampled positions, the values there before the ReLU, the
    mean energy after it; and the second moments over all pictures."""

    places: dict[str, list[np.ndarray]]
    values: dict[str, list[np.ndarray]]
    energy: dict[str, list[float]]
    moments: dict[str, np.ndarray]


def report(text: str) -> None:
    print(f"{time.perf_counter() - _START:6.0f} s  {text}", file=sys.stderr, flush=True)


_START = time.perf_counter()


def pooling_of(index: int) -> str:
    """How the network pools while it looks at that picture."""
    return POOLINGS[index % len(POOLINGS)]


def sample(teacher: Params, pictures: np.ndarray) -> Samples:
    """Runs the large network over all pictures."""
    forward = jax.jit(all_maps, static_argnums=2)
    found = Samples({n: [] for n in NAMES}, {n: [] for n in NAMES}, {n: [] for n in NAMES}, {})
    for index, picture in enumerate(pictures):
        maps = forward(teacher, network_input(picture[None]), pooling_of(index))
        for number, name in enumerate(NAMES):
            values = np.asarray(maps[name])[0]
            values = values.reshape(-1, values.shape[-1])
            after = np.maximum(values, 0)
            moments = (after.T @ after).astype(np.float64) / len(after)
            energy = float(np.trace(moments))
            rng = np.random.default_rng([SEED, 1, index, number])
            places = np.sort(rng.permutation(len(values))[:POSITIONS])
            found.places[name].append(places)
            found.values[name].append(values[places])
            found.energy[name].append(energy)
            found.moments[name] = found.moments.get(name, 0.0) + moments / energy
    return found


def patches(x: np.ndarray, places: np.ndarray) -> np.ndarray:
    """3×3 neighbourhoods of positions of a map, zeros outside: positions × 9·channels."""
    padded = np.pad(x, ((1, 1), (1, 1), (0, 0)))
    row, column = np.divmod(places, x.shape[1])
    return np.concatenate([padded[row + i, column + j] for i in range(3) for j in range(3)], 1)


def fit(teacher: Params, samples: Samples, kept: dict[str, np.ndarray], pictures: np.ndarray) -> dict[str, Any]:
    """Kernels and biases of the kept channels, layer by layer, by least squares."""
    enter = jax.jit(lambda x, name, pooling: before_layer(x[None], name, pooling)[0], static_argnums=(1, 2))
    apply = jax.jit(lambda x, layer: convolve(x[None], layer)[0])
    maps: list[Any] = [network_input(picture) for picture in pictures]
    inputs, params = np.arange(3), {}
    for name in NAMES:
        maps = [np.asarray(enter(x, name, pooling_of(index))) for index, x in enumerate(maps)]
        chosen = kept[name]
        squares = LeastSquares(9 * len(inputs), len(chosen))
        for index, x in enumerate(maps):
            places, values = samples.places[name][index], samples.values[name][index][:, chosen]
            squares.add(patches(x, places), values, 1 / (samples.energy[name][index] * len(places)))
        start = np.asarray(teacher[name]["kernel"])[:, :, inputs][..., chosen].reshape(-1, len(chosen))
        start = np.concatenate([start, np.asarray(teacher[name]["bias"])[None, chosen]])
        found, error = squares.solve(start, RIDGE)
        kernel = found[:-1].reshape(3, 3, len(inputs), -1)
        params[name] = {"kernel": kernel.astype(np.float32), "bias": found[-1].astype(np.float32)}
        maps = [np.asarray(apply(x, params[name])) for x in maps]
        report(f"{name}: {len(chosen)} channels, relative squared error before the ReLU {error:.4f}")
        inputs = chosen
    return params


def scale_channels(params: Params, weights: dict[str, np.ndarray]) -> dict[str, dict[str, np.ndarray]]:
    """The same network with each channel times the root of its weight, and the next kernel divided by it."""
    scaled, below = {}, np.ones(3)
    for name in NAMES:
        root = np.sqrt(weights[name])
        kernel = params[name]["kernel"] / below[:, None] * root
        scaled[name] = {"kernel": kernel.astype(np.float32), "bias": (params[name]["bias"] * root).astype(np.float32)}
        below = root
    return scaled


def prune(weights: Weights, pictures: np.ndarray) -> dict[str, dict[str, np.ndarray]]:
    """The small network's parameters."""
    teacher = {name: weights.params[name] for name in NAMES}
    samples = sample(teacher, pictures)
    report(f"{len(pictures)} pictures seen")
    kept, scales = {}, {}
    for name in NAMES:
        order, left = rank_channels(samples.moments[name])
        kept[name] = np.sort(order[: choose_width(left, BUDGETS[name])])
        scales[name] = gram_weights(samples.moments[name], kept[name])
    inputs = (3, *(len(kept[name]) for name in NAMES))
    products = sum(9 * AREAS[n] * i * len(kept[n]) for n, i in zip(NAMES, inputs, strict=False))
    report(f"{products:.0f} products per pixel of the image")
    params = fit(teacher, samples, kept, pictures)
    return scale_channels(params, scales)


def describe_small(weights: Weights, params: Params) -> WeightsInfo:
    """What the written file says about itself."""
    return describe_weights(
        "vgg16-small",
        "vgg16",
        1.0,
        "caffe",
        channels=tuple(params[name]["bias"].size for name in NAMES),
        source=f"pruned from {weights.info.name}, {weights.info.source}",
        source_sha256=weights.info.sha256,
        licence="CC BY 4.0",
        notes={
            "chain": "VGG_ILSVRC_16_layers, Visual Geometry Group, University of Oxford, CC BY 4.0; pruned by jnst",
            "changes": "fewer channels, kernels and biases fitted anew, channels scaled, ends at conv5_1",
            "program": "scripts/weights/prune_vgg16.py",
            "pictures": [f"{package}/{file}: {licence}" for package, file, licence in PHOTOGRAPHS],
        },
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", help="weights file of VGG16, such as weights/vgg16.h5")
    parser.add_argument("output", help="weights file to write, such as weights/vgg16-small.h5")
    arguments = parser.parse_args()
    weights = read_weights(arguments.source)
    if (weights.info.architecture, weights.info.lineage, weights.info.channels) != ("vgg16", "caffe", ()):
        raise SystemExit(f"{arguments.source} holds {weights.info.name}; expected Oxford's VGG16 (`jnst weights info`)")
    pictures = training_pictures(PICTURES, SIZE, SEED)
    report("pictures made")
    params = prune(weights, pictures)
    info = describe_small(weights, params)
    info = write_weights(arguments.output, params, info, dtype="float16")
    report(f"{arguments.output}: channels {info.channels}, content sha256 {info.sha256}")


if __name__ == "__main__":
    main()
