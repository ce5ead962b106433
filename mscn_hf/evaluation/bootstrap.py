# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""How far a measured accuracy would move if the test images, or what was trained on or from, were drawn again."""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import NamedTuple

import numpy as np


class Interval(NamedTuple):
    """Bounds as fractions, and how they were computed."""

    low: float
    high: float
    method: str


def bootstrap_interval(
    correct_N: np.ndarray,
    *,
    groups_N: np.ndarray | None = None,
    confidence: float = 0.95,
    resamples: int = 10_000,
    seed: int = 0,
) -> Interval:
    """Percentile bootstrap interval of an accuracy, by resampling test images (Efron & Tibshirani 1993, ch. 13).

    Drawing N of N zeros and ones with replacement and averaging is exactly a draw of Binomial(N, mean) / N, so no
    index is ever gathered and ten thousand resamples of a million images cost milliseconds. Where every answer is
    right (or wrong) every resample is the same and the bootstrap would claim certainty; Wilson's score interval is
    given then, and said.

    Args:
        correct_N: one bool an image: was the answer right.
        groups_N: class of each image; the statistic is then the mean over classes of the accuracy within a class, and
            images are drawn within their class.
        confidence: share of resamples inside the interval, in (0, 1).
        resamples: number of resamples.
        seed: of the draws.

    Raises:
        ValueError: no image, values other than 0 and 1, or a confidence outside (0, 1).
    """
    correct_N = np.asarray(correct_N)
    if correct_N.ndim != 1 or len(correct_N) == 0:
        raise ValueError(f"correct_N must be a vector with at least one entry, got shape {correct_N.shape}")
    if not np.isin(correct_N, (0, 1)).all():
        raise ValueError("correct_N must hold only 0 and 1 (or False and True)")
    if not 0.0 < confidence < 1.0:
        raise ValueError(f"confidence must lie in (0, 1), got {confidence}")
    groups_N = np.zeros(len(correct_N), dtype=np.int64) if groups_N is None else np.asarray(groups_N)
    if groups_N.shape != correct_N.shape:
        raise ValueError(f"groups_N must have shape {correct_N.shape}, got {groups_N.shape}")

    _, inverse, counts_K = np.unique(groups_N, return_inverse=True, return_counts=True)
    share_K = np.bincount(inverse, weights=correct_N.astype(np.float64)) / counts_K
    percent = f"{100 * confidence:g} %"
    if share_K.min() == share_K.max() and share_K[0] in (0.0, 1.0):
        low, high = _wilson(float(share_K[0]), len(correct_N), confidence)
        return Interval(low, high, f"Wilson score, {percent} (all answers alike: the bootstrap has no spread)")

    random = np.random.default_rng(seed)
    mean_R = np.zeros(resamples)
    for count, share in zip(counts_K, share_K, strict=True):
        mean_R += random.binomial(count, share, size=resamples) / count
    mean_R /= len(counts_K)
    low, high = np.quantile(mean_R, [(1 - confidence) / 2, (1 + confidence) / 2])
    within = "" if len(counts_K) == 1 else " within classes"
    method = f"percentile bootstrap over images{within}, {percent}, {resamples} resamples, seed {seed}"
    return Interval(float(low), float(high), method)


def t_interval(values: list[float], confidence: float = 0.95) -> Interval:
    """Student's interval of the mean over draws (of training images, of seeds), cut to [0, 1].

    Raises:
        ValueError: fewer than two values.
    """
    from scipy.stats import t

    if len(values) < 2:
        raise ValueError(f"an interval over draws needs at least two, got {len(values)}")
    mean, spread = float(np.mean(values)), float(np.std(values, ddof=1))
    half = float(t.ppf((1 + confidence) / 2, len(values) - 1)) * spread / math.sqrt(len(values))
    method = f"Student's t over {len(values)} draws, {100 * confidence:g} %"
    return Interval(max(0.0, mean - half), min(1.0, mean + half), method)


def _wilson(share: float, count: int, confidence: float) -> tuple[float, float]:
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    middle = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count)) / (1 + z * z / count)
    # At the ends the bound is the share itself, but for rounding.
    return 0.0 if share == 0 else middle - half, 1.0 if share == 1 else middle + half
