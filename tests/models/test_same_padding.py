# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import torch
from timm.layers import Conv2dSame
from timm.layers.pool2d_same import MaxPool2dSame
from torch import nn
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet

from mscn_hf.models import ReLICv2Config, ReLICv2Model
from mscn_hf.models.same_padding import SameConv2d, SameMaxPool2d, use_same_padding


def windows(n, kernel, stride):
    """TensorFlow's SAME along one side: for each output, the (kernel index, input index) pairs inside the image."""
    outputs = -(-n // stride)
    before = max((outputs - 1) * stride + kernel - n, 0) // 2
    return [
        [(k, i * stride + k - before) for k in range(kernel) if 0 <= i * stride + k - before < n]
        for i in range(outputs)
    ]


@pytest.mark.parametrize("size", [(8, 8), (9, 9), (7, 10), (1, 2)])
@pytest.mark.parametrize("kernel,stride", [(7, 2), (3, 2), (1, 2), (3, 3)])
def test_convolution_equals_a_float64_loop(size, kernel, stride):
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(1, 2, *size, generator=generator, dtype=torch.float64)
    conv = SameConv2d(2, 1, kernel, stride=stride, bias=False, dtype=torch.float64)
    weight = conv.weight.detach().numpy()[0]
    rows, columns = windows(size[0], kernel, stride), windows(size[1], kernel, stride)
    expected = [
        [sum((weight[:, a, b] * images.numpy()[0, :, y, x]).sum() for a, y in row for b, x in col) for col in columns]
        for row in rows
    ]
    np.testing.assert_allclose(conv(images).detach().numpy()[0, 0], expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("size", [(8, 8), (9, 9), (7, 10)])
def test_max_pool_equals_a_loop_on_negative_values(size):
    images = -torch.rand(1, 1, *size, generator=torch.Generator().manual_seed(0)) - 1
    image = images.numpy()[0, 0]
    rows, columns = windows(size[0], 3, 2), windows(size[1], 3, 2)
    expected = [[max(image[y, x] for _, y in row for _, x in col) for col in columns] for row in rows]
    np.testing.assert_array_equal(SameMaxPool2d(3, 2)(images).numpy()[0, 0], expected)


def oracle_network(block, depths):
    """torchvision's ResNet with timm's SAME layers, independent of this package."""
    network = ResNet(block, depths)
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.Conv2d):
                same = Conv2dSame(child.in_channels, child.out_channels, child.kernel_size, child.stride, bias=False)
                setattr(parent, name, same)
            elif isinstance(child, nn.MaxPool2d):
                setattr(parent, name, MaxPool2dSame(child.kernel_size, child.stride))
    network.fc = nn.Identity()
    return network.double()


@pytest.mark.parametrize("block,layer_type", [(BasicBlock, "basic"), (Bottleneck, "bottleneck")])
def test_network_equals_torchvision_with_timms_same_layers(block, layer_type, randomise, from_torchvision):
    depths = [1, 2, 1, 1]
    oracle = randomise(oracle_network(block, depths))
    hidden_sizes = [64 * block.expansion * 2**i for i in range(4)]
    config = ReLICv2Config(layer_type=layer_type, depths=depths, hidden_sizes=hidden_sizes, padding="same")
    model = ReLICv2Model(config).double().eval()
    model.load_state_dict(from_torchvision(oracle.state_dict()))
    symmetric = ReLICv2Model(ReLICv2Config.from_dict(config.to_dict() | {"padding": "symmetric"})).double().eval()
    symmetric.load_state_dict(model.state_dict())
    for size in [(224, 224), (225, 225), (97, 97), (64, 97)]:
        images = torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        with torch.no_grad():
            expected = oracle(images)
            torch.testing.assert_close(model(images).pooler_output.flatten(1), expected, rtol=1e-10, atol=1e-10)
            differs = not torch.allclose(symmetric(images).pooler_output.flatten(1), expected, rtol=1e-3)
        # 225, 113, 57, 29, 15 and 97, 49, 25, 13, 7 are odd all the way: there both rules pad alike.
        assert differs == (size not in [(225, 225), (97, 97)])


def test_keys_and_weights_survive_the_exchange():
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3, 2, 1), nn.Conv2d(4, 4, 3, 1, 1), nn.Conv2d(4, 4, 1, 2), nn.MaxPool2d(3, 2)
    )
    before = network.state_dict(keep_vars=True)
    use_same_padding(network)
    after = network.state_dict(keep_vars=True)
    assert [type(layer) for layer in network] == [SameConv2d, nn.Conv2d, nn.Conv2d, SameMaxPool2d]
    assert before.keys() == after.keys() and all(before[key] is after[key] for key in before)
