"""Loss curves and contact sheets."""

import sys

import numpy as np
import pytest

from jnst.errors import ImageError, JnstError
from jnst.images.montage import montage
from jnst.images.reading import read_image
from jnst.images.writing import write_image
from jnst.jobs import plots
from jnst.jobs.plots import plot_losses


def make_trace(length=30, **changes):
    evaluation = list(range(length))
    falling = [100.0 / (step + 1) for step in evaluation]
    return {
        "evaluation": evaluation,
        "total": falling,
        "content": [value / 7 for value in reversed(falling)],
        "style": [value / 1e6 for value in falling],
        "total_variation": [5e4] * length,
    } | changes


def drawn(monkeypatch, trace, path):
    """The curves of both panels: {label: (evaluations, values)}, and the panels' scales."""
    figures = []
    make = plots._new_figure

    def remember():
        figures.append(make())
        return figures[-1]

    monkeypatch.setattr(plots, "_new_figure", remember)
    plot_losses(trace, path)
    lines = [line for axes in figures[0].axes for line in axes.get_lines()]
    scales = [axes.get_yscale() for axes in figures[0].axes]
    return {line.get_label(): (list(line.get_xdata()), list(line.get_ydata())) for line in lines}, scales


def test_curves_show_total_and_terms_over_evaluations(tmp_path, monkeypatch):
    trace = make_trace()
    lines, scales = drawn(monkeypatch, trace, tmp_path / "losses.png")
    assert list(lines) == ["weighted total", "content", "style", "total variation"]
    assert lines["style"] == (trace["evaluation"], trace["style"])
    assert scales == ["log", "log"]
    picture = read_image(tmp_path / "losses.png").pixels
    assert picture.shape == (518, 1296, 3)
    assert [entry.name for entry in tmp_path.iterdir()] == ["losses.png"]


def test_zeros_and_nan_are_gaps_and_absent_terms_are_left_out(tmp_path, monkeypatch):
    trace = make_trace(4, total=[3.0, float("nan"), float("inf"), 1.0], content=[0, 1, 1, 1], total_variation=[0] * 4)
    lines, _ = drawn(monkeypatch, trace, tmp_path / "a.png")
    assert list(lines) == ["weighted total", "content", "style"]
    np.testing.assert_array_equal(lines["weighted total"][1], [3, np.nan, np.nan, 1])
    np.testing.assert_array_equal(lines["content"][1], [np.nan, 1, 1, 1])


@pytest.mark.parametrize("length", [1, 2])
def test_short_and_empty_curves(tmp_path, length):
    zeros = dict.fromkeys(("content", "style", "total_variation"), [0.0] * length)
    plot_losses(make_trace(length, **zeros), tmp_path / "a.png", title="nothing to see")
    assert read_image(tmp_path / "a.png").pixels.min() < 128


def test_traces_that_do_not_fit_are_named(tmp_path):
    with pytest.raises(JnstError, match=r"'style': 2.*expected evaluation, total, .*all of one length"):
        plot_losses(make_trace(3, style=[1.0, 2.0]), tmp_path / "a.png")
    with pytest.raises(JnstError, match="expected evaluation"):
        plot_losses({"total": [1.0]}, tmp_path / "a.png")
    with pytest.raises(JnstError, match="all of one length"):
        plot_losses(make_trace(0), tmp_path / "a.png")


def test_curves_are_not_written_over_what_is_there(tmp_path):
    (tmp_path / "a.png").write_text("mine")
    with pytest.raises(ImageError, match="exists already"):
        plot_losses(make_trace(), tmp_path / "a.png")
    plot_losses(make_trace(), tmp_path / "a.png", overwrite=True)
    assert read_image(tmp_path / "a.png").format == "PNG"


def test_without_matplotlib_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(JnstError, match=r"pip install 'jnst\[plots\]'"):
        plot_losses(make_trace(), tmp_path / "a.png")
    assert not list(tmp_path.iterdir())


def test_a_sheet_is_a_montage_in_a_file(tmp_path):
    pictures = [np.zeros((20, 30, 3)), np.ones((20, 20, 3)) / 2]
    write_image(tmp_path / "sheet.png", montage(pictures, labels=["content", "style"], height=120))
    pixels = read_image(tmp_path / "sheet.png").pixels
    assert pixels.shape[1] == 180 + 120 + 3 * 6
    np.testing.assert_array_equal(pixels[60, 90], [0, 0, 0])
    np.testing.assert_array_equal(pixels[60, 250], [128, 128, 128])
