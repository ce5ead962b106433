# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""VICReg against a loop over its definition and against lightly."""

import pytest
import torch
from lightly.loss import VICRegLoss
from torch import Tensor

from mscn_hf.methods.objectives import VICReg, ViewEmbeddings, view_pairs

TERMS = ("invariance", "variance", "covariance")


def draw(views: int, batch: int = 6, size: int = 4, scale: float = 0.8) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    shared = torch.randn(batch, size, generator=generator, dtype=torch.float64)
    own = [torch.randn(batch, size, generator=generator, dtype=torch.float64) for _ in range(views)]
    return [(scale * (shared + 0.5 * z)).requires_grad_() for z in own]


def vicreg(online: list[Tensor], pairing: str = "all", **settings: float) -> dict[str, Tensor]:
    pairs = view_pairs(len(online), pairing)
    return VICReg(**settings)(ViewEmbeddings(tuple(online), (None,) * len(online), pairs))


def loop_terms(a: Tensor, b: Tensor, gamma: float, epsilon: float) -> dict[str, Tensor]:
    """The three terms of one pair without weights, one number at a time."""
    images, size = a.shape

    def covariance(z: Tensor, d: int, e: int) -> Tensor:
        mean_d, mean_e = sum(z[:, d]) / images, sum(z[:, e]) / images
        return sum((row[d] - mean_d) * (row[e] - mean_e) for row in z) / (images - 1)

    def hinge(z: Tensor) -> Tensor:
        return sum((gamma - (covariance(z, d, d) + epsilon) ** 0.5).clamp(min=0) for d in range(size)) / size

    def rest(z: Tensor) -> Tensor:
        return sum(covariance(z, d, e) ** 2 for d in range(size) for e in range(size) if d != e) / size

    return {
        "invariance": sum((a[i, d] - b[i, d]) ** 2 for i in range(images) for d in range(size)) / (images * size),
        "variance": (hinge(a) + hinge(b)) / 2,
        "covariance": rest(a) + rest(b),
    }


@pytest.mark.parametrize(
    ("views", "pairing", "pairs"),
    [(2, "all", [(0, 1)]), (3, "all", [(0, 1), (0, 2), (1, 2)]), (3, "first", [(0, 1), (0, 2)])],
)
def test_equals_the_loop_in_value_and_gradient(views: int, pairing: str, pairs: list[tuple[int, int]]) -> None:
    online = draw(views)
    terms = vicreg(online, pairing, invariance=3.0, variance=5.0, covariance=2.0, gamma=1.2, epsilon=1e-3)
    loops = [loop_terms(online[i], online[j], gamma=1.2, epsilon=1e-3) for i, j in pairs]
    assert tuple(terms) == TERMS
    for term, weight in zip(TERMS, (3.0, 5.0, 2.0), strict=True):
        expected = weight * sum(values[term] for values in loops) / len(pairs)
        assert expected > 1e-2
        torch.testing.assert_close(terms[term], expected, rtol=0, atol=1e-12)
        for ours, wanted in zip(
            torch.autograd.grad(terms[term], online, retain_graph=True),
            torch.autograd.grad(expected, online, retain_graph=True),
            strict=True,
        ):
            assert wanted.abs().max() > 1e-3
            torch.testing.assert_close(ours, wanted, rtol=0, atol=1e-12)


def test_equals_lightly() -> None:
    online = draw(2, batch=16, size=8)
    ours = sum(vicreg(online).values())
    theirs = VICRegLoss()(*online)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-10)
    for gradient, wanted in zip(torch.autograd.grad(ours, online), torch.autograd.grad(theirs, online), strict=True):
        torch.testing.assert_close(gradient, wanted, rtol=0, atol=1e-10)


def test_wide_independent_dimensions_cost_nothing() -> None:
    size = 4
    signs = torch.tensor([[1.0 if row >> bit & 1 else -1.0 for bit in range(size)] for row in range(2**size)])
    terms = vicreg([2.0 * signs, 2.0 * signs])
    assert {name: term.item() for name, term in terms.items()} == dict.fromkeys(TERMS, 0.0)
    collapsed = vicreg([torch.ones(6, 4), torch.ones(6, 4)])
    assert collapsed["variance"].item() == pytest.approx(25 * (1 - 1e-4**0.5))


def test_computes_in_float32_under_autocast() -> None:
    online = [z.detach().bfloat16() for z in draw(2)]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = vicreg(online)
    for name, term in loop_terms(*[z.double() for z in online], gamma=1.0, epsilon=1e-4).items():
        assert inside[name].dtype == torch.float32
        torch.testing.assert_close(inside[name].double(), getattr(VICReg(), name) * term, rtol=0, atol=1e-5)


def test_refuses_missing_views_and_single_images() -> None:
    online = draw(2)
    views = ViewEmbeddings((online[0], None), (None, None), ((0, 1),))
    with pytest.raises(ValueError, match=r"VICReg compares online views .* view 1 .* add it to online_views"):
        VICReg()(views)
    with pytest.raises(ValueError, match="VICReg compares pairs of views, got none of 1 views"):
        vicreg(online[:1])
    with pytest.raises(ValueError, match="joined batch of at least 2 images, got 1"):
        vicreg(draw(2, batch=1))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"invariance": -1.0}, "invariance must be a number of at least 0, got -1.0"),
        ({"covariance": "1"}, "covariance must be a number of at least 0, got '1'"),
        ({"gamma": 0.0}, "gamma must be a positive number, got 0.0"),
        ({"epsilon": -1e-4}, "epsilon must be a positive number, got -0.0001"),
    ],
)
def test_refuses_settings_out_of_range(settings, message) -> None:
    with pytest.raises(ValueError, match=message):
        VICReg(**settings)
