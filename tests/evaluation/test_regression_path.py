# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.preprocessing import StandardScaler
from small_data import clusters

from mscn_hf.evaluation.average_precision import map_11point
from mscn_hf.evaluation.probes.lbfgs import principal_axes
from mscn_hf.evaluation.probes.logistic import fit_logistic, fit_one_vs_rest
from mscn_hf.evaluation.probes.regression_path import Path, fit_path


def several(count, seed, dim=8, classes=3):
    random = np.random.default_rng(seed)
    features = random.normal(size=(count, dim)).astype(np.float32)
    weight = np.random.default_rng(5).normal(size=(dim, classes))
    targets = (features @ weight + random.normal(size=(count, classes)) > 1).astype(np.int8)
    targets[random.random(targets.shape) < 0.1] = -1
    return features, targets


def test_one_vs_rest_equals_sklearn_on_the_known_images_of_each_class():
    features, targets = several(300, seed=0)
    x, strengths = torch.tensor(features).double(), [3.0, 0.1]
    fit = fit_one_vs_rest(x, torch.tensor(targets), [s / 300 for s in strengths], tolerance=1e-13)
    for number, strength in enumerate(strengths):
        for k in range(3):
            known = targets[:, k] >= 0
            model = LogisticRegression(C=1 / strength, solver="newton-cg", tol=1e-10, max_iter=500)
            model.fit(features[known], targets[known, k])
            np.testing.assert_allclose(fit.weight_GDK[number, :, k], model.coef_[0], atol=1e-4)
            assert float(fit.bias_GK[number, k]) == pytest.approx(model.intercept_[0], abs=1e-4)


def test_without_intercept_equals_sklearn_and_the_bias_stays_zero():
    features, labels = clusters(200, 6, 3, seed=1)
    features += 2.0
    fit = fit_logistic(
        torch.tensor(features).double(), torch.tensor(labels), 0.5 / 200, 3, intercept=False, tolerance=1e-13
    )
    model = LogisticRegression(C=2.0, fit_intercept=False, solver="newton-cg", tol=1e-10, max_iter=500)
    model.fit(features, labels)
    np.testing.assert_allclose(fit.weight_GDK[0].T, model.coef_, atol=1e-4)
    assert not fit.bias_GK.any()


def test_a_start_and_known_axes_lead_to_the_same_minimum_in_fewer_passes():
    features, labels = clusters(300, 10, 4, seed=2)
    x, y = torch.tensor(features).double(), torch.tensor(labels)
    cold = fit_logistic(x, y, 1e-3, 4, tolerance=1e-12)
    near = fit_logistic(x, y, 1.5e-3, 4, tolerance=1e-12)
    start = (near.weight_GDK[0], near.bias_GK[0])
    warm = fit_logistic(x, y, 1e-3, 4, tolerance=1e-12, start=start, axes=principal_axes(x))
    assert warm.passes < cold.passes
    torch.testing.assert_close(warm.weight_GDK, cold.weight_GDK, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("normalization", ["none", "standardize", "l2"])
def test_the_path_chooses_and_fits_what_sklearn_does(normalization):
    features, labels = clusters(260, 12, 4, seed=3)
    features[:, 0] = 5 * features[:, 0] + 9
    held, held_labels = features[200:], labels[200:]
    test, _ = clusters(500, 12, 4, seed=4)
    test[:, 0] = 5 * test[:, 0] + 9
    path = Path([1e-2, 1.0, 30.0, 1e3], normalization, tolerance=1e-9, max_passes=400)
    probe = fit_path(path, features[:200], labels[:200], held, held_labels, 4)

    def prepared(fit, other):
        if normalization == "standardize":
            scaler = StandardScaler().fit(fit)
            return scaler.transform(fit), scaler.transform(other)
        if normalization == "l2":
            return (a / np.linalg.norm(a, axis=1, keepdims=True) for a in (fit, other))
        return fit, other

    assert [trial["strength"] for trial in probe.trials] == path.strengths
    fit, other = prepared(features[:200], held)
    for trial in probe.trials:
        model = LogisticRegression(C=1 / trial["strength"], tol=1e-9, max_iter=3000).fit(fit, labels[:200])
        assert trial["held_out_top1_accuracy"] == pytest.approx(model.score(other, held_labels), abs=0.017)
    best = max(trial["held_out_top1_accuracy"] for trial in probe.trials)
    assert probe.choice["held_out_top1_accuracy"] == best
    fit, other = prepared(features, test)
    model = LogisticRegression(C=1 / probe.choice["strength"], tol=1e-9, max_iter=3000).fit(fit, labels)
    ours = probe.scores(test).softmax(dim=1).numpy()
    np.testing.assert_allclose(ours, model.predict_proba(other), atol=2e-3)


def test_the_choice_follows_the_metric_and_the_edge_is_told():
    features, labels = clusters(300, 6, 3, seed=6)
    keep = (labels != 2) | (np.arange(300) % 8 == 0)  # a rare class
    features, labels = features[keep], labels[keep]
    cut = len(labels) // 2
    path = Path([1e-3, 1.0, 1e2], metric="mean_per_class_accuracy")
    probe = fit_path(path, features[:cut], labels[:cut], features[cut:], labels[cut:], 3)
    model = LogisticRegression(C=1e3, tol=1e-8, max_iter=3000).fit(features[:cut], labels[:cut])
    expected = balanced_accuracy_score(labels[cut:], model.predict(features[cut:]))
    assert probe.trials[0]["held_out_mean_per_class_accuracy"] == pytest.approx(expected, abs=0.02)
    edge = fit_path(Path([1e4, 1e5, 1e6]), features[:cut], labels[:cut], features[cut:], labels[cut:], 3)
    assert edge.choice["strength"] == 1e4 and edge.choice["at_edge_of_grid"] == ["strength"]


def test_several_classes_an_image_take_the_same_path():
    features, targets = several(240, seed=7)
    path = Path([0.1, 1.0, 100.0], tolerance=1e-9, metric="map_11point")
    probe = fit_path(path, features[:160], targets[:160], features[160:], targets[160:], 3)
    test, test_targets = several(300, seed=8)
    scores = probe.scores(test).numpy()
    assert map_11point(scores, test_targets) > 0.6
    assert probe.choice["held_out_map_11point"] == max(trial["held_out_map_11point"] for trial in probe.trials)
    known = targets[:, 1] >= 0
    model = LogisticRegression(C=1 / probe.choice["strength"], tol=1e-9).fit(features[known], targets[known, 1])
    np.testing.assert_allclose(scores[:, 1], model.decision_function(test), atol=0.02)


@pytest.mark.parametrize("targets", [np.zeros((4, 2)), np.full((3, 2), 2), np.full((3, 2), -2)])
def test_bad_targets(targets):
    with pytest.raises(ValueError, match="targets"):
        fit_one_vs_rest(torch.ones(3, 2), torch.tensor(targets, dtype=torch.int8), 0.1)


@pytest.mark.parametrize("intercept", [True, False])
def test_fewer_images_than_features_equal_sklearn(intercept):
    features, labels = clusters(25, 60, 3, seed=9)
    features = (features * np.geomspace(1, 1e-2, 60) + 1.0).astype(np.float64)
    fit = fit_logistic(torch.tensor(features), torch.tensor(labels), 0.2 / 25, 3, intercept=intercept, tolerance=1e-13)
    model = LogisticRegression(C=5.0, fit_intercept=intercept, solver="newton-cg", tol=1e-10, max_iter=500)
    model.fit(features, labels)
    np.testing.assert_allclose(fit.weight_GDK[0].T, model.coef_, atol=1e-4)
    flat = fit_logistic(torch.ones(4, 6), torch.tensor([0, 1, 1, 1]), 0.1, 2)  # nothing varies: the bias says it all
    assert flat.bias_GK[0].softmax(0)[1] == pytest.approx(0.75, abs=1e-3)
