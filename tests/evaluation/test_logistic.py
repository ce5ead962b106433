# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from small_data import clusters

from mscn_hf.evaluation.probes.lbfgs import minimise
from mscn_hf.evaluation.probes.logistic import fit_logistic


def test_reaches_sklearns_minimum_on_badly_conditioned_features():
    features, labels = clusters(500, 12, 4, seed=0)
    features = features.astype(np.float64) * np.geomspace(1, 1e-2, 12) + 5.0  # not centred, condition number 1e4
    strengths = [1e-1, 1e-3, 1e-5]
    fit = fit_logistic(torch.tensor(features), torch.tensor(labels), strengths, 4, tolerance=1e-12)
    assert all(fit.converged)
    for number, l2 in enumerate(strengths):
        model = LogisticRegression(C=1 / (l2 * 500), max_iter=500, tol=1e-9, solver="newton-cg").fit(features, labels)
        logits = features @ model.coef_.T + model.intercept_
        log_share = logits - np.log(np.exp(logits - logits.max(1, keepdims=True)).sum(1, keepdims=True))
        log_share -= logits.max(1, keepdims=True)
        loss = -log_share[np.arange(500), labels].mean() + l2 / 2 * (model.coef_**2).sum()
        assert float(fit.loss_G[number]) <= loss * (1 + 1e-6)
        ours = torch.tensor(features) @ fit.weight_GDK[number] + fit.bias_GK[number]
        shares = ours.softmax(dim=1).numpy()
        np.testing.assert_allclose(shares, model.predict_proba(features), atol=2e-3)


def test_gradient_vanishes_at_the_solution():
    features, labels = clusters(300, 10, 5, seed=1)
    x, y = torch.tensor(features).double(), torch.tensor(labels)
    fit = fit_logistic(x, y, 1e-2, 5, tolerance=1e-14)
    weight = fit.weight_GDK[0].requires_grad_()
    bias = fit.bias_GK[0].requires_grad_()
    loss = torch.nn.functional.cross_entropy(x @ weight + bias, y) + 5e-3 * weight.square().sum()
    loss.backward()
    assert float(weight.grad.abs().max()) < 1e-5
    assert float(bias.grad.abs().max()) < 1e-5
    assert loss.item() == pytest.approx(float(fit.loss_G[0]), rel=1e-9)


def test_a_loss_that_is_not_finite_is_not_called_converged(caplog):
    features, labels = clusters(50, 4, 2, seed=3)
    x, y = torch.tensor(features), torch.tensor(labels)

    def nan(logits_nGK, rows):
        return logits_nGK.double().sum(dim=(0, 2)) * float("nan"), torch.zeros_like(logits_nGK)

    fit = minimise(x, nan, 0.5, 0.1, 2, True, None, 1e-7, 50)
    assert fit.converged == [False]
    assert "did not converge" in caplog.text
    assert fit_logistic(x, y, 0.1, 2).converged == [True]


def test_strengths_solved_together_equal_strengths_solved_alone():
    features, labels = clusters(200, 6, 3, seed=2)
    x, y = torch.tensor(features).double(), torch.tensor(labels)
    both = fit_logistic(x, y, [1e-1, 1e-3], 3)
    for number, l2 in enumerate([1e-1, 1e-3]):
        alone = fit_logistic(x, y, l2, 3)
        torch.testing.assert_close(both.weight_GDK[number], alone.weight_GDK[0], rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"l2": 0.0}, "l2 must be positive"),
        ({"labels_N": torch.tensor([0, 1, 2])}, r"\[0, 2\), got 0 to 2"),
        ({"features_ND": torch.full((3, 2), torch.inf)}, "NaN or infinite"),
    ],
)
def test_bad_input(change, message):
    arguments = {"features_ND": torch.ones(3, 2), "labels_N": torch.tensor([0, 1, 1]), "l2": 0.1, "num_classes": 2}
    with pytest.raises(ValueError, match=message):
        fit_logistic(**{**arguments, **change})
