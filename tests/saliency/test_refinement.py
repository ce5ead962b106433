# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""The losses and the moving average of DeepUSPS against loops written out."""

import numpy as np
import pytest
import torch

from mscn_hf.saliency.refine import EPSILON, MovingAverage, f_loss, refinement_loss, soft_threshold


def slow_soft_threshold(predicted, target, threshold):
    if target > threshold and predicted > target:
        return 1.0
    if target < threshold and predicted < target:
        return 0.0
    return predicted


def slow_f_loss(predicted, truth, beta_squared):
    true_positive = sum(p * t for p, t in zip(predicted, truth, strict=True))
    false_positive = sum(p * (1 - t) for p, t in zip(predicted, truth, strict=True))
    false_negative = sum((1 - p) * t for p, t in zip(predicted, truth, strict=True))
    precision = true_positive / (true_positive + false_positive + EPSILON)
    recall = true_positive / (true_positive + false_negative + EPSILON)
    return 1 - (1 + beta_squared) * precision * recall / (beta_squared * precision + recall + EPSILON)


@pytest.mark.parametrize(("threshold", "beta_squared"), [(0.31, 1.0), (0.5, 4.0), (0.5, 0.3)])
def test_loss_against_loops(threshold, beta_squared):
    torch.manual_seed(0)
    logits = torch.randn(3, 4, 5, dtype=torch.float64)
    targets = torch.rand(3, 2, 4, 5, dtype=torch.float64)
    losses = []
    for image in range(3):
        predicted = [1 / (1 + np.exp(-value)) for value in logits[image].flatten().tolist()]
        for label in range(2):
            target = targets[image, label].flatten().tolist()
            sure = [slow_soft_threshold(p, t, threshold) for p, t in zip(predicted, target, strict=True)]
            losses.append(slow_f_loss(sure, [float(t > threshold) for t in target], beta_squared))
    # the network's logits are brought to float32
    assert float(refinement_loss(logits, targets, threshold, beta_squared)) == pytest.approx(np.mean(losses), abs=1e-6)


def test_certain_pixels_have_no_gradient():
    predicted = torch.tensor([[[0.9, 0.7, 0.1, 0.3]]], requires_grad=True)
    target = torch.tensor([[[0.8, 0.8, 0.2, 0.2]]])
    sure = soft_threshold(predicted, target, 0.5)
    torch.testing.assert_close(sure, torch.tensor([[[1.0, 0.7, 0.0, 0.3]]]))
    sure.sum().backward()
    torch.testing.assert_close(predicted.grad, torch.tensor([[[0.0, 1.0, 0.0, 1.0]]]))


def test_loss_is_least_at_the_truth_and_finite_without_any():
    truth = torch.zeros(1, 6, 6)
    truth[:, 1:4, 2:5] = 1
    assert float(f_loss(truth, truth, 1.0)) < 1e-4
    assert float(f_loss(1 - truth, truth, 1.0)) > 0.99
    for constant in (torch.zeros(1, 6, 6), torch.ones(1, 6, 6)):
        for other in (torch.zeros(1, 6, 6), torch.ones(1, 6, 6)):
            logits = torch.full((1, 6, 6), 3.0, requires_grad=True)
            loss = refinement_loss(logits, torch.stack([constant, other], dim=1), 0.5, 1.0)
            loss.backward()
            assert torch.isfinite(loss) and torch.isfinite(logits.grad).all()


def test_moving_average_starts_from_zero():
    maps = np.zeros((4, 2, 2), dtype=np.float16)
    average = MovingAverage(maps, 0.7)
    one, other = torch.full((2, 2, 2), 1.0), torch.full((2, 2, 2), 0.5)
    average.update(torch.tensor([3, 1]), one)
    average.update(torch.tensor([0, 2]), 0 * one)
    average.update(torch.tensor([1]), other[:1])
    np.testing.assert_allclose(maps[3], 0.3, atol=1e-3)
    np.testing.assert_allclose(maps[1], 0.7 * 0.3 + 0.3 * 0.5, atol=1e-3)
    assert not maps[0].any() and not maps[2].any()


def test_what_comes_twice_in_an_epoch_counts_once():
    maps = np.zeros((3, 2, 2), dtype=np.float16)
    average = MovingAverage(maps, 0.7)
    levels = torch.tensor([1.0, 0.5, 0.25])[:, None, None].expand(3, 2, 2)
    # an epoch of three images in batches of two: the first fills up the last batch
    average.update(torch.tensor([0, 1]), levels[:2])
    average.update(torch.tensor([2, 0]), levels[[2, 0]])
    np.testing.assert_allclose(maps, 0.3 * levels, atol=1e-3)
    average.update(torch.tensor([1, 1, 0, 2]), levels[[1, 2, 0, 2]])
    np.testing.assert_allclose(maps, (0.3 + 0.7 * 0.3) * levels, atol=1e-3)
