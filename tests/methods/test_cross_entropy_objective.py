# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Supervised cross entropy on embeddings of several views."""

import math

import pytest
import torch
from torch import Tensor

from mscn_hf.methods.objectives import CrossEntropy, ViewEmbeddings

LABELS = torch.tensor([2, 0, 1, 2])


def draw(views: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(4, 5, generator=generator, dtype=torch.float64).requires_grad_() for _ in range(views)]


def build(**settings: float) -> CrossEntropy:
    torch.manual_seed(0)
    return CrossEntropy(5, 3, **settings).double()


def views_of(online: list[Tensor | None], labels: Tensor | None = LABELS) -> ViewEmbeddings:
    return ViewEmbeddings(tuple(online), (None,) * len(online), (), labels=labels)


@pytest.mark.parametrize("views", [1, 3])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_equals_the_loop_in_value_and_gradient(views: int, smoothing: float) -> None:
    objective, online = build(label_smoothing=smoothing), draw(views)
    terms = objective(views_of([*online, None]))
    weight, bias = objective.classifier.weight, objective.classifier.bias
    losses = []
    for z in online:
        for row, label in zip(z, LABELS.tolist(), strict=True):
            scores = [(torch.dot(weight[k], row) + bias[k]).exp() for k in range(3)]
            wanted = [smoothing / 3 + (1 - smoothing) * (k == label) for k in range(3)]
            losses.append(-sum(q * (score / sum(scores)).log() for q, score in zip(wanted, scores, strict=True)))
    expected = sum(losses) / len(losses)
    assert tuple(terms) == ("cross_entropy",)
    torch.testing.assert_close(terms["cross_entropy"], expected, rtol=0, atol=1e-12)
    inputs = [*online, weight, bias]
    ours = torch.autograd.grad(terms["cross_entropy"], inputs)
    for gradient, wanted in zip(ours, torch.autograd.grad(expected, inputs), strict=True):
        torch.testing.assert_close(gradient, wanted, rtol=0, atol=1e-12)


def test_starts_near_the_logarithm_of_the_number_of_classes() -> None:
    torch.manual_seed(0)
    objective = CrossEntropy(256, 1000)
    online = torch.nn.functional.normalize(torch.randn(64, 256), dim=1)
    loss = objective(views_of([online], torch.arange(64)))["cross_entropy"]
    assert loss.item() == pytest.approx(math.log(1000), abs=0.05)


def test_names_how_many_labels_are_missing() -> None:
    with pytest.raises(
        ValueError, match=r"2 of 4 images have no label or one outside 0 \.\. 2 \(lowest -1, highest 3"
    ):
        build()(views_of(draw(1), torch.tensor([2, -1, 3, 0])))
    with pytest.raises(ValueError, match="needs a label for each image, got none; set label_column"):
        build()(views_of(draw(1), None))


def test_computes_in_float32_under_autocast() -> None:
    objective = build().float()
    online = [z.detach().bfloat16() for z in draw(2)]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = objective(views_of(online))["cross_entropy"]
    outside = objective.double()(views_of([z.double() for z in online]))["cross_entropy"]
    assert inside.dtype == torch.float32
    torch.testing.assert_close(inside.double(), outside, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"classes": 1}, "classes must be an integer of at least 2, got 1"),
        ({"classes": 3, "label_smoothing": 1.0}, r"label_smoothing must lie in \[0, 1\), got 1.0"),
    ],
)
def test_refuses_settings_out_of_range(settings, message) -> None:
    with pytest.raises(ValueError, match=message):
        CrossEntropy(5, **settings)
