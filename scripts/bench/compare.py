"""The race: jnst against PyTorch and TensorFlow on the same work, interleaved, in one table.

    python scripts/bench/compare.py               the whole table (about an hour on two cores)
    python scripts/bench/compare.py --sizes 256 --steps evaluation --precisions float32 --poolings max --rounds 7
    python scripts/bench/compare.py --complexity  seconds and memory against pixels and against the number of images

Every program is a process of its own (`run_jnst.py`, `run_torch.py`, `run_tensorflow.py`) with the same random
weights, pictures and loss; each works in turn, in changing order, while the others sleep. Before a case is timed, loss
and gradient of all programs must agree. jnst runs in this interpreter's environment; the others in `.venv-bench`, made
on the first run. Writes `out/bench.md` and `out/bench.json` (`--output`).
"""

import argparse
import dataclasses
import itertools
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from worker import CHANNELS, Case, layers_of

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
PEERS = ("torch==2.13.0", "tensorflow-cpu==2.21.0")
# Program: worker, form, environment. TensorFlow has no L-BFGS of its own.
PROGRAMS = {
    "jnst": ("run_jnst.py", "", "jnst"),
    "torch": ("run_torch.py", "eager", "torch"),
    "torch channels-last": ("run_torch.py", "channels-last", "torch"),
    "torch.compile": ("run_torch.py", "compile", "torch"),
    "tensorflow": ("run_tensorflow.py", "", "tensorflow"),
}
# Largest relative difference (Euclidean norm) from jnst's gradient. In float32 it is a few maxima of pooling windows
# that differ by rounding; in bfloat16 each program rounds in its own places.
AGREEMENT = {"float32": (1e-4, 2e-2), "tf32": (1e-2, 0.3), "bfloat16": (5e-2, 0.5)}


class Worker:
    """A program in one case; see `worker.serve`."""

    def __init__(self, name: str, case: Case, pythons: dict[str, str], answer: Path | None = None) -> None:
        script, form, environment = PROGRAMS[name]
        self.name, self.seconds, self.cpu_seconds = name, [], []
        settings = dict(os.environ, BENCH_FORM=form)
        if environment == "jnst":
            settings["PYTHONPATH"] = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
        self.log = tempfile.TemporaryFile("w+")  # noqa: SIM115
        command = [pythons[environment], str(HERE / script), json.dumps(dataclasses.asdict(case))]
        self.process = subprocess.Popen(
            command + ([str(answer)] if answer else []),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            text=True,
            env=settings,
        )
        self.report = self._listen()

    def _listen(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            self.process.wait()
            self.log.seek(0)
            raise RuntimeError(f"{self.name} ended: {self.log.read()[-600:]}")
        return json.loads(line)

    def run(self, count: int) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{count}\n")
        self.process.stdin.flush()
        answer = self._listen()
        self.seconds.append(answer["seconds"] / count)
        self.cpu_seconds.append(answer["cpu_seconds"] / count)

    def close(self) -> dict[str, Any]:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.report |= self._listen()
        self.process.wait()
        self.log.close()
        if self.seconds:
            self.report |= {
                "median_seconds": median(self.seconds),
                "minimum_seconds": min(self.seconds),
                "minimum_cpu_seconds": min(self.cpu_seconds),
                "seconds": self.seconds,
            }
        return self.report


def race(case: Case, programs: list[str], pythons: dict[str, str], *, rounds: int, chunk: float) -> dict[str, Any]:
    """One case: what every program reports, and how far its loss and gradient are from jnst's."""
    if case.step == "lbfgs":
        programs = [name for name in programs if name != "tensorflow"]
    workers: list[Worker] = []
    results: dict[str, Any] = {}
    reference: tuple[float, np.ndarray] | None = None
    with tempfile.TemporaryDirectory() as folder:
        for number, name in enumerate(programs):
            answer = Path(folder) / f"{number}.npz"
            try:
                workers.append(Worker(name, case, pythons, answer))
            except RuntimeError as error:
                print(f"  {error}", file=sys.stderr)
                results[name] = {"error": str(error)}
                continue
            with np.load(answer) as data:
                loss, gradient = float(data["loss"]), data["gradient"]
            if reference is None:
                reference = (loss, gradient)
            errors = (
                abs(loss / reference[0] - 1),
                float(np.linalg.norm(gradient - reference[1]) / np.linalg.norm(reference[1])),
            )
            workers[-1].report |= {"loss_difference": errors[0], "gradient_difference": errors[1]}
            limits = AGREEMENT[case.precision]
            if errors[0] > limits[0] or errors[1] > limits[1]:
                raise SystemExit(f"{name} disagrees in {case}: loss {errors[0]:.1e}, gradient {errors[1]:.1e}")
    counts = {}
    for worker in workers:
        worker.run(1)
        counts[worker.name] = max(1, round(chunk / worker.seconds.pop()))
        worker.cpu_seconds.pop()
    for number in range(rounds):
        for worker in workers[number % len(workers) :] + workers[: number % len(workers)]:
            # Thread pools spin for a moment after their work; the next program should not pay for that.
            time.sleep(0.3)
            worker.run(counts[worker.name])
    return results | {worker.name: worker.close() for worker in workers}


def peer_pythons(arguments: argparse.Namespace) -> dict[str, str]:
    """The interpreter of each environment; makes `.venv-bench` unless others were named."""
    own = ROOT / ".venv-bench" / "bin" / "python"
    wanted = {"torch": arguments.torch_python, "tensorflow": arguments.tensorflow_python}
    used = {PROGRAMS[name][2] for name in arguments.programs}
    if any(name in used and not wanted[name] for name in wanted) and not own.exists():
        print("making .venv-bench …", file=sys.stderr)
        venv.create(ROOT / ".venv-bench", with_pip=True)
        subprocess.run([own, "-m", "pip", "install", "--quiet", *PEERS], check=True)
    return {"jnst": sys.executable} | {name: path or str(own) for name, path in wanted.items()}


def _number(value: float) -> str:
    return f"{value:.3g}" if value < 100 else f"{value:.0f}"


def table(rows: list[dict[str, Any]]) -> str:
    """The results as Markdown: seconds per step, median (minimum)."""
    names = [name for name in PROGRAMS if any(name in row["results"] for row in rows)]
    lines = [
        "| px | precision | pooling | step | " + " | ".join(names) + " | jnst : fastest other |",
        "|" + "---|" * (len(names) + 5),
    ]
    for row in rows:
        case, results = row["case"], row["results"]
        cells = [str(case["size"]), case["precision"], case["pooling"], case["step"]]
        if case["step"] == "lbfgs":
            cells[3] += f", history {case['history']}"
        done = {name: result for name, result in results.items() if "median_seconds" in result}
        for name in names:
            result = done.get(name)
            cells.append(
                f"{_number(result['median_seconds'])} ({_number(result['minimum_seconds'])})"
                if result
                else "not measured"
            )
        others = [result for name, result in done.items() if name != "jnst"]
        ratio = "–"
        if others and "jnst" in done:
            ratio = " (".join(
                f"{done['jnst'][key] / min(other[key] for other in others):.2f}"
                for key in ("median_seconds", "minimum_seconds")
            )
            ratio += ")"
        lines.append("| " + " | ".join([*cells, ratio]) + " |")
    lines += [
        "",
        "Peak memory of the process in MB, and what it was before the first step; seconds to the first step's end:",
        "",
    ]
    lines += ["| px | precision | pooling | step | " + " | ".join(names) + " |", "|" + "---|" * (len(names) + 4)]
    for row in rows:
        case, results = row["case"], row["results"]
        cells = [str(case["size"]), case["precision"], case["pooling"], case["step"]]
        for name in names:
            result = results.get(name, {})
            if "peak_megabytes" not in result:
                cells.append("not measured")
                continue
            peak, before, first = (result[key] for key in ("peak_megabytes", "before_megabytes", "first_seconds"))
            cells.append(f"{peak:.0f} − {before:.0f} = {peak - before:.0f}; {first:.1f} s")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def flop_per_pixel(network: str = "vgg19") -> float:
    """Multiplications and additions of one evaluation per pixel: convolutions and Gram matrices, forward and back."""
    total, inputs = 0.0, 3
    for name, outputs in layers_of(network):
        area = 4.0 ** (1 - int(name[4]))
        total += 2 * 2 * 9 * inputs * outputs * area
        if name.endswith("_1"):
            total += 2 * 2 * outputs**2 * area
        inputs = outputs
    assert len(CHANNELS) == 5
    return total


def matrix_rate() -> float:
    """Best rate of a large float32 matrix product on this machine, operations per second."""
    a = np.random.default_rng(0).random((2048, 2048), np.float32)
    best = float("inf")
    for _ in range(8):
        began = time.perf_counter()
        _ = a @ a
        best = min(best, time.perf_counter() - began)
    return 2 * 2048**3 / best


def complexity(pythons: dict[str, str], sizes: list[int], images: list[int], rounds: int) -> tuple[str, dict[str, Any]]:
    """jnst's seconds and memory per evaluation against pixels, and against images of the first size."""
    rate = matrix_rate()
    cases = [Case(size=size) for size in sizes] + [Case(size=sizes[0], images=count) for count in images]
    rows: list[dict[str, Any]] = []
    for case in cases:
        worker = Worker("jnst", case, pythons)
        for _ in range(rounds):
            worker.run(1)
        report = worker.close()
        pixels = case.size**2 * case.images
        rows.append({"case": dataclasses.asdict(case), "pixels": pixels, **report})
        print(f"  {case.size} px × {case.images}: {report['minimum_seconds']:.3f} s", file=sys.stderr)
    bound = flop_per_pixel() / rate
    lines = [
        f"{flop_per_pixel() / 1e6:.2f} MFLOP per pixel; the machine's float32 matrix rate {rate / 1e9:.0f} GFLOP/s, "
        f"hence {bound * 1e9:.0f} ns per pixel at least, unless products are saved as Winograd's form does.",
        "",
        "| images | px | s per evaluation | ns per pixel | lower bound s | bound : measured | temporary MB "
        "| bytes per pixel | peak MB |",
        "|" + "---|" * 9,
    ]
    for row in rows:
        case, pixels = row["case"], row["pixels"]
        seconds, temporary = row["minimum_seconds"], row["temporary_megabytes"]
        lines.append(
            f"| {case['images']} | {case['size']} | {_number(seconds)} | {seconds / pixels * 1e9:.0f} | "
            f"{_number(bound * pixels)} | {bound * pixels / seconds:.0%} | {temporary:.0f} | "
            f"{temporary * 2**20 / pixels:.0f} | {row['peak_megabytes']:.0f} |"
        )
    lines.append("")
    for title, part in (("pixels", rows[: len(sizes)]), ("images", [rows[0], *rows[len(sizes) :]])):
        x = np.array([row["pixels"] for row in part], float)
        for key, unit in (("minimum_seconds", "s"), ("temporary_megabytes", "MB")):
            y = np.array([row[key] for row in part])
            # Relative errors count, so that the largest size does not decide alone.
            slope, constant = np.polyfit(x, y, 1, w=1 / y)
            exponent = np.polyfit(np.log(x), np.log(y), 1)[0]
            error = np.abs((slope * x + constant) / y - 1).max()
            lines.append(
                f"Against {title}: {constant:.3g} {unit} + {slope * 1e6:.3g} {unit} per megapixel "
                f"(largest deviation {error:.0%}); exponent {exponent:.2f}."
            )
    return "\n".join(lines) + "\n", {"rows": rows, "flop_per_pixel": flop_per_pixel(), "rate": rate}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+")
    parser.add_argument("--precisions", nargs="+", default=["float32", "bfloat16"])
    parser.add_argument("--poolings", nargs="+", default=["max", "average"])
    parser.add_argument("--steps", nargs="+", default=["evaluation", "adam", "lbfgs"])
    parser.add_argument("--history", type=int, default=10)
    parser.add_argument("--device", choices=["cpu", "gpu"], default="cpu")
    parser.add_argument("--programs", nargs="+", default=list(PROGRAMS), choices=list(PROGRAMS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--chunk", type=float, default=0.5, help="seconds that a program works before the next")
    parser.add_argument("--torch-python", help="interpreter with PyTorch, in place of .venv-bench")
    parser.add_argument("--tensorflow-python", help="interpreter with TensorFlow, in place of .venv-bench")
    parser.add_argument("--complexity", action="store_true")
    parser.add_argument("--images", type=int, nargs="+", default=[2, 4, 8, 16], help="of --complexity, beside one")
    parser.add_argument("--output", type=Path, default=ROOT / "out" / "bench")
    arguments = parser.parse_args()
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    about = {"machine": platform.platform(), "cores": os.cpu_count(), "began": time.strftime("%Y-%m-%d %H:%M:%S")}

    def write(text: str, data: dict[str, Any]) -> None:
        arguments.output.with_suffix(".md").write_text(text)
        arguments.output.with_suffix(".json").write_text(json.dumps(about | data, indent=1))

    if arguments.complexity:
        arguments.programs = ["jnst"]
        sizes = arguments.sizes or [128, 256, 512, 1024, 2048]
        text, data = complexity(peer_pythons(arguments), sizes, arguments.images, arguments.rounds)
        write(text, data)
        print(text)
        return
    pythons = peer_pythons(arguments)
    rows: list[dict[str, Any]] = []
    sizes = arguments.sizes or [128, 256, 512, 1024]
    for case in itertools.product(sizes, arguments.precisions, arguments.poolings, arguments.steps):
        row = Case(*case, history=arguments.history, device=arguments.device)
        print(row, file=sys.stderr)
        results = race(row, arguments.programs, pythons, rounds=arguments.rounds, chunk=arguments.chunk)
        rows.append({"case": dataclasses.asdict(row), "results": results})
        # Written after every row, so that a long run that is stopped leaves what it measured.
        write(table(rows), {"rows": rows})
    print(table(rows))


if __name__ == "__main__":
    main()
