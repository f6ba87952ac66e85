#!/usr/bin/env python3
"""Judges styled pictures by Oxford's VGG16, in PyTorch: how much of the distance to the style is left.

    python scripts/weights/judge_with_vgg16.py VGG16.h5 --content C.jpg … --style S.jpg … --results FOLDER …

Needs torch, h5py, numpy and Pillow; shares no code with jnst. VGG16.h5 is Keras's file or one of jnst's. Each FOLDER
holds CONTENT-STYLE.png, as `jnst batch` writes them; a row of the table is a pair, a pair of columns a folder.

Style left is the mean over relu1_1, relu2_1, relu3_1, relu4_1 and relu5_1 of |G − Gs|² / |Gs|², G being the Gram matrix
divided by the number of positions, as a share of the same for the untouched photo at the result's size. Content is the
mean squared difference from the photo at relu4_2 divided by the photo's variance there.
"""

import argparse
from pathlib import Path

import h5py
import numpy as np
import torch
from PIL import Image

STYLE_LAYERS = ("conv1_1", "conv2_1", "conv3_1", "conv4_1", "conv5_1")
CONTENT_LAYER = "conv4_2"
BLOCKS = ((1, 2), (2, 2), (3, 3), (4, 3), (5, 1))
MEAN_BGR = (103.939, 116.779, 123.68)


def read_network(path):
    """Kernels (outputs, inputs, 3, 3) and biases by layer, from either layout."""
    found = {}
    with h5py.File(path) as file:

        def visit(name, item):
            if isinstance(item, h5py.Dataset):
                for block, depth in BLOCKS:
                    for index in range(1, depth + 1):
                        if f"block{block}_conv{index}" in name or f"conv{block}_{index}/" in name:
                            found.setdefault(f"conv{block}_{index}", {})[item.ndim] = np.asarray(item, np.float32)

        file.visititems(visit)
    return {
        name: (torch.from_numpy(parts[4].transpose(3, 2, 0, 1).copy()), torch.from_numpy(parts[1]))
        for name, parts in found.items()
    }


def features(network, picture):
    """The maps after the ReLU of the layers asked for, channels × positions."""
    pixels = np.asarray(picture, np.float32)[:, :, ::-1] - np.array(MEAN_BGR, np.float32)
    x = torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))[None]
    maps = {}
    for block, depth in BLOCKS:
        if block > 1:
            x = torch.nn.functional.max_pool2d(x, 2)
        for index in range(1, depth + 1):
            kernel, bias = network[f"conv{block}_{index}"]
            x = torch.relu(torch.nn.functional.conv2d(x, kernel, bias, padding=1))
            if f"conv{block}_{index}" in (*STYLE_LAYERS, CONTENT_LAYER):
                maps[f"conv{block}_{index}"] = x[0].flatten(1)
    return maps


def grams(maps):
    return [maps[layer] @ maps[layer].T / maps[layer].shape[1] for layer in STYLE_LAYERS]


def distance(one, other):
    return float(np.mean([float(((a - b) ** 2).sum() / (b**2).sum()) for a, b in zip(one, other, strict=True)]))


def open_picture(path, size=None, longer=None):
    """RGB, in sRGB where the file has no profile; at a size, or with its longer side at so many pixels."""
    picture = Image.open(path).convert("RGB")
    if longer:
        factor = longer / max(picture.size)
        size = tuple(max(1, round(side * factor)) for side in picture.size)
    return picture.resize(size, Image.Resampling.LANCZOS) if size and size != picture.size else picture


def judge(network, content, style, results):
    """(style left, content) of each result of a pair."""
    size = results[0].size
    photo = features(network, open_picture(content, size))
    target = grams(features(network, open_picture(style, longer=max(size))))
    start, there = distance(grams(photo), target), photo[CONTENT_LAYER]
    rows = []
    for result in results:
        maps = features(network, result)
        content_distance = float(((maps[CONTENT_LAYER] - there) ** 2).mean() / there.var())
        rows.append((distance(grams(maps), target) / start, content_distance))
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network", help="VGG16 in Keras's or jnst's layout")
    parser.add_argument("--content", nargs="+", required=True, type=Path)
    parser.add_argument("--style", nargs="+", required=True, type=Path)
    parser.add_argument("--results", nargs="+", required=True, type=Path, help="folders of CONTENT-STYLE.png")
    arguments = parser.parse_args()
    network, table = read_network(arguments.network), []
    names = [folder.name for folder in arguments.results]
    print(f"{'style left, content':<36}" + "".join(f"{name:>20}" for name in names))
    with torch.no_grad():
        for content in arguments.content:
            for style in arguments.style:
                files = [folder / f"{content.stem}-{style.stem}.png" for folder in arguments.results]
                if not all(file.exists() for file in files):
                    continue
                rows = judge(network, content, style, [open_picture(file) for file in files])
                table.append(rows)
                pair = f"{content.stem} × {style.stem}"
                print(f"{pair:<36}" + "".join(f"{left:>13.3f} {far:>6.2f}" for left, far in rows), flush=True)
    if not table:
        raise SystemExit("no pair has a result in every folder; results are named CONTENT-STYLE.png")
    numbers = np.array(table)  # pairs × folders × 2
    ratio = numbers[:, :, 1] / numbers[:, :1, 1]
    for label, rows in (("median", np.median(numbers, 0)), ("worst", numbers.max(0))):
        print(f"{label:<36}" + "".join(f"{left:>13.3f} {far:>6.2f}" for left, far in rows))
    print(f"{'content over the first folder, worst':<36}" + "".join(f"{value:>20.2f}" for value in ratio.max(0)))


if __name__ == "__main__":
    main()
