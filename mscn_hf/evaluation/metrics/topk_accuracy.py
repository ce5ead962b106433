# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Top-k accuracy as an `evaluate.Metric`. Imports nothing of its package: `evaluate` runs a copy of this file."""

import datasets
import evaluate
import numpy as np

_DESCRIPTION = """
Share of examples whose true class is among the k classes of highest score. Of equal scores the lower class comes
first.
"""

_KWARGS_DESCRIPTION = """
Args:
    predictions: scores, one list of K floats an example.
    references: true classes, integers in [0, K).
    k: an integer or a list of integers; 1 and 5 by default.
Returns:
    a dict with `top{k}_accuracy` for each k, as fractions.
"""


class TopKAccuracy(evaluate.Metric):
    """Top-k accuracy of score vectors."""

    def _info(self):
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation="",
            inputs_description=_KWARGS_DESCRIPTION,
            features=datasets.Features(
                {
                    "predictions": datasets.Sequence(datasets.Value("float64")),
                    "references": datasets.Value("int64"),
                }
            ),
        )

    def _compute(self, predictions, references, k=(1, 5)):
        scores_NK = np.asarray(predictions, dtype=np.float64)
        labels_N = np.asarray(references, dtype=np.int64)
        if scores_NK.ndim != 2:
            raise ValueError(f"predictions must be N lists of K scores, got shape {scores_NK.shape}")
        if labels_N.min() < 0 or labels_N.max() >= scores_NK.shape[1]:
            raise ValueError(
                f"references must lie in [0, {scores_NK.shape[1]}), got {labels_N.min()} to {labels_N.max()}"
            )
        true_N1 = np.take_along_axis(scores_NK, labels_N[:, None], axis=1)
        lower_NK = np.arange(scores_NK.shape[1]) < labels_N[:, None]
        ahead_N = ((scores_NK > true_N1) | ((scores_NK == true_N1) & lower_NK)).sum(axis=1)
        return {f"top{n}_accuracy": float((ahead_N < n).mean()) for n in np.atleast_1d(k)}
