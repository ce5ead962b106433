# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Results as a table to read: a row for each model, a column for each protocol and metric."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .results import Result

SHORT_METRIC = {
    "top1_accuracy": "top-1",
    "top5_accuracy": "top-5",
    "mean_per_class_accuracy": "mean per class",
    "map_11point": "11-point mAP",
    "mean_corruption_error": "mCE",
    "masked_top1_accuracy": "masked top-1",
    "masked_top5_accuracy": "masked top-5",
}

MOST_COLUMNS = 8


def main_results(results: Sequence[Result]) -> list[Result]:
    """The one score by which each protocol is known: its first metric, in their order.

    The first is that of the protocol's `metrics` which the Results have (a metric is left out where it says nothing:
    top-5 of five classes). Of ImageNet-C's kind the mean over corruptions is kept, the single corruptions are not.
    """
    groups: dict[tuple[Any, ...], list[Result]] = {}
    for r in results:
        if not any(r.protocol.endswith(f" {name}") for name in r.settings.get("corruptions", ())):
            where = (r.dataset, r.dataset_config, r.split, r.model, r.model_revision, r.seed, r.protocol)
            groups.setdefault(where, []).append(r)
    kept: set[int] = set()
    for group in groups.values():
        found = list(dict.fromkeys(r.metric for r in group))
        order = [metric for metric in group[-1].settings.get("metrics", ()) if metric in found] or found
        kept.update(id(r) for r in group if r.metric == order[0])
    return [r for r in results if id(r) in kept]


def score_name(protocol: str, metric: str) -> str:
    """`linear`, or `transfer, mean per class`: the metric is named where it is not the usual top-1."""
    return protocol if metric == "top1_accuracy" else f"{protocol}, {SHORT_METRIC.get(metric, metric)}"


def format_table(results: Sequence[Result]) -> str:
    """A plain text table: a row for each model, a column for each protocol and metric, in percent with intervals.

    Where one model was scored under several seeds each seed has a row; of several Results for one cell the last one
    counts; where Results are of several datasets or splits the columns say which. With more than `MOST_COLUMNS`, and
    fewer models than columns, the table lies on its side.
    """
    if not results:
        return "no results"
    rows, columns, cells = arrange(results)
    if len(columns) > max(MOST_COLUMNS, len(rows)):
        return format_by_protocol(results)
    lines = [["model", *columns]]
    for row in rows:
        shown = [percent(cells[row, column]) if (row, column) in cells else "-" for column in columns]
        lines.append([row, *shown])
    return f"{aligned(lines)}\n{_where(results)}"


def format_by_protocol(results: Sequence[Result]) -> str:
    """The table of `format_table` on its side, for many protocols: a row for each of them, a column for each model."""
    if not results:
        return "no results"
    models, scores, cells = arrange(results)
    shown = [
        [percent(cells[model, score]) if (model, score) in cells else "-" for model in models] for score in scores
    ]
    lines = [["protocol", *short_names(models)]]
    lines += [[score, *row] for score, row in zip(scores, shown, strict=True)]
    return f"{aligned(lines)}\n{_where(results)}"


def _where(results: Sequence[Result]) -> str:
    sets = sorted({f"{r.dataset}, {r.split}: {r.num_examples:,} images" for r in results})
    return "\n".join(sets) + "; in %, [95 % interval]"


def aligned(lines: Sequence[Sequence[str]]) -> str:
    """Cells in columns, a rule below the first line; the first column to the left, others to the right."""
    widths = [max(len(line[n]) for line in lines) for n in range(len(lines[0]))]

    def joined(line: Sequence[str]) -> str:
        first, *others = (text.ljust(w) if n == 0 else text.rjust(w) for n, (text, w) in enumerate(zip(line, widths)))
        return "  ".join([first, *others]).rstrip()

    rule = "  ".join("-" * width for width in widths)
    return "\n".join([joined(lines[0]), rule, *(joined(line) for line in lines[1:])])


def arrange(results: Sequence[Result]) -> tuple[list[str], list[str], dict[tuple[str, str], Result]]:
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


def percent(result: Result) -> str:
    """`61.2 [60.1, 62.3]`."""
    if result.interval is None:
        return f"{100 * result.value:.1f}"
    low, high = result.interval
    return f"{100 * result.value:.1f} [{100 * low:.1f}, {100 * high:.1f}]"


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


def short_names(models: Sequence[str]) -> list[str]:
    """`short_name` of each model, or its whole name where two would be the same."""
    short = [short_name(model) for model in models]
    return [name if short.count(name) == 1 else model for name, model in zip(short, models)]
