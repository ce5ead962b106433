# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
import evaluate
import numpy as np
import pytest
from sklearn.metrics import precision_recall_curve

from mscn_hf.evaluation import metrics
from mscn_hf.evaluation.average_precision import average_precision_11point, map_11point, map_interval


def by_the_definition(scores, targets):
    """One class, image by image, in whole numbers."""
    ranked = sorted((n for n in range(len(scores)) if targets[n] >= 0), key=lambda n: (-scores[n], n))
    total = sum(targets[n] > 0 for n in ranked)
    points, hits = [], 0
    for seen, n in enumerate(ranked, start=1):
        hits += targets[n] > 0
        points.append((hits, hits / seen))
    area = 0.0
    for tenth in range(11):
        area += max((precision for hits, precision in points if 10 * hits >= tenth * total), default=0.0)
    return area / 11


def random_class(seed, count=80, ties=False):
    random = np.random.default_rng(seed)
    targets = random.choice([-1, 0, 1], p=[0.1, 0.6, 0.3], size=count)
    scores = random.normal(size=count) + 0.8 * (targets > 0)
    return (np.round(scores) if ties else scores), targets


@pytest.mark.parametrize("ties", [False, True])
def test_equals_the_definition(ties):
    for seed in range(8):
        scores, targets = random_class(seed, ties=ties)
        found = average_precision_11point(scores, targets)
        assert found[0] == pytest.approx(by_the_definition(scores, targets), abs=1e-12)


def test_equals_sklearns_curve_read_at_eleven_recalls():
    for seed in range(5):
        scores, targets = random_class(seed, count=101)
        known = targets >= 0
        precision, recall, _ = precision_recall_curve(targets[known] > 0, scores[known])
        precision, recall = precision[:-1], recall[:-1]  # sklearn adds a precision of 1 at recall 0
        expected = np.mean([precision[recall >= tenth / 10 - 1e-9].max() for tenth in range(11)])
        assert average_precision_11point(scores, targets)[0] == pytest.approx(expected, abs=1e-12)


def test_a_recall_of_exactly_three_tenths_counts():
    targets = np.array([1, 1, 1] + [0] * 10 + [1] * 7)
    scores = -np.arange(20.0)
    assert average_precision_11point(scores, targets)[0] == pytest.approx((4 * 1.0 + 7 * 10 / 20) / 11)


def test_counts_weigh_images_as_copies_do():
    scores, targets = random_class(3)
    counts = np.random.default_rng(0).integers(0, 4, (6, len(scores)))
    found = average_precision_11point(scores, targets, counts)
    for row, value in zip(counts, found, strict=True):
        expected = average_precision_11point(np.repeat(scores, row), np.repeat(targets, row))[0]
        assert value == pytest.approx(expected, abs=1e-12)


def test_perfect_and_worst_and_undefined():
    targets = np.array([1, 1, 0, 0])
    assert average_precision_11point(np.array([4.0, 3, 2, 1]), targets)[0] == 1.0
    assert average_precision_11point(np.array([1.0, 2, 3, 4]), targets)[0] == pytest.approx(0.5)
    assert np.isnan(average_precision_11point(np.ones(3), np.array([0, -1, 0]))[0])
    both = map_11point(np.array([[4.0, 1], [3, 1], [2, 1], [1, 1]]), np.stack([targets, 0 * targets], axis=1))
    assert both == 1.0  # the class that no image holds is left out
    assert map_11point(np.array([[4.0], [3], [2], [1]]), targets[:, None], absent=1) == 0.5
    with pytest.raises(ValueError, match="no class is present"):
        map_11point(np.ones((3, 2)), np.zeros((3, 2)))


def test_the_metric_module_agrees(monkeypatch):
    monkeypatch.setattr(evaluate.config, "HF_EVALUATE_OFFLINE", True)
    columns = [random_class(seed, count=60) for seed in range(4)]
    scores, targets = (np.stack(part, axis=1) for part in zip(*columns, strict=True))
    metric = evaluate.load(metrics.path("map_11point"))
    got = metric.compute(predictions=scores.tolist(), references=targets.tolist())
    assert got["map_11point"] == pytest.approx(map_11point(scores, targets), abs=1e-12)
    expected = [by_the_definition(s, t) for s, t in zip(scores.T, targets.T, strict=True)]
    np.testing.assert_allclose(got["average_precision"], expected, atol=1e-12)
    with pytest.raises(ValueError, match="N lists of K"):
        metric.compute(predictions=[[0.1, 0.2]], references=[[1]])


def test_the_interval_is_that_of_a_plain_bootstrap():
    columns = [random_class(seed, count=120) for seed in range(3)]
    scores, targets = (np.stack(part, axis=1) for part in zip(*columns, strict=True))
    low, high, method = map_interval(scores, targets, resamples=400, seed=1)
    assert low < map_11point(scores, targets) < high
    assert "400 resamples, seed 1" in method
    random = np.random.default_rng(1)
    plain = []
    for _ in range(400):
        rows = random.integers(0, 120, 120)
        plain.append(np.mean([by_the_definition(s[rows], t[rows]) for s, t in zip(scores.T, targets.T, strict=True)]))
    np.testing.assert_allclose([low, high], np.quantile(plain, [0.025, 0.975]), atol=1e-9)
