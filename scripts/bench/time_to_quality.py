"""Seconds to a picture as good: jnst against N_S_T's PyTorch program, on the same loss, weights and pictures.

    python scripts/bench/time_to_quality.py --pair CONTENT STYLE [--pair …] [--size 256] [--evaluations 300]

PyTorch runs N_S_T's settings (strong Wolfe L-BFGS, history 100) for so many evaluations; jnst then runs until its loss
is as low, for a quarter more evaluations at most. Both minimise the recipe `gordic` at full size, and the seconds are
those of the evaluations alone (compilation apart). Each runs as its users run it: PyTorch plainly, jnst with the large
pages that `jnst stylize` asks for. A loss says little of the colour of wide smooth areas, so the last column tells how
far jnst's colours are from PyTorch's, in grey levels and averaged over blocks of 24 × 24 pixels. Without --pair:
matplotlib's portrait and the bundled painting. Prints a table and writes, side by side, what both painted, to the
folder --output. PyTorch lives in `.venv-bench`, which `compare.py` makes.
"""

import argparse
import dataclasses
import itertools
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import jax
import jax.numpy as jnp
import numpy as np

from jnst.__main__ import use_large_pages
from jnst.config import Config, OptimizerConfig
from jnst.images.montage import montage
from jnst.images.reading import read_image
from jnst.images.resizing import resize, to_unit
from jnst.images.writing import write_image
from jnst.loss.targets import make_targets
from jnst.presets.resolve import resolve_run
from jnst.transfer.initial import initial_image
from jnst.transfer.loop import advance
from jnst.transfer.state import current_picture, init_state
from jnst.vgg.convolution import prepare_params

HERE = Path(__file__).resolve().parent
BLOCK = 24
VARIANTS = {
    "pixels, history 100": OptimizerConfig(history=100),
    "frequencies 0.65, history 20": OptimizerConfig(history=20, frequency_exponent=0.65),
    "frequencies 0.65, history 40 in bfloat16": OptimizerConfig(
        history=40, history_precision="bfloat16", frequency_exponent=0.65
    ),
    "frequencies 0.65, history 40 in bfloat16, content lead 16": OptimizerConfig(
        history=40, history_precision="bfloat16", frequency_exponent=0.65, content_lead=16
    ),
    "frequencies 0.65, history 100": OptimizerConfig(history=100, frequency_exponent=0.65),
    "frequencies 0.65, history 100 in bfloat16": OptimizerConfig(
        history=100, history_precision="bfloat16", frequency_exponent=0.65
    ),
}


def load(path: str, size: int) -> np.ndarray:
    picture = to_unit(read_image(path).pixels)
    factor = size / max(picture.shape[:2])
    height, width = (round(side * factor) for side in picture.shape[:2])
    return np.clip(resize(picture, height, width, "pillow-lanczos"), 0, 1).astype(np.float32)


def run_torch(job: dict[str, np.ndarray], evaluations: int, python: str) -> dict[str, np.ndarray]:
    with tempfile.TemporaryDirectory() as folder:
        source, answer = Path(folder) / "job.npz", Path(folder) / "answer.npz"
        np.savez(source, **job)  # pyright: ignore[reportArgumentType]
        command = [python, str(HERE / "time_to_quality_torch.py"), str(source), str(answer), str(evaluations)]
        plain = {name: value for name, value in os.environ.items() if name != "GLIBC_TUNABLES"}
        subprocess.run(command, check=True, env=plain)
        return dict(np.load(answer))


def run_jnst(
    params: dict, content: np.ndarray, style: np.ndarray, config: Config, goal: float, most: int
) -> tuple[int, float, np.ndarray]:
    """Evaluations and seconds until the loss is at most `goal` (0 where it was not reached), and the picture."""
    targets = make_targets(params, jnp.asarray(content), jnp.asarray(style), config)
    start = initial_image(
        jax.random.key(0),
        jnp.asarray(content),
        jnp.asarray(style),
        config.init,
        noise=config.noise,
        variable=config.variable,
        network_input=config.network_input,
    )
    state = init_state(start, config)
    state, _ = advance(params, targets, state, config, num_steps=0, in_place=True)
    begin = time.perf_counter()
    while int(state.evaluations) < most:
        state, trace = advance(params, targets, state, config, num_steps=20, in_place=True)
        below = np.flatnonzero(np.asarray(trace.total) <= goal)
        if below.size:
            reached = int(trace.evaluation[below[0]])
            seconds = (time.perf_counter() - begin) * reached / int(state.evaluations)
            return reached, seconds, current_picture(state, config, best=True)
    return 0, time.perf_counter() - begin, current_picture(state, config, best=True)


def colours_apart(picture: np.ndarray, other: np.ndarray) -> float:
    """Mean difference of the colours of `BLOCK` × `BLOCK` pixels, of 255; both RGB in [0, 1], height × width × 3."""
    height, width = (side // BLOCK for side in picture.shape[:2])
    one, two = (np.clip(image, 0, 1)[: height * BLOCK, : width * BLOCK] for image in (picture, other))
    blocks = (one - two).reshape(height, BLOCK, width, BLOCK, 3).mean((1, 3))
    return 255 * float(np.abs(blocks).mean())


def main() -> None:
    use_large_pages()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pair", nargs=2, action="append", metavar=("CONTENT", "STYLE"))
    parser.add_argument("--size", type=int, default=256, help="longer side of both pictures, in pixels")
    parser.add_argument("--evaluations", type=int, default=300, help="PyTorch's")
    parser.add_argument("--weights", default="auto", help="name or file")
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS), help="of jnst's L-BFGS")
    parser.add_argument("--init", nargs="+", choices=("content", "recolored"), default=["content"], help="jnst's start")
    parser.add_argument("--precision", nargs="+", default=["float32"], help="of jnst's convolutions")
    parser.add_argument(
        "--first-step",
        type=float,
        nargs="+",
        default=[OptimizerConfig().first_step],
        help="of jnst; several show the spread",
    )
    parser.add_argument("--torch-python", default=str(HERE.parents[1] / ".venv-bench" / "bin" / "python"))
    parser.add_argument("--output", type=Path, default=Path("out"))
    arguments = parser.parse_args()
    if not arguments.pair:
        import matplotlib

        portrait = f"{matplotlib.get_data_path()}/sample_data/grace_hopper.jpg"
        arguments.pair = [(portrait, str(HERE.parents[1] / "jnst" / "data" / "pictures" / "night_road.jpg"))]
    run = resolve_run("gordic", weights=arguments.weights)
    # N_S_T feeds whatever network it has with 0–255 minus the mean.
    recipe = dataclasses.replace(run.config, network_input=run.config.variable)
    params, loss = prepare_params(run.weights.params), recipe.loss
    job = {"weights": np.array([loss.content_weight, loss.style_weight, loss.tv_weight])}
    job |= {f"{name}/{part}": layer[part] for name, layer in run.weights.params.items() for part in ("kernel", "bias")}
    print("| pair | program | evaluations | seconds | of PyTorch's | colours apart |")
    print("| --- " * 6 + "|")
    ratios: dict[str, list[float]] = {}
    for content_path, style_path in arguments.pair:
        content, style = load(content_path, arguments.size), load(style_path, arguments.size)
        torch = run_torch(job | {"content": content, "style": style}, arguments.evaluations, arguments.torch_python)
        # Its line search may end in NaN; what counts is the lowest loss that it had.
        lowest = int(np.nanargmin(torch["losses"]))
        goal, seconds = float(torch["losses"][lowest]), float(torch["seconds"][lowest])
        name = f"{Path(content_path).stem} × {Path(style_path).stem}"
        print(f"| {name} | PyTorch, loss {goal:.4g} | {len(torch['losses'])} | {seconds:.1f} | 1 | |", flush=True)
        shown = [torch["picture"]]
        choices = (arguments.variants, arguments.init, arguments.precision, arguments.first_step)
        for variant, init, precision, first_step in itertools.product(*choices):
            optimizer = dataclasses.replace(VARIANTS[variant], first_step=first_step)
            config = dataclasses.replace(recipe, optimizer=optimizer, init=init, precision=precision)
            most = arguments.evaluations * 5 // 4
            count, spent, picture = run_jnst(params, content, style, config, goal, most)
            shown.append(picture)
            ratio, label = spent / seconds, f"{variant}, from {init}, {precision}, first step {first_step:g}"
            ratios.setdefault(label, []).append(ratio if count else float("inf"))
            row = f"{count} | {spent:.1f} | {ratio:.2f}" if count else "not reached | – | –"
            apart = colours_apart(picture, torch["picture"])
            print(f"| | {label} | {row} | {apart:.1f} |", flush=True)
        arguments.output.mkdir(exist_ok=True)
        labels = ["PyTorch", *ratios]
        sheet = arguments.output / f"bench-picture-{Path(content_path).stem}-{Path(style_path).stem}.png"
        write_image(sheet, montage(shown, labels=labels, columns=len(shown)), overwrite=True)
    for variant, values in ratios.items():
        print(f"median over pairs, {variant}: {median(values):.2f} of PyTorch's time", file=sys.stderr)
    print(f"device: {jax.devices()[0].device_kind}", file=sys.stderr)


if __name__ == "__main__":
    main()
