# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Alignment, uniformity, class concentration and neighbours against loops in float64."""

import math

import numpy as np
import pytest
import torch
from small_data import clusters

from mscn_hf.evaluation.analysis.concentration import class_concentration
from mscn_hf.evaluation.analysis.hypersphere import alignment, squared_distances, uniformity
from mscn_hf.evaluation.analysis.neighbours import (
    confused_pairs,
    contiguous_rows,
    nearest_neighbours,
    neighbour_confusion,
)


def unit(rows):
    rows = np.asarray(rows, dtype=np.float64)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_alignment_is_the_mean_distance_of_pairs():
    random = np.random.default_rng(0)
    x, y = random.normal(size=(2, 30, 7))
    distances = [math.dist(a, b) for a, b in zip(unit(x), unit(y))]
    for alpha in (1.0, 2.0):
        expected = sum(d**alpha for d in distances) / len(distances)
        assert alignment(torch.tensor(x), torch.tensor(y), alpha) == pytest.approx(expected, rel=1e-12)
    assert alignment(torch.tensor(x), torch.tensor(-x)) == pytest.approx(4)
    assert alignment(torch.tensor(x), torch.tensor(5 * x)) == pytest.approx(0, abs=1e-15)  # length does not count


def test_uniformity_over_all_pairs():
    z = np.random.default_rng(1).normal(size=(25, 5))
    rows = unit(z)
    pairs = [math.exp(-2 * math.dist(rows[i], rows[j]) ** 2) for i in range(25) for j in range(i)]
    expected = math.log(sum(pairs) / len(pairs))
    for chunk in (4, 25, 1024):
        assert uniformity(torch.tensor(z), chunk=chunk) == pytest.approx(expected, rel=1e-10)
    assert uniformity(torch.ones(9, 3)) == pytest.approx(0, abs=1e-12)
    spread = uniformity(torch.randn(2000, 256, generator=torch.Generator().manual_seed(0)))
    assert spread == pytest.approx(-4, abs=0.1)


def test_concentration_against_loops():
    z, labels = clusters(40, 6, 3, seed=2)
    labels[:1] = 9  # the only image of its class
    found = class_concentration(torch.tensor(z), labels, chunk=7)
    rows = unit(z)
    assert found.image_M.tolist() == list(range(1, 40)) and found.left_out == 1
    for ratio, image in zip(found.ratio_M, found.image_M):
        within = [math.dist(rows[image], rows[j]) for j in range(40) if labels[j] == labels[image] and j != image]
        between = [math.dist(rows[image], rows[j]) for j in range(40) if labels[j] != labels[image]]
        assert ratio == pytest.approx(np.mean(between) / np.mean(within), rel=1e-9)


def test_concentration_tells_classes_from_noise():
    random = np.random.default_rng(3)
    labels = random.integers(0, 4, 400)
    noise = random.normal(size=(400, 16))
    centres = 4 * random.normal(size=(4, 16))
    mean = [class_concentration(torch.tensor(noise + s * centres[labels]), labels).ratio_M.mean() for s in (0, 0.2, 1)]
    assert mean[0] == pytest.approx(1, abs=0.01)
    assert mean[0] < mean[1] < mean[2] > 2


def test_features_without_any_distance():
    with pytest.raises(ValueError, match="at least two classes"):
        class_concentration(torch.ones(4, 2), np.zeros(4))
    with pytest.raises(ValueError, match="no image has a within-class distance"):
        class_concentration(torch.ones(4, 2), np.array([0, 0, 1, 1]))
    with pytest.raises(ValueError, match="one label for each of 4 rows"):
        class_concentration(torch.ones(4, 2), np.zeros(3))
    with pytest.raises(ValueError, match="at least two rows"):
        uniformity(torch.ones(1, 2))
    with pytest.raises(ValueError, match="NaN or infinite"):
        alignment(torch.tensor([[1.0, float("nan")]]), torch.ones(1, 2))
    with pytest.raises(ValueError, match="needs pairs"):
        alignment(torch.ones(2, 2), torch.ones(3, 2))


def test_neighbours_are_those_of_cosine_similarity_and_never_the_image_itself():
    z = np.random.default_rng(4).normal(size=(50, 8)).astype(np.float32)
    z[7] = z[3]  # a copy is a neighbour at distance 0, the image itself is none
    cosine = unit(z) @ unit(z).T
    np.fill_diagonal(cosine, -2)
    distance, row = nearest_neighbours(torch.tensor(z), 5)
    assert (row == np.argsort(-cosine, axis=1, kind="stable")[:, :5]).all()
    np.testing.assert_allclose(distance**2, 2 - 2 * np.take_along_axis(cosine, row, axis=1), atol=1e-12)
    assert row[7, 0] == 3 and row[3, 0] == 7
    queries = torch.tensor(z[:6])
    distance, row = nearest_neighbours(torch.tensor(z), 1, queries)
    assert distance.max() < 1e-7 and set(row[:, 0]) <= {0, 1, 2, 3, 4, 5, 7}
    with pytest.raises(ValueError, match=r"choose from \(49\), got 50"):
        nearest_neighbours(torch.tensor(z), 50)


def test_squared_distances():
    x, y = np.random.default_rng(5).normal(size=(2, 9, 4))
    expected = ((x[:, None] - y[None]) ** 2).sum(axis=2)
    np.testing.assert_allclose(squared_distances(torch.tensor(x), torch.tensor(y)).numpy(), expected, atol=1e-12)


def test_confusion_counts_the_classes_of_neighbours():
    share = neighbour_confusion(np.array([[0, 1], [0, 0], [1, 2]]), np.array([0, 0, 1]), 4)
    assert share.tolist() == [[0.75, 0.25, 0, 0], [0, 0.5, 0.5, 0], [0] * 4, [0] * 4]
    share = np.array([[0.5, 0.2, 0.0, 0.3], [0.1, 0.9, 0.0, 0.0], [0.0, 0.25, 0.75, 0.0], [0.3, 0, 0.2, 0.5]])
    assert confused_pairs(share, 2) == [(0, 3), (1, 2)]
    assert confused_pairs(share, 9) == [(0, 3), (1, 2)]
    assert contiguous_rows(np.array([2, 0, 2, 1, 2]), [2, 0], 2).tolist() == [0, 2, 1]
