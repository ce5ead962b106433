# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Supervised classification in the same harness, as the row to compare with."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mscn_hf.methods.objectives.embeddings import full_precision
from mscn_hf.methods.objectives.objective import Objective, ViewEmbeddings, without_autocast
from mscn_hf.methods.objectives.settings import require_integer


class CrossEntropy(Objective):
    """Cross entropy of a linear classifier on the embeddings, mean over the batch and over the online views.

    Args:
        size: D of the embeddings.
        classes: K, at least 2.
        label_smoothing: in [0, 1): the share of the target that is spread evenly over all classes.

    Attributes:
        classifier: Linear (B, D) -> (B, K), with bias.

    Raises:
        ValueError: for settings out of range.
    """

    uses_labels = True
    takes_size = True
    fewest_views = 1

    def __init__(self, size: int, classes: int, label_smoothing: float = 0.0) -> None:
        super().__init__()
        require_integer(1, size=size)
        require_integer(2, classes=classes)
        if not 0 <= label_smoothing < 1:
            raise ValueError(f"label_smoothing must lie in [0, 1), got {label_smoothing}")
        self.label_smoothing = label_smoothing
        self.classifier = nn.Linear(size, classes)

    def forward(self, views: ViewEmbeddings) -> dict[str, Tensor]:
        """Return `{"cross_entropy": scalar}`.

        Raises:
            ValueError: without labels, or if some lie outside 0 .. K-1.
        """
        online = [z_BD for z_BD in views.online if z_BD is not None]
        classes = self.classifier.out_features
        if views.labels is None:
            raise ValueError("cross entropy needs a label for each image, got none; set label_column")
        labels_B = views.labels
        bad = int(((labels_B < 0) | (labels_B >= classes)).sum())
        if bad:
            raise ValueError(
                f"{bad} of {len(labels_B)} images have no label or one outside 0 .. {classes - 1} "
                f"(lowest {int(labels_B.min())}, highest {int(labels_B.max())}); "
                "train on labelled images only, and set classes to their number"
            )
        labels_B = labels_B.to(online[0].device, non_blocking=True)
        with without_autocast(online[0]):
            weight, bias = full_precision(self.classifier.weight), full_precision(self.classifier.bias)
            terms = [
                F.cross_entropy(
                    F.linear(full_precision(z_BD), weight, bias), labels_B, label_smoothing=self.label_smoothing
                )
                for z_BD in online
            ]
            return {"cross_entropy": torch.stack(terms).mean()}

    def extra_repr(self) -> str:
        return f"label_smoothing={self.label_smoothing}"
