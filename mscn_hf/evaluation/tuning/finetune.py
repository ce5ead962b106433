# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Fine-tuning: the encoder and a linear head are trained, at rates of their own; on all labels or on few."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

from ..task import Task
from .classifier import LinearHeads, trainable_copy
from .protocol import Point, TuningProtocol


@dataclass
class FinetuneSettings(TuningProtocol):
    """Trains a copy of the encoder with its head; the given encoder is left as it is.

    Batch norm learns its statistics as it goes; under several processes each rank normalises with its own batch, as
    in Barlow Twins' code, and all ranks judge and score with the statistics of rank 0.

    Args:
        encoder_learning_rates, head_learning_rates: for a batch of 256.
        weight_decays: of all trained parameters, as torch's SGD and AdamW have it.
    """

    GRID: ClassVar[dict[str, str]] = {
        "encoder_learning_rates": "encoder_learning_rate",
        "head_learning_rates": "head_learning_rate",
        "weight_decays": "weight_decay",
    }

    encoder_learning_rates: list[float] = field(default_factory=lambda: [0.005])
    head_learning_rates: list[float] = field(default_factory=lambda: [0.5])
    weight_decays: list[float] = field(default_factory=lambda: [0.0])

    def new_model(self, task: Task, num_classes: int, points: list[Point]) -> LinearHeads:
        """See `TuningProtocol.new_model`."""
        return trainable_copy(task.encoder, num_classes, self.head_init, task.seed)

    def groups(self, model: LinearHeads, points: list[Point]) -> list[dict[str, Any]]:
        """See `TuningProtocol.groups`: one for the encoder, one for the head."""
        (point,) = points
        decay = point["weight_decay"]
        return [
            {"params": list(model.encoder.parameters()), "lr": point["encoder_learning_rate"], "weight_decay": decay},
            {"params": list(model.heads.parameters()), "lr": point["head_learning_rate"], "weight_decay": decay},
        ]

    def together(self, points: list[Point]) -> list[list[Point]]:
        """One run for each: every point trains an encoder of its own."""
        return [[point] for point in points]
