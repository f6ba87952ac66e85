#!/usr/bin/env python
"""Shows that a job of many pictures, a few of them damaged, survives a kill: everything once, nothing twice.

Paints small pictures, damages some, starts `jnst batch`, kills it with SIGKILL in the middle, starts it again with
--resume, and reads the manifest. Prints what it found; exits 1 where anything was lost or made twice.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
# Every one is broken in its own way.
DAMAGE = (b"", b"\xff\xd8\xff\xe0 not a picture", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"plain text")


def paint(seed: int, side: int) -> Image.Image:
    """Smooth colours and a disc, different for every seed."""
    generator = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side] / side
    waves = generator.uniform(2, 12, (3, 2))
    image = np.stack([0.5 + 0.5 * np.sin(a * x + b * y) for a, b in waves], axis=-1)
    image[np.hypot(x - generator.uniform(), y - generator.uniform()) < 0.2] = generator.uniform(size=3)
    return Image.fromarray(np.uint8(255 * image))


def make_folder(folder: Path, images: int, damaged: int, side: int) -> None:
    (folder / "in").mkdir(parents=True)
    for number in range(images):
        path = folder / "in" / f"{number:03d}.png"
        if number % (images // damaged) == images // damaged // 2 and number // (images // damaged) < damaged:
            path.write_bytes(DAMAGE[number // (images // damaged) % len(DAMAGE)])
        else:
            paint(number, side).save(path)
    paint(10_000, side).save(folder / "style.png")


def start(folder: Path, steps: int, *more: str) -> subprocess.Popen:
    words = ["batch", "in", "--style", "style.png", "-o", "out", "--full-size", "--iterations", str(steps), *more]
    words += ["--batch-size", "4", "--content-layers", "relu2_1", "--style-layers", "relu1_1,relu2_1"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "JNST_CACHE": str(folder / "cache")}
    return subprocess.Popen(
        [sys.executable, "-m", "jnst", *words, "--weights", "vgg16-caffe"],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def read_manifest(folder: Path) -> list[dict]:
    path = folder / "out" / "jnst-manifest.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    records = []
    for line in lines:
        try:
            records.append(json.loads(line))
        except json.JSONDecodeError:
            continue  # the line that was being written when the kill came
    return [record for record in records if record["kind"] == "item"]


def kill_in_the_middle(folder: Path, process: subprocess.Popen, enough: int) -> int:
    """SIGKILL as soon as `enough` pictures are done; returns how many were."""
    try:
        while process.poll() is None:
            if sum(record["status"] == "done" for record in read_manifest(folder)) >= enough:
                process.send_signal(signal.SIGKILL)
                break
            time.sleep(0.005)
    finally:
        output, _ = process.communicate()
    if process.returncode != -signal.SIGKILL:
        raise SystemExit(f"the job ended before it could be killed (exit code {process.returncode}):\n{output}")
    return sum(record["status"] == "done" for record in read_manifest(folder))


def show(folder: Path, images: int, damaged: int, side: int, steps: int) -> bool:
    make_folder(folder, images, damaged, side)
    at_kill = kill_in_the_middle(folder, start(folder, steps), images // 3)
    written = {path.name: path.stat().st_mtime_ns for path in (folder / "out").glob("*.png")}
    print(f"killed with {at_kill} of {images} done; {len(written)} files")
    process = start(folder, steps, "--resume")
    output, _ = process.communicate()
    print(output.splitlines()[-1])
    records = read_manifest(folder)
    lines = Counter(record["name"] for record in records)
    done = [record["name"] for record in records if record["status"] == "done"]
    failed = {record["name"]: record["reason"] for record in records if record["status"] == "failed"}
    results = {path.name: path.stat().st_mtime_ns for path in (folder / "out").glob("*.png")}
    again = [name for name, moment in written.items() if results[name] != moment]
    twice = [name for name, count in lines.items() if count > 1]
    leftovers = list((folder / "out").glob(".jnst-*"))
    print(f"{len(results)} results, {len(failed)} failures, {len(twice)} with two lines, {len(again)} written twice")
    for name, reason in failed.items():
        print(f"  {name}: {reason}")
    for name in results:
        with Image.open(folder / "out" / name) as image:
            image.load()
    return (
        process.returncode == 1  # pictures failed
        and sorted(results) == sorted(done)
        and len(results) == images - damaged
        and len(failed) == damaged
        and not twice
        and not again
        and len(leftovers) <= 4  # at most what the threads had in hand when the kill came
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--damaged", type=int, default=5)
    parser.add_argument("--side", type=int, default=32, help="pixels")
    parser.add_argument("--steps", type=int, default=5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="jnst-show-") as folder:
        good = show(Path(folder), arguments.images, arguments.damaged, arguments.side, arguments.steps)
    print("all there, nothing twice" if good else "NOT as it should be")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
