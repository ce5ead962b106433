# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""The papers' linear evaluation: a linear head on a frozen encoder, trained on augmented crops."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

from ..settings import check
from ..task import Task
from .classifier import LinearHeads, frozen_heads
from .protocol import Point, TuningProtocol


@dataclass
class AugmentedLinearSettings(TuningProtocol):
    """Linear head on the frozen encoder in eval mode; several grid points train side by side on the same features.

    Args:
        learning_rates: for a batch of 256.
        weight_decays: of the head's weights and biases, as torch's SGD and AdamW have it.
        batch_norm: features are normalised by batch norm without weights of its own before the heads (VISSL).
    """

    GRID: ClassVar[dict[str, str]] = {"learning_rates": "learning_rate", "weight_decays": "weight_decay"}

    learning_rates: list[float] = field(default_factory=lambda: [0.3])
    weight_decays: list[float] = field(default_factory=lambda: [0.0])
    batch_norm: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check("batch_norm", self.batch_norm, isinstance(self.batch_norm, bool), "true or false", boolean=True)

    def new_model(self, task: Task, num_classes: int, points: list[Point]) -> LinearHeads:
        """See `TuningProtocol.new_model`; all heads begin alike."""
        return frozen_heads(task.encoder, num_classes, len(points), self.head_init, task.seed, self.batch_norm)

    def groups(self, model: LinearHeads, points: list[Point]) -> list[dict[str, Any]]:
        """See `TuningProtocol.groups`: one for each head."""
        return [
            {"params": list(head.parameters()), "lr": point["learning_rate"], "weight_decay": point["weight_decay"]}
            for head, point in zip(model.heads, points, strict=True)
        ]

    def together(self, points: list[Point]) -> list[list[Point]]:
        """All at once: the encoder, which costs most, runs once for all of them."""
        return [points]
