#!/usr/bin/env python
"""Runs random commands on random pictures: each has to end as the help says, and none in an internal error.

    python scripts/try_commands.py [--first 0] [--count 100] [--show]

Every seed makes pictures of many kinds (transparent, grey, 16 bits, a palette, cut off, tiny, very long), masks, and
one command with random flags, which runs in this process on a narrow random VGG16 with a few steps. Printed are the
commands that ended in an internal error, with an exit code that is none of ours, or without the picture that they
promised; exits 1 where there is one. What is refused is refused by chance: --show prints every command and its last
line.
"""

import argparse
import contextlib
import io
import os
import random
import sys
import tempfile
from collections import Counter
from pathlib import Path

# Programs run once, so that compiling them quickly is what counts.
os.environ |= {"JAX_DISABLE_MOST_OPTIMIZATIONS": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}

import numpy as np
from PIL import Image

from jnst.cli.main import main as run_jnst
from jnst.weights.network import describe_weights, random_weights
from jnst.weights.store import write_weights

MASKS = ("half-mask.png", "soft-mask.png", "white.png", "black.png")
LAYERS = ("relu1_1", "relu1_1,relu2_1", "relu1_2:2,pool1", "relu2_1,conv1_1", "relu2_2")
# Flags of commands that paint, with the chance of each.
PAINTING = (
    (0.2, ("--style-statistics", "covariance")),
    (0.2, ("--pooling", "average")),
    (0.1, ("--scales", "2")),
    (0.1, ("--scales", "3")),
    (0.15, ("--precision", "bfloat16")),
    (0.1, ("--set", "network.pool_rounding=ceil")),
    (0.1, ("--set", "loss.gram_divisor=none")),
    (0.1, ("--set", "network.first_padding=replicate")),
    (0.2, ("--optimizer", "adam")),
    (0.1, ("--line-search", "zoom")),
    (0.1, ("--preset", "gatys")),
    (0.1, ("--preset", "tf-tutorial")),
    (0.1, ("--save-every", "1")),
)
STYLIZING = (
    (0.2, ("--sheet",)),
    (0.2, ("--plot",)),
    (0.15, ("--init", "random")),
    (0.1, ("--init", "half.png")),
    (0.1, ("--strength", "1")),
    (0.25, ("--tile", "16")),
    (0.1, ("--style-blend", "1,2")),
)


def make_pictures(generator: np.random.Generator) -> list[str]:
    """Writes pictures and masks into the current folder; returns the pictures' names."""
    height, width = (int(side) for side in generator.integers(24, 50, 2))
    rgb = generator.integers(0, 256, (height, width, 3)).astype(np.uint8)
    soft = generator.integers(0, 256, (height, width)).astype(np.uint8)
    half = np.where(np.arange(width)[None] < width // 2, 255, 0) * np.ones((height, 1))
    colour, grey = Image.fromarray(rgb), Image.fromarray(rgb[..., 0])
    layers = {"half.png": half, "clear.png": 0 * half, "soft.webp": soft}
    pictures = {name: Image.fromarray(np.dstack([rgb, alpha.astype(np.uint8)])) for name, alpha in layers.items()}
    pictures |= {"rgb.png": colour, "rgb.jpg": colour, "grey.png": grey, "palette.png": colour.quantize(16)}
    pictures |= {"deep.png": Image.fromarray(rgb[..., 0].astype(np.uint16) * 257)}
    pictures |= {"grey-alpha.png": Image.fromarray(np.dstack([rgb[..., 0], soft]))}
    pictures |= {"even.bmp": Image.new("RGB", (width, height), (7, 7, 7)), "tiny.png": colour.crop((0, 0, 3, 3))}
    pictures |= {"long.png": Image.fromarray(generator.integers(0, 256, (17, 300, 3)).astype(np.uint8))}
    for name, picture in pictures.items():
        picture.save(name, **({"lossless": True} if name.endswith("webp") else {}))
    whole = Path("rgb.jpg").read_bytes()
    Path("cut.jpg").write_bytes(whole[: 2 * len(whole) // 3])
    upper = np.where(np.arange(height)[:, None] < height // 2, 255, 0) * np.ones((1, width))
    for name, mask in zip(MASKS, (upper, soft, 0 * upper + 255, 0 * upper), strict=True):
        Image.fromarray(mask.astype(np.uint8)).save(name)
    return [*pictures, "cut.jpg"]


def make_command(choose: random.Random, pictures: list[str], weights: str) -> list[str]:
    """A command with random flags."""
    kind = choose.choice([*6 * ["stylize"], "texture", "reconstruct", "inspect", "batch", "batch", "plan", "targets"])
    words = [kind]

    def some(flags: tuple[tuple[float, tuple[str, ...]], ...]) -> None:
        for chance, flag in flags:
            if choose.random() < chance:
                words.extend(flag)

    inputs = [choose.choice(pictures) for _ in range(choose.choice([1, 1, 1, 2]))]
    first, output = choose.choice(pictures), choose.choice(["out.png", "out.jpg", "out.webp", "out.tif"])
    if kind == "stylize":
        words += [first, *inputs, "-o", output]
        if choose.random() < 0.35:
            words += [word for _ in inputs for word in ("--mask", choose.choice([*MASKS, "rest"]))]
            if choose.random() < 0.4:
                words += [word for _ in inputs for word in ("--style-mask", choose.choice([*MASKS, "all"]))]
        some(((0.25, ("--keep", choose.choice(MASKS))), *STYLIZING))
    elif kind == "batch":
        words += [*inputs, "--style", first, "-o", "out"]
    elif kind == "texture":
        words += [*inputs, "-o", output, "--size", choose.choice(["32", "48x32", "37x41"])]
        some(((0.5, ("--seamless",)),))
    elif kind == "reconstruct":
        words += [first, "-o", output, "--layer", choose.choice(LAYERS).replace(":2", ""), "--size", "40"]
    elif kind == "inspect":
        words += [
            first,
            "-o",
            choose.choice(["out.png", "sheets"]),
            "--layers",
            choose.choice(LAYERS).replace(":2", ""),
        ]
    elif kind == "plan":
        words += [first, "--no-probe"]
    else:
        words += [first, "-o", "out.h5"]
    if kind in ("stylize", "batch", "plan", "targets"):
        words += choose.choice([["--size", "40"], ["--height", "33"], ["--full-size"]])
    if kind in ("stylize", "batch", "plan", "targets", "texture"):
        words += ["--style-layers", choose.choice(LAYERS)]
    if kind in ("stylize", "batch", "plan"):
        words += ["--content-layers", choose.choice(LAYERS)]
    if kind in ("stylize", "batch"):
        some(((0.3, ("--colors", choose.choice(["content", "match", "luminance"]))),))
    if kind in ("stylize", "batch", "texture", "reconstruct"):
        words += ["--steps", choose.choice(["0", "1", "3"])]
        some(PAINTING)
    some(((0.3, ("--allow-damaged",)),))
    return [*words, "--weights", weights, *([] if kind == "plan" else ["--overwrite", "--quiet"])]


def try_one(seed: int, weights: str) -> tuple[list[str], object, str, bool]:
    """The command of a seed, its exit code, what it said, and whether that is as it should be."""
    pictures = make_pictures(np.random.default_rng(seed))
    words = make_command(random.Random(seed), pictures, weights)
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
        try:
            code: object = run_jnst(words)
        except SystemExit as end:
            code = end.code
        except BaseException as error:
            code = repr(error)
    good = code in (0, 1, 2) and "internal error" not in said.getvalue()
    if code == 0 and words[0] in ("stylize", "texture", "reconstruct"):
        with contextlib.suppress(OSError), Image.open(words[words.index("-o") + 1]) as picture:
            picture.load()
            return words, code, said.getvalue(), good
        good = False
    return words, code, said.getvalue(), good


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--first", type=int, default=0, help="seed to begin with")
    parser.add_argument("--count", type=int, default=100, help="how many commands")
    parser.add_argument("--show", action="store_true", help="print every command")
    arguments = parser.parse_args()
    codes: Counter[object] = Counter()
    faults = 0
    with tempfile.TemporaryDirectory() as folder:
        weights = f"{folder}/tiny.h5"
        write_weights(weights, random_weights("vgg16", 1 / 16, 0), describe_weights("tiny", "vgg16", 1 / 16, "caffe"))
        os.environ["JNST_CACHE"] = f"{folder}/cache"
        for seed in range(arguments.first, arguments.first + arguments.count):
            place = Path(folder, str(seed))
            place.mkdir()
            os.chdir(place)
            words, code, said, good = try_one(seed, weights)
            codes[code] += 1
            faults += not good
            if arguments.show or not good:
                line = (said if not good else said.strip().rpartition("\n")[2])[-2000:]
                print(seed, code, *words, "|", line, flush=True)
        os.chdir(folder)
    print(f"{arguments.count} commands, {faults} faults; exit codes {dict(codes)}")
    sys.exit(faults > 0)


if __name__ == "__main__":
    main()
