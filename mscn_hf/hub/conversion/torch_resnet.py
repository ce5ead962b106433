# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Finds the ResNets in a dictionary of tensors, reads their architecture off the shapes, and checks every tensor."""

import fnmatch
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from transformers import ResNetConfig, ResNetModel

from .files import CheckpointError
from .torch_keys import ENCODER_PARTS, HEADS, NAMINGS
from .torch_tensors import refuse_empty
from .wording import some

# (layer type, layers in each stage) -> depth. A checkpoint that lost blocks at a stage's end has other numbers.
DEPTHS: dict[tuple[str, tuple[int, ...]], int] = {
    ("basic", (1, 1, 1, 1)): 10,
    ("basic", (2, 2, 2, 2)): 18,
    ("basic", (3, 4, 6, 3)): 34,
    ("bottleneck", (1, 1, 1, 1)): 14,
    ("bottleneck", (2, 2, 2, 2)): 26,
    ("bottleneck", (3, 4, 6, 3)): 50,
    ("bottleneck", (3, 4, 23, 3)): 101,
    ("bottleneck", (3, 8, 36, 3)): 152,
    ("bottleneck", (3, 24, 36, 3)): 200,
}
COUNTER = ".num_batches_tracked"


@dataclass(frozen=True)
class Place:
    """Where a ResNet stands: dictionary in the file, prefix of its names, and how they go on."""

    group: str
    prefix: str
    naming: str

    def __str__(self) -> str:
        return f"{self.group}:{self.prefix}"


@dataclass
class Plan:
    """What becomes of the tensors under a ResNet's prefix.

    Args:
        config: the architecture.
        names: transformers' name -> name in the file.
        filled: transformers' names of counters that are not in the file and become 0.
        dropped: names in the file of heads, which are left out.
        classifier: names in the file of weight and bias of `fc`, where there is such a layer.
    """

    config: ResNetConfig
    names: dict[str, str]
    filled: list[str] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)
    classifier: tuple[str, str] | None = None

    @property
    def depth(self) -> int:
        """Layers by the usual count, the classifier included."""
        return DEPTHS[self.config.layer_type, tuple(self.config.depths or ())]

    @property
    def width(self) -> float:
        """Multiple of the standard number of channels."""
        return self.config.embedding_size / 64


def find_resnets(groups: Mapping[str, Mapping[str, Tensor]]) -> list[Place]:
    """Every place where the names of a ResNet begin, complete or not."""
    found = []
    for group, tensors in groups.items():
        for naming, names in NAMINGS.items():
            for name in tensors:
                prefix = name.removesuffix(names.anchor)
                if name != prefix and (not prefix or prefix.endswith(".")) and _has_stem(tensors, prefix, naming):
                    found.append(Place(group, prefix, naming))
    return found


def _has_stem(tensors: Mapping[str, Tensor], prefix: str, naming: str) -> bool:
    """A prefix with nothing but layers is taken for a ResNet too, so that its error can say what is missing.

    But "4.0.conv1" may be a part of anything.
    """
    return naming != "sequential" or prefix + NAMINGS[naming].stem in tensors


def plan_resnet(
    tensors: Mapping[str, Tensor],
    place: Place,
    others: Sequence[Place] = (),
    drop: Sequence[str] = (),
    fields: Mapping[str, Any] | None = None,
) -> Plan:
    """Gives every tensor under a prefix its place in transformers' ResNet, or a reason why that cannot be.

    Args:
        tensors: the dictionary that the ResNet stands in.
        place: where in it.
        others: further ResNets of the file, whose tensors are not this one's.
        drop: patterns (`*` and `?`) of names that may be left out beside the usual heads.
        fields: fields of ResNetConfig that no shape tells.

    Raises:
        CheckpointError: not a ResNet that transformers' class computes, or not a complete one; the message says why.
    """
    translate = NAMINGS[place.naming].translate
    inner = tuple(p.prefix for p in others if p.group == place.group and len(p.prefix) > len(place.prefix))
    names: dict[str, str] = {}
    heads, left = [], []
    for name in tensors:
        if not name.startswith(place.prefix) or name.startswith(inner):
            continue
        rest = name.removeprefix(place.prefix)
        if new := translate(rest):
            names[new] = name
        elif HEADS.fullmatch(rest) or (_matches(name, drop) and not ENCODER_PARTS.fullmatch(rest)):
            heads.append(name)
        else:
            left.append(name)
    refuse_empty({name: tensors[name] for name in names.values()})
    _refuse_other_architectures(tensors, place, names, left)
    config = _config(tensors, names, dict(fields or {}))
    with torch.device("meta"):
        expected = ResNetModel(config).state_dict()
    filled = [name for name in expected if name not in names and name.endswith(COUNTER)]
    missing = [name for name in expected if name not in names and not name.endswith(COUNTER)]
    if missing:
        raise CheckpointError(f"{len(missing)} tensors are missing, in transformers' names: {some(missing)}")
    fc = (place.prefix + "fc.weight", place.prefix + "fc.bias")
    plan = Plan(config, names, filled, heads, fc if fc[0] in heads and fc[1] in heads else None)
    left += [names[name] for name in names if name not in expected]
    if left:
        raise CheckpointError(
            f"{len(left)} tensors have no place in a ResNet-{plan.depth}: {some(left)}. "
            "If they belong to a head, leave them out with --drop PATTERN"
        )
    for name, meta in expected.items():
        if name in names and tensors[names[name]].shape != meta.shape:
            shape = tuple(tensors[names[name]].shape)
            raise CheckpointError(f"{names[name]} has the shape {shape}, expected {tuple(meta.shape)}")
    return plan


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def _refuse_other_architectures(
    tensors: Mapping[str, Tensor], place: Place, names: Mapping[str, str], left: Sequence[str]
) -> None:
    """Reasons first: relatives of the ResNet would otherwise end as lists of missing and left-over tensors."""
    rests = [name.removeprefix(place.prefix) for name in left]
    stem = tensors.get(names.get("embedder.embedder.convolution.weight", ""))
    if stem is None:
        if any(re.match(r"(?:conv1\.\d|stem\.)", rest) for rest in rests):
            raise CheckpointError("its stem has several convolutions (a deep stem); transformers' ResNet has one 7x7")
        raise CheckpointError(f"{place.prefix}{NAMINGS[place.naming].stem}, the first convolution, is missing")
    if stem.ndim != 4 or stem.shape[2:] != (7, 7):
        size = "x".join(map(str, stem.shape[2:]))
        raise CheckpointError(f"its first convolution is {size} (small images?); transformers' ResNet has 7x7")
    if stem.shape[1] != 3:
        raise CheckpointError(
            f"it takes images of {stem.shape[1]} channels; how to normalise them does not stand in a checkpoint"
        )
    for rest in rests:
        if re.fullmatch(r"layer\d+\.\d+\.downsample\.[12]\..*", rest):
            raise CheckpointError(
                f"its shortcuts average before their convolution ({rest}: a ResNet-D); transformers' do not"
            )
        if re.fullmatch(r"layer\d+\.\d+\.(?:se|eca|attn|gc)\..*", rest):
            raise CheckpointError(f"its layers have attention of their own ({rest}); transformers' ResNet has none")
        if re.fullmatch(r"(?:layer\d+\.\d+\.)?conv\d\.bias", rest):
            raise CheckpointError(f"its convolutions have biases ({rest}); those of transformers' ResNet have none")
    if "embedder.embedder.normalization.running_mean" not in names:
        raise CheckpointError("its normalisation keeps no running statistics (not batch norm)")
    for new, name in names.items():
        layer = re.fullmatch(r"(encoder\.stages\.\d+\.layers\.\d+)\.layer\.1\.convolution\.weight", new)
        outer = layer and names.get(f"{layer[1]}.layer.2.convolution.weight")
        if not layer or not outer or tensors[name].ndim != 4 or tensors[outer].ndim != 4:
            continue
        inner_out, inner_in = tensors[name].shape[:2]
        if inner_in < inner_out:
            raise CheckpointError(
                f"{name} works in {inner_out // inner_in} groups (a ResNeXt); transformers' ResNet has no groups"
            )
        if inner_out * 4 != tensors[outer].shape[0]:
            raise CheckpointError(
                f"{name} has {inner_out} channels inside a layer of {tensors[outer].shape[0]} (a wide ResNet such as "
                "wide_resnet50_2); in transformers' ResNet the inside has a quarter"
            )


def _config(tensors: Mapping[str, Tensor], names: Mapping[str, str], fields: dict[str, Any]) -> ResNetConfig:
    stages: dict[int, set[int]] = {}
    for name in names:
        if match := re.match(r"encoder\.stages\.(\d+)\.layers\.(\d+)\.", name):
            stages.setdefault(int(match[1]), set()).add(int(match[2]))
    depths = [len(stages[stage]) for stage in sorted(stages)]
    if sorted(stages) != list(range(4)):
        raise CheckpointError(f"it has the stages {[stage + 1 for stage in sorted(stages)]}, expected 1 to 4")
    for stage, layers in stages.items():
        if sorted(layers) != list(range(len(layers))):
            raise CheckpointError(f"stage {stage + 1} has the layers {sorted(layers)}: some between them are missing")
    bottleneck = "encoder.stages.0.layers.0.layer.2.convolution.weight" in names
    layer_type = "bottleneck" if bottleneck else "basic"
    if (layer_type, tuple(depths)) not in DEPTHS:
        known = ", ".join(str(list(layers)) for kind, layers in DEPTHS if kind == layer_type)
        raise CheckpointError(
            f"its stages have {depths} {layer_type} layers; ResNets known here have {known}. Are layers missing?"
        )
    last = 2 if bottleneck else 1
    outputs = [f"encoder.stages.{stage}.layers.0.layer.{last}.convolution.weight" for stage in range(4)]
    if absent := [name for name in outputs if name not in names]:
        raise CheckpointError(f"{len(absent)} tensors are missing, in transformers' names: {some(absent)}")
    return ResNetConfig(
        embedding_size=tensors[names["embedder.embedder.convolution.weight"]].shape[0],
        hidden_sizes=[tensors[names[name]].shape[0] for name in outputs],
        depths=depths,
        layer_type=layer_type,
        **fields,
    )
