# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Scores of saliency maps against masks that people drew: F-measure, mean absolute error and S-measure.

The kept library of these, PySODMetrics, asks for older releases of numpy and scikit-image than transformers and this
package do, so it cannot be a dependency; its conventions are followed, and a test compares with it where it is there.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

BETA_SQUARED = 0.3
THRESHOLDS = 256
_TINY = np.finfo(np.float64).eps


@dataclass
class SaliencyScores:
    """Mean scores over images; fill by `add`, read by `result`.

    Attributes:
        f_curves: F-measure of each image at 256 thresholds, float64 (256,) each.
    """

    f_curves: list[np.ndarray] = field(default_factory=list)
    adaptive: list[float] = field(default_factory=list)
    errors: list[float] = field(default_factory=list)
    structure: list[float] = field(default_factory=list)

    def add(self, map_HW: np.ndarray, truth_HW: np.ndarray) -> None:
        """Scores one image.

        Args:
            map_HW: saliency, uint8 or float; brought to [0, 1] by its least and largest value, as is the custom.
            truth_HW: bool, the foreground.

        Raises:
            ValueError: shapes that differ, a truth that is not bool, or a map that is not finite.
        """
        if map_HW.shape != truth_HW.shape or map_HW.ndim != 2 or truth_HW.dtype != bool:
            raise ValueError(f"map {map_HW.shape} and truth {truth_HW.shape} {truth_HW.dtype} do not fit")
        full = 255 if map_HW.dtype == np.uint8 else 1
        map_HW = map_HW.astype(np.float64)
        if not np.isfinite(map_HW).all():
            raise ValueError("a saliency map holds NaN or infinite values")
        least, most = map_HW.min(), map_HW.max()
        map_HW = (map_HW - least) / (most - least) if most > least else map_HW / full  # a constant keeps its level
        self.f_curves.append(f_curve(map_HW, truth_HW))
        self.adaptive.append(f_measure(map_HW >= min(2 * map_HW.mean(), 1.0), truth_HW))
        self.errors.append(float(np.abs(map_HW - truth_HW).mean()))
        self.structure.append(structure_measure(map_HW, truth_HW))

    def __len__(self) -> int:
        return len(self.errors)

    def result(self) -> dict[str, float]:
        """`max_f` (the best threshold of the mean curve), `adaptive_f`, `mae` and `s_measure`."""
        if not self.errors:
            raise ValueError("no image was scored")
        return {name: float(value[0]) for name, value in self.weighted(np.ones((1, len(self)))).items()}

    def weighted(self, weights_RN: np.ndarray) -> dict[str, np.ndarray]:
        """The scores, (R,) each, with R weights of each of the N images, at least 0 and not all of them."""
        weights_RN = weights_RN / weights_RN.sum(axis=1, keepdims=True)
        return {
            "max_f": (weights_RN @ np.stack(self.f_curves)).max(axis=1),
            "adaptive_f": weights_RN @ np.array(self.adaptive),
            "mae": weights_RN @ np.array(self.errors),
            "s_measure": weights_RN @ np.array(self.structure),
        }


def f_measure(found_HW: np.ndarray, truth_HW: np.ndarray, beta_squared: float = BETA_SQUARED) -> float:
    """(1 + b) P R / (b P + R) of a binary mask, b = 0.3 (Achanta et al. 2009); 0 where nothing is found."""
    hits = float((found_HW & truth_HW).sum())
    if hits == 0:
        return 0.0
    precision, recall = hits / found_HW.sum(), hits / truth_HW.sum()
    return float((1 + beta_squared) * precision * recall / (beta_squared * precision + recall))


def f_curve(map_HW: np.ndarray, truth_HW: np.ndarray, beta_squared: float = BETA_SQUARED) -> np.ndarray:
    """F-measure of the map cut at k / 255 for k = 255, ..., 0, float64 (256,), in one pass over its histogram."""
    # The foreground at threshold k / 255 is what lies at or above it; rounding to bytes is part of the custom.
    level_HW = (map_HW * (THRESHOLDS - 1)).astype(np.uint8)
    hits = np.bincount(level_HW[truth_HW], minlength=THRESHOLDS)[::-1].cumsum()
    found = np.bincount(level_HW.ravel(), minlength=THRESHOLDS)[::-1].cumsum()
    precision, recall = hits / np.maximum(found, 1), hits / max(int(truth_HW.sum()), 1)
    return (1 + beta_squared) * precision * recall / np.maximum(beta_squared * precision + recall, _TINY)


def structure_measure(map_HW: np.ndarray, truth_HW: np.ndarray, alpha: float = 0.5) -> float:
    """S-measure (Fan et al. 2017): alpha * object-aware + (1 - alpha) * region-aware similarity, at least 0."""
    share = truth_HW.mean()
    if share in (0.0, 1.0):
        return float(map_HW.mean() if share else 1 - map_HW.mean())
    objects = share * _evenness(map_HW[truth_HW]) + (1 - share) * _evenness(1 - map_HW[~truth_HW])
    row, column = (round(float(part.mean())) + 1 for part in np.nonzero(truth_HW))
    regions = 0.0
    for rows in (slice(0, row), slice(row, None)):
        for columns in (slice(0, column), slice(column, None)):
            part = truth_HW[rows, columns]
            if part.size:
                regions += part.size / truth_HW.size * _similarity(map_HW[rows, columns], part)
    return max(0.0, float(alpha * objects + (1 - alpha) * regions))


def _evenness(values_N: np.ndarray) -> float:
    mean = values_N.mean()
    spread = values_N.std(ddof=1) if len(values_N) > 1 else 0.0
    return float(2 * mean / (mean**2 + 1 + spread + _TINY))


def _similarity(map_HW: np.ndarray, truth_HW: np.ndarray) -> float:
    """Structural similarity of one region, taken as a whole."""
    mean, truth_mean = map_HW.mean(), truth_HW.mean()
    count = max(map_HW.size - 1, 1)
    variance, truth_variance = (
        np.square(map_HW - mean).sum() / count,
        np.square(truth_HW - truth_mean).sum() / count,
    )
    covariance = ((map_HW - mean) * (truth_HW - truth_mean)).sum() / count
    agreement = 4 * mean * truth_mean * covariance
    size = (mean**2 + truth_mean**2) * (variance + truth_variance)
    if agreement != 0:
        return float(agreement / (size + _TINY))
    return 1.0 if size == 0 else 0.0
