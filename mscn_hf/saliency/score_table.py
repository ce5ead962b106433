# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Scores of several kinds of maps on the same images: with intervals, as a table and as a picture."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .metrics import THRESHOLDS, SaliencyScores

RESAMPLES = 2000
INTERVAL = f"percentile bootstrap over images, 95 %, {RESAMPLES} resamples, seed 0"
_AT_ONCE = 200


def score_table(scores: Mapping[str, SaliencyScores], reference: str) -> dict[str, dict[str, Any]]:
    """The scores of each kind of map, and how they compare with one of them.

    Args:
        scores: by name, of the same images in the same order.
        reference: one of the names.

    Returns:
        By name: `max_f`, `adaptive_f`, `mae`, `s_measure`; `intervals` of these; and `max_f_difference`, the interval
        of `max_f` less that of the reference, on the same draws of images.

    Raises:
        ValueError: the numbers of images differ.
    """
    images = len(scores[reference])
    if {len(known) for known in scores.values()} != {images}:
        raise ValueError("maps of different images cannot be compared")
    counts_RN = np.random.default_rng(0).multinomial(images, np.full(images, 1 / images), size=RESAMPLES)
    draws = {name: _resampled(known, counts_RN) for name, known in scores.items()}
    return {
        name: {
            **{key: round(value, 4) for key, value in known.result().items()},
            "intervals": {key: _interval(values) for key, values in draws[name].items()},
            "max_f_difference": _interval(draws[name]["max_f"] - draws[reference]["max_f"]),
        }
        for name, known in scores.items()
    }


def _resampled(scores: SaliencyScores, counts_RN: np.ndarray) -> dict[str, np.ndarray]:
    parts = [scores.weighted(counts_RN[first : first + _AT_ONCE]) for first in range(0, len(counts_RN), _AT_ONCE)]
    return {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}


def _interval(values_R: np.ndarray) -> list[float]:
    return [round(float(bound), 4) for bound in np.quantile(values_R, [0.025, 0.975])]


def written_out(table: Mapping[str, Mapping[str, Any]], reference: str) -> str:
    """The table as text, a line for each kind of map."""
    lines = [
        f"{'map':<25} {'max F':>5} {'[95 %]':>14} {f'less {reference}':>16} {'adaptive F':>11} {'MAE':>6} {'S':>6}",
    ]
    for name, row in table.items():
        low, high = row["intervals"]["max_f"]
        less, more = row["max_f_difference"]
        difference = "" if name == reference else f"[{less:+.3f}, {more:+.3f}]"
        lines.append(
            f"{name:<25} {row['max_f']:>5.3f} [{low:.3f}, {high:.3f}] {difference:>16} {row['adaptive_f']:>11.3f}"
            f" {row['mae']:>6.3f} {row['s_measure']:>6.3f}"
        )
    return "\n".join(lines)


def plot_scores(
    scores: Mapping[str, SaliencyScores], table: Mapping[str, Mapping[str, Any]], path: str | Path, title: str
) -> Path:
    """Draws the F-measure over the threshold, and each map's best with its interval; returns the path."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.5, 0.9 + 0.36 * max(len(table), 6)), layout="constrained")
    curves, bars = figure.subplots(1, 2)
    levels = np.arange(THRESHOLDS)[::-1] / (THRESHOLDS - 1)
    names = sorted(table, key=lambda name: table[name]["max_f"])
    for number, name in enumerate(names):
        # one colour for each of the best, grey for the rest
        place = len(names) - 1 - number
        color = f"C{place}" if place < 7 else "0.6"
        curves.plot(levels, np.mean(scores[name].f_curves, axis=0), color=color, linewidth=1.4)
        low, high = table[name]["intervals"]["max_f"]
        bars.plot([low, high], [number, number], color=color, linewidth=1.2)
        bars.plot(table[name]["max_f"], number, "o", color=color, markersize=5)
    curves.set_xlabel("threshold", fontsize=8)
    curves.set_ylabel("F-measure (b = 0.3)", fontsize=8)
    bars.set_yticks(range(len(names)), [name.replace("_", " ") for name in names])
    bars.set_xlabel("best F-measure, 95 % interval over images", fontsize=8)
    for axes in (curves, bars):
        axes.grid(alpha=0.25)
        axes.tick_params(labelsize=8)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
    figure.suptitle(title, fontsize=10)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)
    return Path(path)
