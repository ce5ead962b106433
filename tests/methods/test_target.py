# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""The moving average against its closed form."""

import copy

import pytest
import torch
from torch import nn

from mscn_hf.methods.target import copy_weights, ema_update


def test_ema_equals_its_closed_form() -> None:
    generator = torch.Generator().manual_seed(0)
    rates = [0.99, 0.9, 0.5, 0.996, 1.0, 0.0, 0.7, 0.95]
    shapes = [(3, 4), (5,), ()]
    start = [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]
    online = [[torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes] for _ in rates]
    target = [tensor.clone() for tensor in start]
    for rate, tensors in zip(rates, online, strict=True):
        ema_update(target, tensors, rate)
    for index, tensor in enumerate(target):
        # sum over steps s of (1 - r_s) online_s  prod_{u > s} r_u,  plus start prod r
        expected = torch.zeros_like(tensor)
        for step, rate in enumerate(rates):
            later = torch.tensor(rates[step + 1 :], dtype=torch.float64).prod()
            expected += (1 - rate) * later * online[step][index]
        expected += torch.tensor(rates, dtype=torch.float64).prod() * start[index]
        torch.testing.assert_close(tensor, expected, rtol=0, atol=1e-12)


def test_ema_towards_a_resting_network_decays_geometrically() -> None:
    start, online = torch.full((4,), 3.0, dtype=torch.float64), torch.full((4,), -1.0, dtype=torch.float64)
    target = start.clone()
    for _ in range(250):
        ema_update([target], [online], 0.99)
    torch.testing.assert_close(target, online + 0.99**250 * (start - online), rtol=0, atol=1e-12)


@pytest.mark.parametrize("rate", [-0.1, 1.5])
def test_ema_refuses_rates(rate: float) -> None:
    with pytest.raises(ValueError, match=rf"EMA rate must lie in \[0, 1\], got {rate}"):
        ema_update([torch.zeros(1)], [torch.ones(1)], rate)


def test_ema_refuses_different_networks() -> None:
    with pytest.raises(ValueError, match="1 against 2 tensors"):
        ema_update([torch.zeros(1)], [torch.ones(1), torch.ones(1)], 0.5)


def test_copy_weights_copies_parameters_and_buffers() -> None:
    online = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    online.register_buffer("kernel", torch.randn(2), persistent=False)
    target = copy.deepcopy(online)
    online[1](torch.randn(6, 4))
    with torch.no_grad():
        online[0].weight.add_(1)
        online.kernel.add_(1)
    copy_weights(target, online)
    for name in ("0.weight", "1.weight"):
        assert torch.equal(target.get_parameter(name), online.get_parameter(name))
    for name in ("1.running_mean", "1.num_batches_tracked", "kernel"):
        assert torch.equal(target.get_buffer(name), online.get_buffer(name))
    assert target[0].weight is not online[0].weight
