"""N_S_T's program and jnst side by side: the same pair, the same weights file, the same settings and evaluations.

    python scripts/sheets/n_s_t_sheet.py CONTENT STYLE --torch-python PYTHON [--height 256] [--output out/n_s_t.png]

PYTHON is an interpreter with torch, opencv-python-headless and h5py, which runs `n_s_t_torch.py`; jnst runs the preset
`gordic-vgg16` by its command. The sheet shows content, style, N_S_T's picture and jnst's; the loss of every evaluation
is compared on standard output: each program's own, of the same formula.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

from contact_sheet import lay_out
from PIL import Image

HERE = Path(__file__).resolve().parent
WEIGHTS = HERE.parents[1] / "weights" / "vgg16.h5"
COUNTS = (1, 10, 30, 100, 300, 1000)


def run_torch(arguments: argparse.Namespace, output: Path) -> list[float]:
    """Losses of the evaluations of N_S_T's program, which writes its picture."""
    command = [arguments.torch_python, str(HERE / "n_s_t_torch.py"), arguments.content, arguments.style, str(output)]
    command += ["--height", str(arguments.height), "--evaluations", str(arguments.evaluations)]
    done = subprocess.run([*command, "--weights", str(WEIGHTS)], check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout)["losses"]


def run_jnst(arguments: argparse.Namespace, output: Path) -> list[float]:
    """Losses of jnst's evaluations."""
    record = output.with_suffix(".json")
    command = [sys.executable, "-m", "jnst", "stylize", arguments.content, arguments.style, "-o", str(output)]
    command += ["--preset", "gordic-vgg16", "--weights", "vgg16-caffe", "--height", str(arguments.height)]
    command += ["--steps", str(arguments.evaluations - 1), "--overwrite"]
    subprocess.run(command, check=True)
    return json.loads(record.read_text())["trace"]["total"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("content")
    parser.add_argument("style")
    parser.add_argument("--torch-python", required=True, help="interpreter with torch, opencv and h5py")
    parser.add_argument("--height", type=int, default=256, help="of the pictures, pixels")
    parser.add_argument("--evaluations", type=int, default=1000)
    parser.add_argument("--output", type=Path, default=Path("out/n_s_t.png"))
    arguments = parser.parse_args()
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    theirs, ours = (arguments.output.with_name(f"{arguments.output.stem}-{n}.png") for n in ("pytorch", "jnst"))
    losses = [run_torch(arguments, theirs), run_jnst(arguments, ours)]
    print(f"{'evaluations':>12}{'N_S_T':>14}{'jnst':>14}{'ratio':>8}")
    for count in (count for count in COUNTS if count <= arguments.evaluations):
        pytorch, jnst = (min(values[:count]) for values in losses)
        print(f"{count:>12}{pytorch:>14.6g}{jnst:>14.6g}{jnst / pytorch:>8.3f}")
    row = [Image.open(path) for path in (arguments.content, arguments.style, theirs, ours)]
    lay_out([row], 320, 260).save(arguments.output)
    print(arguments.output)


if __name__ == "__main__":
    main()
