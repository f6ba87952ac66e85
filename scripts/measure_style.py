"""Stylises pairs of pictures with several networks, has the results judged, and prints a table.

    python scripts/measure_style.py --weights pocket random --content photos/*.jpg --style paintings/*.jpg

What is measured is in `style_judge`. `random` stands for filters of the same shape without training, and
`random-colours` for such filters together with those of the first network that were held in its training. A network
that changes less of the photo keeps more of its structure; the others can therefore be compared with the last one at
the same structure as well, pair by pair, from either side:

- `--match-structure equal`: the others get more or less edge weight until they keep just as much as the last one does
  at the preset's settings, and no less.
- `--match-structure lower`: the last one gets less edge weight, down to none, until it keeps no more than the other
  does at the preset's settings, which are those that users get.

With `--match-grain` the others get more edge weight and more weight on total variation until they have both at least
the last one's structure and no more than its grain, as it is at the preset's settings: a picture that leaves out more
of the painting has less grain, so that grain alone says little.

Each of these prints a table of its own and says in how many pairs it could be matched.
"""

import argparse
import dataclasses
import functools
import itertools
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
from style_judge import Verdict, judge

JUMP, TRIALS = 10.0, 5  # the search for an edge weight: steps upward until there is enough structure, then halving
RAISE, REPAIRS = 2**0.5, 20  # the search for both weights: by so much, so often at most


class Trial(NamedTuple):
    """A result, its verdict, and the factors on the preset's edge weight and total variation that it was made with."""

    factor: float
    verdict: Verdict
    image: Any
    smoothing: float = 1.0


class Row(NamedTuple):
    pair: str
    weights: str
    trial: Trial


def random_params(params: dict, seed: int = 0, *, held: int = 0) -> dict:
    """Filters of the same shapes with no training: normal, zero mean, every layer scaled to unit mean activation.

    The first `held` filters of conv1_1 are those of `params`, answering as strongly as the others.
    """
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
        convolve = functools.partial(
            jax.lax.conv_general_dilated,
            x,
            window_strides=(1, 1),
            padding="SAME",
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )
        y = convolve(kernel)
        if name == "conv1_1" and held:
            kernel[..., :held] = np.asarray(layer["kernel"])[..., :held]
            spread = np.asarray(convolve(kernel).std((0, 1, 2)))
            kernel[..., :held] *= spread[held:].mean() / spread[:held]
            y = convolve(kernel)
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


def match_structure(
    attempt: Callable[[float], Trial], first: Trial, wanted: float, *, side: str = "equal", trials: int = TRIALS
) -> Trial:
    """The trial nearest to the style among those that keep at least (side "lower": at most) the structure `wanted`.

    After the first, made with factor 1: ten times the edge weight while structure falls short, then the interval is
    halved on a log scale; where there was enough at once, the interval from a hundredth to one is. Side "lower": no
    edge weight at all, and if that is low enough, the interval from a thousandth to one is halved on a log scale.
    Where no trial matches, the one that comes nearest.
    """
    made = [first]

    def matches(trial: Trial) -> bool:
        return is_matched(trial, wanted, side)

    if not matches(first) and side == "lower":
        made.append(attempt(0.0))
        low, high = -3.0, 0.0
        while matches(made[1]) and len(made) < trials:
            made.append(attempt(10 ** ((low + high) / 2)))
            low, high = ((low + high) / 2, high) if matches(made[-1]) else (low, (low + high) / 2)
    elif side == "equal":
        low, high = (-2.0, 0.0) if matches(first) else (0.0, np.inf)
        while len(made) < trials:
            made.append(attempt(10 ** ((low + high) / 2) if np.isfinite(high) else JUMP * made[-1].factor))
            exponent = np.log10(made[-1].factor)
            low, high = (low, exponent) if matches(made[-1]) else (exponent, high)
    enough = [trial for trial in made if matches(trial)]
    if not enough:
        return min(made, key=lambda trial: abs(trial.verdict.structure - wanted))
    return min(enough, key=lambda trial: trial.verdict.style_distance)


def match_grain(attempt: Callable[[float, float], Trial], first: Trial, wanted: Verdict) -> Trial:
    """The first trial with at least the structure and at most the grain that are wanted, or the last one made.

    Whichever falls short has its weight raised by `RAISE`: edges for structure, total variation for grain.
    """
    trial = first
    for _ in range(REPAIRS):
        short, grainy = trial.verdict.structure < wanted.structure, trial.verdict.grain > wanted.grain
        if not short and not grainy:
            break
        factor, smoothing = trial.factor * (RAISE if short else 1), trial.smoothing * (RAISE if grainy else 1)
        trial = attempt(factor, smoothing)
    return trial


def is_matched(trial: Trial, wanted: float, side: str) -> bool:
    """Whether a trial keeps at least the structure `wanted`; for the side "lower", at most."""
    return trial.verdict.structure <= wanted if side == "lower" else trial.verdict.structure >= wanted


def print_table(rows: list[Row]) -> None:
    """One line per pair and network, the means, and how often each network wins against the last; as Markdown."""
    print("| pair | weights | edges | total variation | style distance | structure | grain | chroma grain |")
    print("|---|---|---|---|---|---|---|---|")
    for pair, weights, trial in rows:
        numbers = " | ".join(f"{value:.3f}" for value in trial.verdict)
        print(f"| {pair} | {weights} | × {trial.factor:.3g} | × {trial.smoothing:.3g} | {numbers} |")
    verdicts = {name: [row.trial.verdict for row in rows if row.weights == name] for _, name, _ in rows}
    for name, given in verdicts.items():
        print(f"| **mean** | {name} | | | " + " | ".join(f"{value:.3f}" for value in np.mean(given, axis=0)) + " |")
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
    from jnst.presets.recipes import PRESETS
    from jnst.transfer.driver import stylize
    from jnst.vgg.convolution import prepare_params
    from jnst.weights.store import load_weights

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--weights", nargs="+", default=["pocket", "random"], help="names, files, random, random-colours"
    )
    parser.add_argument("--content", nargs="+", type=Path, required=True)
    parser.add_argument("--style", nargs="+", type=Path, required=True)
    parser.add_argument("--preset", default="pocket", help="settings of the stylisation")
    parser.add_argument("--pixels", type=int, default=256, help="longer side of the pictures")
    parser.add_argument("--steps", type=int, help="optimiser steps; default: the preset's")
    parser.add_argument(
        "--match-structure", nargs="+", choices=("equal", "lower"), default=[], help="compare at the same structure too"
    )
    parser.add_argument(
        "--match-grain", action="store_true", help="compare at the same structure and no more grain as well"
    )
    parser.add_argument("--save", type=Path, help="folder for the results")
    arguments = parser.parse_args()
    config = PRESETS[arguments.preset]
    config = dataclasses.replace(config, size=dataclasses.replace(config.size, rule="keep"))
    if arguments.steps is not None:
        config = dataclasses.replace(config, run=dataclasses.replace(config.run, steps=arguments.steps))
    untrained = ("random", "random-colours")
    first = next(name for name in [*arguments.weights, "pocket"] if name not in untrained)
    networks = {}
    for name in arguments.weights:
        weights = load_weights(first if name in untrained else name)
        notes = weights.info.notes
        held = notes.get("colours", 0) + notes.get("details", 0) if name == "random-colours" else 0
        params = random_params(weights.params, held=held) if name in untrained else weights.params
        settings = dataclasses.replace(config.network, width=weights.info.width)
        networks[Path(name).stem] = prepare_params(params), dataclasses.replace(config, network=settings)
    *others, last = networks
    rows: list[Row] = []
    matched: dict[tuple[str, str], list[Row]] = {}
    reached: dict[tuple[str, str], int] = {}
    for content_path, style_path in itertools.product(arguments.content, arguments.style):
        content, style = (read_picture(path, arguments.pixels) for path in (content_path, style_path))
        pair = f"{content_path.stem} × {style_path.stem}"

        def attempt(
            name: str, factor: float = 1.0, smoothing: float = 1.0, *, pair=pair, content=content, style=style
        ) -> Trial:
            params, config = networks[name]
            weights = {"edge_weight": factor * config.loss.edge_weight, "tv_weight": smoothing * config.loss.tv_weight}
            loss = dataclasses.replace(config.loss, **weights)
            started = time.perf_counter()
            image = np.asarray(stylize(params, content, style, dataclasses.replace(config, loss=loss)).image)
            verdict = judge(image, style, content)
            numbers = " ".join(f"{value:.3f}" for value in verdict)
            took = time.perf_counter() - started
            settings = f"edges × {factor:.3g}, total variation × {smoothing:.3g}"
            print(f"{pair}, {name}, {settings}: {numbers} ({took:.0f} s)", file=sys.stderr, flush=True)
            return Trial(factor, verdict, image, smoothing)

        plain = {name: attempt(name) for name in networks}
        rows += [Row(pair, name, trial) for name, trial in plain.items()]
        for side, name in itertools.product(arguments.match_structure, others):
            moved, still = (last, name) if side == "lower" else (name, last)
            wanted = plain[still].verdict.structure
            trial = match_structure(lambda factor, moved=moved: attempt(moved, factor), plain[moved], wanted, side=side)
            both = {moved: trial, still: plain[still]}
            matched.setdefault((side, name), []).extend(Row(pair, one, both[one]) for one in (name, last))
            reached[side, name] = reached.get((side, name), 0) + is_matched(trial, wanted, side)
        for name in others if arguments.match_grain else ():
            wanted = plain[last].verdict
            trial = match_grain(lambda *factors, name=name: attempt(name, *factors), plain[name], wanted)
            matched.setdefault(("grain", name), []).extend([Row(pair, name, trial), Row(pair, last, plain[last])])
            found = is_matched(trial, wanted.structure, "equal") and trial.verdict.grain <= wanted.grain
            reached["grain", name] = reached.get(("grain", name), 0) + found
        if arguments.save:
            arguments.save.mkdir(parents=True, exist_ok=True)
            for name, trial in plain.items():
                write_picture(arguments.save / f"{content_path.stem}-{style_path.stem}-{name}.png", trial.image)
    print_table(rows)
    for (side, name), table in matched.items():
        moved, still = (last, name) if side == "lower" else (name, last)
        what = "structure and grain" if side == "grain" else f"structure ({side})"
        print(f"\n{moved} brought to {still}'s {what}, in {reached[side, name]} of {len(table) // 2} pairs:\n")
        print_table(table)


if __name__ == "__main__":
    main()
