# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""The learning rate over a run, as a share of its peak."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

SCHEDULES = ("cosine", "step", "constant")


@dataclass(frozen=True)
class Schedule:
    """Linear warm-up from 0, then one of `SCHEDULES`; all lengths in passes over the training images.

    Args:
        name: `cosine`: half a cosine from 1 at the end of the warm-up to 0 at `epochs`; `step`: times `decay_factor`
            from each milestone on; `constant`: 1.
        epochs: length of the run.
        warmup_epochs: length of the warm-up.
        milestones: passes after which `step` decays, counted from the start of the run.
        decay_factor: of `step`.
        by_epoch: the rate stays what it is at the start of a pass (torch's CosineAnnealingLR and MultiStepLR, stepped
            once a pass) instead of moving with every step. The warm-up always moves with every step.
    """

    name: str
    epochs: int
    warmup_epochs: float = 0.0
    milestones: Sequence[int] = ()
    decay_factor: float = 0.1
    by_epoch: bool = False

    def share(self, step: int, steps_per_epoch: int) -> float:
        """The share of the peak rate that optimizer step `step`, from 0, is taken with."""
        warmup_steps = self.warmup_epochs * steps_per_epoch
        if step < warmup_steps:
            return step / warmup_steps
        epoch = step // steps_per_epoch if self.by_epoch else step / steps_per_epoch
        if self.name == "step":
            return self.decay_factor ** sum(step >= milestone * steps_per_epoch for milestone in self.milestones)
        if self.name == "constant":
            return 1.0
        length = max(self.epochs - self.warmup_epochs, 1e-9)
        done = min(max((epoch - self.warmup_epochs) / length, 0.0), 1.0)
        return 0.5 * (1.0 + math.cos(math.pi * done))
