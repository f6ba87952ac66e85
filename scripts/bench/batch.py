"""Many images: what batching buys, what it does not, and what starting up costs.

    python scripts/bench/batch.py sizes      seconds per image and evaluation as the batch grows (VGG19, random weights)
    python scripts/bench/batch.py torch      the same evaluation in PyTorch, image after image (--torch-python)
    python scripts/bench/batch.py commands   16 images by one `jnst batch`, by 16 runs of `jnst stylize`, and by N_S_T's
                                             program in PyTorch in a loop (--torch-python), all for as many evaluations
    python scripts/bench/batch.py mixed      30 pictures of eight shapes against 30 of one (--weights vgg16-small)
    python scripts/bench/batch.py searches   evaluations and loss of L-BFGS with and without line search

Prints Markdown rows. Nothing is downloaded; weights are random or the bundled ones.
"""

import argparse
import dataclasses
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

TORCH = """
import sys, time, torch
from torch.nn import functional as F
side, count, steps = map(int, sys.argv[1:])
torch.manual_seed(0)
plan = [64, 64, "P", 128, 128, "P", 256, 256, 256, 256, "P", 512, 512, 512, 512, "P", 512]
kernels, inputs = [], 3
for item in plan:
    if item != "P":
        kernels.append(torch.randn(item, inputs, 3, 3) * (2 / (9 * inputs)) ** 0.5)
        inputs = item
def features(x):
    grams, content, number = [], None, 0
    firsts = {0, 2, 4, 8, 12}
    for item in plan:
        if item == "P":
            x = F.max_pool2d(x, 2)
            continue
        x = F.relu(F.conv2d(x, kernels[number], padding=1))
        if number in firsts:
            flat = x.flatten(2)[0]
            grams.append(flat @ flat.T / flat.shape[1])
        if number == 9:
            content = x
        number += 1
    return grams, content
with torch.no_grad():
    style = features(torch.rand(1, 3, side, side))[0]
seconds, spent = [], []
for index in range(count):
    with torch.no_grad():
        content = features(torch.rand(1, 3, side, side))[1]
    image = torch.rand(1, 3, side, side, requires_grad=True)
    optimizer = torch.optim.Adam([image], lr=0.02)
    for step in range(steps + 1):
        begin, busy = time.perf_counter(), time.process_time()
        optimizer.zero_grad()
        grams, map_ = features(image)
        loss = F.mse_loss(map_, content) + 100 * sum(F.mse_loss(a, b) for a, b in zip(grams, style))
        loss.backward()
        optimizer.step()
        if step:
            seconds.append(time.perf_counter() - begin)
            spent.append(time.process_time() - busy)
print(sorted(seconds)[len(seconds) // 2], min(seconds), min(spent))
"""


# Width by height of what cameras and people make, as parts of the longer side.
SHAPES = [(1, 2 / 3), (3 / 4, 1), (1, 9 / 16), (1, 1), (1, 3 / 4), (2 / 3, 1), (4 / 5, 1), (9 / 16, 1)]


def picture(seed: int, side: int, shape: tuple[float, float] = (1, 1)) -> np.ndarray:
    generator = np.random.default_rng(seed)
    width, height = (round(side * part) for part in shape)
    y, x = np.mgrid[:height, :width] / side
    waves = [0.5 + 0.5 * np.sin(a * x + b * y + 9 * x * y) for a, b in generator.uniform(2, 30, (3, 2))]
    image = np.stack(waves, axis=-1)
    image[np.hypot(x - generator.uniform(), y - generator.uniform()) < 0.25] = generator.uniform(size=3)
    return image.astype(np.float32)


def bench_sizes(side: int, sizes: list[int], steps: int, rounds: int) -> None:
    """Interleaved: each round times every batch size once; the best and the middle of the rounds are printed."""
    import jax
    import jax.numpy as jnp

    from jnst.batch.batch_scale import BatchScale
    from jnst.batch.loop import advance_batch, begin_batch
    from jnst.batch.requests import Task, prepare
    from jnst.config import Config, LossConfig, OptimizerConfig, SizeConfig
    from jnst.transfer.memory import compiled_bytes, element_bytes, params_bytes
    from jnst.transfer.style_targets import picture_grams
    from jnst.vgg.convolution import prepare_params
    from jnst.weights.network import random_weights

    params = prepare_params(random_weights("vgg19", 1.0, 0))
    config = Config(size=SizeConfig(rule="keep"), optimizer=OptimizerConfig(), loss=LossConfig(style_weight=100.0))
    style = picture(99, side)
    grams = picture_grams(params, style, config)
    runs, rows = {}, {}
    for batch_size in sizes:
        items = [prepare(Task(picture(seed, side), (style,), config)) for seed in range(batch_size)]
        scale = BatchScale(items, 0, list(range(batch_size)), {"start": 0.0})
        problems = scale.problems([item.full for item in items], [grams] * batch_size, batch_size)
        targets, state = begin_batch(params, problems, config=scale.key)
        begin = time.monotonic()
        arguments = (params, scale.rule, jnp.int32(0), targets, state)
        needed = compiled_bytes(advance_batch.lower(*arguments, config=scale.key).compile())
        compiled = time.monotonic() - begin
        state, _ = advance_batch(*arguments, config=scale.key)
        runs[batch_size] = (scale, targets, state)
        predicted = params_bytes(config) + batch_size * element_bytes(config, side, side)
        rows[batch_size] = (compiled, predicted, needed, [], [])
    for _ in range(rounds):
        for batch_size, (scale, targets, state) in runs.items():
            begin, spent = time.monotonic(), time.process_time()
            state, _ = advance_batch(params, scale.rule, jnp.int32(steps), targets, state, config=scale.key)
            jax.block_until_ready(state)
            rows[batch_size][3].append((time.monotonic() - begin) / steps / batch_size)
            rows[batch_size][4].append((time.process_time() - spent) / steps / batch_size)
            runs[batch_size] = (scale, targets, state)
    print(f"{jax.devices()[0].device_kind}, {side} px, VGG19 to relu5_1, float32, fixed-step L-BFGS")
    print("| images per batch | s per image and evaluation, best (median) | CPU s | compile, s | GB: model, compiler |")
    print("| --- | --- | --- | --- | --- |")
    for batch_size, (compiled, predicted, needed, seconds, spent) in rows.items():
        best, middle = min(seconds), sorted(seconds)[len(seconds) // 2]
        memory = f"{predicted / 1e9:.2f}, {(needed or 0) / 1e9:.2f}"
        print(f"| {batch_size} | {best:.3f} ({middle:.3f}) | {min(spent):.2f} | {compiled:.1f} | {memory} |")


def torch_loop(folder: Path, images: list[np.ndarray], style: np.ndarray, evaluations: int, python: str) -> float:
    """Seconds of N_S_T's program in PyTorch for all images, one after the other in one process, its start included."""
    import time_to_quality

    from jnst.presets.resolve import resolve_run

    run = resolve_run("gordic-vgg16", weights="vgg16-caffe")
    for index, image in enumerate(images):
        np.savez(folder / f"job{index}.npz", **time_to_quality.torch_job(run, image, style))  # pyright: ignore[reportArgumentType]
    # It waits for a line before its evaluations and after them.
    program = (
        "import sys; sys.path.insert(0, sys.argv[1]); import time_to_quality_torch as program\n"
        "for job in range(int(sys.argv[2])):\n"
        f"    sys.argv[1:] = [f'job{{job}}.npz', 'answer.npz', '{evaluations}', '{evaluations}']; program.main()"
    )
    command = [python, "-c", program, str(Path(__file__).parent), str(len(images))]
    begin = time.monotonic()
    subprocess.run(command, cwd=folder, input="\n" * 3 * len(images), text=True, stdout=subprocess.DEVNULL, check=True)
    return time.monotonic() - begin


def bench_commands(side: int, count: int, evaluations: int, torch_python: str) -> None:
    """N_S_T's VGG16 preset on the bundled weights: a batch command, single commands, and PyTorch in a loop.

    Everything is included: starting, reading, writing. Compiled programs are cached.
    """
    images, style = [picture(seed, side) for seed in range(count)], picture(99, side)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "in").mkdir()
        for seed, image in enumerate(images):
            Image.fromarray(np.uint8(255 * image)).save(folder / "in" / f"{seed:02d}.png")
        Image.fromarray(np.uint8(255 * style)).save(folder / "style.png")
        environment = os.environ | {"PYTHONPATH": str(ROOT), "JNST_CACHE": str(folder / "cache")}
        common = ["--preset", "gordic-vgg16", "--weights", "vgg16-caffe", "--size", str(side), "--quiet"]
        common += ["--steps", str(evaluations - 1)]  # a step is an evaluation, and the initial image takes one

        def run(*words: str) -> float:
            begin = time.monotonic()
            subprocess.run([sys.executable, "-m", "jnst", *words, *common], cwd=folder, env=environment, check=True)
            return time.monotonic() - begin

        def batch(output: str) -> float:
            return run("batch", "in", "--style", "style.png", "-o", output)

        cold_single = run("stylize", "in/00.png", "style.png", "-o", "cold.png")
        single = sum(run("stylize", f"in/{seed:02d}.png", "style.png", "-o", f"{seed}.png") for seed in range(count))
        cold, warm = batch("out1"), batch("out2")
        rows = {
            f"{count} × `jnst stylize` (compiled before; the very first took {cold_single:.1f} s)": single,
            "`jnst batch`, compiling": cold,
            "`jnst batch`, compiled before": warm,
        }
        if Path(torch_python).exists():
            rows["N_S_T's program, PyTorch, in a loop"] = torch_loop(folder, images, style, evaluations, torch_python)
        else:
            print(f"there is no {torch_python}: the row of PyTorch is left out", file=sys.stderr)
    print(f"| {count} images of {side} px, {evaluations} evaluations | s | images per hour |")
    print("| --- | --- | --- |")
    for row, seconds in rows.items():
        print(f"| {row} | {seconds:.1f} | {3600 * count / seconds:.0f} |")


def bench_mixed(side: int, count: int, steps: int | None, weights: str) -> None:
    """A folder of many shapes against one of 4:3 alone: everything included, with nothing compiled and the second time.

    The seconds of the folder of one shape are scaled to the pixels of the other.
    """
    with tempfile.TemporaryDirectory() as name:
        folder, pixels, seconds = Path(name), {}, {}
        Image.fromarray(np.uint8(255 * picture(99, side))).save(folder / "style.png")
        for kind, shapes in (("one", [(1, 3 / 4)]), ("mixed", SHAPES)):
            (folder / kind).mkdir()
            sizes = []
            for seed in range(count):
                image = Image.fromarray(np.uint8(255 * picture(seed, side, shapes[seed % len(shapes)])))
                image.save(folder / kind / f"{seed:02d}.png")
                sizes.append(image.width * image.height)
            pixels[kind] = sum(sizes)
        words = ["--style", "style.png", "--weights", weights, "--size", str(side), "--quiet"]
        words += [] if steps is None else ["--steps", str(steps)]
        for kind in ("one", "mixed"):
            environment = os.environ | {"PYTHONPATH": str(ROOT), "JNST_CACHE": str(folder / f"cache-{kind}")}
            for turn in ("cold", "warm"):
                begin = time.monotonic()
                command = [sys.executable, "-m", "jnst", "batch", kind, "-o", f"{kind}-{turn}", *words]
                subprocess.run(command, cwd=folder, env=environment, check=True)
                seconds[kind, turn] = time.monotonic() - begin
    print(f"| {count} images of {side} px, {steps or 'the preset'}'s steps | cold, s | warm, s |")
    print("| --- | --- | --- |")
    for kind in ("one", "mixed"):
        print(f"| {kind} | {seconds[kind, 'cold']:.1f} | {seconds[kind, 'warm']:.1f} |")
    share = pixels["mixed"] / pixels["one"]
    ratios = (seconds["mixed", turn] / seconds["one", turn] / share for turn in ("cold", "warm"))
    print("| mixed : one, per pixel |" + "".join(f" {ratio:.2f} |" for ratio in ratios))


def bench_searches(side: int, count: int, steps: int) -> None:
    """L-BFGS's forms: own evaluations per image, evaluations that a batch in lock-step pays, and the loss reached."""
    from jnst.batch.api import stylize_batch
    from jnst.presets.resolve import load_preset
    from jnst.transfer.driver import stylize

    style = picture(99, side)
    contents = [picture(seed, side) for seed in range(count)]
    print(f"| {count} images, {side} px, {steps} steps | evaluations per image | lock-step | mean loss | s per image |")
    print("| --- | --- | --- | --- | --- |")
    for search in ("none", "zoom", "backtracking"):
        params, config = load_preset("default", steps=steps, size=side, optimizer__line_search=search)
        config = dataclasses.replace(config, run=dataclasses.replace(config.run, chunk=steps))
        # Once to compile, once to time.
        for name, run in (
            ("batched", lambda c=config, p=params: stylize_batch(p, contents, style, c, batch_size=count)),
            ("single", lambda c=config, p=params: [stylize(p, content, style, c) for content in contents]),
        ):
            run()
            begin = time.monotonic()
            results = run()
            seconds = (time.monotonic() - begin) / count
            made = np.array([np.diff(result.trace["evaluation"], prepend=0) for result in results])
            lock = made.max(axis=0).sum() if name == "batched" else made.sum(axis=1).mean()
            loss = np.mean([min(result.trace["total"]) for result in results])
            print(f"| line search {search}, {name} | {made.sum(axis=1).mean():.0f} | {lock:.0f} | {loss:.4f} "
                  f"| {seconds:.2f} |", flush=True)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("sizes", "torch", "commands", "mixed", "searches"))
    parser.add_argument("--side", type=int, default=256, help="pixels")
    parser.add_argument("--sizes", default="1,2,4,8,16")
    parser.add_argument("--images", type=int, help="16; 30 of mixed shapes")
    parser.add_argument("--steps", type=int, help="or evaluations: 30; those of the preset for mixed shapes")
    parser.add_argument("--weights", default="vgg16-caffe", help="of mixed shapes")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--torch-python", default=str(ROOT / ".venv-bench" / "bin" / "python"))
    arguments = parser.parse_args()
    if arguments.what == "mixed":
        bench_mixed(arguments.side, arguments.images or 30, arguments.steps, arguments.weights)
        return
    arguments.images, arguments.steps = arguments.images or 16, arguments.steps or 30
    if arguments.what == "sizes":
        sizes = [int(size) for size in arguments.sizes.split(",")]
        bench_sizes(arguments.side, sizes, arguments.steps, arguments.rounds)
    elif arguments.what == "torch":
        words = [str(arguments.side), str(arguments.images), str(arguments.steps)]
        shown = subprocess.run(
            [arguments.torch_python, "-c", TORCH, *words], check=True, capture_output=True, text=True
        )
        middle, best, spent = map(float, shown.stdout.split())
        print(f"| PyTorch, one after another | {best:.3f} ({middle:.3f}) | {spent:.2f} |")
    elif arguments.what == "commands":
        bench_commands(arguments.side, arguments.images, arguments.steps, arguments.torch_python)
    else:
        bench_searches(arguments.side, arguments.images, arguments.steps)


if __name__ == "__main__":
    main()
