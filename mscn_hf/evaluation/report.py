# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Results as a table to read and a picture to look at."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from .results import Result

SHORT_METRIC = {
    "top1_accuracy": "top-1",
    "top5_accuracy": "top-5",
    "mean_per_class_accuracy": "mean per class",
}


def format_table(results: Sequence[Result]) -> str:
    """A plain text table: a row for each model, a column for each protocol and metric, in percent with intervals.

    Where one model was scored under several seeds each seed has a row; of several Results for one cell the last one
    counts; where Results are of several datasets or splits the columns say which.
    """
    if not results:
        return "no results"
    rows, columns, cells = _arrange(results)
    lines = [["model", *columns]]
    for row in rows:
        shown = [_cell(cells[row, column]) if (row, column) in cells else "-" for column in columns]
        lines.append([row, *shown])
    widths = [max(len(line[n]) for line in lines) for n in range(len(lines[0]))]

    def joined(line: list[str]) -> str:
        first, *others = (text.ljust(w) if n == 0 else text.rjust(w) for n, (text, w) in enumerate(zip(line, widths)))
        return "  ".join([first, *others]).rstrip()

    rule = "  ".join("-" * width for width in widths)
    table = "\n".join([joined(lines[0]), rule, *(joined(line) for line in lines[1:])])
    where = sorted({f"{r.dataset}, {r.split}: {r.num_examples:,} images" for r in results})
    return table + "\n" + "\n".join(where) + "; accuracy in %, [95 % interval]"


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
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    protocols = list(dict.fromkeys(r.protocol for row in rows for r in row.scores if r.metric == metric))
    if not protocols:
        raise ValueError(f"no Result with the metric {metric!r} to plot")
    figure, axes = pyplot.subplots(figsize=(7.5, 1.3 + 0.42 * len(rows)), layout="constrained")
    labels: set[str] = set()

    def dots(values: list[tuple[float, float, float]], places: list[float], label: str, **style: object) -> None:
        # A label for each kind of dot once.
        shown = None if label in labels else label
        labels.add(label)
        middle = [100 * value for value, _, _ in values]
        below = [100 * max(0.0, value - low) for value, low, _ in values]
        above = [100 * max(0.0, high - value) for value, _, high in values]
        axes.errorbar(middle, places, xerr=(below, above), linestyle="none", label=shown, **style)  # type: ignore

    for position, row in enumerate(rows):
        for number, protocol in enumerate(protocols):
            color = f"C{number}"
            offset = (number - (len(protocols) - 1) / 2) * 0.36
            kinds: list[tuple[list[Result], str, dict[str, object]]] = [
                (row.scores, protocol, {"color": color, "ms": 5}),
                (row.baseline, f"{protocol}, random weights", {"color": color, "mfc": "white", "ms": 4}),
            ]
            for results, label, style in kinds:
                found = [r for r in results if r.protocol == protocol and r.metric == metric]
                spread = [(n - (len(found) - 1) / 2) * 0.1 for n in range(len(found))]
                if found:
                    values = [(r.value, *(r.interval or (r.value, r.value))) for r in found]
                    places = [position + offset + step for step in spread]
                    dots(values, places, label, marker="o", elinewidth=1.2, **style)
        if row.paper is not None:
            value = row.paper / 100
            dots([(value, value, value)], [position], "paper, full size", marker="D", color="0.25", ms=5)
    axes.set_yticks(range(len(rows)), [row.name for row in rows])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlabel("top-1 accuracy (%)" if metric == "top1_accuracy" else f"{metric} (%)")
    axes.set_title(title, fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(True, color="0.9")
    axes.set_axisbelow(True)
    axes.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)
    pyplot.close(figure)


def plot_scores(results: Sequence[Result], path: str | os.PathLike[str], metric: str = "top1_accuracy") -> None:
    """A bar for each model and protocol with its interval, saved as a PNG (or whatever the suffix says).

    Raises:
        ValueError: no Result carries `metric`.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    results = [result for result in results if result.metric == metric]
    if not results:
        raise ValueError(f"no Result with the metric {metric!r} to plot")
    rows, columns, cells = _arrange(results)
    width = 0.8 / len(rows)
    figure, axes = pyplot.subplots(figsize=(max(4.5, 1.6 + 1.1 * len(rows) * len(columns)), 3.6), layout="constrained")
    for number, row in enumerate(rows):
        places, heights, below, above = [], [], [], []
        for position, column in enumerate(columns):
            result = cells.get((row, column))
            if result is None:
                continue
            low, high = result.interval or (result.value, result.value)
            places.append(position + (number - (len(rows) - 1) / 2) * width)
            heights.append(100 * result.value)
            below.append(100 * max(0.0, result.value - low))
            above.append(100 * max(0.0, high - result.value))
        bars = axes.bar(
            places, heights, 0.92 * width, label=short_name(row), yerr=(below, above), capsize=3, ecolor="0.25"
        )
        tops = [f"{height:.1f}" for height in heights]
        axes.bar_label(bars, tops, padding=3, fontsize=8)
    axes.set_xticks(range(len(columns)), columns)
    axes.set_ylabel("accuracy (%)")
    axes.set_ylim(0, min(112.0, 1.18 * max(100 * (r.interval[1] if r.interval else r.value) for r in results) + 2))
    axes.spines[["top", "right"]].set_visible(False)
    axes.yaxis.grid(True, color="0.9")
    axes.set_axisbelow(True)
    datasets = sorted({f"{Path(r.dataset).name}, {r.split}" for r in results})
    axes.set_title("; ".join(datasets), fontsize=10)
    axes.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
    pyplot.close(figure)


def short_name(model: str) -> str:
    """A model's name in a picture: `random weights`, the run's name for `…/RUN/encoder`, a Hub id as it is."""
    name, _, seed = model.partition(" (seed ")
    if name.startswith("random:"):
        name = "random weights"
    elif name.startswith("unfiltered:"):
        name = "without its filter"
    elif name.count("/") > 1 or name.startswith((".", "/", "~")) or Path(name).exists():
        parts = [part for part in Path(name).parts if part != "encoder"]
        name = parts[-1] if parts else name
    return f"{name} (seed {seed}" if seed else name


def _arrange(results: Sequence[Result]) -> tuple[list[str], list[str], dict[tuple[str, str], Result]]:
    """Rows, columns and cells in order of appearance."""
    seeds: dict[str, set[int | None]] = {}
    for result in results:
        seeds.setdefault(result.model, set()).update(() if result.seed is None else (result.seed,))
    several = len({(result.dataset, result.split) for result in results}) > 1
    cells: dict[tuple[str, str], Result] = {}
    for result in results:
        told_apart = result.seed is not None and len(seeds[result.model]) > 1
        row = f"{result.model} (seed {result.seed})" if told_apart else result.model
        column = f"{result.protocol} {SHORT_METRIC.get(result.metric, result.metric)}"
        if several:
            column = f"{Path(result.dataset).name}/{result.split} {column}"
        cells[row, column] = result
    rows = list(dict.fromkeys(row for row, _ in cells))
    columns = list(dict.fromkeys(column for _, column in cells))
    return rows, columns, cells


def _cell(result: Result) -> str:
    if result.interval is None:
        return f"{100 * result.value:.1f}"
    low, high = result.interval
    return f"{100 * result.value:.1f} [{100 * low:.1f}, {100 * high:.1f}]"
