# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Results as pictures: dots and bars with their intervals."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .results import Result
from .score_table import MOST_COLUMNS, arrange, short_names


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


def plot_rows(
    rows: Sequence[PlotRow], path: str | os.PathLike[str], title: str, metric: str = "top1_accuracy"
) -> None:
    """A line for each network: a dot with its interval for each protocol and seed, saved as a picture.

    Raises:
        ValueError: no row holds a Result of `metric`.
    """
    protocols = list(dict.fromkeys(r.protocol for row in rows for r in row.scores if r.metric == metric))
    if not protocols:
        raise ValueError(f"no Result with the metric {metric!r} to plot")
    figure, axes = new_figure(7.5, 1.3 + 0.42 * len(rows))
    dots = Dots(axes)
    for position, row in enumerate(rows):
        for number, protocol in enumerate(protocols):
            place = position + (number - (len(protocols) - 1) / 2) * 0.36
            color = f"C{number}"
            dots.results(_chosen(row.scores, protocol, metric), place, protocol, color=color, ms=5)
            label = f"{protocol}, random weights"
            dots.results(_chosen(row.baseline, protocol, metric), place, label, color=color, mfc="white", ms=4)
        if row.paper is not None:
            dots.published(row.paper, position, "paper, full size")
    name_rows(axes, [row.name for row in rows])
    axes.set_xlabel("top-1 accuracy (%)" if metric == "top1_accuracy" else f"{metric} (%)")
    axes.set_title(title, fontsize=10)
    axes.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    save_figure(figure, path, 130)


def plot_scores(results: Sequence[Result], path: str | os.PathLike[str], metric: str = "top1_accuracy") -> None:
    """A bar for each model and protocol with its interval, saved as a PNG (or whatever the suffix says).

    With more than `MOST_COLUMNS` protocols: a line for each of them and a dot for each model.

    Raises:
        ValueError: no Result carries `metric`.
    """
    results = [result for result in results if result.metric == metric]
    if not results:
        raise ValueError(f"no Result with the metric {metric!r} to plot")
    rows, columns, cells = arrange(results)
    if len(columns) > MOST_COLUMNS:
        _plot_many(rows, columns, cells, path)
        return
    width = 0.8 / len(rows)
    figure, axes = new_figure(max(4.5, 1.6 + 1.1 * len(rows) * len(columns)), 3.6)
    for number, (row, name) in enumerate(zip(rows, short_names(rows), strict=True)):
        found = [(position, cells[row, column]) for position, column in enumerate(columns) if (row, column) in cells]
        places = [position + (number - (len(rows) - 1) / 2) * width for position, _ in found]
        heights, below, above = _percent_with_errors([result for _, result in found])
        bars = axes.bar(places, heights, 0.92 * width, label=name, yerr=(below, above), capsize=3, ecolor="0.25")
        axes.bar_label(bars, [f"{height:.1f}" for height in heights], padding=3, fontsize=8)
    axes.set_xticks(range(len(columns)), columns)
    axes.set_ylabel("accuracy (%)")
    axes.set_ylim(0, min(112.0, 1.18 * max(100 * (r.interval[1] if r.interval else r.value) for r in results) + 2))
    axes.spines[["top", "right"]].set_visible(False)
    axes.yaxis.grid(True, color="0.9")
    axes.set_axisbelow(True)
    datasets = sorted({f"{Path(r.dataset).name}, {r.split}" for r in results})
    axes.set_title("; ".join(datasets), fontsize=10)
    axes.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    save_figure(figure, path, 150)


def _plot_many(
    models: Sequence[str],
    scores: Sequence[str],
    cells: dict[tuple[str, str], Result],
    path: str | os.PathLike[str],
) -> None:
    figure, axes = new_figure(8.0, 1.0 + 0.32 * len(scores))
    dots = Dots(axes)
    for position, score in enumerate(scores):
        for number, (model, name) in enumerate(zip(models, short_names(models), strict=True)):
            found = [cells[model, score]] if (model, score) in cells else []
            place = position + (number - (len(models) - 1) / 2) * 0.6 / len(models)
            dots.results(found, place, name, color=f"C{number}", ms=4)
    name_rows(axes, scores, fontsize=8)
    axes.set_xlabel("%")
    axes.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    save_figure(figure, path, 130)


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

    def published(self, value: float, place: float, label: str) -> None:
        """A published score, in percent."""
        self._draw([value], [place], None, label, marker="D", color="0.25", ms=5)

    def _draw(self, values: list[float], places: list[float], errors: Any, label: str, **style: Any) -> None:
        shown = None if label in self.labels else label
        self.labels.add(label)
        self.axes.errorbar(values, places, xerr=errors, linestyle="none", label=shown, **style)


def new_figure(width: float, height: float, panels: Sequence[int] | None = None) -> tuple[Any, Any]:
    """A figure and its axes; `panels` gives relative heights of several below one another (axes in a list)."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    if panels is None:
        return pyplot.subplots(figsize=(width, height), layout="constrained")
    figure, axes = pyplot.subplots(
        len(panels), figsize=(width, height), layout="constrained", squeeze=False, height_ratios=panels
    )
    return figure, list(axes[:, 0])


def save_figure(figure: Any, path: str | os.PathLike[str], dpi: int) -> None:
    """Saves and closes; the folder is made if it is missing."""
    from matplotlib import pyplot

    Path(path).parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=dpi)
    pyplot.close(figure)


def name_rows(axes: Any, names: Sequence[str], **style: Any) -> None:
    """Names at the left of horizontal lines, the first one on top, and a grid."""
    axes.set_yticks(range(len(names)), [name.replace("$", r"\$") for name in names], **style)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(True, color="0.9")
    axes.set_axisbelow(True)


def _chosen(results: Sequence[Result], protocol: str, metric: str) -> list[Result]:
    return [r for r in results if r.protocol == protocol and r.metric == metric]


def _percent_with_errors(results: Sequence[Result]) -> tuple[list[float], list[float], list[float]]:
    """Values, and how far the interval reaches below and above, in percent."""
    bounds = [result.interval or (result.value, result.value) for result in results]
    values = [100 * result.value for result in results]
    below = [max(0.0, value - 100 * low) for value, (low, _) in zip(values, bounds)]
    above = [max(0.0, 100 * high - value) for value, (_, high) in zip(values, bounds)]
    return values, below, above
