# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Scores of saliency maps against loops written out, known cases, and PySODMetrics where it is installed.

pip install --no-deps pysodmetrics==1.4.2
"""

import numpy as np
import pytest

from mscn_hf.saliency.metrics import SaliencyScores, f_curve, f_measure, structure_measure
from mscn_hf.saliency.score_table import score_table


def maps(count=6, side=(20, 31)):
    random = np.random.default_rng(0)
    for number in range(count):
        truth = np.zeros(side, dtype=bool)
        truth[3 + number : 12 + number, 5:20] = True
        yield np.clip(0.6 * truth + random.normal(0.2, 0.2, side), 0, 1), truth


def scored(map_HW, truth_HW):
    scores = SaliencyScores()
    scores.add(map_HW, truth_HW)
    return scores.result()


def test_f_curve_against_loops():
    for map_HW, truth_HW in maps():
        byte_HW = (map_HW * 255).astype(int)
        for place, level in enumerate(range(255, -1, -1)):
            found = hits = 0
            for value, true in zip(byte_HW.ravel(), truth_HW.ravel(), strict=True):
                found += value >= level
                hits += value >= level and true
            expected = 0.0
            if hits:
                precision, recall = hits / found, hits / truth_HW.sum()
                expected = 1.3 * precision * recall / (0.3 * precision + recall)
            assert f_curve(map_HW, truth_HW)[place] == pytest.approx(expected, abs=1e-12)


def test_the_truth_itself_scores_one_and_its_opposite_nothing():
    _, truth = next(maps())
    assert scored(truth.astype(float), truth) == pytest.approx(
        {"max_f": 1, "adaptive_f": 1, "mae": 0, "s_measure": 1}, abs=1e-9
    )
    opposite = scored(1.0 - truth, truth)
    assert opposite["mae"] == 1 and opposite["adaptive_f"] == 0 and opposite["s_measure"] < 0.1


def test_intervals_against_images_drawn_one_by_one():
    good, poor = SaliencyScores(), SaliencyScores()
    for map_HW, truth_HW in maps(12):
        good.add(map_HW, truth_HW)
        poor.add(np.roll(map_HW, 4, axis=1), truth_HW)
    table = score_table({"good": good, "poor": poor}, "good")
    assert {name: table["poor"][name] for name in poor.result()} == pytest.approx(poor.result(), abs=1e-4)
    random, best, error = np.random.default_rng(1), [], []
    for _ in range(4000):
        drawn = random.integers(0, 12, 12)
        curves = [np.stack(part.f_curves)[drawn].mean(axis=0).max() for part in (good, poor)]
        best.append((curves[0], curves[1] - curves[0]))
        error.append(np.array(good.errors)[drawn].mean())
    expected = np.quantile(best, [0.025, 0.975], axis=0)
    assert table["good"]["intervals"]["max_f"] == pytest.approx(expected[:, 0], abs=0.006)
    assert table["poor"]["max_f_difference"] == pytest.approx(expected[:, 1], abs=0.006)
    assert table["good"]["intervals"]["mae"] == pytest.approx(np.quantile(error, [0.025, 0.975]), abs=0.003)
    assert table["poor"]["max_f_difference"][1] < 0 and table["good"]["max_f_difference"] == [0, 0]
    poor.add(*next(maps()))
    with pytest.raises(ValueError, match="different images"):
        score_table({"good": good, "poor": poor}, "good")


def test_mae_and_adaptive_threshold_by_hand():
    truth = np.array([[True, False], [False, False]])
    result = scored(np.array([[1.0, 0.5], [0.0, 0.1]]), truth)
    assert result["mae"] == pytest.approx(0.15)
    assert result["adaptive_f"] == pytest.approx(1.0)  # the threshold is 2 * 0.4 = 0.8


def test_bytes_and_floats_score_alike():
    for map_HW, truth_HW in maps():
        byte_HW = np.round(map_HW * 255).astype(np.uint8)
        assert scored(byte_HW, truth_HW) == pytest.approx(scored(byte_HW / 255, truth_HW), abs=1e-12)


@pytest.mark.parametrize("truth", [np.zeros((4, 5), bool), np.ones((4, 5), bool)])
def test_truths_without_a_border(truth):
    level = np.full((4, 5), 0.25)
    assert structure_measure(level, truth) == pytest.approx(0.25 if truth.all() else 0.75)
    assert all(np.isfinite(value) for value in scored(level, truth).values())


def test_small_things():
    assert f_measure(np.zeros((2, 2), bool), np.ones((2, 2), bool)) == 0
    one = np.ones((1, 1), bool)
    assert scored(np.ones((1, 1)), one)["s_measure"] == 1
    corner = np.zeros((3, 3), bool)
    corner[2, 2] = True
    assert 0 <= scored(np.eye(3), corner)["s_measure"] <= 1


def test_bad_input():
    scores = SaliencyScores()
    with pytest.raises(ValueError, match="no image was scored"):
        scores.result()
    with pytest.raises(ValueError, match="do not fit"):
        scores.add(np.zeros((2, 3)), np.zeros((3, 2), bool))
    with pytest.raises(ValueError, match="do not fit"):
        scores.add(np.zeros((2, 3)), np.zeros((2, 3)))
    with pytest.raises(ValueError, match="NaN or infinite"):
        scores.add(np.full((2, 2), np.nan), np.ones((2, 2), bool))


def test_against_pysodmetrics():
    peer = pytest.importorskip("py_sod_metrics", reason="pysodmetrics is not installed")
    f, mae, s = peer.Fmeasure(), peer.MAE(), peer.Smeasure()
    ours = SaliencyScores()
    for map_HW, truth_HW in maps():
        byte_HW = np.round(map_HW * 255).astype(np.uint8)
        for metric in (f, mae, s):
            metric.step(byte_HW, truth_HW.astype(np.uint8) * 255)
        ours.add(byte_HW, truth_HW)
    theirs = f.get_results()["fm"]
    expected = {
        "max_f": theirs["curve"].max(),
        "adaptive_f": theirs["adp"],
        "mae": mae.get_results()["mae"],
        "s_measure": s.get_results()["sm"],
    }
    assert ours.result() == pytest.approx(expected, abs=1e-6)
