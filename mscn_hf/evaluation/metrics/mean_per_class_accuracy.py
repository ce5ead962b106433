# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Mean per-class accuracy as an `evaluate.Metric`. Imports nothing of its package: `evaluate` runs a copy of it."""

import datasets
import evaluate
import numpy as np

_DESCRIPTION = """
Accuracy within each class that occurs in the references, averaged over those classes: what Caltech-101, Pets, Flowers
and Aircraft are reported in, because their classes differ in size.
"""

_KWARGS_DESCRIPTION = """
Args:
    predictions: predicted classes, integers.
    references: true classes, integers.
Returns:
    a dict with `mean_per_class_accuracy`, a fraction.
"""


class MeanPerClassAccuracy(evaluate.Metric):
    """Accuracy averaged over classes."""

    def _info(self):
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation="",
            inputs_description=_KWARGS_DESCRIPTION,
            features=datasets.Features(
                {"predictions": datasets.Value("int64"), "references": datasets.Value("int64")}
            ),
        )

    def _compute(self, predictions, references):
        right_N = np.asarray(predictions) == np.asarray(references)
        _, class_N = np.unique(references, return_inverse=True)
        share_K = np.bincount(class_N, weights=right_N) / np.bincount(class_N)
        return {"mean_per_class_accuracy": float(share_K.mean())}
