# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Projector and predictor, layer by layer."""

import pytest
import torch

from mscn_hf.methods.heads import Predictor, mlp


def layers(head: torch.nn.Module) -> list[tuple]:
    found: list[tuple] = []
    for layer in head:
        if isinstance(layer, torch.nn.Linear):
            found.append(("linear", layer.in_features, layer.out_features, layer.bias is not None))
        elif isinstance(layer, torch.nn.BatchNorm1d):
            found.append(("norm", layer.num_features, layer.affine))
        else:
            found.append((type(layer).__name__,))
    return found


def test_simclr_projector_has_batch_norm_after_every_layer() -> None:
    assert layers(mlp(512, [2048, 256], last_bn=True)) == [
        ("linear", 512, 2048, False),
        ("norm", 2048, True),
        ("ReLU",),
        ("linear", 2048, 256, False),
        ("norm", 256, True),
    ]


def test_byol_head_ends_in_a_bare_linear() -> None:
    assert layers(mlp(2048, [4096, 256])) == [
        ("linear", 2048, 4096, False),
        ("norm", 4096, True),
        ("ReLU",),
        ("linear", 4096, 256, False),
    ]
    assert layers(mlp(8, [3])) == [("linear", 8, 3, False)]


def test_no_sizes_is_the_identity() -> None:
    z_BD = torch.randn(3, 5)
    assert torch.equal(mlp(5, [])(z_BD), z_BD)


def test_msn_head_has_gelu_and_a_bias_at_its_end_only() -> None:
    head = mlp(8, [16, 16, 4], activation="gelu", last_bias=True)
    assert [type(layer).__name__ for layer in head] == ["Linear", "BatchNorm1d", "GELU"] * 2 + ["Linear"]
    assert [layer.bias is not None for layer in head if isinstance(layer, torch.nn.Linear)] == [False, False, True]


@pytest.mark.parametrize("sizes", [[0], [16, 0]])
def test_refuses_sizes(sizes: list[int]) -> None:
    with pytest.raises(ValueError, match="needs a list of sizes"):
        mlp(8, sizes)


def test_predictor_serves_each_view_with_its_own_mlp() -> None:
    predictor = Predictor(4, [8, 4], of_view=[0, 1, 1]).eval()
    z = torch.randn(5, 4)
    assert len(predictor) == 2
    assert torch.equal(predictor(z, 0), predictor[0](z))
    assert torch.equal(predictor(z, 1), predictor[1](z))
    assert torch.equal(predictor(z, 2), predictor[1](z))
    assert not torch.equal(predictor(z, 0), predictor(z, 1))
    shared = Predictor(4, [8, 4]).eval()
    assert torch.equal(shared(z, 0), shared(z, 7))


@pytest.mark.parametrize("of_view", [[0, 2], [1, 1], []])
def test_predictor_refuses_gaps(of_view: list[int]) -> None:
    with pytest.raises(ValueError, match="must number its predictors 0, 1"):
        Predictor(4, [4], of_view=of_view)
