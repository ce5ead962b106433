# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Joining the batches of all processes, with the gradient of the joined batch."""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


def world_size() -> int:
    """Return the number of processes R, 1 when torch.distributed is not running."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def process_rank() -> int:
    """Return this process's rank, 0 when torch.distributed is not running."""
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


class _AllGather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, local: Tensor) -> Tensor:
        ctx.rows = local.shape[0]
        local = local.contiguous()
        joined = local.new_empty((world_size() * local.shape[0], *local.shape[1:]))
        dist.all_gather(list(joined.chunk(world_size())), local)
        return joined

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> Tensor:
        # Every process's loss depends on this process's rows, so their gradients are summed. Not averaged: DDP
        # already divides by R, and with that sum / R is the gradient of the mean of the processes' losses.
        grad = grad_outputs[0].clone(memory_format=torch.contiguous_format)
        dist.all_reduce(grad)
        first = process_rank() * ctx.rows
        return grad[first : first + ctx.rows]


def all_gather_batch(local: Tensor) -> Tensor:
    """Join the batches of all processes along the first axis, in order of rank; gradients flow back to all of them.

    The gradient is that of the *sum* over processes of their losses. When each process takes the mean loss over its
    own anchors against the joined batch, DDP's averaging of parameter gradients makes R processes equal to one process
    with the joined batch, and the mean of the R reported losses is the joint loss.

    Args:
        local: (B, ...) of this process. B and the other sizes must be equal on all processes, and all of them must
            call this the same number of times: it is a collective operation.

    Returns:
        (R * B, ...), this process's rows at `[rank * B, (rank + 1) * B)`; `local` itself when R is 1.
    """
    if world_size() == 1:
        return local
    return _AllGather.apply(local)
