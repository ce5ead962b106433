# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""L-BFGS for linear classifiers at several L2 strengths, all of which share each pass over the features.

Shapes: N images, D features, K classes, G strengths.
"""

from __future__ import annotations

import logging
import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

logger = logging.getLogger(__name__)

HISTORY = 10
# Beyond this many features the eigenvectors of the covariance cost more than they save.
LARGEST_ROTATION = 4096
ROWS_AT_ONCE = 8192
# Of the largest; what varies less is rounding.
SMALLEST_VARIANCE = 1e-12
# A step that promises less than this share of the loss cannot be told from rounding in float32.
ROUNDING = 1e-5
# Mean loss of images that are fitted in all but name: a smaller one is not told apart more finely, or a path would
# spend most of its passes where it learns nothing any more.
FITTED = 1e-2

# logits (n, G, K) of the images in a slice -> their summed loss (G,) in float64, and its gradient (n, G, K)
Loss = Callable[[Tensor, slice], tuple[Tensor, Tensor]]
Axes = tuple[Tensor, Tensor | None, Tensor]
Start = tuple[Tensor, Tensor]


@dataclass
class LogisticFit:
    """Weights weight_GDK and bias bias_GK in float64 with loss_G, the penalised loss; `converged` says for each G."""

    weight_GDK: Tensor
    bias_GK: Tensor
    loss_G: Tensor
    converged: list[bool]
    passes: int


def minimise(
    features_ND: Tensor,
    loss: Loss,
    curvature: float,
    l2: float | Sequence[float],
    num_classes: int,
    intercept: bool,
    axes: Axes | None,
    tolerance: float,
    max_passes: int,
    start: Start | None = None,
) -> LogisticFit:
    """Minimises `loss` / N + l2 / 2 * sum W^2 for each strength (Nocedal & Wright 2006, alg. 7.4).

    Args:
        features_ND: float; computed in its own dtype on its own device.
        loss: of the logits, and its gradient.
        curvature: bound on the second derivative of an image's loss in a logit.
        l2: strength or strengths, positive.
        num_classes: K.
        intercept: whether there is a bias, which is not penalised.
        axes: of `principal_axes`, or None to compute them.
        tolerance: stop when the decrease still predicted falls below this share of the loss, or of `FITTED`.
        max_passes: over the features.
        start: weight_DK and bias_K of a neighbouring strength to start from; zeros by default.

    Raises:
        ValueError: a strength that is not positive, or features that are not finite.
    """
    strengths = [float(l2)] if isinstance(l2, int | float) else [float(value) for value in l2]
    if not strengths or not all(value > 0 for value in strengths):
        raise ValueError(f"l2 must be positive, got {l2!r}")
    if features_ND.ndim != 2:
        raise ValueError(f"features must be a matrix, got {tuple(features_ND.shape)}")
    if not bool(torch.isfinite(features_ND).all()):
        raise ValueError("the features hold NaN or infinite values")

    mean_D, turn_DD, variance_D = axes or principal_axes(features_ND, centre=intercept)
    turned_ND = turned(features_ND, (mean_D, turn_DD, variance_D))
    problems = [_Problem(strength, curvature, variance_D, num_classes, intercept) for strength in strengths]
    if start is not None:
        weight_DK = start[0].double() if turn_DD is None else turn_DD.T.double() @ start[0].double()
        point = torch.cat([weight_DK, (start[1].double() + mean_D.double() @ start[0].double())[None]])
        for problem in problems:
            problem.point = problem.trial = point
    passes = 0
    while passes < max_passes and any(not problem.stopped for problem in problems):
        active = [problem for problem in problems if not problem.stopped]
        _evaluate(turned_ND, loss, active)
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


def principal_axes(features_ND: Tensor, *, centre: bool = True) -> Axes:
    """Mean (D,), eigenvectors of the covariance (D, D) or None beyond LARGEST_ROTATION, variance along each (D,).

    Of fewer images than features only the eigenvectors with some variance are given, (D, R) and (R,), found from the
    Gram matrix: the gradient of a linear classifier lies in their span, and so does its minimum. Without `centre` the
    mean is 0 and the second moment takes the covariance's place.
    """
    mean_D = features_ND.double().mean(dim=0) if features_ND.numel() < 2**24 else features_ND.mean(dim=0).double()
    mean = mean_D.to(features_ND.dtype) if centre else torch.zeros_like(features_ND[0])
    count, dim = features_ND.shape
    if count < min(dim, LARGEST_ROTATION):
        centred = features_ND.double() - mean.double()
        variance_N, vectors_NN = torch.linalg.eigh(centred @ centred.T / count)
        kept = variance_N > SMALLEST_VARIANCE * variance_N[-1].clamp(min=torch.finfo(torch.float64).tiny)
        kept[-1] = True
        variance_R = variance_N[kept].clamp(min=0)
        length_R = (count * variance_R).sqrt().clamp(min=torch.finfo(torch.float64).tiny)
        return mean, (centred.T @ vectors_NN[:, kept] / length_R).to(features_ND.dtype), variance_R
    if dim > LARGEST_ROTATION:
        return mean, None, (features_ND - mean).square().mean(dim=0).double()
    covariance_DD = torch.zeros(dim, dim, dtype=torch.float64, device=features_ND.device)
    for rows in features_ND.split(ROWS_AT_ONCE):
        centred = rows - mean
        covariance_DD += (centred.T @ centred).double()
    variance_D, turn_DD = torch.linalg.eigh(covariance_DD / len(features_ND))
    return mean, turn_DD.to(features_ND.dtype), variance_D.clamp(min=0)


def turned(features_ND: Tensor, axes: Axes) -> Tensor:
    """Features in the coordinates of `principal_axes`, (N, R)."""
    mean_D, turn_DR, _ = axes
    return features_ND - mean_D if turn_DR is None else (features_ND - mean_D) @ turn_DR


def turned_back(start: Start, axes: Axes) -> Start:
    """Weights and bias of turned features as those of the features themselves."""
    mean_D, turn_DR, _ = axes
    weight_DK = start[0] if turn_DR is None else turn_DR.double() @ start[0]
    return weight_DK, start[1] - mean_D.double() @ weight_DK


@dataclass(eq=False)
class _Problem:
    """L-BFGS at one strength. The last row of a point is the bias; points and gradients are (D + 1, K) in float64."""

    l2: float
    curvature: float
    variance_D: Tensor
    num_classes: int
    intercept: bool
    loss: float = float("inf")
    converged: bool = False
    stopped: bool = False
    step: float = 1.0
    pairs: deque[tuple[Tensor, Tensor, float]] = field(default_factory=lambda: deque(maxlen=HISTORY))

    def __post_init__(self) -> None:
        variance = torch.cat([self.variance_D, self.variance_D.new_ones(1)])
        penalty = torch.full_like(variance, self.l2)
        penalty[-1] = 0.0
        self.scale = (1.0 / (self.curvature * variance + penalty))[:, None]
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
            if self.step < 1e-3:  # the loss cannot be told apart any more in this precision, or it is not finite
                self.converged = math.isfinite(self.loss) and -slope <= ROUNDING * max(self.loss, 1e-6)
                self.stopped = True
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
        if -float((self.gradient * self.direction).sum()) <= 2 * tolerance * max(self.loss, FITTED):
            self.converged = self.stopped = True
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


def _evaluate(turned_ND: Tensor, loss: Loss, problems: list[_Problem]) -> None:
    """Penalised loss and gradient of every problem at its trial point, in one pass over the features."""
    count, classes = len(problems), problems[0].num_classes
    weights = torch.cat([problem.trial for problem in problems], dim=1).to(turned_ND.dtype)  # (D + 1, G K)
    loss_G = torch.zeros(count, dtype=torch.float64, device=turned_ND.device)
    gradient = torch.zeros(weights.shape, dtype=torch.float64, device=turned_ND.device)
    rows_at_once = max(256, min(ROWS_AT_ONCE, 2**26 // (count * classes)))
    for start in range(0, len(turned_ND), rows_at_once):
        rows = slice(start, start + rows_at_once)
        logits_nGK = torch.addmm(weights[-1], turned_ND[rows], weights[:-1]).view(-1, count, classes)
        part_G, error_nGK = loss(logits_nGK, rows)
        loss_G += part_G
        error = error_nGK.flatten(1)
        gradient[:-1] += turned_ND[rows].T @ error
        gradient[-1] += error.sum(dim=0)
    gradient /= len(turned_ND)
    for number, problem in enumerate(problems):
        part = gradient[:, number * classes : (number + 1) * classes].clone()
        part[:-1] += problem.l2 * problem.trial[:-1]
        if not problem.intercept:
            part[-1] = 0.0  # the bias never moves
        problem.trial_gradient = part
        penalty = 0.5 * problem.l2 * float(problem.trial[:-1].square().sum())
        problem.trial_loss = float(loss_G[number]) / len(turned_ND) + penalty
