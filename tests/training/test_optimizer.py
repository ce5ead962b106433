# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Parameter groups of every encoder and head, and the optimizers' steps."""

import pytest
import torch
from timm.optim import Lars
from torch import nn

from mscn_hf.methods import MSCNForPreTraining
from mscn_hf.models import MSCNConfig
from mscn_hf.training.optimizer import build_optimizer, parameter_groups

HEADS = {
    # Linear weights with decay; scale and shift of each batch norm without.
    "info_nce": (["projector.0.weight", "projector.3.weight"], 4),
    "byol": (
        ["projector.0.weight", "projector.3.weight", "predictor.0.0.weight", "predictor.0.3.weight"],
        4,
    ),
}


def network(depth: int, objective: str) -> MSCNForPreTraining:
    with torch.device("meta"):
        return MSCNForPreTraining.from_encoder(MSCNConfig.resnet(depth), objective=objective)


@pytest.mark.parametrize("objective", ["info_nce", "byol"])
@pytest.mark.parametrize(("depth", "convolutions"), [(18, 20), (34, 36), (50, 53), (101, 104)])
def test_groups_hold_every_trainable_parameter_once(depth: int, convolutions: int, objective: str) -> None:
    model = network(depth, objective)
    with_decay, without = parameter_groups(model, weight_decay=1e-6)
    assert (with_decay["weight_decay"], without["weight_decay"]) == (1e-6, 0.0)
    parameters = dict(model.named_parameters())
    for group in (with_decay, without):
        assert all(parameters[name] is value for name, value in zip(group["names"], group["params"], strict=True))
    assert all(parameters[name].ndim > 1 for name in with_decay["names"])
    assert all(parameters[name].ndim == 1 for name in without["names"])

    linears, head_vectors = HEADS[objective]
    of_heads = [name for name in with_decay["names"] if not name.startswith("encoder.")]
    assert of_heads == linears
    # A ResNet has one batch norm, two vectors, for each convolution.
    assert len(with_decay["names"]) == convolutions + len(linears)
    assert len(without["names"]) == 2 * convolutions + head_vectors
    named = set(with_decay["names"]) | set(without["names"])
    assert named == {name for name in parameters if not name.startswith("target_")}
    assert len(named) == len(with_decay["names"]) + len(without["names"])


def test_batch_norm_of_transformers_resnet_has_no_decay() -> None:
    _, without = parameter_groups(network(18, "info_nce"), weight_decay=1e-6)
    assert "encoder.embedder.embedder.normalization.weight" in without["names"]
    assert "encoder.embedder.embedder.normalization.bias" in without["names"]


def test_target_is_in_no_group_of_an_optimizer() -> None:
    model = network(18, "byol")
    optimizer = build_optimizer(model, "lars", lr=0.2, weight_decay=1.5e-6)
    held = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    targets = [*model.target_encoder.parameters(), *model.target_projector.parameters()]
    assert len(targets) == 60 + 4
    assert not any(id(parameter) in held for parameter in targets)


def small_network() -> nn.Module:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4), nn.Linear(4, 3, bias=False), nn.Linear(3, 2, bias=False))
    with torch.no_grad():
        model[1].weight.uniform_(0.5, 2.0)
        model[3].weight.zero_()
    return model.double()


@pytest.mark.parametrize("foreach", [False, True])
@pytest.mark.parametrize("weight_decay", [0.0, 0.05])
def test_lars_follows_its_rule(weight_decay: float, foreach: bool) -> None:
    model = small_network()
    optimizer = build_optimizer(model, "lars", lr=0.7, weight_decay=weight_decay, trust_coefficient=0.01)
    for group in optimizer.param_groups:
        group["foreach"] = foreach
    weights = {name: value.detach().clone() for name, value in model.named_parameters()}
    momenta = {name: torch.zeros_like(value) for name, value in weights.items()}
    generator = torch.Generator().manual_seed(1)
    for step in range(3):
        for name, parameter in model.named_parameters():
            parameter.grad = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            if name == "2.weight" and step == 1:
                parameter.grad.zero_()
            p, g = weights[name], parameter.grad
            if p.ndim > 1:
                norm_p, norm_g = p.pow(2).sum().sqrt(), g.pow(2).sum().sqrt()
                ratio = 0.01 * norm_p / (norm_g + weight_decay * norm_p + 1e-8) if norm_p > 0 and norm_g > 0 else 1.0
                update = ratio * (g + weight_decay * p)
            else:
                update = g
            momenta[name] = 0.9 * momenta[name] + update
            weights[name] = p - 0.7 * momenta[name]
        optimizer.step()
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.detach(), weights[name], rtol=0, atol=1e-12, msg=lambda m, n=name: n + m)


def test_lars_settings() -> None:
    optimizer = build_optimizer(small_network(), "lars", lr=4.8, weight_decay=1e-6)
    assert isinstance(optimizer, Lars)
    for group, (decay, adapts) in zip(optimizer.param_groups, [(1e-6, True), (0.0, False)], strict=True):
        assert (group["weight_decay"], group["always_adapt"]) == (decay, adapts)
        assert (group["momentum"], group["nesterov"], group["trust_coeff"]) == (0.9, False, 1e-3)
        assert not group["trust_clip"]


def test_optimizer_state_loads_with_weights_only(tmp_path) -> None:
    model = small_network()
    optimizer = build_optimizer(model, "lars", lr=0.1, weight_decay=1e-6)
    model(torch.randn(5, 6, dtype=torch.float64)).sum().backward()
    optimizer.step()
    torch.save(optimizer.state_dict(), tmp_path / "optimizer.pt")
    state = torch.load(tmp_path / "optimizer.pt", weights_only=True)
    other = build_optimizer(model, "lars", lr=0.1, weight_decay=1e-6)
    other.load_state_dict(state)
    assert [group["names"] for group in other.param_groups] == [group["names"] for group in optimizer.param_groups]
    for parameter in model.parameters():
        ours, theirs = optimizer.state[parameter]["momentum_buffer"], other.state[parameter]["momentum_buffer"]
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize(("name", "kind"), [("sgd", torch.optim.SGD), ("adamw", torch.optim.AdamW)])
def test_torch_optimizers_take_the_same_groups(name: str, kind: type) -> None:
    optimizer = build_optimizer(small_network(), name, lr=0.1, weight_decay=0.05, momentum=0.8)
    assert type(optimizer) is kind
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.05, 0.0]
    for group in optimizer.param_groups:
        assert (group["momentum"] if name == "sgd" else group["betas"][0]) == 0.8


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"name": "lamb"}, "optimizer must be one of lars, sgd, adamw, got 'lamb'"),
        ({"weight_decay": -1e-6}, "weight_decay must not be negative, got -1e-06"),
        ({"momentum": 1.0}, r"momentum must lie in \[0, 1\), got 1.0"),
        ({"trust_coefficient": 0.0}, "trust_coefficient must be positive, got 0.0"),
        ({"lr": -0.1}, "-0.1"),
    ],
)
def test_refuses_what_does_not_fit(fields: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build_optimizer(small_network(), **{"name": "lars", "lr": 0.1, "weight_decay": 1e-6, **fields})


def test_refuses_a_frozen_network() -> None:
    with pytest.raises(ValueError, match="Linear has no trainable parameter"):
        parameter_groups(nn.Linear(2, 2).requires_grad_(False), 0.0)
