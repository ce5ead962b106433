# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""BYOL's loss against a loop over its definition and against lightly's cosine similarity."""

import pytest
import torch
from lightly.loss import NegativeCosineSimilarity

from mscn_hf.methods.objectives import BYOL, ViewEmbeddings, view_directions, view_pairs


def draw(views: int, seed: int, batch: int = 6, size: int = 5) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(batch, size, generator=generator, dtype=torch.float64).requires_grad_() for _ in range(views)]


def byol(online: list[torch.Tensor], target: list[torch.Tensor | None], pairing: str) -> torch.Tensor:
    pairs = view_pairs(len(online), pairing)
    seen = [view for view, z in enumerate(target) if z is not None]
    directions = view_directions(pairs, range(len(online)), seen)
    return BYOL()(ViewEmbeddings(tuple(online), tuple(target), pairs, directions))["byol"]


def loop_distance(q: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
    """Squared distance of unit-length rows, one image and one coordinate at a time, mean over the batch."""
    total = torch.zeros((), dtype=torch.float64)
    for q_row, z_row in zip(q, z.detach(), strict=True):
        q_length = sum(value**2 for value in q_row) ** 0.5
        z_length = sum(value**2 for value in z_row) ** 0.5
        for q_value, z_value in zip(q_row, z_row, strict=True):
            total = total + (q_value / q_length - z_value / z_length) ** 2
    return total / len(q)


@pytest.mark.parametrize(
    ("views", "pairing", "pairs"),
    [(2, "all", [(0, 1)]), (3, "all", [(0, 1), (0, 2), (1, 2)]), (4, "first", [(0, 1), (0, 2), (0, 3)])],
)
def test_equals_the_loop_in_value_and_gradient(views: int, pairing: str, pairs: list[tuple[int, int]]) -> None:
    online, target = draw(views, seed=0), draw(views, seed=1)
    loss = byol(online, target, pairing)
    expected = sum(loop_distance(online[i], target[j]) + loop_distance(online[j], target[i]) for i, j in pairs) / len(
        pairs
    )
    torch.testing.assert_close(loss, expected, rtol=0, atol=1e-12)
    for ours, wanted in zip(torch.autograd.grad(loss, online), torch.autograd.grad(expected, online), strict=True):
        assert wanted.abs().max() > 1e-3
        torch.testing.assert_close(ours, wanted, rtol=0, atol=1e-10)


def test_equals_lightly() -> None:
    online, target = draw(2, seed=2, batch=16), draw(2, seed=3, batch=16)
    cosine = NegativeCosineSimilarity()
    theirs = 4 + 2 * cosine(online[0], target[1].detach()) + 2 * cosine(online[1], target[0].detach())
    ours = byol(online, target, "all")
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-10)
    for gradient, wanted in zip(torch.autograd.grad(ours, online), torch.autograd.grad(theirs, online), strict=True):
        torch.testing.assert_close(gradient, wanted, rtol=0, atol=1e-10)


def test_sends_no_gradient_to_targets() -> None:
    online, target = draw(2, seed=0), draw(2, seed=1)
    byol(online, target, "all").backward()
    assert all(z.grad is not None for z in online)
    assert all(z.grad is None for z in target)


def test_leaves_out_directions_without_a_target_view() -> None:
    online, target = draw(3, seed=0), draw(3, seed=1)
    loss = byol(online, [target[0], None, None], "first")
    expected = (loop_distance(online[1], target[0]) + loop_distance(online[2], target[0])) / 2
    torch.testing.assert_close(loss, expected, rtol=0, atol=1e-12)
    with pytest.raises(ValueError, match=r"no pair of .* passed the target network"):
        byol(online, [None, None, None], "first")


def test_computes_in_float32_under_autocast() -> None:
    online = [z.detach().bfloat16() for z in draw(2, seed=0)]
    outside = byol([z.float() for z in online], [z.float() for z in online], "all")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = byol(online, list(online), "all")
    assert inside.dtype == torch.float32
    assert torch.equal(inside, outside)
