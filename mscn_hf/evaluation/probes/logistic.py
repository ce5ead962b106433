# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Multinomial logistic regression at given L2 strengths, solved to convergence for all of them at once.

Shapes: N images, D features, K classes, G strengths.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

logger = logging.getLogger(__name__)

HISTORY = 10
# Beyond this many features the eigenvectors of the covariance cost more than they save.
LARGEST_ROTATION = 4096
ROWS_AT_ONCE = 8192


@dataclass
class LogisticFit:
    """Weights weight_GDK and bias bias_GK in float64 with loss_G, the penalised loss; `converged` says for each G."""

    weight_GDK: Tensor
    bias_GK: Tensor
    loss_G: Tensor
    converged: list[bool]
    passes: int


def fit_logistic(
    features_ND: Tensor,
    labels_N: Tensor,
    l2: float | Sequence[float],
    num_classes: int,
    *,
    tolerance: float = 1e-7,
    max_passes: int = 400,
) -> LogisticFit:
    """Minimises mean cross-entropy + l2 / 2 * sum W^2 (bias free) for each strength in `l2`.

    scikit-learn's `LogisticRegression(C)` has the same minimum at l2 = 1 / (C N). L-BFGS (Nocedal & Wright 2006, alg.
    7.4) runs for all strengths in step, so that a pass over the features is one matrix product for all. Features are
    centred and turned to the eigenvectors of their covariance, which changes neither W's norm nor the minimum, and
    each direction starts from the bound 1/2 lambda + l2 on its curvature (Böhning 1992), which makes badly conditioned
    features (raw pixels) converge in tens of passes.

    Args:
        features_ND: float; computed in its own dtype on its own device.
        labels_N: int64 in [0, num_classes).
        l2: strength or strengths, positive.
        num_classes: K, at least 2.
        tolerance: stop when the decrease still predicted falls below this share of the loss.
        max_passes: over the features.

    Raises:
        ValueError: a strength that is not positive, labels out of range, or features that are not finite.
    """
    strengths = [float(l2)] if isinstance(l2, int | float) else [float(value) for value in l2]
    if not strengths or not all(value > 0 for value in strengths):
        raise ValueError(f"l2 must be positive, got {l2!r}")
    if features_ND.ndim != 2 or len(features_ND) != len(labels_N) or len(features_ND) == 0:
        raise ValueError(f"got features {tuple(features_ND.shape)} and {len(labels_N)} labels")
    if int(labels_N.min()) < 0 or int(labels_N.max()) >= num_classes:
        raise ValueError(f"labels must lie in [0, {num_classes}), got {int(labels_N.min())} to {int(labels_N.max())}")
    if not bool(torch.isfinite(features_ND).all()):
        raise ValueError("the features hold NaN or infinite values")

    mean_D, turn_DD, variance_D = principal_axes(features_ND)
    turned_ND = features_ND - mean_D
    turned_ND = turned_ND if turn_DD is None else turned_ND @ turn_DD
    problems = [_Problem(strength, variance_D, num_classes) for strength in strengths]
    passes = 0
    while passes < max_passes and any(not problem.converged for problem in problems):
        active = [problem for problem in problems if not problem.converged]
        _evaluate(turned_ND, labels_N, active)
        for problem in active:
            problem.advance(tolerance)
        passes += 1
    if not all(problem.converged for problem in problems):
        slow = [problem.l2 for problem in problems if not problem.converged]
        logger.warning("logistic regression did not converge in %d passes at l2 = %s", max_passes, slow)

    weight_GDK = torch.stack([problem.point[:-1] for problem in problems])
    if turn_DD is not None:
        weight_GDK = turn_DD.double() @ weight_GDK
    bias_GK = torch.stack([problem.point[-1] for problem in problems]) - mean_D.double() @ weight_GDK
    return LogisticFit(
        weight_GDK,
        bias_GK,
        torch.tensor([problem.loss for problem in problems], dtype=torch.float64),
        [problem.converged for problem in problems],
        passes,
    )


def principal_axes(features_ND: Tensor) -> tuple[Tensor, Tensor | None, Tensor]:
    """Mean (D,), eigenvectors of the covariance (D, D) or None beyond LARGEST_ROTATION, variance along each (D,)."""
    mean_D = features_ND.double().mean(dim=0) if features_ND.numel() < 2**24 else features_ND.mean(dim=0).double()
    mean = mean_D.to(features_ND.dtype)
    dim = features_ND.shape[1]
    if dim > LARGEST_ROTATION:
        return mean, None, features_ND.var(dim=0, correction=0).double()
    covariance_DD = torch.zeros(dim, dim, dtype=torch.float64, device=features_ND.device)
    for rows in features_ND.split(ROWS_AT_ONCE):
        centred = rows - mean
        covariance_DD += (centred.T @ centred).double()
    variance_D, turn_DD = torch.linalg.eigh(covariance_DD / len(features_ND))
    return mean, turn_DD.to(features_ND.dtype), variance_D.clamp(min=0)


@dataclass(eq=False)
class _Problem:
    """L-BFGS at one strength. The last row of a point is the bias; points and gradients are (D + 1, K) in float64."""

    l2: float
    variance_D: Tensor
    num_classes: int
    loss: float = float("inf")
    converged: bool = False
    step: float = 1.0
    pairs: deque[tuple[Tensor, Tensor, float]] = field(default_factory=lambda: deque(maxlen=HISTORY))

    def __post_init__(self) -> None:
        variance = torch.cat([self.variance_D, self.variance_D.new_ones(1)])
        penalty = torch.full_like(variance, self.l2)
        penalty[-1] = 0.0
        self.scale = (1.0 / (0.5 * variance + penalty))[:, None]
        self.point = torch.zeros(len(variance), self.num_classes, dtype=torch.float64, device=variance.device)
        self.trial = self.point
        self.gradient = torch.zeros_like(self.point)
        self.direction = torch.zeros_like(self.point)
        self.trial_loss, self.trial_gradient = float("inf"), self.gradient

    def advance(self, tolerance: float) -> None:
        """Takes or shortens the step that was just evaluated, and sets the next trial point."""
        slope = float((self.gradient * self.direction).sum())
        first = self.loss == float("inf")
        if not first and not self.trial_loss <= self.loss + 1e-4 * self.step * slope:
            if self.step < 1e-3:  # the loss cannot be told apart any more in this precision
                self.converged = True
                return
            self.step *= 0.5
            self.trial = self.point + self.step * self.direction
            return
        if not first:
            moved, turned = self.trial - self.point, self.trial_gradient - self.gradient
            curvature = float((moved * turned).sum())
            if curvature > 1e-12 * float((turned * turned).sum().sqrt() * (moved * moved).sum().sqrt()):
                self.pairs.append((moved, turned, curvature))
        self.point, self.loss, self.gradient = self.trial, self.trial_loss, self.trial_gradient
        self.direction = -self._inverse_hessian_times(self.gradient)
        if -float((self.gradient * self.direction).sum()) <= 2 * tolerance * max(self.loss, 1e-6):
            self.converged = True
            return
        self.step = 1.0
        self.trial = self.point + self.direction

    def _inverse_hessian_times(self, vector: Tensor) -> Tensor:
        vector = vector.clone()
        shares = []
        for moved, turned, curvature in reversed(self.pairs):
            share = float((moved * vector).sum()) / curvature
            vector -= share * turned
            shares.append(share)
        vector *= self.scale
        for (moved, turned, curvature), share in zip(self.pairs, reversed(shares), strict=True):
            vector += (share - float((turned * vector).sum()) / curvature) * moved
        return vector


def _evaluate(turned_ND: Tensor, labels_N: Tensor, problems: list[_Problem]) -> None:
    """Penalised loss and gradient of every problem at its trial point, in one pass over the features."""
    count, classes = len(problems), problems[0].num_classes
    weights = torch.cat([problem.trial for problem in problems], dim=1).to(turned_ND.dtype)  # (D + 1, G K)
    loss_G = torch.zeros(count, dtype=torch.float64, device=turned_ND.device)
    gradient = torch.zeros(weights.shape, dtype=torch.float64, device=turned_ND.device)
    rows_at_once = max(256, min(ROWS_AT_ONCE, 2**26 // (count * classes)))
    for rows_nD, labels_n in zip(turned_ND.split(rows_at_once), labels_N.split(rows_at_once), strict=True):
        logits_nGK = torch.addmm(weights[-1], rows_nD, weights[:-1]).view(-1, count, classes)
        log_share_nGK = logits_nGK.log_softmax(dim=2)
        index_nG1 = labels_n[:, None, None].expand(-1, count, 1)
        loss_G -= log_share_nGK.gather(2, index_nG1)[:, :, 0].double().sum(dim=0)
        error_nGK = log_share_nGK.exp_().scatter_add_(2, index_nG1, -torch.ones_like(index_nG1, dtype=weights.dtype))
        error = error_nGK.flatten(1)
        gradient[:-1] += rows_nD.T @ error
        gradient[-1] += error.sum(dim=0)
    gradient /= len(turned_ND)
    for number, problem in enumerate(problems):
        part = gradient[:, number * classes : (number + 1) * classes].clone()
        part[:-1] += problem.l2 * problem.trial[:-1]
        problem.trial_gradient = part
        penalty = 0.5 * problem.l2 * float(problem.trial[:-1].square().sum())
        problem.trial_loss = float(loss_G[number]) / len(turned_ND) + penalty
