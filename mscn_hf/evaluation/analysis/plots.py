# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Pictures of spectra, distances and confusions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np


def _figure(width: float, height: float) -> tuple[Any, Any, Any]:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(width, height), layout="constrained")
    return pyplot, figure, axes


def _save(pyplot: Any, figure: Any, path: str | Path) -> Path:
    figure.savefig(path, dpi=130)
    pyplot.close(figure)
    return Path(path)


def _plain_axes(axes: Any) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(True, color="0.9")
    axes.set_axisbelow(True)


def plot_spectra(spectra: Mapping[str, np.ndarray], path: str | Path) -> Path:
    """Singular values of each model's features, as shares of the largest, over their number on a log axis."""
    pyplot, figure, axes = _figure(6.4, 3.8)
    for name, values in spectra.items():
        axes.plot(np.arange(1, len(values) + 1), values / values[0], label=_short(name), linewidth=1.6)
    axes.set_yscale("log")
    axes.set_ylim(1e-6, 1.5)
    axes.set_xlabel("singular value, from large to small")
    axes.set_ylabel("share of the largest")
    axes.set_title("Singular values of the features", fontsize=10)
    _plain_axes(axes)
    axes.legend(frameon=False, fontsize=8)
    return _save(pyplot, figure, path)


def plot_concentration(ratios: Mapping[str, np.ndarray], path: str | Path) -> Path:
    """Histogram of between / within distances of each model, the mean as a line (ReLICv2, fig. 4)."""
    pyplot, figure, axes = _figure(6.4, 3.8)
    together = np.concatenate(list(ratios.values()))
    low, high = np.quantile(together, [0.001, 0.999])
    if high - low < 1e-9:  # all alike: a histogram still needs a width
        low, high = low - 0.05, high + 0.05
    bins = np.linspace(low, high, 61)
    for number, (name, ratio) in enumerate(ratios.items()):
        color = f"C{number}"
        axes.hist(np.clip(ratio, low, high), bins, density=True, histtype="stepfilled", color=color, alpha=0.25)
        axes.hist(np.clip(ratio, low, high), bins, density=True, histtype="step", color=color)
        axes.axvline(ratio.mean(), color=color, linewidth=1.6, label=f"{_short(name)}: mean {ratio.mean():.3f}")
    axes.axvline(1.0, color="0.4", linewidth=0.8, linestyle=":")
    axes.set_xlabel("mean distance to other classes / mean distance within the class, for each image")
    axes.set_ylabel("density")
    axes.set_title("Class concentration (to the right: classes are packed more tightly)", fontsize=10)
    _plain_axes(axes)
    axes.legend(frameon=False, fontsize=8)
    return _save(pyplot, figure, path)


def plot_neighbours(
    distance_Mk: np.ndarray, place_Mk: np.ndarray, names: Sequence[str], sizes: Sequence[int], path: str | Path
) -> Path:
    """Neighbours of images that are ordered by class, coloured by distance (ReLICv2, fig. 7): blocks are good.

    Args:
        distance_Mk: distance of each image (row) to its neighbours.
        place_Mk: their places among the same images (column).
        names, sizes: of the classes, in their order.
        path: PNG to write.
    """
    pyplot, figure, axes = _figure(6.6, 5.6)
    edges = np.concatenate([[0], np.cumsum(sizes)])
    for first, last in pairwise(edges):
        square = pyplot.Rectangle((first - 0.5, first - 0.5), last - first, last - first, color="0.94", zorder=0)
        axes.add_patch(square)
    image_M = np.repeat(np.arange(len(place_Mk)), place_Mk.shape[1])
    dots = axes.scatter(
        place_Mk.reshape(-1), image_M, c=distance_Mk.reshape(-1), s=max(3.0, 900 / len(place_Mk)), cmap="viridis"
    )
    middle = (edges[:-1] + edges[1:] - 1) / 2
    axes.set_xticks(middle, [_short(name, 22) for name in names], rotation=20, ha="right", fontsize=8)
    axes.set_yticks(middle, [_short(name, 22) for name in names], fontsize=8)
    for edge in edges:
        axes.axvline(edge - 0.5, color="0.8", linewidth=0.7)
        axes.axhline(edge - 0.5, color="0.8", linewidth=0.7)
    axes.set_xlim(-0.5, edges[-1] - 0.5)
    axes.set_ylim(edges[-1] - 0.5, -0.5)
    axes.set_aspect("equal")
    axes.set_xlabel("its nearest neighbours")
    axes.set_ylabel("image")
    figure.colorbar(dots, ax=axes, label="distance of unit-length features", shrink=0.8)
    return _save(pyplot, figure, path)


def plot_confusion(share_KK: np.ndarray, names: Sequence[str], path: str | Path) -> Path:
    """Share of the neighbours of each class (row) that are of each class (column)."""
    count = len(names)
    side = min(12.0, 3.2 + 0.28 * count)
    pyplot, figure, axes = _figure(side + 0.8, side)
    picture = axes.imshow(100 * share_KK, cmap="Blues", vmin=0, vmax=100)
    shown = [_short(name, 22) for name in names]
    axes.set_xticks(range(count), shown, rotation=90, fontsize=8)
    axes.set_yticks(range(count), shown, fontsize=8)
    if count <= 20:
        for row, column in np.ndindex(share_KK.shape):
            value = 100 * share_KK[row, column]
            if value >= 0.5:
                ink = "white" if value > 55 else "0.2"
                axes.text(column, row, f"{value:.0f}", ha="center", va="center", fontsize=7, color=ink)
    axes.set_xlabel("class of the neighbours")
    axes.set_ylabel("class of the image")
    figure.colorbar(picture, ax=axes, label="% of neighbours", shrink=0.8)
    return _save(pyplot, figure, path)


def _short(name: str, most: int = 40) -> str:
    name = name.replace("$", r"\$")  # or matplotlib reads a formula
    return name if len(name) <= most else name[: most - 1] + "…"
