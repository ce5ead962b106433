# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""DeepUSPS: from noisy maps of several cues to one network, without labels (Nguyen et al. 2019).

Stage 1 trains, for each cue and several times from the same start, a network on the cue's maps; a moving average of
its predictions, each cleaned by a CRF, takes the maps' place. Stage 2 trains one network on all refined sets.

Shapes: B images of a batch, L label sets, S the side of the square images.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

EPSILON = 1e-5


def soft_threshold(predicted_BSS: Tensor, target_BSS: Tensor, threshold: float) -> Tensor:
    """Predictions that lie beyond the target, on its side of the threshold, count as certain.

    1 where predicted > target > threshold, 0 where predicted < target < threshold; no gradient passes there.
    Source: DeepUSPS' code.
    """
    up = (predicted_BSS > target_BSS) & (target_BSS > threshold)
    down = (predicted_BSS < target_BSS) & (target_BSS < threshold)
    return predicted_BSS.masked_fill(up, 1.0).masked_fill(down, 0.0)


def f_loss(predicted_BSS: Tensor, foreground_BSS: Tensor, beta_squared: float) -> Tensor:
    """1 - F of each image, (B,): F = (1 + b) P R / (b P + R) of soft predictions against a binary foreground.

    Args:
        predicted_BSS: in [0, 1].
        foreground_BSS: 0 or 1, float.
        beta_squared: b. DeepUSPS' code has 1 in stage 1 and 4 in stage 2; the metric's customary value is 0.3.
    """
    hits_B = (predicted_BSS * foreground_BSS).sum(dim=(1, 2))
    precision_B = hits_B / (predicted_BSS.sum(dim=(1, 2)) + EPSILON)
    recall_B = hits_B / (foreground_BSS.sum(dim=(1, 2)) + EPSILON)
    weighted_B = beta_squared * precision_B + recall_B + EPSILON
    return 1 - (1 + beta_squared) * precision_B * recall_B / weighted_B


def refinement_loss(logits_BSS: Tensor, targets_BLSS: Tensor, threshold: float, beta_squared: float) -> Tensor:
    """Mean over images and label sets of the F-loss against each set cut at the threshold, a scalar.

    Args:
        logits_BSS: of the network.
        targets_BLSS: maps in [0, 1].
        threshold: what counts as foreground.
        beta_squared: see `f_loss`.
    """
    predicted_BSS = logits_BSS.float().sigmoid()
    losses = []
    for target_BSS in targets_BLSS.unbind(1):
        sure_BSS = soft_threshold(predicted_BSS, target_BSS, threshold)
        losses.append(f_loss(sure_BSS, (target_BSS > threshold).float(), beta_squared).mean())
    return torch.stack(losses).mean()


class MovingAverage:
    """Predictions of every training image averaged over epochs: m <- rate * m + (1 - rate) * prediction, from 0.

    Args:
        maps_NSS: float16 array or memory map (N, S, S) of zeros, written in place.
        rate: 0.7 in DeepUSPS.
    """

    def __init__(self, maps_NSS: np.ndarray, rate: float = 0.7):
        self.maps_NSS = maps_NSS
        self.rate = rate
        self._seen_N = np.zeros(len(maps_NSS), dtype=bool)

    def update(self, index_B: Tensor, predicted_BSS: Tensor) -> None:
        """Takes in the predictions of the images `index_B`, each once in an epoch.

        Where processes divide an epoch, some images come twice, so that all have batches of one size: the second time
        does not count. An epoch ends when every image has come.
        """
        rows, places = np.unique(index_B.cpu().numpy(), return_index=True)
        new = ~self._seen_N[rows]
        rows, places = rows[new], places[new]
        before = torch.from_numpy(self.maps_NSS[rows]).float()
        after = self.rate * before + (1 - self.rate) * predicted_BSS.detach().float().cpu()[torch.from_numpy(places)]
        self.maps_NSS[rows] = after.half().numpy()
        self._seen_N[rows] = True
        if self._seen_N.all():
            self._seen_N[:] = False
