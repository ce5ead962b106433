# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Schedules as pure functions of the step; nothing to save, nothing to resume."""

import math


def warmup_cosine(step: int, warmup_steps: int, total_steps: int, final: float = 0.0) -> float:
    """Return the learning-rate factor at a step, for torch's LambdaLR.

    Linear from 0 over `warmup_steps`, then a half cosine from 1 to `final`, as SimCLR, BYOL and Barlow Twins train:

        step / warmup                                            for step < warmup
        final + (1 - final) (1 + cos(pi (step - warmup) / (total - warmup))) / 2    after it

    Args:
        step: optimizer steps done, from 0; from `total_steps` on the factor stays at `final`.
        warmup_steps: length of the warm-up, in [0, total_steps].
        total_steps: length of the run, at least 1.
        final: share of the peak learning rate left at the end.

    Raises:
        ValueError: if the lengths do not fit or the step is negative.
    """
    _check(step, total_steps)
    if not 0 <= warmup_steps <= total_steps:
        raise ValueError(f"warmup_steps must lie in [0, {total_steps}] (total_steps), got {warmup_steps}")
    if step < warmup_steps:
        return step / warmup_steps
    progress = (step - warmup_steps) / (total_steps - warmup_steps) if step < total_steps else 1.0
    return final + (1.0 - final) * (1.0 + math.cos(math.pi * progress)) / 2.0


def cosine_ema(step: int, total_steps: int, base: float) -> float:
    """Return the target network's rate at a step k of K: `1 - (1 - base) (cos(pi k / K) + 1) / 2`.

    From `base` at step 0 to 1 at the end (Grill et al. 2020, BYOL, section 3.2); 1 from `total_steps` on.

    Args:
        step: optimizer steps done, from 0.
        total_steps: K, at least 1.
        base: the rate at the start, in [0, 1].

    Raises:
        ValueError: if a value lies outside its range.
    """
    _check(step, total_steps)
    if not 0.0 <= base <= 1.0:
        raise ValueError(f"the EMA rate to start with must lie in [0, 1], got {base}")
    return 1.0 - (1.0 - base) * (math.cos(math.pi * min(step / total_steps, 1.0)) + 1.0) / 2.0


def _check(step: int, total_steps: int) -> None:
    if total_steps < 1:
        raise ValueError(f"total_steps must be at least 1, got {total_steps}")
    if step < 0:
        raise ValueError(f"step must not be negative, got {step}")
