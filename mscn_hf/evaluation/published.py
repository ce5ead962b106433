# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Own scores beside the published ones of the same protocol, data set and metric."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from mscn_hf.resources import list_resources

from .comparable import changed_settings, dataset_key, partial_splits
from .dataset_file import load_dataset_file
from .protocols import load_protocol
from .results import Result
from .score_plots import Dots, name_rows, new_figure, save_figure
from .score_table import SHORT_METRIC, aligned, percent, short_name
from .settings import UNVERIFIED, Protocol

NOT_VERIFIED = "not verified against the paper"


@dataclass
class OwnScore:
    """A Result, and what keeps it from being of the protocol as its document has it."""

    result: Result
    departures: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The model, its seed, and a note where the settings are others."""
        note = f" (other {', '.join(self.departures)})" if self.departures else ""
        return f"{self.result.model}{note}"


@dataclass
class Comparison:
    """Own and published scores under one protocol, on one data set, of one metric.

    Attributes:
        published: rows of the protocol's `papers`.
    """

    protocol: str
    dataset: str
    metric: str
    own: list[OwnScore]
    published: list[dict[str, Any]]

    @property
    def title(self) -> str:
        """`linear-mscn, imagenet-1k, top-1`."""
        return f"{self.protocol}, {self.dataset}, {SHORT_METRIC.get(self.metric, self.metric)}"


def compare_with_papers(results: Sequence[Result]) -> list[Comparison]:
    """Every protocol, data set and metric of which there are both own and published scores, in order of appearance.

    Data sets are the same where `dataset_key` says so: `ILSVRC/imagenet-1k` is the papers' `imagenet-1k`. Of several
    Results of one model and seed the last one counts.
    """
    known = set(list_resources("protocols"))
    protocols: dict[str, Protocol] = {}
    groups: dict[tuple[str, str, str], dict[tuple[str, int | None], Result]] = {}
    for result in results:
        if result.protocol in known:
            # A set that a file describes goes by the file's name: `cifar10`, wherever its images lie.
            dataset = dataset_key(str(result.settings.get("dataset_file") or result.dataset))
            place = (result.protocol, dataset, result.metric)
            groups.setdefault(place, {})[result.model, result.seed] = result
    found = []
    for (name, dataset, metric), own in groups.items():
        protocol = protocols.setdefault(name, load_protocol(name)[1])
        rows = [r for r in protocol.papers if (dataset_key(r["dataset"]), r["metric"]) == (dataset, metric)]
        if rows:
            scores = [OwnScore(r, _departures(r, protocol)) for r in own.values()]
            found.append(Comparison(name, str(rows[0]["dataset"]), metric, scores, rows))
    return found


def _departures(result: Result, protocol: Protocol) -> list[str]:
    name = result.settings.get("dataset_file")
    if name in list_resources("datasets"):  # what the protocol leaves to the data set is no departure
        described = load_dataset_file(name)
        protocol = protocol.for_dataset(described.metrics, described.held_out)
    return changed_settings(result, protocol) + partial_splits(result)


def format_published(results: Sequence[Result]) -> str:
    """A plain text table for each comparison, best first; empty where no paper has such a score."""
    blocks = []
    for comparison in compare_with_papers(results):
        lines = [(own.result.value, [own.name, "own", percent(own.result)]) for own in comparison.own]
        for row in comparison.published:
            lines.append((row["value"] / 100, [str(row["model"]), source_of(row), f"{row['value']:.1f}"]))
        ordered = [cells for _, cells in sorted(lines, key=lambda line: -line[0])]
        blocks.append(aligned([[comparison.title, "from", "%"], *ordered]))
    return "\n\n".join(blocks)


def plot_published(results: Sequence[Result], path: str | os.PathLike[str]) -> bool:
    """A panel for each comparison: own scores with intervals, published ones as diamonds, best first.

    A published score that was not verified is a hollow diamond.

    Returns:
        whether there was anything to compare; without it no picture is written.
    """
    comparisons = compare_with_papers(results)
    if not comparisons:
        return False
    heights = [len(c.own) + len(c.published) for c in comparisons]
    figure, panels = new_figure(8.5, 0.5 + sum(0.8 + 0.27 * height for height in heights), heights)
    for axes, comparison in zip(panels, comparisons, strict=True):
        _draw_comparison(axes, comparison)
    save_figure(figure, path, 130)
    return True


def _draw_comparison(axes: Any, comparison: Comparison) -> None:
    entries: list[tuple[float, OwnScore | dict[str, Any]]] = [(100 * o.result.value, o) for o in comparison.own]
    entries += [(row["value"], row) for row in comparison.published]
    entries.sort(key=lambda entry: -entry[0])
    dots, names = Dots(axes), []
    for place, (value, entry) in enumerate(entries):
        if isinstance(entry, OwnScore):
            names.append(short_name(entry.result.model) + (" *" if entry.departures else ""))
            label, fill = ("own, other settings *", "white") if entry.departures else ("own", "C0")
            dots.results([entry.result], place, label, color="C0", mfc=fill, ms=6)
        else:
            names.append(f"{entry['model']}  ({entry['paper']}, {entry['table']})")
            doubtful = bool(entry.get(UNVERIFIED))
            label = "published, not\nverified against\nthe paper" if doubtful else "published"
            dots.published(value, place, label, hollow=doubtful)
    name_rows(axes, names, fontsize=8)
    axes.set_xlabel("%", fontsize=8)
    axes.set_title(comparison.title, fontsize=10, loc="left")
    axes.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1.0, 1.0))


def source_of(row: dict[str, Any]) -> str:
    """Where a row of `papers` is from: `MSN, low-shot`, and that it was not verified where that is so."""
    return f"{row['paper']}, {row['table']}" + (f"; {NOT_VERIFIED}" if row.get(UNVERIFIED) else "")
