# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Which images lie next to which, and which classes are confused by it."""

from __future__ import annotations

import numpy as np
import torch
from sklearn.neighbors import NearestNeighbors
from torch import Tensor

from .collapse import checked_embeddings
from .hypersphere import unit_rows


def nearest_neighbours(bank_ND: Tensor, k: int, queries_MD: Tensor | None = None) -> tuple[np.ndarray, np.ndarray]:
    """The k nearest bank rows by l2 distance of unit-length features, which orders as cosine similarity does.

    Args:
        bank_ND: features.
        k: number of neighbours.
        queries_MD: features; None asks for the neighbours of the bank's own rows, none of which is its own.

    Returns:
        distances (M, k) in float64, nearest first, and their rows in the bank (M, k).

    Raises:
        ValueError: a bank of fewer than k (other) rows, or features that are not finite.
    """
    others = len(bank_ND) - (queries_MD is None)
    if not 1 <= k <= others:
        raise ValueError(f"k must lie between 1 and the number of images to choose from ({others}), got {k}")
    index = NearestNeighbors(n_neighbors=k, algorithm="brute", metric="euclidean")
    index.fit(unit_rows(checked_embeddings(bank_ND)).numpy())
    queries = None if queries_MD is None else unit_rows(checked_embeddings(queries_MD)).numpy()
    distance_Mk, row_Mk = index.kneighbors(queries)
    return distance_Mk, row_Mk


def neighbour_confusion(neighbour_class_Mk: np.ndarray, class_M: np.ndarray, num_classes: int) -> np.ndarray:
    """Share (K, K) of the neighbours of the images of a class (row) that are of a class (column); rows sum to 1.

    A class without images has a row of zeros.

    Args:
        neighbour_class_Mk: class of each neighbour, in [0, K).
        class_M: class of each image, in [0, K).
        num_classes: K.
    """
    k = neighbour_class_Mk.shape[1]
    pair = np.repeat(class_M, k) * num_classes + neighbour_class_Mk.reshape(-1)
    count_KK = np.bincount(pair, minlength=num_classes**2).reshape(num_classes, num_classes).astype(np.float64)
    return count_KK / np.maximum(count_KK.sum(axis=1, keepdims=True), 1)


def confused_pairs(share_KK: np.ndarray, pairs: int) -> list[tuple[int, int]]:
    """The pairs of classes that share most neighbours, strongest first, no class twice; fewer where K is small."""
    both_KK = np.triu(share_KK + share_KK.T, k=1)
    found: list[tuple[int, int]] = []
    for place in np.argsort(-both_KK, axis=None, kind="stable"):
        first, second = (int(number) for number in np.unravel_index(place, both_KK.shape))
        if first < second and not {first, second} & {number for pair in found for number in pair}:
            found.append((first, second))
        if len(found) == pairs:
            break
    return found


def contiguous_rows(class_N: np.ndarray, classes: list[int], per_class: int) -> np.ndarray:
    """Rows of the given classes, class after class, the first `per_class` of each in their order."""
    return np.concatenate([np.flatnonzero(class_N == number)[:per_class] for number in classes])


def as_tensor(features: np.ndarray, rows: np.ndarray | None = None) -> Tensor:
    """Features (or some rows of them) of a memory-mapped array in memory."""
    return torch.from_numpy(np.array(features if rows is None else features[rows]))
