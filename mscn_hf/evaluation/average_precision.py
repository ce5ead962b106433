# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""11-point interpolated average precision (VOC2007), and how far its mean would move with other test images.

Shapes: M images, K classes, R resamples.
"""

from __future__ import annotations

import numpy as np

from .bootstrap import Interval

RESAMPLES_AT_ONCE = 200


def average_precision_11point(
    scores_M: np.ndarray, targets_M: np.ndarray, counts_RM: np.ndarray | None = None
) -> np.ndarray:
    """Average precision of one class as the VOC2007 development kit defines it (Everingham et al. 2010, eq. 1 and 2).

    AP = 1/11 sum over t in {0, 0.1, …, 1} of the highest precision at any recall >= t, 0 where that recall is not
    reached. Images in order of falling score, of equal scores the first one first. Whether recall reaches a tenth is
    decided in whole numbers; the kit's floating-point 0:0.1:1 misses recalls that are exactly 0.3, 0.6 or 0.7.

    Args:
        scores_M: of the class.
        targets_M: 1 present, 0 absent, -1 left out (the kit's "difficult": neither hit nor false alarm).
        counts_RM: how often each image counts, for R weightings at once; once each by default.

    Returns:
        (R,), or (1,) without counts; NaN where no image is present.
    """
    known_M = targets_M >= 0
    order = np.argsort(-scores_M[known_M], kind="stable")
    present_M = targets_M[known_M][order] > 0
    counts_RM = np.ones((1, len(targets_M)), dtype=np.int64) if counts_RM is None else counts_RM
    sorted_RM = counts_RM[:, known_M][:, order]
    # Precision only rises at a hit, so that the best one at any recall stands at a hit.
    seen_RP = np.cumsum(sorted_RM, axis=1)[:, present_M]
    hits_RP = np.cumsum(sorted_RM[:, present_M], axis=1)
    if hits_RP.shape[1] == 0:
        return np.full(len(counts_RM), np.nan)
    precision_RP = hits_RP / np.maximum(seen_RP, 1)
    best_RP = np.maximum.accumulate(precision_RP[:, ::-1], axis=1)[:, ::-1]
    total_R1 = hits_RP[:, -1:]
    area_R = np.zeros(len(counts_RM))
    for tenth in range(11):
        first_R1 = (10 * hits_RP < tenth * total_R1).sum(axis=1, keepdims=True)
        area_R += np.take_along_axis(best_RP, first_R1, axis=1)[:, 0]
    return np.where(total_R1[:, 0] > 0, area_R / 11, np.nan)


def map_11point(scores_MK: np.ndarray, targets_MK: np.ndarray, absent: int = 0) -> float:
    """Mean of `average_precision_11point` over the classes that are present, and `absent` more that count as 0.

    Raises:
        ValueError: not one class is present.
    """
    values_K = np.array([average_precision_11point(s, t)[0] for s, t in zip(scores_MK.T, targets_MK.T, strict=True)])
    present = int(np.isfinite(values_K).sum())
    if present == 0:
        raise ValueError("no class is present in any image: the mean average precision is undefined")
    return float(np.nansum(values_K) / (present + absent))


def map_interval(
    scores_MK: np.ndarray,
    targets_MK: np.ndarray,
    absent: int = 0,
    *,
    confidence: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> Interval:
    """Percentile bootstrap interval of `map_11point`, by drawing test images with replacement.

    A class that is present in no image of a resample is left out of that resample's mean.
    """
    random = np.random.default_rng(seed)
    count = len(scores_MK)
    means = []
    for start in range(0, resamples, RESAMPLES_AT_ONCE):
        size = min(RESAMPLES_AT_ONCE, resamples - start)
        counts_RM = np.stack([np.bincount(random.integers(0, count, count), minlength=count) for _ in range(size)])
        sums_R, present_R = np.zeros(size), np.zeros(size)
        for scores_M, targets_M in zip(scores_MK.T, targets_MK.T, strict=True):
            values_R = average_precision_11point(scores_M, targets_M, counts_RM)
            sums_R += np.nan_to_num(values_R)
            present_R += np.isfinite(values_R)
        means.append(sums_R / np.maximum(present_R + absent, 1))
    low, high = np.quantile(np.concatenate(means), [(1 - confidence) / 2, (1 + confidence) / 2])
    method = f"percentile bootstrap over images, {100 * confidence:g} %, {resamples} resamples, seed {seed}"
    return Interval(float(low), float(high), method)
