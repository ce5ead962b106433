# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Schedules against tables written out by hand."""

import math

import pytest
import torch

from mscn_hf.training.schedules import cosine_ema, warmup_cosine

ROOT_HALF = math.sqrt(0.5)


@pytest.mark.parametrize(
    ("step", "factor"),
    [
        (0, 0.0),
        (1, 0.25),
        (2, 0.5),
        (3, 0.75),
        (4, 1.0),
        (6, (1 + ROOT_HALF) / 2),
        (8, 0.5),
        (10, (1 - ROOT_HALF) / 2),
        (12, 0.0),
        (13, 0.0),
        (1000, 0.0),
    ],
)
def test_warmup_cosine_follows_the_table(step: int, factor: float) -> None:
    assert warmup_cosine(step, warmup_steps=4, total_steps=12) == pytest.approx(factor, abs=1e-15)


@pytest.mark.parametrize(("step", "factor"), [(0, 1.0), (4, 0.55), (8, 0.1), (9, 0.1)])
def test_warmup_cosine_without_warmup_ends_at_the_final_share(step: int, factor: float) -> None:
    assert warmup_cosine(step, warmup_steps=0, total_steps=8, final=0.1) == pytest.approx(factor, abs=1e-15)


def test_warmup_may_last_the_whole_run() -> None:
    assert [warmup_cosine(step, 4, 4) for step in range(5)] == [0.0, 0.25, 0.5, 0.75, 0.0]


def test_warmup_cosine_drives_lambda_lr() -> None:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=4.8)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: warmup_cosine(step, 2, 6))
    rates = []
    for _ in range(7):
        rates.append(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()
    expected = [0.0, 2.4, 4.8, 2.4 * (1 + ROOT_HALF), 2.4, 2.4 * (1 - ROOT_HALF), 0.0]
    assert rates == pytest.approx(expected, abs=1e-12)


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
        (lambda: warmup_cosine(0, 5, 4), r"warmup_steps must lie in \[0, 4\] \(total_steps\), got 5"),
        (lambda: warmup_cosine(0, -1, 4), "got -1"),
        (lambda: warmup_cosine(-1, 0, 4), "step must not be negative, got -1"),
        (lambda: warmup_cosine(0, 0, 0), "total_steps must be at least 1, got 0"),
        (lambda: cosine_ema(0, 0, 0.99), "total_steps must be at least 1, got 0"),
        (lambda: cosine_ema(0, 4, 1.01), r"must lie in \[0, 1\], got 1.01"),
    ],
)
def test_schedules_refuse_what_does_not_fit(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
