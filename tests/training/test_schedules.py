# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Schedules against tables written out by hand."""

import math

import pytest

from mscn_hf.training.schedules import cosine_between, cosine_ema, linear_ema, warmup_cosine

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


def test_linear_ema_follows_the_table() -> None:
    rates = [linear_ema(step, total_steps=4, base=0.996) for step in range(6)]
    assert rates == pytest.approx([0.996, 0.997, 0.998, 0.999, 1.0, 1.0], abs=1e-15)


def test_warmup_and_cosine_follow_the_table() -> None:
    rates = [warmup_cosine(step, total_steps=6, warmup_steps=2, start=0.2, end=0.1) for step in range(8)]
    high, low = 0.1 + 0.9 * (1 + ROOT_HALF) / 2, 0.1 + 0.9 * (1 - ROOT_HALF) / 2
    assert rates == pytest.approx([0.2, 0.6, 1.0, high, 0.55, low, 0.1, 0.1], abs=1e-15)


def test_cosine_between_ends_where_it_should() -> None:
    values = [cosine_between(step, 4, 0.04, 0.4) for step in range(5)]
    assert values == pytest.approx(
        [0.04, 0.4 - 0.18 * (1 + ROOT_HALF), 0.22, 0.4 - 0.18 * (1 - ROOT_HALF), 0.4], abs=1e-15
    )
