# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Names of a ResNet's tensors: from transformers' (which this package shares) to torchvision's and detectron2's."""

import re

_STEM = re.compile(r"embedder\.embedder\.(convolution|normalization)\.(\w+)")
_BLOCK = re.compile(
    r"encoder\.stages\.(\d+)\.layers\.(\d+)\.(?:layer\.(\d+)|shortcut)\.(convolution|normalization)\.(\w+)"
)


def torchvision_name(name: str) -> str:
    """The name in torchvision and timm: conv1, bn1, layer1.0.conv1, layer1.0.downsample.0, …

    Raises:
        KeyError: no tensor of transformers' ResNet.
    """
    if match := _STEM.fullmatch(name):
        kind, leaf = match.groups()
        return f"{'conv1' if kind == 'convolution' else 'bn1'}.{leaf}"
    stage, block, layer, kind, leaf = _block(name)
    if layer is None:
        return f"layer{stage + 1}.{block}.downsample.{0 if kind == 'convolution' else 1}.{leaf}"
    return f"layer{stage + 1}.{block}.{'conv' if kind == 'convolution' else 'bn'}{layer + 1}.{leaf}"


def detectron2_name(name: str) -> str:
    """The name in detectron2: stem.conv1, stem.conv1.norm, res2.0.conv1, res2.0.shortcut.norm, …

    Raises:
        KeyError: no tensor of transformers' ResNet.
    """
    if match := _STEM.fullmatch(name):
        kind, leaf = match.groups()
        return f"stem.conv1{'' if kind == 'convolution' else '.norm'}.{leaf}"
    stage, block, layer, kind, leaf = _block(name)
    convolution = "shortcut" if layer is None else f"conv{layer + 1}"
    return f"res{stage + 2}.{block}.{convolution}{'' if kind == 'convolution' else '.norm'}.{leaf}"


def _block(name: str) -> tuple[int, int, int | None, str, str]:
    match = _BLOCK.fullmatch(name)
    if match is None:
        raise KeyError(f"{name!r} is no tensor of transformers' ResNet")
    stage, block, layer, kind, leaf = match.groups()
    return int(stage), int(block), None if layer is None else int(layer), kind, leaf
