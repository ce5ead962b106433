# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Weights out of a checkpoint as a state dict in float32, and the list of what stays behind."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from .files import CheckpointError
from .torch_files import TorchFile

WRAPPERS = ("module", "model")  # first parts of a name that say nothing


def read_weights(file: TorchFile, group: str, names: Mapping[str, str]) -> dict[str, Tensor]:
    """Tensors of one dictionary by their new names: numbers in float32, counters in int64.

    Raises:
        CheckpointError: a weight is not of a floating type, empty, not finite, or a variance is negative; or together
            they are larger than the file.
    """
    _refuse_shared(file, group, names)
    weights = {}
    for name, tensor in file.read(group, names):
        if name.endswith("num_batches_tracked"):
            weights[name] = tensor.to(torch.int64)
            continue
        if not tensor.dtype.is_floating_point:
            raise CheckpointError(f"{file.path.name}: {names[name]} holds {tensor.dtype}, not weights")
        tensor = tensor.to(torch.float32).contiguous()
        low, high = tensor.aminmax()  # one pass; both are nan where any value is
        if not (math.isfinite(low) and math.isfinite(high)):
            raise CheckpointError(f"{file.path.name}: {names[name]} holds values that are not finite in float32")
        if name.endswith("running_var") and low < 0:
            raise CheckpointError(f"{file.path.name}: {names[name]} holds negative variances")
        weights[name] = tensor
    return weights


def refuse_empty(tensors: Mapping[str, Tensor]) -> None:
    """Raises CheckpointError if a tensor has an axis of size 0."""
    for name, tensor in tensors.items():
        if 0 in tensor.shape:
            raise CheckpointError(f"{name} has the shape {tuple(tensor.shape)} and holds no numbers")


def _refuse_shared(file: TorchFile, group: str, names: Mapping[str, str]) -> None:
    """Each tensor becomes one of its own: many views of one storage would fill more memory than the file.

    torch.save and safetensors do not compress, so what was trained is not larger than its file.
    """
    taken = {name: file.groups[group][name] for name in names.values()}
    refuse_empty(taken)
    needed = sum(tensor.numel() * tensor.element_size() for tensor in taken.values())
    if needed > (size := file.path.stat().st_size):
        raise CheckpointError(
            f"{file.path.name} uses the same numbers for several tensors, which training does not do: its "
            f"{len(taken)} weights take {needed:,} bytes, the file {size:,}"
        )


def left_out(file: TorchFile, used: Mapping[str, set[str]], prefix: str = "") -> dict[str, int]:
    """Everything in the file that was not used: "dictionary:module.*" -> number of tensors; other entries -> 0.

    Args:
        file: the checkpoint.
        used: dictionary -> names that became weights.
        prefix: of the encoder; what lies beside it under the prefix is named by its next part.
    """
    counts: dict[str, int] = {}
    for group, tensors in file.groups.items():
        for name in tensors:
            if name not in used.get(group, ()):
                label = f"{group}:" * bool(group) + _module(name, prefix if group in used else "")
                counts[label] = counts.get(label, 0) + 1
    return counts | dict.fromkeys(file.other, 0)


def _module(name: str, prefix: str) -> str:
    """The module that a tensor belongs to, `module.encoder_k.*` for `module.encoder_k.conv1.weight`."""
    if not (prefix and name.startswith(prefix)):
        prefix = ""
        while name.removeprefix(prefix).partition(".")[0] in WRAPPERS and "." in name.removeprefix(prefix):
            prefix += name.removeprefix(prefix).partition(".")[0] + "."
    head, dot, _ = name.removeprefix(prefix).partition(".")
    return prefix + head + (".*" if dot else "")
