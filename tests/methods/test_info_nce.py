# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""InfoNCE against a loop over its definition and against lightly."""

import math

import pytest
import torch
from lightly.loss import NTXentLoss

from mscn_hf.methods.objectives import InfoNCE, ViewEmbeddings, view_pairs


def embeddings(views: int, batch: int = 6, size: int = 5, seed: int = 0) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(batch, size, generator=generator, dtype=torch.float64).requires_grad_() for _ in range(views)]


def info_nce(online: list[torch.Tensor], pairing: str = "all", temperature: float = 0.1) -> torch.Tensor:
    pairs = view_pairs(len(online), pairing)
    views = ViewEmbeddings(online=tuple(online), target=(None,) * len(online), pairs=pairs)
    return InfoNCE(temperature=temperature)(views)["info_nce"]


def loop_nt_xent(a: torch.Tensor, b: torch.Tensor, temperature: float) -> torch.Tensor:
    """NT-Xent, one anchor and one candidate at a time."""
    rows = [*a, *b]
    batch = len(a)
    total = torch.zeros((), dtype=torch.float64)
    for anchor in range(2 * batch):
        positive = (anchor + batch) % (2 * batch)
        scores = {}
        for other in range(2 * batch):
            if other != anchor:
                dot = (rows[anchor] * rows[other]).sum()
                cosine = dot / (rows[anchor].pow(2).sum().sqrt() * rows[other].pow(2).sum().sqrt())
                scores[other] = (cosine / temperature).exp()
        total = total - (scores[positive] / sum(scores.values())).log()
    return total / (2 * batch)


@pytest.mark.parametrize(
    ("views", "pairing", "pairs"),
    [
        (2, "all", [(0, 1)]),
        (3, "all", [(0, 1), (0, 2), (1, 2)]),
        (3, "first", [(0, 1), (0, 2)]),
        (4, "first", [(0, 1), (0, 2), (0, 3)]),
    ],
)
def test_equals_the_loop_in_value_and_gradient(views: int, pairing: str, pairs: list[tuple[int, int]]) -> None:
    online = embeddings(views)
    loss = info_nce(online, pairing, temperature=0.2)
    expected = sum(loop_nt_xent(online[i], online[j], 0.2) for i, j in pairs) / len(pairs)
    torch.testing.assert_close(loss, expected, rtol=0, atol=1e-12)
    gradients = torch.autograd.grad(loss, online)
    expected_gradients = torch.autograd.grad(expected, online)
    for gradient, wanted in zip(gradients, expected_gradients, strict=True):
        assert wanted.abs().max() > 1e-3
        torch.testing.assert_close(gradient, wanted, rtol=0, atol=1e-10)


@pytest.mark.parametrize("temperature", [0.1, 0.5])
def test_equals_lightly(temperature: float) -> None:
    online = embeddings(2, batch=16, size=8)
    loss = info_nce(online, temperature=temperature)
    theirs = NTXentLoss(temperature=temperature)(*online)
    torch.testing.assert_close(loss, theirs, rtol=0, atol=1e-10)
    for ours, wanted in zip(torch.autograd.grad(loss, online), torch.autograd.grad(theirs, online), strict=True):
        torch.testing.assert_close(ours, wanted, rtol=0, atol=1e-10)


def test_starts_at_the_logarithm_of_the_number_of_candidates() -> None:
    # Random directions in many dimensions are nearly orthogonal: every candidate is equally likely.
    online = embeddings(2, batch=64, size=200_000)
    assert info_nce(online, temperature=1.0).item() == pytest.approx(math.log(2 * 64 - 1), abs=2e-3)


def test_ignores_the_length_of_embeddings() -> None:
    online = embeddings(3)
    scaled = [z * factor for z, factor in zip(online, (0.01, 1.0, 300.0), strict=True)]
    torch.testing.assert_close(info_nce(scaled), info_nce(online), rtol=0, atol=1e-12)


def test_computes_in_float32_under_autocast() -> None:
    online = [z.detach().bfloat16() for z in embeddings(2, batch=16, size=16)]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = info_nce(online)
    assert loss.dtype == torch.float32
    expected = loop_nt_xent(*[z.double() for z in online], temperature=0.1)
    torch.testing.assert_close(loss.double(), expected, rtol=0, atol=2e-6)


@pytest.mark.parametrize("temperature", [0.0, -0.1, math.inf, math.nan])
def test_refuses_a_temperature_that_is_not_positive(temperature: float) -> None:
    with pytest.raises(ValueError, match=f"temperature must be a positive number, got {temperature}"):
        InfoNCE(temperature=temperature)
