"""Everything to be measured on a GPU, as one command that ends within ten minutes.

    python scripts/bench/on_gpu.py                                # PyTorch in this environment as well
    python scripts/bench/on_gpu.py --torch-python OTHER/bin/python --minutes 9
    python scripts/bench/on_gpu.py --device cpu --size 64 --images 1 2 --minutes 5   # tries the command itself

In order of importance, each with what time is left: the card's rate of matrix products; the tests that a device could
fail; VGG19 and VGG16 at 512 px, one image and batches, in bfloat16, tf32 and float32, jnst against PyTorch as it is and
compiled, in turn on the same card in the same run, with jnst's share of the card's rate. A program that does not fit in
memory is said to be not measured, and the others go on. Writes `out/on_gpu.md` and `out/on_gpu.json` after every row.
"""

import argparse
import dataclasses
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from compare import ROOT, flop_per_pixel, race
from worker import Case

PROGRAMS = ["jnst", "torch channels-last", "torch.compile"]
# What depends on the device: convolutions, losses, the loop, optimisers, batches.
TESTS = ["tests/vgg", "tests/loss", "tests/optim", "tests/transfer/test_loop.py", "tests/test_golden_vgg16.py"]
# Multiplications and additions of 4096 × 4096 matrices, each product feeding the next, so that none is left out.
RATE = """
import json, sys, time
import jax, jax.numpy as jnp
side, kind, precision = int(sys.argv[1]), *dict(
    float32=(jnp.float32, "highest"), tf32=(jnp.float32, "default"), bfloat16=(jnp.bfloat16, "default")
)[sys.argv[2]]
a = jnp.ones((side, side), kind) / side
product = jax.jit(lambda a, count: jax.lax.fori_loop(0, count, lambda _, b: jnp.matmul(a, b, precision=precision), a))
jax.block_until_ready(product(a, 1))
best = 0.0
for _ in range(5):
    began = time.perf_counter()
    jax.block_until_ready(product(a, 20))
    best = max(best, 20 * 2 * side**3 / (time.perf_counter() - began))
print(json.dumps({"rate": best, "device": jax.devices()[0].device_kind, "jax": jax.__version__}))
"""


def run_tests(seconds: float) -> str:
    """The last line of pytest, or that it did not end in time."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *TESTS]
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=seconds, check=False)
    except subprocess.TimeoutExpired:
        return f"did not end within {seconds:.0f} s"
    failed = [line for line in done.stdout.splitlines() if line.startswith("FAILED")]
    return "; ".join([(done.stdout.strip().splitlines() or [done.stderr[-200:]])[-1], *failed[:20]])


def measure_rate(side: int, precision: str) -> dict[str, Any]:
    """The device's best rate of matrix products, in operations a second."""
    done = subprocess.run(
        [sys.executable, "-c", RATE, str(side), precision], capture_output=True, text=True, check=False
    )
    return json.loads(done.stdout) if done.returncode == 0 else {"error": done.stderr[-300:]}


def report(about: dict[str, Any], rows: list[dict[str, Any]]) -> str:
    """What was measured, as Markdown."""
    lines = [f"{about['device']}, jax {about['jax']}. Tests: {about['tests']}", ""]
    lines += [
        f"Matrix products, {name}: {rate['rate'] / 1e12:.3g} TFLOP/s."
        for name, rate in about["rates"].items()
        if "rate" in rate
    ]
    head = (
        "| network | images | precision | jnst, ms an image | PyTorch | torch.compile | jnst : faster other | share |"
    )
    lines += ["", head, "|" + "---|" * 8]
    for row in rows:
        case, results = row["case"], row["results"]
        seconds = {name: results.get(name, {}).get("median_seconds") for name in PROGRAMS}
        cells = [f"{1000 * s / case['images']:.3g}" if s else "not measured" for s in seconds.values()]
        others = [s for name, s in seconds.items() if s and name != "jnst"]
        ours, rate = seconds["jnst"], about["rates"].get(case["precision"], {}).get("rate")
        ratio = f"{ours / min(others):.2f}" if ours and others else "–"
        work = flop_per_pixel(case["network"]) * case["size"] ** 2 * case["images"]
        share = f"{work / ours / rate:.0%}" if ours and rate else "–"
        lines.append(
            "| " + " | ".join([case["network"], str(case["images"]), case["precision"], *cells, ratio, share]) + " |"
        )
    return "\n".join([*lines, "", about["left out"]]) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=["gpu", "cpu"], default="gpu")
    parser.add_argument("--minutes", type=float, default=9.5, help="for everything")
    parser.add_argument("--size", type=int, default=512, help="pixels of each side")
    parser.add_argument("--images", type=int, nargs="+", default=[1, 8, 32, 64])
    parser.add_argument("--precisions", nargs="+", default=["bfloat16", "tf32", "float32"])
    parser.add_argument("--networks", nargs="+", default=["vgg19", "vgg16"])
    parser.add_argument("--torch-python", default=sys.executable, help="interpreter with PyTorch")
    parser.add_argument("--without-tests", action="store_true")
    parser.add_argument("--output", type=Path, default=ROOT / "out" / "on_gpu")
    arguments = parser.parse_args()
    end = time.monotonic() + 60 * arguments.minutes
    os.environ["JAX_PLATFORMS"] = "cuda" if arguments.device == "gpu" else "cpu"
    # Both programs hold their case at the same time.
    os.environ.setdefault("XLA_PYTHON_CLIENT_MEM_FRACTION", "0.45")
    side = 4096 if arguments.device == "gpu" else 1024
    rates = {precision: measure_rate(side, precision) for precision in arguments.precisions}
    known = next((rate for rate in rates.values() if "rate" in rate), None)
    if known is None:
        sys.exit(f"JAX finds no {arguments.device}: {next(iter(rates.values()))['error']}")
    about: dict[str, Any] = {"device": known["device"], "jax": known["jax"], "rates": rates, "left out": ""}
    about["tests"] = "left out" if arguments.without_tests else run_tests(min(180, end - time.monotonic()))
    pythons = {"jnst": sys.executable, "torch": arguments.torch_python}
    rows: list[dict[str, Any]] = []
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    orders = [(n, i, p) for n in arguments.networks for p in arguments.precisions for i in arguments.images]
    longest = 30.0
    for position, (network, images, precision) in enumerate(orders):
        began = time.monotonic()
        if began + longest > end:
            about["left out"] = f"Time was up before: {', '.join(f'{n} {i} {p}' for n, i, p in orders[position:])}."
        else:
            case = Case(arguments.size, precision, device=arguments.device, images=images, network=network)
            print(case, file=sys.stderr, flush=True)
            rows.append(
                {"case": dataclasses.asdict(case), "results": race(case, PROGRAMS, pythons, rounds=3, chunk=0.5)}
            )
            longest = max(longest, time.monotonic() - began)
        text = report(about, rows)
        arguments.output.with_suffix(".md").write_text(text)
        arguments.output.with_suffix(".json").write_text(json.dumps(about | {"rows": rows}, indent=1))
        if about["left out"]:
            break
    print(report(about, rows))


if __name__ == "__main__":
    main()
