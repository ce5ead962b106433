# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.linear_model import LogisticRegression
from small_data import ListSource, clusters, noisy_images

from mscn_hf.evaluation.bootstrap import t_interval
from mscn_hf.evaluation.features import load_encoder
from mscn_hf.evaluation.probe import ExtractOptions, evaluate_encoder
from mscn_hf.evaluation.probes.low_shot import LowShotSettings, draw_shots
from mscn_hf.evaluation.protocols import load_protocol


def prepared(features, centering, mean):
    if centering == "coordinates":
        features = features - features.mean(axis=1, keepdims=True)
    elif centering != "none":
        features = features - mean
    return features / np.linalg.norm(features, axis=1, keepdims=True)


@pytest.mark.parametrize("centering", ["coordinates", "split", "train", "none"])
def test_equals_sklearn_without_intercept_on_centred_unit_vectors(centering):
    features, labels = clusters(20, 10, 4, seed=0)
    features += 3.0
    test = clusters(200, 10, 4, seed=1)[0] + 2.0
    settings = LowShotSettings(strength=0.05, centering=centering, tolerance=1e-12)
    scores = settings._fit(torch.tensor(features).double(), labels, 4)(torch.tensor(test).double()).numpy()
    model = LogisticRegression(C=1 / 0.05, fit_intercept=False, solver="newton-cg", tol=1e-9, max_iter=500)
    model.fit(prepared(features.astype(np.float64), centering, features.mean(axis=0)), labels)
    mean = test.mean(axis=0) if centering == "split" else features.mean(axis=0)
    np.testing.assert_allclose(scores, model.decision_function(prepared(test, centering, mean)), atol=2e-3)


def test_draws_hold_the_number_asked_of_each_class_and_follow_the_seed():
    labels = np.repeat([0, 1, 2], [50, 20, 3])
    five = draw_shots(labels, 5, seed=(0, 0))
    assert np.bincount(labels[five]).tolist() == [5, 5, 3]
    np.testing.assert_array_equal(five, draw_shots(labels, 5, seed=(0, 0)))
    assert not np.array_equal(five, draw_shots(labels, 5, seed=(0, 1)))
    assert np.bincount(labels[draw_shots(labels, 0.1, seed=0)]).tolist() == [5, 2, 1]


def test_the_interval_is_students():
    values = [0.4, 0.5, 0.47]
    low, high, method = t_interval(values)
    expected = stats.t.interval(0.95, 2, loc=np.mean(values), scale=stats.sem(values))
    np.testing.assert_allclose((low, high), expected)
    assert method == "Student's t over 3 draws, 95 %"
    assert t_interval([0.1, 0.99])[:2] == (0.0, 1.0)
    with pytest.raises(ValueError, match="at least two"):
        t_interval([0.5])


def named(count, seed, split):
    images, labels = noisy_images(count, seed)
    source = ListSource(images, labels, split=split)
    for number, row in enumerate(source._rows):
        row.id = f"0/{number}/n01440764_{number}_n01440764.JPEG"
    return source


def run(tmp_path, settings, train=None, test=None, **fields):
    train, test = train or named(60, 1, "train"), test or named(80, 2, "test")
    options = ExtractOptions(tmp_path / "cache", progress=False)
    results = evaluate_encoder(load_encoder("pixels"), train, test, "low-shot", settings, options=options, **fields)
    return results, train, test


def test_one_result_for_each_number_with_its_draws(tmp_path, caplog):
    settings = LowShotSettings(shots=[1, 3, 30], draws=4, metrics=["top1_accuracy", "mean_per_class_accuracy"])
    results, _, test = run(tmp_path, settings)
    assert test.times_read == 1
    assert [(r.protocol, r.metric) for r in results] == [
        (f"low-shot-{n}", metric) for n in (1, 3, 30) for metric in settings.metrics
    ]
    for r in results:
        draws = r.settings["value_of_each_draw"]
        assert len(draws) == 4 and r.value == pytest.approx(np.mean(draws))
        assert r.interval[0] <= r.value <= r.interval[1]
        # No class has 30 images, so all draws of 30 are the same.
        assert ("bootstrap" if r.protocol == "low-shot-30" else "Student's t over 4") in r.interval_method
    one, ten = results[0], results[2]
    assert one.settings["images_in_draw"] == [3] * 4 and one.settings["shots"] == [1]
    assert one.selection == "none (lambda = 0.0025 fixed; 4 draws from seed 0)"
    assert ten.value > 0.6 and one.settings["value_of_each_draw"] != ten.settings["value_of_each_draw"]
    assert "classes have fewer than 30 images" in caplog.text


def test_one_number_keeps_the_protocols_name_and_one_draw_takes_the_bootstrap(tmp_path):
    ((r,), _, _) = run(tmp_path, LowShotSettings(shots=[0.2], draws=1))
    assert r.protocol == "low-shot" and "bootstrap" in r.interval_method
    assert 10 <= r.settings["images_in_draw"][0] <= 14
    ((again,), _, _) = run(tmp_path, LowShotSettings(shots=[0.2], draws=1))
    ((other,), _, _) = run(tmp_path, LowShotSettings(shots=[0.2], draws=1), seed=1)
    assert r.value == again.value and r.value != other.value


def test_published_lists_are_found_by_file_name(tmp_path):
    labels = noisy_images(60, 1)[1]
    chosen = [labels.index(k) for k in range(3)] + [59 - labels[::-1].index(k) for k in range(3)]
    path = tmp_path / "two.txt"
    path.write_text("".join(f"n01440764_{number}.JPEG\n" for number in chosen))
    results, _, test = run(
        tmp_path, LowShotSettings(shots=[2], draws=2, lists={2: str(path), "mine": [str(path)] * 2})
    )
    assert [r.protocol for r in results] == ["low-shot-2", "low-shot-mine"] and test.times_read == 1
    listed, mine = results
    assert listed.settings["images_in_draw"] == [6] and "1 draws from files" in listed.selection
    assert mine.settings["lists"] == {"mine": [str(path)] * 2} and mine.settings["shots"] == []
    assert mine.settings["value_of_each_draw"] == [listed.value] * 2
    assert "bootstrap" in mine.interval_method, "equal draws tell nothing of others"
    assert mine.interval[0] < mine.value < mine.interval[1]
    path.write_text("n01440764_99.JPEG\nn01440764_1.JPEG\n")
    with pytest.raises(ValueError, match=r"1 of the 2 images of the list .* are not among the 60"):
        run(tmp_path, LowShotSettings(shots=[], lists={"x": [str(path)]}))


def test_two_images_are_enough_for_one_shot(tmp_path):
    images = noisy_images(2, 1)[0]
    train, test = ListSource(images, [0, 1]), ListSource(images, [0, 1], split="test")
    ((r,), _, _) = run(tmp_path, LowShotSettings(shots=[1], draws=2), train, test)
    assert r.value == 1.0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"shots": [0]}, "shots must be a list of whole numbers"),
        ({"shots": [1.5]}, "shots must be"),
        ({"shots": []}, "needs shots or lists"),
        ({"draws": 0}, "draws must be a positive integer"),
        ({"strength": -1}, "strength must be positive"),
        ({"centering": "rows"}, "centering must be one of"),
        ({"lists": {"a": []}}, "lists must be"),
        ({"metrics": ["top5_accuracy"]}, "unknown metric 'top5_accuracy'"),
    ],
)
def test_settings_that_cannot_be(change, message):
    with pytest.raises(ValueError, match=message):
        LowShotSettings(**change)


def test_protocols_that_ship():
    assert load_protocol("low-shot")[1].shots == [1, 2, 5]
    for name, shots, strength in (
        ("low-shot-1", [1], 0.0025),
        ("low-shot-5", [5], 0.0025),
        ("low-shot-1pct", [0.01], 0.075),
    ):
        settings = load_protocol(name)[1]
        assert (settings.shots, settings.strength, settings.draws) == (shots, strength, 3)
        assert settings.papers
