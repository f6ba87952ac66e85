"""The progress record and its printers, with a clock and a terminal made here."""

import io
import os
import subprocess
import sys
import time

import pytest

from jnst.progress import bar as progress
from jnst.progress.bar import ProgressBar
from jnst.progress.callbacks import Progress, Silent
from jnst.progress.line import describe, draw_bar
from jnst.progress.pace import Pace, format_duration


class Terminal(io.StringIO):
    """A stream that says it is a terminal, `columns` wide."""

    encoding = "utf-8"

    def isatty(self):
        return True

    def fileno(self):
        return 77


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def columns(monkeypatch):
    def set_columns(value):
        monkeypatch.setattr(progress.os, "get_terminal_size", lambda _: os.terminal_size((value, 24)))

    set_columns(80)
    return set_columns


def records(count, *, compile_seconds=0.0, told=False, per_step=0.1, chunk=10):
    """A run of `count` chunks whose first includes the compilation, told to the reader or not."""
    for index in range(count + 1):
        spent = compile_seconds if index else 0.0
        yield Progress(
            step=index * chunk,
            steps=count * chunk,
            evaluations=index * chunk,
            total=1 / (index + 1),
            best=1 / (index + 1),
            seconds=index * chunk * per_step + spent,
            compile_seconds=spent if told else 0.0,
        )


def test_fraction_takes_work_before_steps():
    assert Progress(step=1, steps=4).fraction == 0.25
    assert Progress(step=1, steps=4, work=0.5).fraction == 0.5
    assert Progress(step=0, steps=0).fraction == 1
    assert Progress(step=9, steps=4).fraction == 1


@pytest.mark.parametrize("told", [True, False])
def test_compilation_does_not_poison_the_time_left(told):
    pace = Pace()
    for index, record in enumerate(records(10, compile_seconds=60, told=told)):
        pace.add(record)
        if index == 0 or (index == 1 and not told):
            assert pace.seconds_left is None
            assert pace.evaluations_per_second is None
        else:
            assert pace.seconds_left == pytest.approx((10 - index) * 1.0)
            assert pace.evaluations_per_second == pytest.approx(10)


def test_a_slept_machine_does_not_poison_the_time_left():
    pace = Pace()
    for record in list(records(10))[:6]:
        pace.add(record)
    pace.add(Progress(step=60, steps=100, evaluations=60, seconds=9_000))
    pace.add(Progress(step=70, steps=100, evaluations=70, seconds=9_001))
    assert pace.evaluations_per_second == pytest.approx(10)


def test_scales_are_timed_apart_but_work_goes_on():
    pace = Pace()
    # Two scales of 20 steps; the second costs four times as much, and compiles for 50 s that nobody tells of.
    for step, seconds, scale in [(0, 0, 1), (10, 9, 1), (20, 10, 1), (30, 64, 2), (40, 68, 2)]:
        work = step / 100 if step <= 20 else 0.2 + (step - 20) * 4 / 100
        pace.add(Progress(step=step, steps=40, evaluations=step, scale=scale, scales=2, seconds=seconds, work=work))
        if step == 20:
            assert pace.seconds_left == pytest.approx(8)
        if step == 30:
            assert pace.evaluations_per_second is None
            assert pace.seconds_left == pytest.approx(4)
    assert pace.seconds_left == 0


def test_another_picture_starts_the_clock_anew():
    pace = Pace()
    for record in records(5):
        pace.add(record)
    assert pace.seconds_left is not None
    pace.add(Progress(step=0, steps=50, label="b.jpg"))
    assert pace.seconds_left is None


def test_plain_lines_come_every_tenth():
    stream, clock = io.StringIO(), Clock()
    with ProgressBar(stream, clock=clock) as bar:
        for record in records(100):
            bar(record)
    lines = stream.getvalue().splitlines()
    assert len(lines) == 11
    assert lines[0] == "0/1000 · loss 1 · 0:00"
    assert lines[5] == "500/1000 · loss 0.01961 · 10.0/s · 0:50, 0:50 left"
    assert lines[-1].startswith("1000/1000 · loss 0.009901")
    assert "\r" not in stream.getvalue()


def test_plain_lines_come_every_ten_seconds():
    stream, clock = io.StringIO(), Clock()
    bar = ProgressBar(stream, clock=clock)
    for step in range(0, 9):
        bar(Progress(step=step, steps=1000))
        clock.now += 4
    assert [line.split(" ")[0] for line in stream.getvalue().splitlines()] == ["0/1000", "3/1000", "6/1000"]
    bar.close()
    bar.close()
    assert stream.getvalue().splitlines()[3:] == ["8/1000 · loss nan · 0:00"]


def test_the_bar_is_one_line_drawn_anew_and_ended(columns):
    stream, clock = Terminal(), Clock()
    with ProgressBar(stream, clock=clock) as bar:
        for record in records(10):
            bar(record)
            clock.now += 1
    text = stream.getvalue()
    assert text.count("\n") == 1
    assert text.endswith("\n")
    drawn = text[:-1].split("\r")[1:]
    assert len(drawn) == 11
    assert drawn[5].startswith(" 50 % ━")
    assert drawn[5].rstrip().endswith("─ 50/100 · loss 0.1667 · 10.0/s · 0:05 left")
    assert drawn[-1].startswith("100 % ━")
    assert "─" not in drawn[-1]


def test_the_bar_is_not_drawn_more_often_than_eyes_can_see(columns):
    stream, clock = Terminal(), Clock()
    bar = ProgressBar(stream, clock=clock)
    for step in range(1000):
        bar(Progress(step=step, steps=1000))
        clock.now += 0.001
    assert 9 <= stream.getvalue().count("\r") <= 12
    bar.close()
    assert "999/1000" in stream.getvalue()


def test_the_bar_leaves_nothing_of_a_longer_line_behind(columns):
    stream, clock = Terminal(), Clock()
    bar = ProgressBar(stream, clock=clock)
    bar(Progress(step=1, steps=2, total=1.2345e-11, label="a long name.png"))
    clock.now += 1
    bar(Progress(step=2, steps=2, total=1.0))
    before, after = stream.getvalue().split("\r")[1:]
    assert len(after) >= len(before)


def test_notes_stand_on_lines_of_their_own(columns):
    stream, clock = Terminal(), Clock()
    bar = ProgressBar(stream, clock=clock)
    bar(Progress(step=1, steps=2))
    bar.note("the step was not finite; rolled back")
    lines = stream.getvalue().split("\n")
    assert lines[0].split("\r")[-1] == "the step was not finite; rolled back"
    assert lines[1].startswith("\r 50 %")
    plain = io.StringIO()
    ProgressBar(plain).note("hello")
    assert plain.getvalue() == "hello\n"


def test_an_interrupted_bar_ends_its_line(columns):
    stream = Terminal()

    def run():
        with ProgressBar(stream, clock=Clock()) as bar:
            bar(Progress(step=1, steps=9))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run()
    assert stream.getvalue().endswith("\n")


@pytest.mark.parametrize("width", [1, 5, 12, 20, 30, 40, 60, 79, 200])
@pytest.mark.parametrize("ascii_only", [True, False])
def test_lines_fit_any_terminal(width, ascii_only):
    pace = Pace()
    for record in records(3):
        pace.add(record)
    record = Progress(
        step=123_456,
        steps=1_000_000,
        evaluations=123_456,
        scale=2,
        scales=4,
        size=(2160, 3840),
        total=7.123e11,
        best=1.5e9,
        seconds=4e5,
        label="pictures/holiday.jpg",
    )
    line = draw_bar(record, pace, columns=width, ascii_only=ascii_only)
    assert len(line) <= width
    assert line.startswith(" 12 %"[:width])
    assert line.isascii() or not ascii_only
    if width >= 40:
        assert "loss 7.123e+11" in line
    if width == 200:
        assert line.endswith("scale 2/4 3840x2160" if ascii_only else "scale 2/4 3840×2160")
        assert "best 1.5e+09" in line


def test_the_bar_follows_the_terminal(columns):
    stream, clock = Terminal(), Clock()
    bar = ProgressBar(stream, clock=clock)
    columns(30)
    bar(Progress(step=5, steps=10, total=0.5, size=(300, 400)))
    assert len(stream.getvalue().lstrip("\r")) <= 29


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_losses_that_are_not_finite_are_shown(value):
    record = Progress(step=1, steps=2, total=value, best=3.0)
    assert f"loss {value:.4g}" in describe(record, Pace())
    assert "loss" in draw_bar(record, Pace())


def test_a_stream_without_unicode_or_reader_does_no_harm():
    raw = io.BytesIO()
    bar = ProgressBar(io.TextIOWrapper(raw, encoding="ascii"))
    bar(Progress(step=1, steps=2, total=1.0, size=(3, 4)))
    bar.note("naïve")
    assert raw.getvalue() == b"1/2 | loss 1 | 0:00 | 4x3\nna?ve\n"

    class Gone(io.StringIO):
        def write(self, _):
            raise BrokenPipeError

    with ProgressBar(Gone()) as bar:
        bar(Progress(step=1, steps=2))


def test_silence():
    with Silent() as printer:
        printer(Progress(step=1, steps=2))
        printer.note("nothing")


def test_durations():
    assert [format_duration(value) for value in (0, 0.4, 59.6, 3599.6, 1e6)] == [
        "0:00",
        "0:00",
        "1:00",
        "1:00:00",
        "11 d 13:46:40",
    ]
    assert format_duration(float("nan")) == "?"


def test_nothing_but_the_standard_library_is_imported():
    # As a file of its own, so that the package's __init__ does not count.
    program = (
        "import runpy, sys; runpy.run_path(sys.argv[1]); "
        "print(sorted({'numpy', 'rich', 'PIL', 'matplotlib'} & set(sys.modules)))"
    )
    command = [sys.executable, "-c", program, str(progress.__file__)]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_compilation_to_come_is_in_the_time_left():
    pace = Pace()
    for step in (0, 10, 20):
        pace.add(Progress(step=step, steps=40, seconds=30 + step, compile_seconds=30, compile_ahead=25))
    assert pace.seconds_left == pytest.approx(20 + 25)


def test_a_wide_terminal_shows_terms_curve_and_what_else_there_is(columns):
    columns(220)
    stream, clock = Terminal(), Clock()
    bar = ProgressBar(stream, clock=clock)
    for step, total in enumerate([8.0, 4.0, 2.0, 1.0]):
        terms = {"content": 0.25, "total_variation": 0.5}
        bar(Progress(step, 9, total=total, terms=terms, label="a.jpg and 1 more", note="then 64×64: 3"))
        clock.now += 1
    line = stream.getvalue().split("\r")[-1]
    assert "a.jpg and 1 more · 3/9 · loss 1 · █▆▃▁ · content 0.25, tv 0.5 · " in line
    assert line.rstrip().endswith("then 64×64: 3")
    columns(60)
    assert "█" not in draw_bar(Progress(3, 9, total=1.0), Pace(), columns=59, losses=[2.0, 1.0])


def test_what_is_done_after_the_last_record_leaves_the_full_bar_standing(columns, monkeypatch):
    monkeypatch.setattr(progress, "_PATIENCE", 0.0)
    stream = Terminal()
    with ProgressBar(stream, clock=Clock()) as bar:
        bar(Progress(step=2, steps=2, total=1.0))
        bar.doing("writing out.png")
        until = time.monotonic() + 20
        while "writing" not in stream.getvalue():
            assert time.monotonic() < until
            time.sleep(0.01)
    first, last = stream.getvalue().split("\n")
    assert first.startswith("\r100 %")
    assert "writing out.png … 0:00" in last
    assert last.endswith(" \r")  # and is gone in the end
