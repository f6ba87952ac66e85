"""How long each command, and Python, says nothing at all: each is run in a terminal of its own.

    python scripts/measure_silence.py                     # every command, on small pictures and with an empty cache
    python scripts/measure_silence.py -- jnst plan a.jpg  # one command

For each: seconds in all, the longest time without a byte written, and what stood on the last line during that time. The
limit is two seconds with nothing said; what is said may be a spinner that is redrawn.
"""

import argparse
import fcntl
import os
import pty
import re
import select
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
PICTURES = ROOT / "jnst" / "data" / "pictures"
LIMIT = 2.0
PYTHON = """
import jnst
params, config = jnst.load_preset("default", size=96, steps=20)
content, style = (jnst.read_image(path).pixels for path in ("night_road.jpg", "woodcut_hills.jpg"))
jnst.stylize(params, content, style, config)
"""
IMPORT = "import jnst; jnst.stylize"


class Silence(NamedTuple):
    """What came of one command."""

    seconds: float
    longest: float
    said: str
    code: int


def measure(command: list[str], folder: Path, *, stop_after: str = "") -> Silence:
    """Runs a command in a pseudo-terminal of 120 columns; it gets Ctrl-C when it has written `stop_after`."""
    mine, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 120, 0, 0))
    environment = {**os.environ, "TERM": "xterm", "TF_CPP_MIN_LOG_LEVEL": "3"}
    environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), environment.get("PYTHONPATH", "")])
    begin = last = time.monotonic()
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, cwd=folder, env=environment)
    os.close(theirs)
    longest, said, line, seen = 0.0, "", "", ""
    while True:
        ready = select.select([mine], [], [], 0.05)[0]
        try:
            data = os.read(mine, 65_536) if ready else b""
        except OSError:  # the other end is closed
            data, ready = b"", [mine]
        now = time.monotonic()
        if now - last > longest:
            longest, said = now - last, line
        if ready and not data:
            break
        if data:
            last, text = now, data.decode(errors="replace")
            seen += text
            shown = [part for part in re.split(r"[\r\n]+", seen[-2000:]) if part.strip()]
            line = shown[-1].strip() if shown else ""
            if stop_after and stop_after in seen:
                process.send_signal(signal.SIGINT)
                stop_after = ""
    os.close(mine)
    return Silence(time.monotonic() - begin, longest, said, process.wait())


def main() -> int:
    """Prints a line for each command; returns 1 where one was silent for too long with nothing said."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("command", nargs="*", help="a command of its own to measure")
    chosen = parser.parse_args()
    jnst = [sys.executable, "-m", "jnst"]
    small = ["--size", "96", "--steps", "20"]
    pair = ["night_road.jpg", "woodcut_hills.jpg"]
    commands = {
        "stylize": [*jnst, "stylize", *pair, *small, "-o", "out.png"],
        "stylize again": [*jnst, "stylize", *pair, *small, "-o", "again.png"],
        "batch": [*jnst, "batch", "night_road.jpg", "tall.jpg", "--style", pair[1], *small, "-o", "many"],
        "plan": [*jnst, "plan", pair[0]],
        "targets": [*jnst, "targets", pair[1], "-o", "style.h5", "--size", "96"],
        "presets": [*jnst, "presets"],
        "weights list": [*jnst, "weights", "list"],
        "weights info": [*jnst, "weights", "info", "vgg16-caffe"],
        "weights verify": [*jnst, "weights", "verify", "vgg16-caffe"],
        "weights convert": [*jnst, "weights", "convert", "weights.h5", "-o", "converted.h5"],
        "studio": [*jnst, "studio", "--no-browser"],
        "import": [sys.executable, "-c", IMPORT],
        "Python": [sys.executable, "-c", PYTHON],
    }
    if chosen.command:
        commands = {"": [*jnst, *chosen.command[1:]] if chosen.command[0] == "jnst" else chosen.command}
    worst = 0
    with tempfile.TemporaryDirectory(prefix="jnst-silence-") as name:
        folder = Path(name)
        os.environ["JNST_CACHE"] = str(folder / "cache")
        if not chosen.command:
            for picture in PICTURES.glob("*.jpg"):
                shutil.copy(picture, folder)
            shutil.copy(PICTURES / "woodcut_hills.jpg", folder / "tall.jpg")
            shutil.copy(ROOT / "weights" / "vgg16.h5", folder / "weights.h5")
        for title, command in commands.items():
            found = measure(
                command, Path.cwd() if chosen.command else folder, stop_after="Ctrl-C" if title == "studio" else ""
            )
            bad = found.longest > LIMIT and not found.said
            worst |= bad
            print(
                f"{title:<16} {found.seconds:6.1f} s, silent for {found.longest:5.1f} s at most, exit {found.code}"
                f"{' TOO LONG' if bad else ''}: {found.said[:90]!r}",
                flush=True,
            )
    return worst


if __name__ == "__main__":
    sys.exit(main())
