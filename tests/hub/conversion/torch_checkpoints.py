# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Checkpoints as the field's training scripts save them, around small ResNets of torchvision."""

import argparse
from collections import OrderedDict
from itertools import pairwise

import torch
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, ResNet


def small_resnet(layers=(1, 1, 1, 1), channels=8, block=BasicBlock, seed=0, **options) -> ResNet:
    """torchvision's ResNet with few channels, and batch norm that is anything but fresh."""
    torch.manual_seed(seed)
    network = ResNet(block, list(layers), **options)
    norm = network._norm_layer
    network.conv1 = nn.Conv2d(3, channels, kernel_size=7, stride=2, padding=3, bias=False)
    network.bn1 = norm(channels)
    network.inplanes = channels
    for stage, count in enumerate(layers):
        made = network._make_layer(block, channels * 2**stage, count, stride=1 if stage == 0 else 2)
        setattr(network, f"layer{stage + 1}", made)
    network.fc = nn.Linear(channels * 8 * block.expansion, 1000)
    return unsettle(network)


def unsettle(network: nn.Module) -> nn.Module:
    """Random statistics, scales and counters for every batch norm: what is mixed up or lost shows in the features."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean)
            nn.init.uniform_(module.running_var, 0.5, 2.0)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias)
            module.num_batches_tracked.fill_(int(torch.randint(1, 10_000, ())))
    return network.eval()


def under(prefix: str, state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {prefix + name: tensor for name, tensor in state.items()}


def body(network: ResNet) -> dict[str, Tensor]:
    """The state dict without the classifier."""
    return OrderedDict((name, tensor) for name, tensor in network.state_dict().items() if not name.startswith("fc."))


def mlp(*sizes: int, bias: bool = True) -> dict[str, Tensor]:
    """An nn.Sequential of Linear, batch norm and ReLU, Linear at the end."""
    parts: list[nn.Module] = []
    for before, after in pairwise(sizes):
        parts += [nn.Linear(before, after, bias=bias), nn.BatchNorm1d(after), nn.ReLU()]
    return nn.Sequential(*parts[:-2]).state_dict()


def trained(network: nn.Module) -> dict:
    """The state of an optimizer with momentum: tensors under numbers."""
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
    for parameter in network.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    return optimizer.state_dict()


def sequential(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Names after nn.Sequential(*resnet.children())."""
    index = {"conv1": 0, "bn1": 1, "layer1": 4, "layer2": 5, "layer3": 6, "layer4": 7}
    return {f"{index[name.split('.')[0]]}.{name.split('.', 1)[1]}": tensor for name, tensor in state.items()}


def checkpoints(wanted: ResNet, other: ResNet) -> dict[str, dict]:
    """Family's layout -> content of its file. `wanted` is what should come out, `other` is the other network."""
    one, two, width = body(wanted), body(other), wanted.fc.in_features
    junk = {"epoch": 200, "optimizer": trained(nn.Linear(3, 3))}
    queue = {"module.queue": torch.randn(16, 64), "module.queue_ptr": torch.zeros(1, dtype=torch.long)}
    moco_heads = {
        "moco": {"fc.weight": torch.randn(128, width), "fc.bias": torch.randn(128)},
        "mocov2": under("fc.", {f"{i}.{n}": torch.randn(4, 4) for i in (0, 2) for n in ("weight", "bias")}),
    }
    swav = {
        **under("module.", one),
        **under("module.projection_head.", mlp(width, 32, 16)),
        "module.prototypes.weight": torch.randn(30, 16),
    }
    heads = under("projection_head.layers.", mlp(width, 16, 16))
    return {
        **{
            name: {
                "arch": "resnet50",
                "state_dict": {
                    **under("module.encoder_q.", one | head),
                    **under("module.encoder_k.", two | head),
                    **queue,
                },
                **junk,
            }
            for name, head in moco_heads.items()
        },
        "mocov3": {
            "state_dict": {
                **under("module.momentum_encoder.", two | under("fc.", mlp(width, 16, 8))),
                **under("module.base_encoder.", one | under("fc.", mlp(width, 16, 8))),
                **under("module.predictor.", mlp(8, 16, 8)),
            },
            **junk,
        },
        "simsiam": {
            "state_dict": {
                **under("module.encoder.", one | under("fc.", mlp(width, 16, 8))),
                **under("module.predictor.", mlp(8, 16, 8)),
            },
            **junk,
        },
        "swav": swav,
        "swav, full": {"state_dict": swav, "amp": {"loss_scaler0": {"loss_scale": 65536.0}}, **junk},
        "dino": {
            "student": {**under("module.backbone.", two), **under("module.head.mlp.", mlp(width, 16, 8))},
            "teacher": {**under("module.backbone.", one), **under("module.head.mlp.", mlp(width, 16, 8))},
            "dino_loss": {"center": torch.zeros(1, 8)},
            "args": argparse.Namespace(arch="resnet50", lr=0.03),
            "fp16_scaler": {"scale": 65536.0},
            **junk,
        },
        "barlow_twins": {
            "model": {
                **under("module.backbone.", one),
                **under("module.projector.", mlp(width, 16, 16, bias=False)),
                **under("module.bn.", nn.BatchNorm1d(16, affine=False).state_dict()),
            },
            **junk,
        },
        "vicreg": {
            "model": {**under("module.backbone.", one), **under("module.projector.", mlp(width, 16, 16))},
            **junk,
        },
        "vissl": {
            "phase_idx": 100,
            "classy_state_dict": {
                "base_model": {
                    "meta": {"config": {}},
                    "model": {"trunk": under("_feature_blocks.", one), "heads": under("0.clf.", mlp(width, 8, 8))},
                },
                "optimizer": {"optim": trained(nn.Linear(3, 3))},
            },
        },
        "solo_learn": {
            "state_dict": {
                **under("momentum_backbone.", two),
                **under("backbone.", one),
                **under("classifier.", nn.Linear(width, 10).state_dict()),
                **under("projector.", mlp(width, 16, 8)),
            },
            "pytorch-lightning_version": "1.7.7",
            **junk,
        },
        "lightly": {
            "state_dict": {
                **under("backbone.", sequential(one)),
                **under("backbone_momentum.", sequential(two)),
                **heads,
            },
            **junk,
        },
    }
