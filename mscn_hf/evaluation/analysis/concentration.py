# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""How tightly classes are packed: distances to other classes against distances within the class."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .collapse import checked_embeddings
from .hypersphere import squared_distances, unit_rows


@dataclass
class Concentration:
    """Distances of each image to its own class and to the others.

    Attributes:
        between_M: mean distance to the images of all other classes.
        within_M: mean distance to the other images of the same class.
        image_M: which rows these are.
        left_out: rows without a ratio: the only image of its class, or one whose class mates are all its copies.
    """

    between_M: np.ndarray
    within_M: np.ndarray
    image_M: np.ndarray
    left_out: int

    @property
    def ratio_M(self) -> np.ndarray:
        """between / within; 1 where classes mean nothing, larger where they are packed tightly."""
        return self.between_M / self.within_M


def class_concentration(z_ND: Tensor, labels_N: np.ndarray, chunk: int = 1024) -> Concentration:
    """Ratios of between-class and within-class l2 distances, one for each image (ReLICv2, fig. 4 and sec. 3.1).

    The paper shows the distribution of these ratios and says neither over what it runs nor how features are scaled.
    Here: over images, features of unit length, each distance a mean over the images it is taken to. Computed in
    float64, `chunk` rows against all at a time.

    Args:
        z_ND: features.
        labels_N: class of each.

    Raises:
        ValueError: lengths that differ, one class only, or no image with a ratio (all features of each class alike).
    """
    z_ND = unit_rows(checked_embeddings(z_ND))
    labels_N = np.asarray(labels_N)
    if labels_N.shape != (len(z_ND),):
        raise ValueError(f"expected one label for each of {len(z_ND)} rows, got shape {labels_N.shape}")
    names, class_N, count_K = np.unique(labels_N, return_inverse=True, return_counts=True)
    if len(names) < 2:
        raise ValueError(f"class concentration needs at least two classes, got {names.tolist()}")
    own_N, within_N = torch.from_numpy(class_N), np.zeros(len(z_ND))
    members_NK = torch.nn.functional.one_hot(own_N, len(names)).double()
    between_N = np.zeros(len(z_ND))
    for start in range(0, len(z_ND), chunk):
        rows = slice(start, start + chunk)
        distance_MN = squared_distances(z_ND[rows], z_ND).sqrt()
        here = torch.arange(len(distance_MN))
        distance_MN[here, here + start] = 0.0  # exactly: the root would make 1e-15 into 3e-8
        sum_MK = distance_MN @ members_NK
        inside_M = sum_MK.gather(1, own_N[rows, None])[:, 0]
        within_N[rows] = inside_M.numpy()
        between_N[rows] = (sum_MK.sum(dim=1) - inside_M).numpy()
    own_count_N = count_K[class_N]
    kept_M = np.flatnonzero((own_count_N > 1) & (within_N > 1e-6))
    if len(kept_M) == 0:
        raise ValueError("no image has a within-class distance: every class holds one image, or equal features")
    return Concentration(
        between_N[kept_M] / (len(z_ND) - own_count_N[kept_M]),
        within_N[kept_M] / (own_count_N[kept_M] - 1),
        kept_M,
        len(z_ND) - len(kept_M),
    )
