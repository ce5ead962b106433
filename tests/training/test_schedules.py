# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""The target's schedule against a table written out by hand (the learning rate's: test_pretraining_run.py)."""

import math

import pytest

from mscn_hf.training.schedules import cosine_ema

ROOT_HALF = math.sqrt(0.5)


@pytest.mark.parametrize(
    ("step", "rate"),
    [
        (0, 0.996),
        (1, 1 - 0.004 * (1 + ROOT_HALF) / 2),
        (2, 0.998),
        (3, 1 - 0.004 * (1 - ROOT_HALF) / 2),
        (4, 1.0),
        (5, 1.0),
    ],
)
def test_cosine_ema_follows_the_table(step: int, rate: float) -> None:
    assert cosine_ema(step, total_steps=4, base=0.996) == pytest.approx(rate, abs=1e-15)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: cosine_ema(0, 0, 0.99), "total_steps must be at least 1, got 0"),
        (lambda: cosine_ema(-1, 4, 0.99), "step must not be negative, got -1"),
        (lambda: cosine_ema(0, 4, 1.01), r"must lie in \[0, 1\], got 1.01"),
    ],
)
def test_schedules_refuse_what_does_not_fit(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
