# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Where published torch checkpoints keep their ResNet, and how they name its layers: tables, and nothing else.

A place is written "dictionary:prefix": MoCo's query encoder stands at `state_dict:module.encoder_q.`.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

_NORM = "(weight|bias|running_mean|running_var|num_batches_tracked)"
_STEM_NORM = re.compile(rf"bn1\.{_NORM}")
_LAYER = re.compile(rf"layer(\d+)\.(\d+)\.(?:conv(\d)\.weight|bn(\d)\.{_NORM})")
_SHORTCUT = re.compile(rf"layer(\d+)\.(\d+)\.downsample\.(?:0\.weight|1\.{_NORM})")


def from_torchvision(name: str) -> str | None:
    """transformers' name of a tensor that torchvision (and timm, and most others) calls `name`; None if none."""
    if name == "conv1.weight":
        return "embedder.embedder.convolution.weight"
    if match := _STEM_NORM.fullmatch(name):
        return f"embedder.embedder.normalization.{match[1]}"
    if match := _LAYER.fullmatch(name):
        stage, block, conv, norm, kind = match.groups()
        place = f"encoder.stages.{int(stage) - 1}.layers.{block}.layer.{int(conv or norm) - 1}"
        return f"{place}.convolution.weight" if conv else f"{place}.normalization.{kind}"
    if match := _SHORTCUT.fullmatch(name):
        stage, block, kind = match.groups()
        place = f"encoder.stages.{int(stage) - 1}.layers.{block}.shortcut"
        return f"{place}.normalization.{kind}" if kind else f"{place}.convolution.weight"
    return None


# nn.Sequential(*resnet.children()): 2 and 3 are ReLU and max-pool, without tensors.
_CHILDREN = {"0": "conv1", "1": "bn1", "4": "layer1", "5": "layer2", "6": "layer3", "7": "layer4"}


def from_sequential(name: str) -> str | None:
    """As `from_torchvision`, of a ResNet whose children were put into an `nn.Sequential` (lightly's examples)."""
    child, dot, rest = name.partition(".")
    return from_torchvision(_CHILDREN[child] + dot + rest) if child in _CHILDREN else None


def from_transformers(name: str) -> str | None:
    """transformers' own names stay as they are."""
    return name if name.startswith(("embedder.", "encoder.")) else None


@dataclass(frozen=True)
class Naming:
    """One way to name the tensors of a ResNet.

    Args:
        anchor: names a tensor that every such ResNet has; what stands in front of it is the prefix.
        stem: name of the first convolution.
        translate: name without prefix -> transformers' name.
    """

    anchor: str
    stem: str
    translate: Callable[[str], str | None]


NAMINGS: Mapping[str, Naming] = {
    "torchvision": Naming("layer1.0.conv1.weight", "conv1.weight", from_torchvision),
    "sequential": Naming("4.0.conv1.weight", "0.weight", from_sequential),
    "transformers": Naming(
        "encoder.stages.0.layers.0.layer.0.convolution.weight",
        "embedder.embedder.convolution.weight",
        from_transformers,
    ),
}


@dataclass(frozen=True)
class Layout:
    """One family's checkpoint.

    Args:
        family: its key in FAMILIES.
        networks: name -> pattern of its place; the first is the one whose scores the family publishes.
        marks: patterns that a "dictionary:name" of some tensor must match, to tell families with equal places apart.
        any_method: whether a library lays out every method's weights so, hence a method's family may be named.
    """

    family: str
    networks: Mapping[str, str]
    marks: tuple[str, ...] = ()
    any_method: bool = False


LAYOUTS = (
    Layout(
        "mocov2",
        {"query": r"state_dict:module\.encoder_q\.", "key": r"state_dict:module\.encoder_k\."},
        (r"state_dict:module\.encoder_q\.fc\.2\.weight",),
    ),
    Layout(
        "moco",
        {"query": r"state_dict:module\.encoder_q\.", "key": r"state_dict:module\.encoder_k\."},
        (r"state_dict:module\.encoder_q\.fc\.weight",),
    ),
    Layout(
        "mocov3",
        {"base": r"state_dict:module\.base_encoder\.", "momentum": r"state_dict:module\.momentum_encoder\."},
    ),
    Layout("simsiam", {"encoder": r"state_dict:module\.encoder\."}, (r"state_dict:module\.predictor\..*",)),
    Layout("swav", {"encoder": r"(?:state_dict)?:module\."}, (r".*:module\.prototypes\.weight",)),
    Layout("dino", {"teacher": r"teacher:(?:module\.)?backbone\.", "student": r"student:(?:module\.)?backbone\."}),
    # Both share one code base; VICReg's projector has biases, Barlow Twins' normalises what comes out of it.
    Layout("barlow_twins", {"backbone": r"model:module\.backbone\."}, (r"model:module\.bn\.running_mean",)),
    Layout("vicreg", {"backbone": r"model:module\.backbone\."}, (r"model:module\.projector\.0\.bias",)),
    Layout("vissl", {"trunk": r".*:(?:.*\.)?_feature_blocks\."}, any_method=True),
    Layout(
        "solo_learn",
        {
            "backbone": r"state_dict:(?:backbone|encoder)\.",
            "momentum": r"state_dict:momentum_(?:backbone|encoder)\.",
        },
        (r"state_dict:classifier\.weight",),
        any_method=True,
    ),
    # lightly's MoCo benchmark names the momentum encoder `backbone` and scores it.
    Layout(
        "lightly",
        {
            "backbone": r"state_dict:backbone\.",
            "second": r"state_dict:(?:backbone_momentum|teacher_backbone|query_backbone|student_backbone)\.",
        },
        (r"state_dict:(?:\w*projection_head|online_classifier).*",),
        any_method=True,
    ),
)

# Parts under the encoder's own prefix that are trained beside it and are no part of it.
HEADS = re.compile(
    r"(?:fc|heads?|classifier|last_linear|linear|projector|projection(?:_head)?|proj|mlp(?:_head)?|predictor"
    r"|prediction(?:_head)?|pred|prototypes|queue(?:_ptr)?)(?:\..*)?"
)
# Left-over tensors with these names belong to the network and are never dropped.
ENCODER_PARTS = re.compile(r"(?:conv|bn|norm|stem|layer|stage|block|embedder|encoder|\d)[\w]*(?:\..*)?")

# Evaluation preprocessing other than resizing to 256 by bilinear interpolation with ImageNet's mean and deviation.
PREPROCESSING: Mapping[str, Mapping[str, object]] = {
    "dino": {"resample": 3},  # bicubic
    "swav": {"image_std": (0.228, 0.224, 0.225)},  # not 0.229: so written in SwAV's training and evaluation
}
