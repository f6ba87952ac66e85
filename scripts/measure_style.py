"""Stylises pairs of pictures with several networks, has the results judged, and prints a table.

    python scripts/measure_style.py --weights pocket random --content photos/*.jpg --style paintings/*.jpg

What is measured is in `style_judge`. `random` stands for filters of the same shape without training. A network that
changes less of the photo keeps more of its structure; with `--match-structure` the others are therefore also given
more content weight, pair by pair, until they keep as much as the last one does at the preset's settings, and a second
table compares them there.
"""

import argparse
import dataclasses
import itertools
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
from style_judge import Verdict, judge

JUMP, TRIALS = 10.0, 5  # the search for a content weight: steps upward until there is enough structure, then halving


class Trial(NamedTuple):
    """A result, its verdict, and the factor on the preset's content weight that it was made with."""

    factor: float
    verdict: Verdict
    image: Any


class Row(NamedTuple):
    pair: str
    weights: str
    trial: Trial


def random_params(params: dict, seed: int = 0) -> dict:
    """Filters of the same shapes with no training: normal, zero mean, every layer scaled to unit mean activation."""
    import jax
    import jax.numpy as jnp

    rng = np.random.default_rng(seed)
    x = jnp.asarray(rng.standard_normal((1, 128, 128, 3)), jnp.float32)
    for _ in range(2):  # a picture-like spectrum
        x = x + jax.image.resize(x[:, ::4, ::4] * 2, x.shape, "bilinear")
    drawn = {}
    for name, layer in params.items():
        kernel = rng.standard_normal(layer["kernel"].shape).astype(np.float32)
        kernel -= kernel.mean((0, 1, 2))
        if name.endswith("_1") and name != "conv1_1":
            height, width, channels = x.shape[1:]
            x = x.reshape(1, height // 2, 2, width // 2, 2, channels).mean((2, 4))
        y = jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
        factor = 1 / float(jax.nn.relu(y).mean())
        drawn[name] = {"kernel": kernel * factor, "bias": np.zeros(kernel.shape[-1], np.float32)}
        x = jax.nn.relu(y * factor)
    return drawn


def read_picture(path: Path, pixels: int) -> np.ndarray:
    """RGB in [0, 1], the longer side brought to `pixels`."""
    from PIL import Image

    with Image.open(path) as file:
        picture = file.convert("RGB")
    scale = pixels / max(picture.size)
    size = tuple(max(1, round(side * scale)) for side in picture.size)
    return np.asarray(picture.resize(size, Image.Resampling.LANCZOS), np.float32) / 255


def write_picture(path: Path, picture: np.ndarray) -> None:
    from PIL import Image

    Image.fromarray(np.rint(255 * np.clip(picture, 0, 1)).astype(np.uint8)).save(path)


def match_structure(attempt: Callable[[float], Trial], first: Trial, wanted: float, *, trials: int = TRIALS) -> Trial:
    """The trial nearest to the style among those that keep at least the structure `wanted`.

    After the first, made with factor 1: while structure falls short, ten times as much; then the interval is halved on
    a log scale. Where no trial keeps enough, the one that keeps the most.
    """
    low, high, made = 0.0, np.inf, [first]
    while len(made) < trials:
        exponent = np.log10(made[-1].factor)
        if made[-1].verdict.structure >= wanted:
            high = exponent
        else:
            low = exponent
        if high <= low:  # already enough at the preset's weight
            break
        made.append(attempt(10 ** ((low + high) / 2) if np.isfinite(high) else JUMP * made[-1].factor))
    enough = [trial for trial in made if trial.verdict.structure >= wanted]
    if not enough:
        return max(made, key=lambda trial: trial.verdict.structure)
    return min(enough, key=lambda trial: trial.verdict.style_distance)


def print_table(rows: list[Row]) -> None:
    """One line per pair and network, the means, and how often each network wins against the last; as Markdown."""
    print("| pair | weights | content weight | style distance | structure | grain | chroma grain |")
    print("|---|---|---|---|---|---|---|")
    for pair, weights, trial in rows:
        numbers = " | ".join(f"{value:.3f}" for value in trial.verdict)
        print(f"| {pair} | {weights} | × {trial.factor:.3g} | {numbers} |")
    verdicts = {name: [row.trial.verdict for row in rows if row.weights == name] for _, name, _ in rows}
    for name, given in verdicts.items():
        print(f"| **mean** | {name} | | " + " | ".join(f"{value:.3f}" for value in np.mean(given, axis=0)) + " |")
    *others, last = verdicts
    for name in others:
        print(f"\n{name} against {last}: " + count_wins(verdicts[name], verdicts[last]))


def count_wins(ours: list[Verdict], theirs: list[Verdict]) -> str:
    """In how many pairs the first list's verdict is the better one, in words."""
    pairs = list(zip(ours, theirs, strict=True))
    nearer = [one.style_distance < other.style_distance for one, other in pairs]
    kept = [one.structure >= other.structure for one, other in pairs]
    counts = {
        "lower style distance": sum(nearer),
        "equal or better structure": sum(kept),
        "both": sum(a and b for a, b in zip(nearer, kept, strict=True)),
        "less grain": sum(one.grain < other.grain for one, other in pairs),
        "grain nearer to the style's": sum(abs(one.grain - 1) < abs(other.grain - 1) for one, other in pairs),
        "less chroma grain": sum(one.chroma_grain < other.chroma_grain for one, other in pairs),
    }
    return ", ".join(f"{what} in {count}" for what, count in counts.items()) + f" of {len(pairs)}"


def main() -> None:
    from jnst.presets import PRESETS
    from jnst.transfer import stylize
    from jnst.vgg import prepare_params
    from jnst.weights import load_weights

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights", nargs="+", default=["pocket", "random"], help="names, files, or random")
    parser.add_argument("--content", nargs="+", type=Path, required=True)
    parser.add_argument("--style", nargs="+", type=Path, required=True)
    parser.add_argument("--preset", default="pocket", help="settings of the stylisation")
    parser.add_argument("--pixels", type=int, default=256, help="longer side of the pictures")
    parser.add_argument("--steps", type=int, help="optimiser steps; default: the preset's")
    parser.add_argument("--match-structure", action="store_true", help="compare at the last network's structure")
    parser.add_argument("--save", type=Path, help="folder for the results")
    arguments = parser.parse_args()
    config = PRESETS[arguments.preset]
    config = dataclasses.replace(config, size=dataclasses.replace(config.size, rule="keep"))
    if arguments.steps is not None:
        config = dataclasses.replace(config, run=dataclasses.replace(config.run, steps=arguments.steps))
    first = next(name for name in [*arguments.weights, "pocket"] if name != "random")
    networks = {}
    for name in arguments.weights:
        weights = load_weights(first if name == "random" else name)
        params = random_params(weights.params) if name == "random" else weights.params
        settings = dataclasses.replace(config.network, width=weights.info.width)
        networks[Path(name).stem] = prepare_params(params), dataclasses.replace(config, network=settings)
    *others, last = networks
    rows, matched = [], []
    for content_path, style_path in itertools.product(arguments.content, arguments.style):
        content, style = (read_picture(path, arguments.pixels) for path in (content_path, style_path))
        pair = f"{content_path.stem} × {style_path.stem}"

        def attempt(name: str, factor: float = 1.0, *, pair=pair, content=content, style=style) -> Trial:
            params, config = networks[name]
            loss = dataclasses.replace(config.loss, content_weight=factor * config.loss.content_weight)
            started = time.perf_counter()
            image = np.asarray(stylize(params, content, style, dataclasses.replace(config, loss=loss)).image)
            verdict = judge(image, style, content)
            numbers = " ".join(f"{value:.3f}" for value in verdict)
            took = time.perf_counter() - started
            print(f"{pair}, {name}, content × {factor:.3g}: {numbers} ({took:.0f} s)", file=sys.stderr, flush=True)
            return Trial(factor, verdict, image)

        plain = {name: attempt(name) for name in networks}
        rows += [Row(pair, name, trial) for name, trial in plain.items()]
        wanted = plain[last].verdict.structure
        if arguments.match_structure:
            for name in others:
                trial = match_structure(lambda factor, name=name: attempt(name, factor), plain[name], wanted)
                matched.append(Row(pair, name, trial))
            matched.append(Row(pair, last, plain[last]))
        if arguments.save:
            arguments.save.mkdir(parents=True, exist_ok=True)
            for name, trial in plain.items():
                write_picture(arguments.save / f"{content_path.stem}-{style_path.stem}-{name}.png", trial.image)
    print_table(rows)
    if matched:
        print(f"\nAt no less structure than {last}'s:\n")
        print_table(matched)


if __name__ == "__main__":
    main()
