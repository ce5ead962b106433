# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Names of tensors at every depth, against the libraries' own networks and detectron2's definition of its own."""

import pytest
import timm
import torch
import torchvision
from torchvision.models.resnet import Bottleneck, ResNet

from mscn_hf.hub.export.names import detectron2_name, torchvision_name
from mscn_hf.models import ReLICv2Config, ReLICv2Model
from mscn_hf.models.configuration_siamese_resnet import RESNET_LAYERS


def shapes(network):
    return {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}


def without_classifier(found):
    return {name: shape for name, shape in found.items() if not name.startswith("fc.")}


def encoder(depth, width=1):
    with torch.device("meta"):
        return shapes(ReLICv2Model(ReLICv2Config.resnet(depth, width)))


@pytest.mark.parametrize("depth", RESNET_LAYERS)
def test_timm_and_torchvision(depth):
    got = {torchvision_name(name): shape for name, shape in encoder(depth).items()}
    with torch.device("meta"):
        theirs = getattr(torchvision.models, f"resnet{depth}", lambda: ResNet(Bottleneck, [3, 24, 36, 3]))()
        assert got == without_classifier(shapes(theirs))
        if depth in (18, 50, 200):  # the rest differ in numbers of blocks alone
            assert got == without_classifier(shapes(timm.create_model(f"resnet{depth}")))


def detectron2_table(depth, width):
    """Names and shapes in detectron2's ResNet with frozen batch norm, from its definition.

    BasicStem, BasicBlock, BottleneckBlock and build_resnet_backbone of detectron2/modeling/backbone/resnet.py:
    a convolution holds its norm; a block has a shortcut where its numbers of channels differ.
    """
    table = {}

    def convolution(name, into, out, kernel):
        table[f"{name}.weight"] = (out, into, kernel, kernel)
        for leaf in ("weight", "bias", "running_mean", "running_var"):
            table[f"{name}.norm.{leaf}"] = (out,)

    basic = depth in (18, 34)
    blocks = {18: [2, 2, 2, 2], 34: [3, 4, 6, 3], 50: [3, 4, 6, 3], 101: [3, 4, 23, 3], 152: [3, 8, 36, 3]}[depth]
    into, out, narrow = 64 * width, (64 if basic else 256) * width, 64 * width
    convolution("stem.conv1", 3, into, 7)
    for stage, number in enumerate(blocks):
        for block in range(number):
            name = f"res{stage + 2}.{block}"
            if into != out:
                convolution(f"{name}.shortcut", into, out, 1)
            if basic:
                convolution(f"{name}.conv1", into, out, 3)
                convolution(f"{name}.conv2", out, out, 3)
            else:
                convolution(f"{name}.conv1", into, narrow, 1)
                convolution(f"{name}.conv2", narrow, narrow, 3)
                convolution(f"{name}.conv3", narrow, out, 1)
            into = out
        out, narrow = 2 * out, 2 * narrow
    return table


@pytest.mark.parametrize(("depth", "width"), [(18, 1), (34, 1), (50, 1), (50, 2), (101, 1), (152, 4)])
def test_detectron2(depth, width):
    got = {detectron2_name(name): shape for name, shape in encoder(depth, width).items()}
    assert {name: shape for name, shape in got.items() if shape} == detectron2_table(depth, width)


@pytest.mark.parametrize("name", ["classifier.1.weight", "encoder.stages.0.layers.0.gate.weight", "conv1.weight"])
def test_other_tensors(name):
    for rename in (torchvision_name, detectron2_name):
        with pytest.raises(KeyError, match=name):
            rename(name)
