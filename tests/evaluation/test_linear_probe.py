# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from small_data import clusters

from mscn_hf.evaluation.probes.linear import (
    LinearSettings,
    fit_linear_probe,
    fit_sgd,
    split_stratified,
    standardisation,
)

SMALL = {"weight_decays": [0.1, 1e-2, 1e-3], "epochs": 20}


def accuracy(probe, features, labels):
    return float((probe.scores(features).argmax(dim=1).numpy() == labels).mean())


def sklearn_accuracy(train, labels, test, test_labels, weight_decay):
    mean, std = train.mean(axis=0), train.std(axis=0)
    std[std == 0] = 1
    model = LogisticRegression(C=1 / (weight_decay * len(train)), max_iter=3000, tol=1e-5)
    model.fit((train - mean) / std, labels)
    return model.score((test - mean) / std, test_labels)


@pytest.mark.parametrize("solver", ["sgd", "lbfgs"])
def test_within_half_a_point_of_sklearn_at_the_same_l2(solver):
    features, labels = clusters(1500, 20, 5, seed=0)
    scales = np.geomspace(1, 1e-3, 20).astype(np.float32)
    test, test_labels = clusters(4000, 20, 5, seed=1)
    probe = fit_linear_probe(features * scales, labels, 5, LinearSettings(solver=solver, **SMALL))
    expected = sklearn_accuracy(features * scales, labels, test * scales, test_labels, probe.choice["weight_decay"])
    assert expected > 0.5
    assert abs(accuracy(probe, test * scales, test_labels) - expected) <= 0.005


@pytest.mark.parametrize("solver", ["sgd", "lbfgs"])
def test_within_half_a_point_of_sklearn_on_real_pixels(imagenette_pixels, solver):
    train, test = imagenette_pixels
    settings = LinearSettings(solver=solver, weight_decays=[0.1, 0.01, 0.001], learning_rates=[0.3], epochs=40)
    probe = fit_linear_probe(train.features, train.labels, 10, settings)
    decay = probe.choice["weight_decay"]
    expected = sklearn_accuracy(np.array(train.features), train.labels, np.array(test.features), test.labels, decay)
    assert abs(accuracy(probe, test.features, test.labels) - expected) <= 0.005


def test_every_learning_rate_of_the_grid_comes_close_to_the_minimum():
    features, labels = clusters(600, 12, 4, seed=2)
    x, y = torch.tensor(features * np.geomspace(1, 1e-2, 12).astype(np.float32)), torch.tensor(labels)
    rates, decays = [1.0, 0.3, 0.1], [1e-2, 1e-2, 1e-2]
    weight, bias = fit_sgd(x, y, rates, decays, 4)
    from mscn_hf.evaluation.probes.logistic import fit_logistic

    best = float(fit_logistic(x.double(), y, 1e-2, 4).loss_G)
    for w, b in zip(weight, bias):
        loss = torch.nn.functional.cross_entropy(x @ w + b, y) + 5e-3 * w.square().sum()
        assert best - 1e-5 <= float(loss) <= best * 1.01


def test_one_diverged_grid_point_leaves_the_others_alone():
    features, labels = clusters(300, 8, 3, seed=3)
    x, y = torch.tensor(features), torch.tensor(labels)
    wild, tame = fit_sgd(x, y, [1e30, 0.3], [1e-3, 1e-3], 3)[0]
    alone = fit_sgd(x, y, [0.3], [1e-3], 3)[0][0]
    assert not torch.isfinite(wild).all()
    torch.testing.assert_close(tame, alone, rtol=1e-4, atol=1e-5)
    probe = fit_linear_probe(x, y, 3, LinearSettings(learning_rates=[1e30, 0.3], weight_decays=[1e-3]))
    assert probe.choice["learning_rate"] == 0.3
    with pytest.raises(ValueError, match=r"every grid point.*diverged"):
        fit_linear_probe(x, y, 3, LinearSettings(learning_rates=[1e30], weight_decays=[1e-3]))


def test_the_held_out_part_is_stratified_seeded_and_leaves_single_images_in_train():
    labels = np.repeat([0, 1, 2, 3], [100, 50, 2, 1])
    fit, held = split_stratified(labels, 0.1, seed=0)
    assert np.bincount(labels[held], minlength=4).tolist() == [10, 5, 1, 0]
    assert sorted([*fit, *held]) == list(range(153))
    np.testing.assert_array_equal(held, split_stratified(labels, 0.1, seed=0)[1])
    assert not np.array_equal(held, split_stratified(labels, 0.1, seed=1)[1])
    with pytest.raises(ValueError, match="every class has a single image"):
        split_stratified(np.arange(4), 0.1, seed=0)


def test_the_choice_is_the_best_on_the_held_out_part_and_dead_features_do_no_harm():
    features, labels = clusters(400, 10, 4, seed=4)
    features[:, 3] = 7.1  # a dead channel
    probe = fit_linear_probe(features, labels, 4, LinearSettings(**SMALL))
    assert len(probe.trials) == 9
    assert probe.choice["held_out_accuracy"] == max(trial["held_out_accuracy"] for trial in probe.trials)
    assert probe.held_out == sum(round(0.1 * count) for count in np.bincount(labels))
    moved = features.copy()
    moved[:, 3] += 1e4
    torch.testing.assert_close(probe.scores(features), probe.scores(moved))


def test_the_edge_of_the_grid_is_told():
    settings = LinearSettings(weight_decays=[1.0, 0.1, 0.01], learning_rates=[1.0, 0.3])
    assert settings.edges({"learning_rate": 1.0, "weight_decay": 0.01}) == ["weight_decay"]
    assert settings.edges({"learning_rate": 0.3, "weight_decay": 0.1}) == []


def test_choices_on_a_validation_split_which_joins_the_last_fit():
    features, labels = clusters(600, 12, 4, seed=6)
    test, test_labels = clusters(800, 12, 4, seed=7)
    settings = LinearSettings(**SMALL)
    # The labels of the validation split are wrong, those of train right: only a choice on it finds an accuracy of 0.
    probe = fit_linear_probe(features[:400], labels[:400], 4, settings, held=(features[400:], (labels[400:] + 1) % 4))
    assert probe.held_out == 200
    assert all(trial["held_out_accuracy"] < 0.25 for trial in probe.trials)
    right = fit_linear_probe(features[:400], labels[:400], 4, settings, held=(features[400:], labels[400:]))
    joined = fit_linear_probe(
        features,
        labels,
        4,
        LinearSettings(
            **{
                **SMALL,
                "weight_decays": [right.choice["weight_decay"]],
                "learning_rates": [right.choice["learning_rate"]],
            }
        ),
    )
    torch.testing.assert_close(right.weight_DK, joined.weight_DK)
    assert accuracy(right, test, test_labels) > accuracy(probe, test, test_labels)


def test_a_data_sets_own_share_is_taken_where_the_protocol_leaves_it_open():
    assert LinearSettings().for_dataset(None, 0.3).held_out == 0.3
    assert LinearSettings(held_out=0.2).for_dataset(None, 0.3).held_out == 0.2
    assert LinearSettings().for_dataset(None).held_out is None


def test_moments_in_pieces(monkeypatch):
    features = torch.tensor(clusters(100, 6, 2, seed=8)[0]) + 3
    monkeypatch.setattr("mscn_hf.evaluation.probes.linear.ROWS_AT_ONCE", 7)
    mean, std = standardisation(features, True)
    torch.testing.assert_close(mean, features.double().mean(dim=0).float(), rtol=1e-6, atol=0)
    torch.testing.assert_close(std, features.double().std(dim=0, correction=0).float(), rtol=1e-6, atol=0)
