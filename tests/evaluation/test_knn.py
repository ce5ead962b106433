# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
import sys

import numpy as np
import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier
from small_data import clusters

from mscn_hf.evaluation.probes.faiss_search import faiss_candidates
from mscn_hf.evaluation.probes.knn import knn_predict


def sklearn_scores(bank, labels, queries, k, temperature, num_classes):
    """scikit-learn's exact neighbours on float64 unit vectors, votes exp(cosine / T)."""
    bank, queries = (np.asarray(x, dtype=np.float64) for x in (bank, queries))
    bank /= np.linalg.norm(bank, axis=1, keepdims=True)
    queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    # On unit vectors cosine = 1 - distance^2 / 2.
    model = KNeighborsClassifier(k, weights=lambda d: np.exp((1 - d**2 / 2) / temperature), algorithm="brute")
    scores = np.zeros((len(queries), num_classes))
    model.fit(bank, labels)
    scores[:, model.classes_] = model.predict_proba(queries)
    return scores


@pytest.mark.parametrize("k", [1, 7, 20])
def test_equals_sklearn(k):
    bank, labels = clusters(700, 24, 6, seed=0)
    queries, _ = clusters(150, 24, 6, seed=1)
    got = knn_predict(bank, labels, queries, k=k, temperature=0.07, num_classes=6, chunk=64, bank_chunk=200)
    np.testing.assert_allclose(got.numpy(), sklearn_scores(bank, labels, queries, k, 0.07, 6), atol=1e-5)


def test_equals_sklearn_on_real_pixels(imagenette_pixels):
    train, test = imagenette_pixels
    queries = np.array(test.features[:500])
    got = knn_predict(train.features, train.labels, queries, num_classes=10).argmax(dim=1).numpy()
    expected = sklearn_scores(train.features, train.labels, queries, 20, 0.07, 10)
    clear = np.diff(np.sort(expected, axis=1)[:, -2:], axis=1)[:, 0] > 1e-9  # but for ties
    assert clear.mean() > 0.99
    np.testing.assert_array_equal(got[clear], expected.argmax(axis=1)[clear])


def test_chunk_sizes_change_nothing_even_among_duplicates():
    bank, labels = clusters(400, 16, 5, seed=3)
    bank[100:160] = bank[40]  # more copies than neighbours: which of them vote must not hang on chunks
    queries = np.concatenate([clusters(60, 16, 5, seed=4)[0], bank[40:41]])
    whole = knn_predict(bank, labels, queries, k=10, num_classes=5, chunk=1000, bank_chunk=1000)
    for chunk, bank_chunk in ((1, 1000), (7, 33), (64, 12), (1000, 1)):
        assert torch.equal(whole, knn_predict(bank, labels, queries, 10, 0.07, 5, chunk=chunk, bank_chunk=bank_chunk))
    # The copies tie: the first ten in bank order (row 40 and rows 100 to 108) vote, each with weight 1/10.
    expected = np.bincount(labels[[40, *range(100, 109)]], minlength=5) / 10
    np.testing.assert_allclose(whole[-1].numpy(), expected, atol=1e-12)


def test_small_temperature_and_zero_vectors_stay_finite():
    bank, labels = clusters(50, 8, 3, seed=5)
    queries = np.concatenate([bank[:5], np.zeros((1, 8), dtype=np.float32)])
    scores = knn_predict(bank, labels, queries, k=5, temperature=1e-4, num_classes=3)
    assert torch.isfinite(scores).all()
    torch.testing.assert_close(scores.sum(dim=1), torch.ones(6, dtype=torch.float64))
    np.testing.assert_array_equal(scores[:5].argmax(dim=1).numpy(), labels[:5])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"k": 11}, r"number of bank rows \(10\), got 11"),
        ({"temperature": 0}, "temperature must be positive, got 0"),
        ({"num_classes": 2}, r"\[0, 2\), got 0 to 4"),
        ({"queries_MD": torch.zeros(2, 5)}, "do not fit"),
        ({"queries_MD": torch.full((2, 4), torch.nan)}, "NaN, infinite or huge"),
    ],
)
def test_bad_input(change, message):
    arguments = {"bank_ND": torch.eye(10, 4), "bank_labels_N": torch.arange(10) % 5, "queries_MD": torch.ones(2, 4)}
    with pytest.raises(ValueError, match=message):
        knn_predict(**{"k": 3, **arguments, **change})


def knn_results(faiss, nprobe=64, k=5):
    bank, labels = clusters(3000, 16, 4, seed=6)
    queries, _ = clusters(200, 16, 4, seed=7)
    candidates = None if faiss is None else faiss_candidates(bank, faiss, nprobe)
    return knn_predict(bank, labels, queries, k=k, num_classes=4, candidates=candidates)


def test_candidates_of_faiss():
    pytest.importorskip("faiss")
    exact = knn_results(None)
    torch.testing.assert_close(knn_results("Flat"), exact, rtol=0, atol=0)
    torch.testing.assert_close(knn_results("IVF16,Flat", nprobe=16), exact, rtol=0, atol=0)
    few = knn_results("IVF16,Flat", nprobe=4)
    assert not torch.equal(few, exact)
    assert (few.argmax(dim=1) == exact.argmax(dim=1)).double().mean() > 0.8  # weakly clustered
    with pytest.raises(ValueError, match="fewer than 400 neighbours: raise nprobe"):
        knn_results("IVF16,Flat", nprobe=1, k=400)
    with pytest.raises(ValueError, match=r"faiss cannot make the index 'Flatt' of \(3000, 16\) features"):
        knn_results("Flatt")


def test_faiss_is_named_where_it_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(ValueError, match="faiss is not installed: pip install faiss-cpu"):
        knn_results("Flat")
