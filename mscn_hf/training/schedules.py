# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""The target's schedule as a pure function of the step; the learning rate's is transformers' own."""

import math


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
