# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""How close two views of an image lie, and how evenly images spread over the unit sphere."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import normalize

from .collapse import checked_embeddings


def alignment(x_ND: Tensor, y_ND: Tensor, alpha: float = 2.0) -> float:
    """Mean distance of positive pairs, E ||x - y||^alpha of l2-normalised embeddings; 0 is perfect, 4 the worst.

    Wang & Isola 2020, "Understanding Contrastive Representation Learning through Alignment and Uniformity on the
    Hypersphere", sec. 4.1. Computed in float64.

    Args:
        x_ND, y_ND: embeddings of two views of the same images, row by row.
        alpha: power of the distance, positive.

    Raises:
        ValueError: shapes that differ, not a matrix, empty, or not finite.
    """
    x_ND, y_ND = checked_embeddings(x_ND), checked_embeddings(y_ND)
    if x_ND.shape != y_ND.shape:
        raise ValueError(f"alignment needs pairs: got shapes {tuple(x_ND.shape)} and {tuple(y_ND.shape)}")
    if not alpha > 0:
        raise ValueError(f"alpha must be positive, got {alpha}")
    distance_N = (unit_rows(x_ND) - unit_rows(y_ND)).norm(dim=1)
    return float((distance_N**alpha).mean())


def uniformity(z_ND: Tensor, t: float = 2.0, chunk: int = 1024) -> float:
    """Logarithm of the mean Gaussian potential of all pairs, log E exp(-t ||x - y||^2), of l2-normalised embeddings.

    Wang & Isola 2020, sec. 4.1; the lower the more even. Between 0 (one point) and, for many dimensions, about -2 t.
    Pairs of different rows only; computed in float64, `chunk` rows against all at a time.

    Raises:
        ValueError: not a matrix, fewer than two rows, or not finite.
    """
    z_ND = unit_rows(checked_embeddings(z_ND))
    count = len(z_ND)
    if count < 2:
        raise ValueError(f"uniformity needs at least two rows, got {count}")
    if not t > 0:
        raise ValueError(f"t must be positive, got {t}")
    total = 0.0
    for start in range(0, count, chunk):
        squared_MN = squared_distances(z_ND[start : start + chunk], z_ND)
        total += float(torch.exp(-t * squared_MN).sum())
    return math.log((total - count) / (count * (count - 1)))  # each row met itself once, with exp(0) = 1


def unit_rows(z_ND: Tensor) -> Tensor:
    """Rows of length one in float64; a row of zeros stays one."""
    return normalize(z_ND.double(), dim=1)


def squared_distances(x_MD: Tensor, y_ND: Tensor) -> Tensor:
    """||x - y||^2 of every row of x and every row of y, (M, N), in float64; 0 for equal rows but for 1e-15."""
    x_MD, y_ND = x_MD.double(), y_ND.double()
    lengths_MN = x_MD.square().sum(dim=1)[:, None] + y_ND.square().sum(dim=1)
    return (lengths_MN - 2 * (x_MD @ y_ND.T)).clamp_(min=0)
