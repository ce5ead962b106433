# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""VOC2007's mean average precision as an `evaluate.Metric`. Imports nothing of its package: `evaluate` runs a copy."""

import datasets
import evaluate
import numpy as np

_DESCRIPTION = """
11-point interpolated average precision of each class, averaged over classes (VOC2007 classification): the mean over
recalls 0, 0.1, …, 1 of the highest precision at that recall or a higher one.
"""

_CITATION = """
@article{everingham2010pascal,
  title={The {PASCAL} Visual Object Classes ({VOC}) Challenge},
  author={Everingham, Mark and Van Gool, Luc and Williams, Christopher K. I. and Winn, John and Zisserman, Andrew},
  journal={International Journal of Computer Vision}, year={2010}
}
"""

_KWARGS_DESCRIPTION = """
Args:
    predictions: scores, one list of K floats an example.
    references: one list of K integers an example: 1 present, 0 absent, -1 left out (the class has only difficult
        objects there).
Returns:
    a dict with `map_11point`, a fraction, and `average_precision`, a list with a fraction a class (NaN where a class
    is present in no example; the mean leaves it out).
"""


class MeanAveragePrecision11Point(evaluate.Metric):
    """11-point interpolated mean average precision of score vectors."""

    def _info(self):
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation=_CITATION,
            inputs_description=_KWARGS_DESCRIPTION,
            features=datasets.Features(
                {
                    "predictions": datasets.Sequence(datasets.Value("float64")),
                    "references": datasets.Sequence(datasets.Value("int64")),
                }
            ),
        )

    def _compute(self, predictions, references):
        scores_NK = np.asarray(predictions, dtype=np.float64)
        targets_NK = np.asarray(references, dtype=np.int64)
        if scores_NK.ndim != 2 or scores_NK.shape != targets_NK.shape:
            raise ValueError(
                f"predictions and references must be N lists of K, got {scores_NK.shape} and {targets_NK.shape}"
            )
        values_K = [_average_precision(s, t) for s, t in zip(scores_NK.T, targets_NK.T, strict=True)]
        if not np.isfinite(values_K).any():
            raise ValueError("no class is present in any example")
        return {"map_11point": float(np.nanmean(values_K)), "average_precision": values_K}


def _average_precision(scores_N, targets_N):
    order = np.argsort(-scores_N, kind="stable")
    targets_N = targets_N[order][targets_N[order] >= 0]
    hits_N = np.cumsum(targets_N > 0)
    if len(hits_N) == 0 or hits_N[-1] == 0:
        return float("nan")
    precision_N = hits_N / np.arange(1, len(hits_N) + 1)
    return float(np.mean([precision_N[10 * hits_N >= tenth * hits_N[-1]].max() for tenth in range(11)]))
