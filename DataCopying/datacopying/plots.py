"""The two distance distributions as SVG, by matplotlib."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .fragments import number
from .zu import Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes

GENERATED, HELD_OUT, THRESHOLD = "#b4481e", "#2b5c8a", "#1d2329"
_STEPS = 2000  # most points of a cumulative curve
_STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "memorization report",
    "font.family": "sans-serif",
    "font.size": 11,
    "text.color": "#3d464f",
    "axes.labelcolor": "#3d464f",
    "axes.edgecolor": "#b9c0c7",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": "#5c6670",
    "ytick.color": "#5c6670",
    "legend.frameon": False,
    "figure.constrained_layout.use": True,
}


def histogram(gen: Sequence[Any], test: Sequence[Any], threshold: float | None) -> str:
    """SVG of both histograms over the same bins, as shares of each set.

    Args:
        gen, test: distances; None is infinite and not drawn.
        threshold: below it a shape is flagged; None is infinite.
    """
    g, t = _finite(gen), _finite(test)
    bins = _bins(g, t).tolist()

    def draw(axes: Axes) -> None:
        for values, total, name, colour in _sides(g, len(gen), t, len(test)):
            weights = np.full(len(values), 100 / total)
            label = f"{name} (n = {total:,})"
            axes.hist(values, bins, weights=weights, color=colour, alpha=0.22)
            axes.hist(values, bins, weights=weights, color=colour, histtype="step", label=label)
        axes.set_ylabel("share of the set, %")

    return _figure(draw, threshold)


def cumulative(gen: Sequence[Any], test: Sequence[Any], threshold: float | None) -> str:
    """SVG of both empirical distribution functions, in percent; arguments as `histogram`."""
    g, t = _finite(gen), _finite(test)

    def draw(axes: Axes) -> None:
        for values, total, name, colour in _sides(g, len(gen), t, len(test)):
            at = np.unique(np.linspace(0, len(values), _STEPS).astype(int))  # 0 is the origin
            height, steps = at * 100 / total, np.append(0.0, np.sort(values))[at]
            label = f"{name} (n = {total:,})"
            axes.step(steps, height, where="post", color=colour, linewidth=1.6, label=label)
        axes.set_ylim(0, 100)
        axes.set_ylabel("shapes at most this far, %")

    return _figure(draw, threshold)


def _sides(g: Array, m: int, t: Array, n: int) -> list[tuple[Array, int, str, str]]:
    return [(t, n, "held-out", HELD_OUT), (g, m, "generated", GENERATED)]


def _finite(values: Sequence[Any]) -> Array:
    return np.array([v for v in values if v is not None], np.float64)


def _bins(g: Array, t: Array) -> Array:
    both = np.concatenate([g, t])
    top = float(both.max()) if len(both) else 1.0
    count = int(np.clip(np.sqrt(len(both)) * 1.3, 10, 48))
    return np.linspace(0.0, top or 1.0, count + 1)


def _figure(draw: Any, threshold: float | None) -> str:
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(5.3, 3.5))
        axes = figure.subplots()
        draw(axes)
        axes.set_xlabel("distance to the nearest training shape")
        axes.margins(x=0)
        axes.set_xlim(left=0)
        if threshold is not None:
            axes.axvline(threshold, color=THRESHOLD, linewidth=1, linestyle=(0, (4, 3)))
        handles, labels = _legend(axes, threshold)
        columns = 3 if sum(map(len, labels)) <= 58 else 2  # as many as fit the width
        place: Any = {"loc": "outside upper left", "ncols": columns, "columnspacing": 1.2}
        figure.legend(handles, labels, fontsize=9.5, handlelength=1.5, **place)
        data = io.StringIO()
        figure.savefig(data, format="svg", transparent=True, metadata={"Date": None})
    svg = data.getvalue()
    return re.sub(r'width="[\d.]+pt" height="[\d.]+pt" ', "", svg[svg.index("<svg") :], count=1)


def _legend(axes: Axes, threshold: float | None) -> tuple[list[Any], list[str]]:
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], color=GENERATED), Line2D([], [], color=HELD_OUT)]
    names = dict(zip(*axes.get_legend_handles_labels()[::-1], strict=True))
    labels = [next(n for n in names if n.startswith(s)) for s in ("generated", "held-out")]
    if threshold is not None:
        handles.append(Line2D([], [], color=THRESHOLD, linewidth=1, linestyle=(0, (4, 3))))
        labels.append(f"flagged below {number(threshold)}")
    return handles, labels
