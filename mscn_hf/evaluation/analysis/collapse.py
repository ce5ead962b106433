# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Signs of collapse, seen without any label."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize


def rankme(z_ND: Tensor, eps: float = 1e-7) -> float:
    """Effective rank of embeddings, between 1 (collapsed) and min(N, D).

    RankMe = exp(-sum_k p_k log p_k), p_k = s_k / sum_j s_j + eps, with s the singular values of the embedding matrix,
    not centred (Garrido et al. 2023, eq. 1 to 3). Computed in float64; cost grows as N D min(N, D), so give it a few
    thousand rows.

    Raises:
        ValueError: not a matrix, empty, all zero, or not finite.
    """
    return rankme_of_spectrum(spectrum(z_ND), eps)


def spectrum(z_ND: Tensor) -> Tensor:
    """Singular values of an embedding matrix, not centred, in float64, largest first, (min(N, D),).

    Raises:
        ValueError: not a matrix, empty, or not finite.
    """
    return torch.linalg.svdvals(checked_embeddings(z_ND).double())


def rankme_of_spectrum(singular_values: Tensor, eps: float = 1e-7) -> float:
    """`rankme` from singular values that are at hand already.

    Raises:
        ValueError: all are zero.
    """
    if singular_values.sum() == 0:
        raise ValueError("rankme is undefined: every embedding is zero")
    share = singular_values / singular_values.sum() + eps
    return float(torch.exp(-(share * share.log()).sum()))


def feature_std(z_ND: Tensor) -> float:
    """Standard deviation over images of each coordinate of the l2-normalised embedding, averaged over coordinates.

    0 is total collapse; an isotropic cloud gives about 1 / sqrt(D) (Chen & He 2021, fig. 2).

    Raises:
        ValueError: not a matrix, fewer than two rows, or not finite.
    """
    z_ND = checked_embeddings(z_ND)
    if len(z_ND) < 2:
        raise ValueError(f"feature_std needs at least two rows, got {len(z_ND)}")
    return float(normalize(z_ND.double(), dim=1).std(dim=0, correction=0).mean())


def checked_embeddings(z_ND: Tensor) -> Tensor:
    """The embeddings without their gradient.

    Raises:
        ValueError: not a matrix, empty, or not finite.
    """
    z_ND = torch.as_tensor(z_ND).detach()
    if z_ND.ndim != 2 or z_ND.numel() == 0:
        raise ValueError(f"expected embeddings of shape (N, D), got {tuple(z_ND.shape)}")
    if not bool(torch.isfinite(z_ND).all()):
        raise ValueError("the embeddings hold NaN or infinite values")
    return z_ND
