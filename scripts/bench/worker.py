"""What the workers of `compare.py` share: the job's files, and a conversation over stdin and stdout.

A worker is a process that holds one program in one case. It says one JSON line when its first step is done, then
answers each line `N` with the time of N steps, and at the end of its input with its peak memory.
Needs NumPy alone, so that every program's environment can import it.
"""

import json
import os
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

CONTENT_LAYER = "relu4_2"
STYLE_LAYERS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")
CHANNELS = (64, 128, 256, 512, 512)
DEPTHS = {"vgg16": (2, 2, 3, 3, 1), "vgg19": (2, 2, 4, 4, 1)}
CONTENT_WEIGHT, STYLE_WEIGHT, TV_WEIGHT = 1.0, 100.0, 1e-6
LEARNING_RATE = 0.02


@dataclass(frozen=True)
class Case:
    """One row of a table. `step` is evaluation, adam or lbfgs; several `images` are evaluated at once.

    `precision` tf32 differs from float32 on a GPU alone.
    """

    size: int = 256
    precision: str = "float32"
    pooling: str = "max"
    step: str = "evaluation"
    history: int = 10
    device: str = "cpu"
    images: int = 1
    network: str = "vgg19"


def layers_of(network: str) -> tuple[tuple[str, int], ...]:
    """Names and channels of the convolutions up to conv5_1."""
    depths = DEPTHS[network]
    return tuple((f"conv{b}_{i}", CHANNELS[b - 1]) for b in range(1, 6) for i in range(1, depths[b - 1] + 1))


def make_job(size: int, network: str = "vgg19") -> dict[str, np.ndarray]:
    """Random weights (He et al. 2015), and three smooth random pictures: RGB in [0, 1], size × size × 3."""
    rng = np.random.default_rng(7)
    job: dict[str, np.ndarray] = {}
    inputs = 3
    for name, outputs in layers_of(network):
        spread = np.sqrt(2 / (9 * inputs))
        job[f"{name}/kernel"] = rng.normal(0, spread, (3, 3, inputs, outputs)).astype(np.float32)
        job[f"{name}/bias"] = rng.normal(0, 0.05, outputs).astype(np.float32)
        inputs = outputs
    for name in ("content", "style", "image"):
        coarse = rng.random((9, 9, 3))
        place = np.linspace(0, 8, size, endpoint=False)
        low, part = place.astype(int), place % 1
        rows = coarse[low] * (1 - part)[:, None, None] + coarse[low + 1] * part[:, None, None]
        part = part[None, :, None]
        smooth = rows[:, low] * (1 - part) + rows[:, low + 1] * part
        job[name] = np.clip(0.8 * smooth + 0.2 * rng.random((size, size, 3)), 0, 1).astype(np.float32)
    return job


def peak_megabytes() -> float:
    """Largest resident memory that this process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def serve(make: Callable[[Case, dict[str, np.ndarray]], tuple[Callable[[int], Any], Callable[[], Any], dict]]) -> None:
    """Runs one case.

    `make(case, job)` returns `run(n)`, which takes n steps and waits for them; `check()`, which gives loss and gradient
    (height × width × 3) at the job's image; and what else there is to report.
    """
    case = Case(**json.loads(sys.argv[1]))
    job = make_job(case.size, case.network)
    # Libraries write to stdout as they please; the conversation keeps its own copy of it.
    talk = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)

    def say(**values: Any) -> None:
        talk.write(json.dumps(values) + "\n")

    began = time.perf_counter()
    run, check, extra = make(case, job)
    before = peak_megabytes()
    run(1)
    first = time.perf_counter() - began
    if len(sys.argv) > 2:
        loss, gradient = check()
        np.savez(sys.argv[2], loss=np.float64(loss), gradient=np.asarray(gradient, np.float64))
    say(first_seconds=first, before_megabytes=before, **extra)
    for line in sys.stdin:
        wall, cpu = time.perf_counter(), time.process_time()
        run(int(line))
        say(seconds=time.perf_counter() - wall, cpu_seconds=time.process_time() - cpu)
    say(peak_megabytes=peak_megabytes())
