# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
import evaluate
import numpy as np
import pytest
import torch
from sklearn.metrics import balanced_accuracy_score, top_k_accuracy_score

from mscn_hf.evaluation import metrics
from mscn_hf.evaluation.scores import topk_correct


@pytest.fixture(autouse=True)
def _own_module_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(evaluate.config, "HF_EVALUATE_OFFLINE", True)


def test_topk_accuracy_equals_sklearn_and_the_probes():
    random = np.random.default_rng(0)
    scores, labels = random.random((200, 9)), random.integers(0, 9, 200)
    metric = evaluate.load(metrics.path("topk_accuracy"))
    got = metric.compute(predictions=scores.tolist(), references=labels.tolist(), k=[1, 3, 5])
    for k in (1, 3, 5):
        expected = top_k_accuracy_score(labels, scores, k=k, labels=range(9))
        assert got[f"top{k}_accuracy"] == pytest.approx(expected, abs=1e-12)
        probe = topk_correct(torch.tensor(scores), torch.tensor(labels), k).double().mean()
        assert float(probe) == pytest.approx(expected, abs=1e-12)
    tied = metric.compute(predictions=[[0.5, 0.5, 0.0]] * 2, references=[0, 1], k=1)
    assert tied["top1_accuracy"] == 0.5


def test_mean_per_class_accuracy_equals_sklearn_balanced_accuracy():
    random = np.random.default_rng(1)
    labels = random.choice([0, 2, 5], p=[0.8, 0.15, 0.05], size=300)
    predictions = np.where(random.random(300) < 0.6, labels, 0)
    metric = evaluate.load(metrics.path("mean_per_class_accuracy"))
    got = metric.compute(predictions=predictions.tolist(), references=labels.tolist())
    assert got["mean_per_class_accuracy"] == pytest.approx(balanced_accuracy_score(labels, predictions), abs=1e-12)


def test_labels_outside_the_scores_are_an_error():
    metric = evaluate.load(metrics.path("topk_accuracy"))
    with pytest.raises(ValueError, match=r"\[0, 2\), got 0 to 2"):
        metric.compute(predictions=[[0.1, 0.9], [0.1, 0.9]], references=[0, 2])
