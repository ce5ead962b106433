# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""What every objective receives and returns."""

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

PAIRINGS = ("all", "first")


def view_pairs(num_views: int, pairing: str) -> tuple[tuple[int, int], ...]:
    """List the pairs of views (i, j), i < j, that a loss compares.

    Args:
        num_views: V, at least 2.
        pairing: "all" for each of the V (V - 1) / 2 pairs; "first" for (0, k) only, MSCN's asymmetric pairs: one
            anchor view against each of its masked partners, which are not compared among themselves.

    Raises:
        ValueError: for fewer than two views or another pairing.
    """
    if num_views < 2:
        raise ValueError(f"an objective compares at least 2 views of each image, got {num_views}")
    if pairing == "all":
        return tuple((i, j) for i in range(num_views) for j in range(i + 1, num_views))
    if pairing == "first":
        return tuple((0, k) for k in range(1, num_views))
    raise ValueError(f"pairing must be one of {', '.join(PAIRINGS)}, got {pairing!r}")


def unit_length(z_BD: Tensor) -> Tensor:
    """Scale each row of (B, D) to length 1, in float32 (float64 stays float64); call it outside autocast."""
    return F.normalize(z_BD if z_BD.dtype == torch.float64 else z_BD.float(), dim=-1)


@dataclass(frozen=True)
class ViewEmbeddings:
    """The embeddings of V views of one batch.

    Attributes:
        online: V tensors (B, D), behind the projector and, where there is one, the predictor; they carry gradients.
        target: V entries: (B, D) from the target network, without gradient, or None for a view that it did not see.
        pairs: pairs of views to compare, see `view_pairs`.
    """

    online: tuple[Tensor, ...]
    target: tuple[Tensor | None, ...]
    pairs: tuple[tuple[int, int], ...]

    def directions(self, pair: tuple[int, int]) -> list[tuple[Tensor, Tensor]]:
        """Return (online, target) embeddings of a pair: both directions, less those whose target view is missing."""
        found = []
        for online_view, target_view in (pair, pair[::-1]):
            target_BD = self.target[target_view]
            if target_BD is not None:
                found.append((self.online[online_view], target_BD))
        return found


class Objective(nn.Module):
    """A loss on view embeddings. One file and one line in `OBJECTIVES` make a new one.

    A subclass takes its settings (`SiameseConfig.objective_params`) as keyword arguments, checks them, and may own
    parameters such as prototypes. It computes in float32 whatever the autocast state (`without_autocast`).

    Attributes:
        uses_target: whether it reads `ViewEmbeddings.target`; a target network is built only for those that do.
    """

    uses_target: ClassVar[bool] = False

    def forward(self, views: ViewEmbeddings) -> dict[str, Tensor]:
        """Return named scalar terms, already weighted; the loss is their sum.

        Each term is a mean over this process's batch, such that the mean over processes is the value for the joined
        batch.
        """
        raise NotImplementedError(f"{type(self).__name__} does not define forward")


def without_autocast(z: Tensor) -> torch.autocast:
    """Return a context that switches autocast off on the device of `z`."""
    return torch.autocast(device_type=z.device.type, enabled=False)
