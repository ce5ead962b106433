# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""A run's log as one picture."""

from pathlib import Path
from typing import Any

_PANELS = (
    ("loss", "loss"),
    ("knn_top1", "online k-NN top-1\n(held-out training images)"),
    ("rankme", "RankMe"),
    ("feature_std", "feature std\n(normalised, one batch)"),
    ("learning_rate", "learning rate"),
)


def draw_curves(history: list[dict[str, Any]], path: str | Path, title: str) -> Path:
    """Draws what was logged over optimizer steps; `history` is `trainer.state.log_history`."""
    from matplotlib.figure import Figure

    panels = [(key, name) for key, name in _PANELS if any(key in line for line in history)]
    figure = Figure(figsize=(3.4 * max(len(panels), 1), 3.0), layout="constrained")
    for number, (key, name) in enumerate(panels, start=1):
        axes = figure.add_subplot(1, len(panels), number)
        points = [(line["step"], line[key]) for line in history if key in line]
        steps, values = zip(*points, strict=True)
        axes.plot(
            steps, values, color="#2f6db5", linewidth=1.6, marker="o" if len(points) < 15 else None, markersize=3
        )
        axes.set_title(name, fontsize=9)
        axes.set_xlabel("optimizer step", fontsize=8)
        axes.tick_params(labelsize=8)
        axes.grid(alpha=0.25)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
    figure.suptitle(title, fontsize=10)
    figure.savefig(path, dpi=130)
    return Path(path)
