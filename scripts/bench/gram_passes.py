"""What Gram matrices cost in accuracy on hardware that multiplies bfloat16 numbers: one, three or six products for one.

    python scripts/bench/gram_passes.py

A TPU multiplies bfloat16 numbers and adds in float32. A float32 product is made of such: with x = a + b + c, the parts
rounded to bfloat16 one after the other, "three passes" are aa + ab + ba, "six" also ac + ca + bb. Emulated in NumPy on
the feature maps of the bundled VGG16 for a painted picture, against float64. Prints the relative error of each Gram
matrix and of the style term made of all five, by passes.
"""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "tests" / "support"))
sys.path.insert(0, str(Path(__file__).parents[2]))

import jax.numpy as jnp
import numpy as np
from material import paint, with_noise

import jnst

# Which pairs of parts are multiplied.
PASSES = {1: [(0, 0)], 3: [(0, 0), (0, 1), (1, 0)], 6: [(0, 0), (0, 1), (1, 0), (0, 2), (2, 0), (1, 1)]}


def parts(values: np.ndarray) -> list[np.ndarray]:
    """Three numbers of bfloat16 whose sum is nearly that of float32."""
    found, rest = [], values.astype(np.float32)
    for _ in range(3):
        found.append(np.asarray(jnp.asarray(rest).astype(jnp.bfloat16).astype(jnp.float32)))
        rest = rest - found[-1]
    return found


def gram(pixels: np.ndarray, passes: int | None) -> np.ndarray:
    """Σ f fᵀ / pixels, in that many passes added up in float32, or in float64."""
    if passes is None:
        pixels = pixels.astype(np.float64)
        return pixels.T @ pixels / len(pixels)
    split = parts(pixels)
    return sum(split[i].T @ split[j] for i, j in PASSES[passes]) / np.float32(len(pixels))  # pyright: ignore


def main() -> None:
    """Prints one line for each number of passes."""
    params, config = jnst.load_preset("default", weights="vgg16-caffe")
    layers = [layer for layer, _ in config.loss.style_layers]
    maps = []
    for picture in (with_noise(paint("shapes", 128, 128), 1), paint("marble", 128, 128)):
        found = jnst.features(params, picture.astype(np.float32), layers, config)
        maps.append([np.asarray(found[layer], np.float32).reshape(-1, found[layer].shape[-1]) for layer in layers])
    style = [gram(one, None) for one in maps[1]]

    def term(grams: list[np.ndarray]) -> float:
        return sum(
            float(np.sum(np.square(ours.astype(np.float64) - theirs)) / np.sum(np.square(theirs)))
            for ours, theirs in zip(grams, style, strict=True)
        )

    exact = [gram(one, None) for one in maps[0]]
    for passes in PASSES:
        grams = [gram(one, passes) for one in maps[0]]
        errors = [
            float(np.abs(ours - true).max() / np.abs(true).max()) for ours, true in zip(grams, exact, strict=True)
        ]
        print(json.dumps({"passes": passes, "term": abs(term(grams) / term(exact) - 1), "grams": errors}))


if __name__ == "__main__":
    main()
