# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Results as pictures: dots and bars with their intervals."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from .results import Result
from .score_table import SHORT_METRIC, arrange, main_results, score_name, short_names

MOST_TOGETHER = 3  # kinds of dots on one line
MOST_BARS = 12


@dataclass
class PlotRow:
    """A line of `plot_rows`.

    Attributes:
        name: written at its left.
        scores: Results of the network, of one or several seeds.
        baseline: Results of the same network with fresh weights.
        paper: a published score in percent, or None.
    """

    name: str
    scores: list[Result] = field(default_factory=list)
    baseline: list[Result] = field(default_factory=list)
    paper: float | None = None


def plot_rows(rows: Sequence[PlotRow], path: str | os.PathLike[str], title: str) -> None:
    """A line for each network: a dot with its interval for each protocol and seed, saved as a picture.

    With more than `MOST_TOGETHER` protocols each has a panel of its own, since dots of many kinds on one line cannot
    be told apart.

    Raises:
        ValueError: no row holds a Result.
    """
    kinds = list(dict.fromkeys((r.protocol, r.metric) for row in rows for r in row.scores))
    if not kinds:
        raise ValueError("no Result to plot")
    if len(kinds) > MOST_TOGETHER:
        _plot_panels(rows, kinds, path, title)
        return
    figure, axes = new_figure(7.5, 1.3 + 0.42 * len(rows))
    dots = Dots(axes)
    step = min(0.36, 0.72 / len(kinds))
    for position, row in enumerate(rows):
        for number, kind in enumerate(kinds):
            place = position + (number - (len(kinds) - 1) / 2) * step
            color, label = f"C{number}", score_name(*kind)
            dots.results(_chosen(row.scores, kind), place, label, color=color, ms=5)
            label = f"{label}, random weights"
            dots.results(_chosen(row.baseline, kind), place, label, color=color, mfc="white", ms=4)
        if row.paper is not None:
            dots.published(row.paper, position, "paper, full size")
    name_rows(axes, [row.name for row in rows])
    axes.set_xlabel("top-1 accuracy (%)" if {metric for _, metric in kinds} == {"top1_accuracy"} else "%")
    axes.set_title(title, fontsize=10)
    axes.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    save_figure(figure, path, 130)


def _plot_panels(
    rows: Sequence[PlotRow], kinds: Sequence[tuple[str, str]], path: str | os.PathLike[str], title: str
) -> None:
    papers = any(row.paper is not None for row in rows)
    count, across = len(kinds) + papers, 3
    down = -(-count // across)
    longest = max(len(row.name) for row in rows)
    figure, grid = new_grid(6.6 + 0.07 * longest, 0.7 + down * (0.55 + 0.21 * len(rows)), down, across)
    panels = list(grid.flat)
    for axes, kind in zip(panels, kinds):
        dots = Dots(axes)
        for position, row in enumerate(rows):
            dots.results(_chosen(row.scores, kind), position, "trained", color="C0", ms=4)
            dots.results(_chosen(row.baseline, kind), position, "random weights", color="C0", mfc="white", ms=4)
        axes.set_title(textwrap.fill(score_name(*kind), 32), fontsize=8.5, loc="left")
    if papers:
        axes = panels[len(kinds)]
        for position, row in enumerate(rows):
            if row.paper is not None:
                Dots(axes).published(row.paper, position, "paper")
        axes.set_title("paper, full size", fontsize=8.5, loc="left")
    for axes in panels[:count]:
        name_rows(axes, [row.name for row in rows], fontsize=8)
        axes.tick_params(axis="x", labelsize=8)
    for axes in panels[count:]:
        axes.set_visible(False)
    figure.suptitle(
        f"{title} (%; hollow: random weights)" if any(r.baseline for r in rows) else f"{title} (%)", size=10
    )
    save_figure(figure, path, 130)


def plot_scores(results: Sequence[Result], path: str | os.PathLike[str], metric: str | None = None) -> None:
    """A bar for each model and protocol with its interval, saved as a PNG (or whatever the suffix says).

    With more than `MOST_BARS`: a line for each model, a panel for each protocol.

    Args:
        results: of one or several models.
        path: file to write.
        metric: the one to draw; None: of each protocol the first of its metrics, see `main_results`.

    Raises:
        ValueError: no Result, or none that carries `metric`.
    """
    results = main_results(results) if metric is None else [r for r in results if r.metric == metric]
    if not results:
        raise ValueError("no Result to plot" if metric is None else f"no Result with the metric {metric!r} to plot")
    models, columns, cells = arrange(results)
    datasets = "; ".join(sorted({f"{Path(r.dataset).name}, {r.split}" for r in results}))
    if len(models) * len(columns) > MOST_BARS:
        lines = []
        for model, name in zip(models, short_names(models), strict=True):
            own = [(column, cells[model, column]) for column in columns if (model, column) in cells]
            # On several data sets the columns say which: one panel is of one of them.
            lines.append(PlotRow(name, [replace(r, protocol=c.removesuffix(_metric_of(r))) for c, r in own]))
        plot_rows(lines, path, datasets)
        return
    width = 0.8 / len(models)
    figure, axes = new_figure(max(4.5, 1.6 + 1.1 * len(models) * len(columns)), 3.6)
    for number, (model, name) in enumerate(zip(models, short_names(models), strict=True)):
        found = [(position, cells[model, c]) for position, c in enumerate(columns) if (model, c) in cells]
        places = [position + (number - (len(models) - 1) / 2) * width for position, _ in found]
        heights, below, above = _percent_with_errors([result for _, result in found])
        bars = axes.bar(places, heights, 0.92 * width, label=name, yerr=(below, above), capsize=3, ecolor="0.25")
        axes.bar_label(bars, [f"{height:.1f}" for height in heights], padding=3, fontsize=8)
    axes.set_xticks(range(len(columns)), columns)
    axes.set_ylabel("accuracy (%)" if all(r.metric.endswith("accuracy") for r in results) else "%")
    axes.set_ylim(0, min(112.0, 1.18 * max(100 * (r.interval[1] if r.interval else r.value) for r in results) + 2))
    axes.spines[["top", "right"]].set_visible(False)
    axes.yaxis.grid(True, color="0.9")
    axes.set_axisbelow(True)
    axes.set_title(datasets, fontsize=10)
    axes.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    save_figure(figure, path, 150)


def _metric_of(result: Result) -> str:
    return f" {SHORT_METRIC.get(result.metric, result.metric)}"


class Dots:
    """Dots with intervals on horizontal lines; each kind of dot enters the legend once."""

    def __init__(self, axes: Any) -> None:
        self.axes = axes
        self.labels: set[str] = set()

    def results(self, results: Sequence[Result], place: float, label: str, **style: Any) -> None:
        """Results around the height `place`, several (seeds) a little apart; nothing where there are none."""
        if results:
            places = [place + (n - (len(results) - 1) / 2) * 0.1 for n in range(len(results))]
            values, below, above = _percent_with_errors(results)
            self._draw(values, places, (below, above), label, marker="o", elinewidth=1.2, **style)

    def published(self, value: float, place: float, label: str, hollow: bool = False) -> None:
        """A published score, in percent."""
        self._draw([value], [place], None, label, marker="D", color="0.25", mfc="white" if hollow else "0.25", ms=5)

    def _draw(self, values: list[float], places: list[float], errors: Any, label: str, **style: Any) -> None:
        shown = None if label in self.labels else label
        self.labels.add(label)
        self.axes.errorbar(values, places, xerr=errors, linestyle="none", label=shown, **style)


def new_figure(width: float, height: float, panels: Sequence[int] | None = None) -> tuple[Any, Any]:
    """A figure and its axes; `panels` gives relative heights of several below one another (axes in a list)."""
    pyplot = _pyplot()
    if panels is None:
        return pyplot.subplots(figsize=(width, height), layout="constrained")
    figure, axes = pyplot.subplots(
        len(panels), figsize=(width, height), layout="constrained", squeeze=False, height_ratios=panels
    )
    return figure, list(axes[:, 0])


def new_grid(width: float, height: float, down: int, across: int) -> tuple[Any, Any]:
    """A figure and an array of axes (down, across) that share what is written at their left."""
    return _pyplot().subplots(down, across, figsize=(width, height), layout="constrained", squeeze=False, sharey=True)


def _pyplot() -> Any:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    return pyplot


def save_figure(figure: Any, path: str | os.PathLike[str], dpi: int) -> None:
    """Saves and closes; the folder is made if it is missing."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=dpi)
    _pyplot().close(figure)


def name_rows(axes: Any, names: Sequence[str], **style: Any) -> None:
    """Names at the left of horizontal lines, the first one on top, and a grid."""
    axes.set_yticks(range(len(names)), [name.replace("$", r"\$") for name in names], **style)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(True, color="0.9")
    axes.set_axisbelow(True)


def _chosen(results: Sequence[Result], kind: tuple[str, str]) -> list[Result]:
    return [r for r in results if (r.protocol, r.metric) == kind]


def _percent_with_errors(results: Sequence[Result]) -> tuple[list[float], list[float], list[float]]:
    """Values, and how far the interval reaches below and above, in percent."""
    bounds = [result.interval or (result.value, result.value) for result in results]
    values = [100 * result.value for result in results]
    below = [max(0.0, value - 100 * low) for value, (low, _) in zip(values, bounds)]
    above = [max(0.0, 100 * high - value) for value, (_, high) in zip(values, bounds)]
    return values, below, above
