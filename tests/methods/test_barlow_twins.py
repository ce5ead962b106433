# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Barlow Twins against a loop over its definition and against lightly."""

import pytest
import torch
from lightly.loss import BarlowTwinsLoss
from torch import Tensor

from mscn_hf.methods.objectives import BarlowTwins, ViewEmbeddings, view_pairs


def draw(views: int, batch: int = 6, size: int = 4) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    shared = torch.randn(batch, size, generator=generator, dtype=torch.float64)
    own = [torch.randn(batch, size, generator=generator, dtype=torch.float64) for _ in range(views)]
    return [(shared + 0.5 * z).requires_grad_() for z in own]


def barlow_twins(online: list[Tensor], pairing: str = "all", redundancy: float = 0.0051) -> dict[str, Tensor]:
    pairs = view_pairs(len(online), pairing)
    return BarlowTwins(redundancy)(ViewEmbeddings(tuple(online), (None,) * len(online), pairs))


def loop_terms(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """On-diagonal and off-diagonal sums of one pair, one number at a time."""
    images, size = a.shape

    def standard(column: Tensor) -> list[Tensor]:
        mean = sum(column) / images
        variance = sum((value - mean) ** 2 for value in column) / images
        return [(value - mean) / (variance + 1e-5) ** 0.5 for value in column]

    on_diagonal, off_diagonal = [], []
    for d in range(size):
        for e in range(size):
            correlation = sum(p * q for p, q in zip(standard(a[:, d]), standard(b[:, e]), strict=True)) / images
            if d == e:
                on_diagonal.append((1 - correlation) ** 2)
            else:
                off_diagonal.append(correlation**2)
    return sum(on_diagonal), sum(off_diagonal)


@pytest.mark.parametrize(
    ("views", "pairing", "pairs"),
    [(2, "all", [(0, 1)]), (3, "all", [(0, 1), (0, 2), (1, 2)]), (3, "first", [(0, 1), (0, 2)])],
)
def test_equals_the_loop_in_value_and_gradient(views: int, pairing: str, pairs: list[tuple[int, int]]) -> None:
    online = draw(views)
    terms = barlow_twins(online, pairing, redundancy=0.3)
    loops = [loop_terms(online[i], online[j]) for i, j in pairs]
    expected = {
        "on_diagonal": sum(on for on, _ in loops) / len(pairs),
        "off_diagonal": 0.3 * sum(off for _, off in loops) / len(pairs),
    }
    assert terms.keys() == expected.keys()
    for name, value in expected.items():
        assert value > 1e-2
        torch.testing.assert_close(terms[name], value, rtol=0, atol=1e-12)
    ours = torch.autograd.grad(sum(terms.values()), online)
    for gradient, wanted in zip(ours, torch.autograd.grad(sum(expected.values()), online), strict=True):
        assert wanted.abs().max() > 1e-3
        torch.testing.assert_close(gradient, wanted, rtol=0, atol=1e-10)


def test_equals_lightly() -> None:
    online = draw(2, batch=16, size=8)
    ours = sum(barlow_twins(online).values())
    theirs = BarlowTwinsLoss(lambda_param=0.0051)(*online)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-10)
    for gradient, wanted in zip(torch.autograd.grad(ours, online), torch.autograd.grad(theirs, online), strict=True):
        torch.testing.assert_close(gradient, wanted, rtol=0, atol=1e-10)


def test_ignores_mean_and_scale_of_every_dimension() -> None:
    online = draw(2, batch=16)
    moved = [z * 30 + 7 for z in online]
    for name, term in barlow_twins(online).items():
        torch.testing.assert_close(barlow_twins(moved)[name], term, rtol=0, atol=1e-4)


def test_computes_in_float32_under_autocast() -> None:
    online = [z.detach().bfloat16() for z in draw(2)]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = barlow_twins(online)
    on_diagonal, off_diagonal = loop_terms(*[z.double() for z in online])
    assert inside["on_diagonal"].dtype == inside["off_diagonal"].dtype == torch.float32
    torch.testing.assert_close(inside["on_diagonal"].double(), on_diagonal, rtol=0, atol=2e-6)
    torch.testing.assert_close(inside["off_diagonal"].double(), 0.0051 * off_diagonal, rtol=0, atol=2e-6)


def test_refuses_what_it_cannot_compare() -> None:
    online = draw(2)
    with pytest.raises(ValueError, match=r"Barlow Twins compares online views .* view 1 .* add it to online_views"):
        BarlowTwins()(ViewEmbeddings((online[0], None), (None, None), ((0, 1),)))
    with pytest.raises(ValueError, match="joined batch of at least 2 images, got 1"):
        barlow_twins(draw(2, batch=1))
    with pytest.raises(ValueError, match=r"redundancy must be a number of at least 0, got -0\.1"):
        BarlowTwins(-0.1)


def test_scale_multiplies_the_whole() -> None:
    online = draw(2)
    plain = barlow_twins(online)
    scaled = BarlowTwins(scale=0.0015)(ViewEmbeddings(tuple(online), (None, None), ((0, 1),)))
    for name, term in plain.items():
        torch.testing.assert_close(scaled[name], 0.0015 * term, rtol=1e-12, atol=0)
    with pytest.raises(ValueError, match="scale"):
        BarlowTwins(scale=-1.0)
