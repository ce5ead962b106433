# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""The target network: an exponential moving average of the online one, which gets no gradient."""

from collections.abc import Iterable
from itertools import chain

import torch
from torch import Tensor, nn


@torch.no_grad()
def ema_update(target: Iterable[Tensor], online: Iterable[Tensor], rate: float) -> None:
    """Set every target tensor to `rate * target + (1 - rate) * online`, in place, all tensors in one call.

    Pass parameters only. Batch-norm buffers are left out on purpose: the target runs in train mode and collects its
    own statistics (as in deepmind-research/byol), which belong to its own, slower weights.

    Args:
        target: tensors to change, any shapes.
        online: tensors of the same shapes in the same order.
        rate: the share that stays, in [0, 1]; BYOL's tau.

    Raises:
        ValueError: if `rate` lies outside [0, 1] or the two lists differ in length.
    """
    if not 0.0 <= rate <= 1.0:
        raise ValueError(f"the EMA rate must lie in [0, 1], got {rate}")
    targets, onlines = list(target), list(online)
    if len(targets) != len(onlines):
        raise ValueError(f"target and online network differ: {len(targets)} against {len(onlines)} tensors")
    if targets:
        torch._foreach_lerp_(targets, onlines, 1.0 - rate)


@torch.no_grad()
def copy_weights(target: nn.Module, online: nn.Module) -> None:
    """Make `target` equal to `online`, parameters and buffers (non-persistent ones too), in place."""
    pairs = zip(
        chain(target.parameters(), target.buffers()), chain(online.parameters(), online.buffers()), strict=True
    )
    for theirs, ours in pairs:
        theirs.copy_(ours)
