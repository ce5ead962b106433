# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Candidates for k-NN from an index of faiss, for those who have it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

ROWS_AT_ONCE = 65536
# Enough for a list's centre by faiss' own rule of thumb (39 to 256 points each) with thousands of lists.
MOST_TRAINING_ROWS = 2**18


def faiss_candidates(bank_ND: np.ndarray, factory: str, nprobe: int) -> Callable[[Tensor, int], Tensor]:
    """Builds an index over the bank at unit length, compared by inner products.

    Args:
        bank_ND: features, read in pieces.
        factory: of `faiss.index_factory`.
        nprobe: lists searched for each query, where the index has lists.

    Returns:
        the search: unit-length queries (M, D) and a number c -> bank rows, int64 (M, c), -1 where fewer were found.

    Raises:
        ValueError: faiss is not installed, or cannot make such an index of these features.
    """
    try:
        import faiss
    except ImportError as error:
        raise ValueError("faiss is not installed: pip install faiss-cpu, or leave `faiss` null") from error
    dim = bank_ND.shape[1]
    try:
        index: Any = faiss.index_factory(dim, factory, faiss.METRIC_INNER_PRODUCT)
        if not index.is_trained:
            step = max(1, len(bank_ND) // MOST_TRAINING_ROWS)
            index.train(_unit(bank_ND[::step]))
        for start in range(0, len(bank_ND), ROWS_AT_ONCE):
            index.add(_unit(bank_ND[start : start + ROWS_AT_ONCE]))
        if hasattr(index, "nprobe"):
            index.nprobe = nprobe
    except RuntimeError as error:  # the only kind that its Python binding raises
        raise ValueError(f"faiss cannot make the index {factory!r} of {bank_ND.shape} features: {error}") from error

    def search(unit_MD: Tensor, count: int) -> Tensor:
        _, index_Mc = index.search(unit_MD.cpu().numpy(), count)
        return torch.from_numpy(index_Mc)

    return search


def _unit(rows_ND: np.ndarray) -> np.ndarray:
    return normalize(torch.from_numpy(np.array(rows_ND, dtype=np.float32)), dim=1).numpy()
