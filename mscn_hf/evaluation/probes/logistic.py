# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Logistic regression at given L2 strengths, solved to convergence for all of them at once.

Shapes: N images, D features, K classes, G strengths.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import softplus

from .lbfgs import Axes, LogisticFit, Start, minimise


def fit_logistic(
    features_ND: Tensor,
    labels_N: Tensor,
    l2: float | Sequence[float],
    num_classes: int,
    *,
    intercept: bool = True,
    axes: Axes | None = None,
    tolerance: float = 1e-7,
    max_passes: int = 400,
    start: Start | None = None,
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
        intercept: whether there is a bias; without one it stays 0.
        axes: of `principal_axes(features_ND, centre=intercept)`, where they are known already.
        tolerance: stop when the decrease still predicted falls below this share of the loss.
        max_passes: over the features.
        start: weight_DK and bias_K to start from, for example of a neighbouring strength.

    Raises:
        ValueError: a strength that is not positive, labels out of range, or features that are not finite.
    """
    if len(features_ND) != len(labels_N) or len(labels_N) == 0:
        raise ValueError(f"got features {tuple(features_ND.shape)} and {len(labels_N)} labels")
    if int(labels_N.min()) < 0 or int(labels_N.max()) >= num_classes:
        raise ValueError(f"labels must lie in [0, {num_classes}), got {int(labels_N.min())} to {int(labels_N.max())}")

    def loss(logits_nGK: Tensor, rows: slice) -> tuple[Tensor, Tensor]:
        log_share_nGK = logits_nGK.log_softmax(dim=2)
        index_nG1 = labels_N[rows][:, None, None].expand(-1, logits_nGK.shape[1], 1)
        loss_G = -log_share_nGK.gather(2, index_nG1)[:, :, 0].double().sum(dim=0)
        minus_one = -torch.ones_like(index_nG1, dtype=logits_nGK.dtype)
        return loss_G, log_share_nGK.exp_().scatter_add_(2, index_nG1, minus_one)

    return minimise(features_ND, loss, 0.5, l2, num_classes, intercept, axes, tolerance, max_passes, start)


def fit_one_vs_rest(
    features_ND: Tensor,
    targets_NK: Tensor,
    l2: float | Sequence[float],
    *,
    axes: Axes | None = None,
    tolerance: float = 1e-7,
    max_passes: int = 400,
    start: Start | None = None,
) -> LogisticFit:
    """A binary logistic regression for each class, all classes and strengths at once.

    Minimises 1/N sum of binary cross-entropy over the known targets + l2 / 2 * sum W^2 (bias free). For each class
    that is scikit-learn's `LogisticRegression(C)` on the images whose target is known, at l2 = 1 / (C N), N being the
    number of all images.

    Args:
        features_ND: float; computed in its own dtype on its own device.
        targets_NK: integers, 1 present, 0 absent, -1 unknown: that image takes no part in that class.
        l2, axes, tolerance, max_passes, start: as of `fit_logistic`.

    Raises:
        ValueError: a strength that is not positive, other targets, or features that are not finite.
    """
    if targets_NK.ndim != 2 or len(features_ND) != len(targets_NK) or targets_NK.numel() == 0:
        raise ValueError(f"got features {tuple(features_ND.shape)} and targets {tuple(targets_NK.shape)}")
    if int(targets_NK.min()) < -1 or int(targets_NK.max()) > 1:
        raise ValueError(f"targets must be -1, 0 or 1, got {int(targets_NK.min())} to {int(targets_NK.max())}")

    def loss(logits_nGK: Tensor, rows: slice) -> tuple[Tensor, Tensor]:
        targets_n1K = targets_NK[rows][:, None, :]
        known_n1K = (targets_n1K >= 0).to(logits_nGK.dtype)
        present_n1K = (targets_n1K > 0).to(logits_nGK.dtype)
        loss_nGK = known_n1K * (softplus(logits_nGK) - present_n1K * logits_nGK)
        return loss_nGK.double().sum(dim=(0, 2)), known_n1K * (logits_nGK.sigmoid() - present_n1K)

    # The second derivative of the logistic loss is at most 1/4.
    return minimise(features_ND, loss, 0.25, l2, targets_NK.shape[1], True, axes, tolerance, max_passes, start)
