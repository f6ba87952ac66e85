"""Bars, interruption, and the cache of compiled programs when jnst is used from Python."""

import io
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from oracles import paint
from small import shallow, small_params

from jnst.progress.bar import ProgressBar
from jnst.progress.callbacks import Progress, Silent
from jnst.progress.indicator import Indicator, NotebookBar, make_indicator
from jnst.transfer.driver import stylize

CONTENT, STYLE = paint("shapes", 20, 28), paint("marble", 24, 24, 3)


class Listener(Silent):
    """Writes down what it is told."""

    def __init__(self):
        self.heard = []

    def compiling(self, size):
        self.heard.append(("compiling", size))

    def __call__(self, progress):
        self.heard.append((progress.step, progress.size))


def test_every_scale_says_that_it_compiles_before_its_first_record():
    listener = Listener()
    config = shallow(steps=3, run={"scales": 2})
    stylize(small_params(), paint("shapes", 40, 56), STYLE, config, progress=listener)
    compilations = [index for index, (what, _) in enumerate(listener.heard) if what == "compiling"]
    assert [listener.heard[index][1] for index in compilations] == [(20, 28), (40, 56)]
    assert compilations[0] == 0
    assert listener.heard[compilations[1] + 1][1] == (40, 56)
    assert listener.heard[-1] == (6, (40, 56))


def test_ctrl_c_returns_the_best_so_far():
    before = signal.getsignal(signal.SIGINT)
    seen = []

    def press(snapshot):
        seen.append(snapshot.progress.best)
        if len(seen) == 3:
            os.kill(os.getpid(), signal.SIGINT)

    config = shallow(steps=5000, run={"chunk": 1})
    result = stylize(small_params(), CONTENT, STYLE, config, callback=press)
    assert result.stopped == "interrupted"
    assert len(result.trace["total"]) - 1 < 5000
    assert min(result.trace["total"]) == pytest.approx(min(seen), rel=1e-6)
    assert result.image.shape == (20, 28, 3)
    assert signal.getsignal(signal.SIGINT) is before


def test_the_second_ctrl_c_ends_it_at_once():
    def press(snapshot):
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        stylize(small_params(), CONTENT, STYLE, shallow(steps=50), callback=press)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_signals_are_left_alone_in_other_threads_and_where_somebody_else_has_them(monkeypatch):
    results = []
    thread = threading.Thread(target=lambda: results.append(stylize(small_params(), CONTENT, STYLE, shallow())))
    thread.start()
    thread.join()
    assert results[0].stopped == "steps"
    own = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        assert Indicator(Silent())._interruptions is None
    finally:
        signal.signal(signal.SIGINT, own)


def test_the_bar_counts_steps_and_names_the_terms(monkeypatch):
    written = io.StringIO()
    monkeypatch.setattr(sys, "stderr", written)
    bar = NotebookBar()
    bar.compiling((20, 28))
    bar(
        Progress(
            step=3, steps=12, size=(20, 28), total=2.5, terms={"content": 1.25, "style": 0.5, "total_variation": 0.125}
        )
    )
    bar.close()
    text = written.getvalue()
    assert "compiling 28×20 (once per size) …" in text
    assert "3/12" in text
    assert "loss=2.5, content=1.25, style=0.5, tv=0.125" in text


def test_it_is_silent_where_nobody_looks(capsys):
    assert type(make_indicator(None)._printer) is Silent
    assert type(make_indicator(False)._printer) is Silent
    assert type(make_indicator(True)._printer) is ProgressBar
    stylize(small_params(), CONTENT, STYLE, shallow())
    captured = capsys.readouterr()
    assert captured.out + captured.err == ""


CACHE = """
import sys, jax, jax.numpy as jnp
jax.jit(lambda x: x + 1)(jnp.ones(3)).block_until_ready()  # JAX has looked for a cache by now
{before}
from small import shallow, small_params
from oracles import paint
import jnst
jnst.stylize(small_params(), paint("shapes", 20, 28), paint("marble", 24, 24), shallow(steps=1))
print(jax.config.jax_compilation_cache_dir)
"""


@pytest.mark.parametrize("before", ["", "jax.config.update('jax_compilation_cache_dir', sys.argv[1])"])
def test_compiled_programs_are_kept_unless_the_user_keeps_them(tmp_path: Path, before: str):
    ours, theirs = tmp_path / "ours" / "compiled", tmp_path / "theirs"
    root = Path(__file__).parents[2]
    environment = {**os.environ, "JNST_CACHE": str(ours.parent), "PYTHONPATH": f"{root}:{root / 'tests' / 'support'}"}
    environment.pop("JAX_COMPILATION_CACHE_DIR", None)
    command = [sys.executable, "-c", CACHE.format(before=before), str(theirs)]
    shown = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.strip()
    assert shown == str(theirs if before else ours)
    assert ours.exists() is not bool(before)
    if not before:
        assert any(path.stat().st_size > 1000 for path in ours.iterdir())


def test_a_printer_hears_the_same_numbers_as_the_trace():
    listener = Listener()
    result = stylize(small_params(), CONTENT, STYLE, shallow(steps=4), progress=listener)
    assert listener.heard[-1][0] == 4
    assert np.isfinite(result.trace["total"]).all()
