"""What is said while something takes long."""

import io
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest

from jnst.progress import bar as module
from jnst.progress.bar import ProgressBar
from jnst.progress.callbacks import Progress
from jnst.progress.waiting import Waiting


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_what_is_over_soon_is_never_spoken_of() -> None:
    said: list[float] = []
    Waiting(said.append, first=30, every=1).end()
    assert said == []


def test_it_is_said_again_and_again_until_it_is_over() -> None:
    said: list[float] = []
    waiting = Waiting(said.append, first=0.01, every=0.01)
    until = time.monotonic() + 20
    while len(said) < 3:
        assert time.monotonic() < until
        time.sleep(0.01)
    waiting.end()
    count = len(said)
    time.sleep(0.05)
    assert len(said) == count
    assert said == sorted(said)
    assert said[0] >= 0.01


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same, without the second of patience."""
    monkeypatch.setattr(
        module, "Waiting", lambda say, first, every, lock: Waiting(say, first=0.0, every=every / 50, lock=lock)
    )


def test_a_terminal_shows_a_spinner_that_the_bar_then_overwrites(impatient: None) -> None:
    stream = Terminal()
    bar = ProgressBar(stream)
    bar.compiling((384, 512))
    time.sleep(0.2)
    bar(Progress(step=1, steps=2, total=0.5))
    bar.close()
    lines = stream.getvalue().split("\r")
    spoken = [line for line in lines if "compiling" in line]
    assert len(spoken) > 1
    assert all(re.fullmatch(r"[|/\\-] compiling 512×384 \(once per size\) … 0:0\d *", line) for line in spoken)
    last = max(index for index, line in enumerate(lines) if "compiling" in line)
    after = lines[last + 1]
    assert "1/2" in after
    assert len(after) >= len(spoken[-1])  # nothing of it is left standing


def test_elsewhere_it_is_one_line(impatient: None) -> None:
    stream = io.StringIO()
    bar = ProgressBar(stream)
    bar.compiling((384, 512))
    time.sleep(0.1)
    bar.note("a note")
    bar.close()
    assert stream.getvalue() == "compiling 512×384 (once per size) …\na note\n"


def test_a_terminal_hears_the_first_word_at_once_and_the_next_after_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []

    def wait(say: Callable[[float], None], first: float, every: float, lock: Any) -> Waiting:
        pauses.append(first)
        if first == 0:
            say(0.0)
        return Waiting(say, first=30, every=every, lock=lock)

    monkeypatch.setattr(module, "Waiting", wait)
    for stream, first in ((Terminal(), 0.0), (io.StringIO(), 1.0)):
        pauses.clear()
        with ProgressBar(stream) as bar:
            bar.doing("starting JAX")
            bar.doing("reading the weights")
        assert pauses == pytest.approx([first, 1.0], abs=0.5)


def test_python_says_in_a_terminal_alone_that_jax_starts_and_leaves_nothing_of_it() -> None:
    command = [sys.executable, "-c", "import jnst; jnst.stylize; print('ready')"]
    quiet = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert (quiet.stdout, quiet.stderr) == ("ready\n", "")
    mine, theirs = os.openpty()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=theirs)
    os.close(theirs)
    said = b""
    try:
        while data := os.read(mine, 65_536):
            said += data
    except OSError:  # Linux: the other end is closed
        pass
    os.close(mine)
    assert process.communicate(timeout=120)[0] == b"ready\n"
    lines = said.decode().split("\r")
    assert re.fullmatch(r"[|/\\-] starting JAX … 0:00 *", lines[1])
    assert lines[-1] == ""
    assert lines[-2].strip() == ""
