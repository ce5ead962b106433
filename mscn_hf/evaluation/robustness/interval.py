# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""How far a mean over images would move if they were drawn again, for values that are not just right or wrong."""

from __future__ import annotations

import numpy as np

from ..bootstrap import Interval, bootstrap_interval

MANY_LEVELS = 1000


def mean_interval(values_N: np.ndarray, *, confidence: float = 0.95, resamples: int = 2000, seed: int = 0) -> Interval:
    """Percentile bootstrap interval of the mean of one value an image (Efron & Tibshirani 1993, ch. 13).

    Drawing N of N values with replacement is a draw of how often each distinct value comes up, a multinomial: with few
    distinct values (an image's share of right answers over 75 copies has 76) no index is gathered.

    Args:
        values_N: any real numbers.
        confidence: share of resamples inside the interval, in (0, 1).
        resamples: number of resamples.
        seed: of the draws.

    Raises:
        ValueError: no image, or values that are not finite.
    """
    values_N = np.asarray(values_N, dtype=np.float64)
    if values_N.ndim != 1 or len(values_N) == 0 or not np.isfinite(values_N).all():
        raise ValueError(f"values_N must be a vector of finite numbers, got shape {values_N.shape}")
    levels, counts = np.unique(values_N, return_counts=True)
    if len(levels) == 1 and levels[0] in (0.0, 1.0):
        return bootstrap_interval(values_N.astype(bool), confidence=confidence, seed=seed)  # Wilson's, and says so
    random = np.random.default_rng(seed)
    if len(levels) <= MANY_LEVELS:
        means_R = random.multinomial(len(values_N), counts / counts.sum(), size=resamples) @ levels / len(values_N)
    else:
        means_R = np.array(
            [values_N[random.integers(len(values_N), size=len(values_N))].mean() for _ in range(resamples)]
        )
    low, high = np.quantile(means_R, [(1 - confidence) / 2, (1 + confidence) / 2])
    method = f"percentile bootstrap over images, {100 * confidence:g} %, {resamples} resamples, seed {seed}"
    return Interval(float(low), float(high), method)
