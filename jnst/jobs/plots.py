"""Loss curves as files. Matplotlib enters here, and only when a curve is drawn."""

import importlib.util
import io
import itertools
import logging
import math
import os
from collections.abc import Mapping, Sequence
from typing import Any

from jnst.errors import ImageError, JnstError
from jnst.files import check_writable_file, write_atomically

# Colours of the terms, in the order of their names; after the last one they start over.
_COLORS = ("#0b6e99", "#c4512d", "#5b8c3a", "#7a4fa3", "#a8842c", "#3d8f8a")
_INK, _FAINT = "#333333", "#dddddd"


def plot_losses(
    trace: Mapping[str, Sequence[float]], path: str | os.PathLike[str], *, title: str = "", overwrite: bool = False
) -> None:
    """Draws the weighted total beside the unweighted terms over evaluations, on logarithmic scales, as PNG.

    Args:
        trace: equal-length lists `evaluation`, `total`, and one for each term, under its name. A term that is zero
            throughout is left out, single values that are zero or not finite are gaps.

    Raises:
        JnstError: matplotlib is not installed, or the lists are missing, empty or of unequal length.
        ImageError: `path` cannot be written.
    """
    terms = sorted(set(trace) - {"evaluation", "total"})
    lengths = {name: len(values) for name, values in trace.items()}
    if not {"evaluation", "total"} <= set(trace) or len(set(lengths.values())) != 1 or not lengths["total"]:
        raise JnstError(
            f"trace has lists of lengths {lengths}; expected evaluation, total, and the terms, all of one length"
        )
    check_writable_file(path, overwrite=overwrite)
    figure = _new_figure()
    left, right = figure.subplots(1, 2)
    _draw(left, trace, [("total", "weighted total", _INK)], "weighted total")
    lines = [
        (name, name.replace("_", " "), color) for name, color in zip(terms, itertools.cycle(_COLORS), strict=False)
    ]
    _draw(right, trace, lines, "unweighted terms")
    if title:
        figure.suptitle(title, color=_INK, fontsize=11)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=144, metadata={"Software": None})
    try:
        write_atomically(path, buffer.getvalue())
    except OSError as error:
        raise ImageError(f"cannot write {path}: {error.strerror or error}") from error


def check_matplotlib() -> None:
    """Raises JnstError where matplotlib is not installed; it is not imported yet."""
    if importlib.util.find_spec("matplotlib") is None:
        raise JnstError("curves need matplotlib: pip install 'jnst[plots]'")


def _new_figure() -> Any:
    # It complains of a home folder that cannot be written, and then works without a cache.
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise JnstError("curves need matplotlib: pip install 'jnst[plots]'") from error
    # A Figure of its own, not pyplot's: no global state, no window system, nothing to close.
    return Figure(figsize=(9, 3.6), layout="constrained", facecolor="white")


def _draw(axes: Any, trace: Mapping[str, Sequence[float]], lines: list[tuple[str, str, str]], title: str) -> None:
    evaluations = [float(value) for value in trace["evaluation"]]
    drawn = 0
    for name, label, color in lines:
        values = [float(value) if math.isfinite(value) and value > 0 else math.nan for value in trace[name]]
        if all(math.isnan(value) for value in values):
            continue
        drawn += 1
        # A run of one evaluation is a point, which a line would not show.
        axes.plot(
            evaluations, values, color=color, label=label, linewidth=1.6, marker="o" if len(values) == 1 else None
        )
    if drawn:
        axes.set_yscale("log")
    else:
        axes.text(0.5, 0.5, "zero throughout", color=_INK, ha="center", transform=axes.transAxes)
        axes.set_yticks([])
    if drawn and len(lines) > 1:
        axes.legend(frameon=False, labelcolor=_INK)
    axes.set_title(title, loc="left", color=_INK, fontsize=10)
    axes.set_xlabel("evaluations", color=_INK)
    axes.grid(color=_FAINT, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color("#999999")
    axes.tick_params(which="both", colors="#666666", labelsize=9)
    axes.margins(x=0.02)
