# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Logistic regression over a path of L2 strengths, chosen on images that were held out, fitted again on all.

Shapes: N images of the fit, M held out, D features, K classes or G strengths.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, normalize

from ..average_precision import map_11point
from ..scores import topk_correct
from .lbfgs import ROWS_AT_ONCE, Axes, LogisticFit, Start, principal_axes, turned, turned_back
from .linear import as_tensor, standardisation
from .logistic import fit_logistic, fit_one_vs_rest

NORMALIZATIONS = ("none", "standardize", "l2")
# Strengths solved side by side share a matrix product; the next ones start from their solution. More columns than
# this make the product no faster, and neighbours that start afresh cost passes.
COLUMNS_AT_ONCE = 256
MOST_AT_ONCE = 9


@dataclass
class Path:
    """Strengths and how each is solved.

    Args:
        strengths: lambda of sum of losses + lambda / 2 * sum W^2; scikit-learn's C is 1 / lambda.
        normalization: of the features, one of `NORMALIZATIONS`: as they are, to zero mean and unit variance over the
            images of the fit, or each to unit length.
        tolerance, max_passes: of each solution, see `fit_logistic`.
        metric: what the choice is made by.
    """

    strengths: Sequence[float]
    normalization: str = "none"
    tolerance: float = 1e-4
    max_passes: int = 300
    metric: str = "top1_accuracy"


@dataclass
class PathClassifier:
    """A chosen classifier, scores = f(x) W + b; `trials` has every strength, `choice` the chosen one."""

    path: Path
    mean_D: Tensor
    std_D: Tensor
    weight_DK: Tensor
    bias_K: Tensor
    choice: dict[str, Any] = field(default_factory=dict)
    trials: list[dict[str, Any]] = field(default_factory=list)

    def scores(self, features_ND: np.ndarray) -> Tensor:
        """Class scores (N, K), read and computed piece by piece."""
        pieces = []
        for start in range(0, len(features_ND), ROWS_AT_ONCE):
            rows = as_tensor(features_ND[start : start + ROWS_AT_ONCE], self.weight_DK.device)
            pieces.append(torch.addmm(self.bias_K, _scaled(rows, self.path, self.mean_D, self.std_D), self.weight_DK))
        return torch.cat(pieces)


def fit_path(
    path: Path,
    features_ND: np.ndarray,
    targets_N: np.ndarray,
    held_MD: np.ndarray,
    held_M: np.ndarray,
    num_classes: int,
    device: torch.device | str = "cpu",
) -> PathClassifier:
    """Fits every strength on one part, keeps the best on the other, and fits it again on both.

    Args:
        path: see `Path`.
        features_ND, held_MD: features of the fit and of the images that were held out.
        targets_N, held_M: their classes in [0, K), or targets (N, K) and (M, K) of -1, 0 and 1, one binary regression
            a class then.
        num_classes: K.
        device: to compute on.
    """
    x_ND, held = as_tensor(features_ND, device), as_tensor(held_MD, device)
    y_N, held_y = (torch.as_tensor(targets).to(device) for targets in (targets_N, held_M))
    mean_D, std_D = standardisation(x_ND, path.normalization == "standardize")
    held_scaled = _scaled(held, path, mean_D, std_D)
    trials: list[dict[str, Any]] = []
    best = -1
    start: Start | None = None
    scaled_ND = _scaled(x_ND, path, mean_D, std_D)
    axes = principal_axes(scaled_ND)
    scaled_ND, held_scaled = turned(scaled_ND, axes), turned(held_scaled, axes)  # once, not at every strength
    for strength, weight_DK, bias_K, converged in _solutions(path, scaled_ND, y_N, axes[2], num_classes):
        value, loss = _judge(path.metric, torch.addmm(bias_K.float(), held_scaled, weight_DK.float()), held_y)
        trials.append(
            {"strength": strength, f"held_out_{path.metric}": value, "held_out_loss": loss, "converged": converged}
        )
        # Equal scores are common on small held-out parts; the loss, which is finer, settles them.
        if best < 0 or (value, -loss) > (trials[best][f"held_out_{path.metric}"], -trials[best]["held_out_loss"]):
            best, start = len(trials) - 1, (weight_DK, bias_K)
    start = turned_back(start, axes) if start is not None else None

    x_ND, y_N = torch.cat([x_ND, held]), torch.cat([y_N, held_y])
    mean_D, std_D = standardisation(x_ND, path.normalization == "standardize")
    strength = trials[best]["strength"]
    # One more solution is cheap, and the one that is reported should owe little to where the solver stopped.
    scaled_ND = _scaled(x_ND, path, mean_D, std_D)
    fit = _solve(scaled_ND, y_N, [strength], num_classes, None, path.tolerance / 10, 2 * path.max_passes, start)
    ends = (min(path.strengths), max(path.strengths))
    at_edge = ["strength"] if len(path.strengths) > 2 and strength in ends else []
    choice = {**trials[best], "refit_converged": fit.converged[0], "at_edge_of_grid": at_edge}
    trials.sort(key=lambda trial: trial["strength"])
    return PathClassifier(path, mean_D, std_D, fit.weight_GDK[0].float(), fit.bias_GK[0].float(), choice, trials)


def _solutions(
    path: Path, x_NR: Tensor, y_N: Tensor, variance_R: Tensor, num_classes: int
) -> Iterator[tuple[float, Tensor, Tensor, bool]]:
    """Strength, weight_RK, bias_K and whether it converged, from the strongest on, a few strengths at once.

    Features are turned to their principal axes already, and the weights are in these.
    """
    axes = (x_NR.new_zeros(x_NR.shape[1]), None, variance_R)
    together = min(MOST_AT_ONCE, max(1, COLUMNS_AT_ONCE // num_classes))
    falling = sorted(path.strengths, reverse=True)
    solved: list[Start] = []
    for first in range(0, len(falling), together):
        group = falling[first : first + together]
        fit = _solve(x_NR, y_N, group, num_classes, axes, path.tolerance, path.max_passes, _next_start(solved))
        yield from zip(group, fit.weight_GDK, fit.bias_GK, fit.converged, strict=True)
        solved = [*solved, *zip(fit.weight_GDK, fit.bias_GK, strict=True)][-2:]


def _next_start(solved: list[Start]) -> Start | None:
    """Where the last two solutions point to: strengths are evenly spaced in their logarithm, solutions nearly so."""
    if len(solved) < 2:
        return solved[0] if solved else None
    (before_DK, before_K), (last_DK, last_K) = solved
    return 2 * last_DK - before_DK, 2 * last_K - before_K


def _solve(
    x_ND: Tensor,
    y_N: Tensor,
    strengths: list[float],
    num_classes: int,
    axes: Axes | None,
    tolerance: float,
    max_passes: int,
    start: Start | None,
) -> LogisticFit:
    l2 = [strength / len(x_ND) for strength in strengths]
    options: dict[str, Any] = {"axes": axes, "tolerance": tolerance, "max_passes": max_passes, "start": start}
    if y_N.ndim == 2:
        return fit_one_vs_rest(x_ND, y_N, l2, **options)
    return fit_logistic(x_ND, y_N, l2, num_classes, **options)


def _scaled(x_ND: Tensor, path: Path, mean_D: Tensor, std_D: Tensor) -> Tensor:
    if path.normalization == "l2":
        return normalize(x_ND, dim=1)
    return x_ND if path.normalization == "none" else (x_ND - mean_D) / std_D


def _judge(metric: str, scores_MK: Tensor, held_M: Tensor) -> tuple[float, float]:
    """The score to choose by and the loss, where that is finite."""
    if held_M.ndim == 2:
        known_MK = held_M >= 0
        loss = binary_cross_entropy_with_logits(scores_MK[known_MK].double(), (held_M > 0)[known_MK].double())
        return map_11point(scores_MK.cpu().numpy(), held_M.cpu().numpy()), _finite(loss)
    right_M = topk_correct(scores_MK, held_M, 1).double()
    loss = cross_entropy(scores_MK.double(), held_M)
    if metric != "mean_per_class_accuracy":
        return float(right_M.mean()), _finite(loss)
    total_K = torch.zeros(scores_MK.shape[1], dtype=torch.float64, device=scores_MK.device)
    right_K = total_K.index_add(0, held_M, right_M)
    count_K = total_K.index_add(0, held_M, torch.ones_like(right_M))
    return float((right_K / count_K)[count_K > 0].mean()), _finite(loss)


def _finite(loss: Tensor) -> float:
    return float(loss) if math.isfinite(float(loss)) else 1e30
