"""What a user sees after so many seconds: jnst's `default` beside two PyTorch programs' settings, from the command on.

    python scripts/bench/pictures_by_time.py CONTENT STYLE --torch-python PYTHON [--size 256] [--seconds 15 30 60 120]
        [--limit 600] [--programs jnst gordic crowsonkb] [--output out/by_time]

One program after another is run as a command of its own, so that its seconds count starting, reading weights and
compiling, and writes a picture every few seconds; leave the machine alone meanwhile. The sheet OUTPUT.png has a row for
each program and a column for each number of seconds: the last picture written by then, an empty place where there was
none, and the picture at the program's end or at the limit. The table says what is left of the style distance of each
of these pictures and its content distance, as VGG16 in PyTorch measures them (`scripts/weights/judge_with_vgg16.py`);
whether a picture is worth keeping, the eye judges.

PYTHON is an interpreter with torch, h5py, numpy and Pillow. The settings are those of `pictures_by_time_torch.py`; all
see the bundled VGG16. `jnst` runs with the compilations of an earlier run of the same size; `jnst-first` compiles.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "sheets"))
from contact_sheet import lay_out

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
PROGRAMS = ("jnst", "jnst-first", "gordic", "crowsonkb")
EVERY = 5.0  # seconds between a PyTorch program's pictures; jnst writes one every ten steps
FRAMES_EVERY = 10


def run_jnst(arguments: argparse.Namespace, folder: Path, cache: Path) -> None:
    """Runs the command and names its frames by the seconds since it was given."""
    command = [sys.executable, "-m", "jnst", "stylize", arguments.content, arguments.style, "--quiet"]
    command += ["-o", str(folder / "picture.png"), "--size", str(arguments.size), "--weights", "vgg16-caffe"]
    command += ["--save-every", str(FRAMES_EVERY), "--overwrite", *arguments.flags]
    begin = time.time()
    subprocess.run(command, check=True, env={**os.environ, "JAX_COMPILATION_CACHE_DIR": str(cache)})
    for frame in [*folder.glob("picture-*.png"), folder / "picture.png"]:
        frame.rename(folder / f"{frame.stat().st_mtime - begin:07.2f}.png")


def run_torch(arguments: argparse.Namespace, program: str, folder: Path) -> None:
    command = [arguments.torch_python, str(HERE / "pictures_by_time_torch.py"), program, arguments.content]
    command += [arguments.style, str(folder), str(time.time()), str(arguments.limit), str(EVERY)]
    command += ["--size", str(arguments.size), "--weights", str(ROOT / "weights" / "vgg16.h5")]
    subprocess.run(command, check=True)


def shown_at(folder: Path, seconds: float) -> Path | None:
    """The last picture written by then."""
    frames = sorted((float(frame.stem), frame) for frame in folder.glob("[0-9]*.png"))
    return max((pair for pair in frames if pair[0] <= seconds), default=(0.0, None))[1]


def judge(arguments: argparse.Namespace, pictures: dict[str, list[Path | None]], size: tuple[int, int]) -> None:
    """The table of style and content distances, by the judge's own program."""
    columns = len(next(iter(pictures.values())))
    with tempfile.TemporaryDirectory() as scratch:
        for column in range(columns):
            folders = []
            for program, row in pictures.items():
                picture = row[column]
                if picture is None:
                    continue
                folder = Path(scratch, str(column), program)
                folder.mkdir(parents=True)
                name = f"{Path(arguments.content).stem}-{Path(arguments.style).stem}.png"
                Image.open(picture).convert("RGB").resize(size, Image.Resampling.BICUBIC).save(folder / name)
                folders.append(str(folder))
            if folders:
                head = f"{arguments.seconds[column]:g} s" if column < len(arguments.seconds) else "end"
                print(f"\n{head}", flush=True)
                command = [arguments.torch_python, str(ROOT / "scripts" / "weights" / "judge_with_vgg16.py")]
                command += [str(ROOT / "weights" / "vgg16.h5"), "--content", arguments.content]
                done = [*command, "--style", arguments.style, "--results", *folders]
                text = subprocess.run(done, check=True, stdout=subprocess.PIPE, text=True).stdout
                print("\n".join(text.splitlines()[:2]), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("content")
    parser.add_argument("style")
    parser.add_argument("--torch-python", required=True, help="interpreter with torch, h5py, numpy and Pillow")
    parser.add_argument("--size", type=int, default=256, help="longer side, pixels")
    parser.add_argument("--seconds", type=float, nargs="+", default=[15.0, 30.0, 60.0, 120.0, 240.0, 480.0])
    parser.add_argument("--limit", type=float, default=600.0, help="seconds after which a PyTorch program is ended")
    parser.add_argument("--programs", nargs="+", choices=PROGRAMS, default=["jnst", "gordic", "crowsonkb"])
    parser.add_argument("--output", type=Path, default=Path("out/by_time"))
    parser.add_argument("--flags", nargs=argparse.REMAINDER, default=[], help="further flags of `jnst stylize`, last")
    arguments = parser.parse_args()
    pictures: dict[str, list[Path | None]] = {}
    for program in arguments.programs:
        folder = arguments.output / program
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        if program.startswith("jnst"):
            cache = arguments.output / "compilations"
            if program == "jnst-first":
                shutil.rmtree(cache, ignore_errors=True)
            run_jnst(arguments, folder, cache)
        else:
            run_torch(arguments, program, folder)
        end = max(folder.glob("[0-9]*.png"), key=lambda frame: float(frame.stem))
        print(
            f"{program}: ended after {float(end.stem):.0f} s, {len(list(folder.glob('[0-9]*.png')))} pictures",
            flush=True,
        )
        pictures[program] = [*(shown_at(folder, seconds) for seconds in arguments.seconds), end]
    last = next(iter(pictures.values()))[-1]
    assert last is not None
    size = Image.open(last).size
    rows = []
    for row in pictures.values():
        opened = [Image.open(picture).convert("RGB") if picture else Image.new("RGB", size, "white") for picture in row]
        rows.append([picture.resize(size, Image.Resampling.BICUBIC) for picture in opened])
    sheet = arguments.output.with_suffix(".png")
    lay_out(rows, size[0], size[1]).save(sheet)
    print(sheet)
    judge(arguments, pictures, size)


if __name__ == "__main__":
    main()
