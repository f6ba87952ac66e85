"""Time to a picture as good: jnst against N_S_T's PyTorch program, on the same loss, weights and pictures.

    python scripts/bench/time_to_quality.py --pair CONTENT STYLE [--pair …] [--size 256] [--marks 300 1000]
        [--settings frequency_exponent=0.65,history=40 …]

PyTorch runs N_S_T's program (strong Wolfe L-BFGS, history 100), each of jnst's --settings runs the preset
`gordic-vgg16` with those settings of `optimizer` changed, and they take turns: twenty evaluations of the one, twenty of
the next, each in a process of its own on the same processors. For every mark the table says after how many evaluations
jnst's loss is as low as PyTorch's is after that many, and what share of PyTorch's time that takes: evaluations × the
ratio of the seconds per evaluation, the optimiser's share included. The ratio is the median over the turns, of seconds
by the clock and of the processor's (which other work disturbs less); compilation counts for neither. The last two
columns are sums of the turns as they were: for a quiet machine.

Traces are kept in --traces as one file for every program, pair and size, and are used again where they are long enough;
of traces that were not made in turns, compare the processor's seconds alone.
Colour profiles are ignored, as N_S_T's reader does. What both painted is written side by side to --output. PyTorch
lives in `.venv-bench`, which `compare.py` makes.
"""

import argparse
import dataclasses
import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jnst.__main__ import use_large_pages
from jnst.cli.flags import parse_setting
from jnst.config import Config
from jnst.errors import ConfigError
from jnst.images.montage import montage
from jnst.images.reading import read_image
from jnst.images.resizing import resize, to_unit
from jnst.images.writing import write_image
from jnst.loss.targets import make_targets
from jnst.presets.resolve import Run, resolve_run
from jnst.presets.settings import replace_settings, setting_paths
from jnst.transfer.initial import initial_image
from jnst.transfer.loop import advance
from jnst.transfer.state import current_picture, init_state
from jnst.vgg.convolution import prepare_params

HERE = Path(__file__).resolve().parent
DEPTHS = {"vgg16": (2, 2, 3, 3, 3), "vgg19": (2, 2, 4, 4, 4)}
TURN = 20


def load(path: str, size: int) -> np.ndarray:
    picture = to_unit(read_image(path, color_profile="ignore").pixels)[..., :3]
    factor = size / max(picture.shape[:2])
    height, width = (round(side * factor) for side in picture.shape[:2])
    return np.clip(resize(picture, height, width, "pillow-lanczos"), 0, 1).astype(np.float32)


def torch_job(run: Run, content: np.ndarray, style: np.ndarray) -> dict[str, np.ndarray]:
    """What PyTorch's program reads: pictures, weights of the terms, and the network up to the last layer seen."""
    config, loss = run.config, run.config.loss
    seen = {
        kind: [layer.replace("relu", "conv") for layer, _ in layers]
        for kind, layers in (("style_layers", loss.style_layers), ("content_layers", loss.content_layers))
    }
    depths = DEPTHS[config.network.architecture]
    order = [f"conv{block}_{i}" for block, depth in enumerate(depths, 1) for i in range(1, depth + 1)]
    layers = order[: 1 + max(order.index(layer) for names in seen.values() for layer in names)]
    to_rgb = slice(None, None, -1 if config.network_input.order == "bgr" else 1)
    job: dict[str, Any] = {"content": content, "style": style, "layers": layers, **seen}
    job["mean"] = np.array(config.network_input.mean, np.float32)[to_rgb]
    job["weights"] = [loss.content_weight, loss.style_weight, loss.tv_weight]
    for name in layers:
        kernel, bias = (np.asarray(run.weights.params[name][part], np.float32) for part in ("kernel", "bias"))
        job[f"{name}/kernel"] = kernel[:, :, to_rgb] if name == "conv1_1" else kernel
        job[f"{name}/bias"] = bias
    return {name: np.array(value) for name, value in job.items()}


class Trace:
    """Losses by evaluation and seconds by turn of one program, as a file, and the picture that it ended with."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.losses, self.turns = np.zeros(0), np.zeros((0, 3))
        self.picture = np.zeros((0, 0, 3), np.float32)
        if path.exists():
            with np.load(path) as kept:
                self.losses, self.turns, self.picture = kept["losses"], kept["turns"], kept["picture"]

    def lowest(self) -> np.ndarray:
        """The lowest loss so far; PyTorch's line search may end in NaN, which counts as no loss at all."""
        return np.minimum.accumulate(np.where(np.isfinite(self.losses), self.losses, np.inf))

    def keep(self, turns: list[tuple[int, float, float]], losses: list[float], picture: np.ndarray) -> None:
        self.losses, self.turns, self.picture = np.array(losses), np.array(turns), picture
        np.savez(self.path, losses=self.losses, turns=self.turns, picture=picture)


# What a turn yields: losses by evaluation so far, evaluations, seconds and processor seconds of the turn, the picture.
Turn = tuple[list[float], int, float, float, np.ndarray]


def torch_turns(job: dict[str, np.ndarray], evaluations: int, python: str) -> Iterator[Turn]:
    with tempfile.TemporaryDirectory() as folder:
        source, answer = Path(folder) / "job.npz", Path(folder) / "answer.npz"
        np.savez(source, **job)  # pyright: ignore[reportArgumentType]
        peer = [python, str(HERE / "time_to_quality_torch.py")]
        command = [*peer, str(source), str(answer), str(evaluations), str(TURN)]
        plain = {name: value for name, value in os.environ.items() if name != "GLIBC_TUNABLES"}
        with subprocess.Popen(command, env=plain, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            try:
                while True:
                    process.stdin.write("\n")
                    process.stdin.flush()
                    line = process.stdout.readline().split()
                    if not line:
                        raise SystemExit(f"PyTorch's program ended with {process.wait()}; its message is above")
                    with np.load(answer) as state:
                        losses, picture = state["losses"].tolist(), state["picture"]
                    yield losses, int(line[0]), float(line[1]), float(line[2]), picture
            finally:
                process.terminate()


def jnst_turns(params: dict, content: np.ndarray, style: np.ndarray, config: Config) -> Iterator[Turn]:
    picture, painting = jnp.asarray(content), jnp.asarray(style)
    targets = make_targets(params, picture, painting, config)
    spaces = {"variable": config.variable, "network_input": config.network_input}
    start = initial_image(jax.random.key(0), picture, painting, config.init, noise=config.noise, **spaces)
    state, losses = init_state(start, config), []
    state, _ = advance(params, targets, state, config, num_steps=0, in_place=True)
    while True:
        before, begin, processor = int(state.evaluations), time.perf_counter(), time.process_time()
        state, trace = advance(params, targets, state, config, num_steps=TURN, in_place=True)
        jax.block_until_ready(state)
        spent, processor = time.perf_counter() - begin, time.process_time() - processor
        for count, value in zip(np.asarray(trace.evaluation), np.asarray(trace.total), strict=True):
            losses += [float(value)] * (int(count) - len(losses))
        best = current_picture(state, config, best=True)
        yield losses, int(state.evaluations) - before, spent, processor, best


@contextmanager
def taking_turns(runs: dict[str, Iterator[Turn]], traces: dict[str, Trace], evaluations: int) -> Iterator[None]:
    """Runs those whose traces are too short, in turns, and keeps what they give."""
    going = [name for name in runs if len(traces[name].losses) < evaluations]
    turns: dict[str, list] = {name: [] for name in going}
    while going:
        for name in tuple(going):
            losses, *spent, picture = next(runs[name])
            turns[name].append(spent)
            traces[name].keep(turns[name], losses, picture)
            if len(losses) >= evaluations:
                going.remove(name)
    try:
        yield
    finally:
        for run in runs.values():
            with closing(run):  # pyright: ignore[reportArgumentType]
                pass


def ratio(trace: Trace, torch: Trace, column: int) -> float:
    """Median over the turns of seconds per evaluation over PyTorch's; the first, which warms up, left out."""
    ours, theirs = (turns[1:, column] / turns[1:, 0] for turns in (trace.turns, torch.turns))
    common = min(len(ours), len(theirs))
    return median(ours[:common] / theirs[:common])


def seconds_until(trace: Trace, evaluation: int) -> float:
    ends = np.cumsum(trace.turns, 0)
    return float(np.interp(evaluation, [0, *ends[:, 0]], [0, *ends[:, 1]]))


def rows(trace: Trace, torch: Trace, marks: list[int]) -> Iterator[str]:
    by_clock, by_processor = ratio(trace, torch, 1), ratio(trace, torch, 2)
    for mark in marks:
        goal = torch.lowest()[mark - 1]
        reached = np.flatnonzero(trace.lowest() <= goal)
        head = f"after {mark}: {goal:.4g}"
        if not reached.size:
            yield f"{head} | not in {len(trace.losses)} | – | – | {by_clock:.2f}, {by_processor:.2f} | – | –"
            continue
        count = int(reached[0]) + 1
        shares = f"{count / mark * by_clock:.2f} | {count / mark * by_processor:.2f}"
        ours, theirs = seconds_until(trace, count), seconds_until(torch, mark)
        yield f"{head} | {count} | {shares} | {by_clock:.2f}, {by_processor:.2f} | {theirs:.0f} | {ours / theirs:.2f}"


def change(config: Config, text: str) -> Config:
    pairs = [part.partition("=") for part in text.split(",") if part]
    texts, known = {f"optimizer.{name}": value for name, _, value in pairs}, setting_paths()
    # An unknown name is left to `replace_settings`, which says what there is.
    settings = {path: parse_setting(path, value) if path in known else value for path, value in texts.items()}
    try:
        return replace_settings(config, settings)
    except ConfigError as error:
        raise SystemExit(str(error)) from None


def main() -> None:
    use_large_pages()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pair", nargs=2, action="append", metavar=("CONTENT", "STYLE"), required=True)
    parser.add_argument("--size", type=int, default=256, help="longer side of both pictures, in pixels")
    parser.add_argument("--marks", type=int, nargs="+", default=[100, 300], help="PyTorch's evaluations")
    parser.add_argument("--settings", nargs="+", default=[""], help="of jnst's optimiser: name=value,name=value")
    parser.add_argument("--preset", default="gordic-vgg16")
    parser.add_argument("--weights", default="vgg16-caffe", help="name or file")
    parser.add_argument("--init", default="content", help="jnst's start; PyTorch's is the content")
    parser.add_argument("--torch-python", default=str(HERE.parents[1] / ".venv-bench" / "bin" / "python"))
    parser.add_argument("--traces", type=Path, default=Path("out") / "traces")
    parser.add_argument("--output", type=Path, default=Path("out"))
    arguments = parser.parse_args()
    run = resolve_run(arguments.preset, weights=arguments.weights)
    configs = {
        text or "preset's": dataclasses.replace(change(run.config, text), init=arguments.init)
        for text in arguments.settings
    }
    params = prepare_params(run.weights.params)
    most, columns = max(arguments.marks), ("evaluations", "by the clock", "by the processor")
    arguments.traces.mkdir(parents=True, exist_ok=True)
    print("| pair | jnst's settings | PyTorch's loss | " + " | ".join(columns), end="")
    print(" | per evaluation | PyTorch's seconds | as timed |\n" + "| --- " * 9 + "|")
    for content_path, style_path in arguments.pair:
        content, style = load(content_path, arguments.size), load(style_path, arguments.size)
        name = f"{Path(content_path).stem} × {Path(style_path).stem}"
        runs = {"PyTorch": torch_turns(torch_job(run, content, style), most, arguments.torch_python)}
        for text, config in configs.items():
            runs[text] = jnst_turns(params, content, style, config)
        file = name.replace(" × ", "-")
        traces = {program: Trace(arguments.traces / f"{file}-{arguments.size}-{program}.npz") for program in runs}
        with taking_turns(runs, traces, most):
            for program in list(runs)[1:]:
                for row in rows(traces[program], traces["PyTorch"], arguments.marks):
                    print(f"| {name} | {program} | {row} |", flush=True)
        sheet = arguments.output / f"time-to-quality-{file}.png"
        pictures = [trace.picture for trace in traces.values()]
        write_image(sheet, montage(pictures, labels=list(traces), columns=len(pictures)), overwrite=True)


if __name__ == "__main__":
    main()
