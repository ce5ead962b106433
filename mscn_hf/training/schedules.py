# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Schedules as pure functions of the step."""

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
    _check_rate(base)
    return 1.0 - (1.0 - base) * (math.cos(math.pi * _done(step, total_steps)) + 1.0) / 2.0


def linear_ema(step: int, total_steps: int, base: float) -> float:
    """Return the target network's rate at a step k of K, `base + (1 - base) k / K`, as MSN has it."""
    _check_rate(base)
    return base + (1.0 - base) * _done(step, total_steps)


def cosine_between(step: int, total_steps: int, first: float, last: float) -> float:
    """Return a value that goes from `first` to `last` along half a cosine: MSN's weight decay."""
    return last + (first - last) * (math.cos(math.pi * _done(step, total_steps)) + 1.0) / 2.0


def warmup_cosine(step: int, total_steps: int, warmup_steps: int, start: float = 0.0, end: float = 0.0) -> float:
    """Return the learning rate at a step as a share of its peak.

    Linear from `start` to 1 over the warm-up, then half a cosine down to `end` at `total_steps`.
    """
    if step < warmup_steps:
        return start + (1.0 - start) * step / warmup_steps
    return cosine_between(step - warmup_steps, max(total_steps - warmup_steps, 1), 1.0, end)


def _done(step: int, total_steps: int) -> float:
    """Share of the schedule that is over."""
    if total_steps < 1:
        raise ValueError(f"total_steps must be at least 1, got {total_steps}")
    if step < 0:
        raise ValueError(f"step must not be negative, got {step}")
    return min(step / total_steps, 1.0)


def _check_rate(base: float) -> None:
    if not 0.0 <= base <= 1.0:
        raise ValueError(f"the EMA rate to start with must lie in [0, 1], got {base}")
