# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from mscn_hf.evaluation.bootstrap import bootstrap_interval


def test_covers_a_known_share_about_as_often_as_it_says():
    random = np.random.default_rng(0)
    truth, count, trials = 0.7, 400, 600
    inside = 0
    for trial in range(trials):
        interval = bootstrap_interval(random.random(count) < truth, resamples=1000, seed=trial)
        inside += interval.low <= truth <= interval.high
    # A binomial count with p = 0.95 lies within these bounds in 999 of 1000 runs; the percentile method is a bit low.
    assert 0.91 <= inside / trials <= 0.98


def test_equals_resampling_indices():
    random = np.random.default_rng(1)
    correct = random.random(157) < 0.4
    drawn = correct[random.integers(0, 157, (20_000, 157))].mean(axis=1)
    interval = bootstrap_interval(correct, resamples=20_000)
    np.testing.assert_allclose((interval.low, interval.high), np.quantile(drawn, [0.025, 0.975]), atol=0.01)


def test_groups_are_resampled_within_themselves():
    random = np.random.default_rng(2)
    groups = np.repeat([0, 1], [400, 20])
    correct = random.random(420) < np.where(groups == 0, 0.9, 0.3)
    drawn = np.zeros(10_000)
    for group in (0, 1):
        part = correct[groups == group]
        drawn += part[random.integers(0, len(part), (10_000, len(part)))].mean(axis=1) / 2
    interval = bootstrap_interval(correct, groups_N=groups)
    np.testing.assert_allclose((interval.low, interval.high), np.quantile(drawn, [0.025, 0.975]), atol=0.012)


def test_same_seed_same_interval_and_all_right_is_not_certain():
    correct = np.arange(50) % 3 == 0
    assert bootstrap_interval(correct, seed=3) == bootstrap_interval(correct, seed=3)
    perfect = bootstrap_interval(np.ones(30, dtype=bool))
    assert perfect.low == pytest.approx(30 / (30 + 1.959964**2))  # Wilson at p = 1
    assert perfect.high == pytest.approx(1.0)
    assert "Wilson" in perfect.method


@pytest.mark.parametrize(("values", "message"), [([], "at least one"), ([0.5, 1], "only 0 and 1")])
def test_bad_input(values, message):
    with pytest.raises(ValueError, match=message):
        bootstrap_interval(np.array(values))
