# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""What every objective receives and returns."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

PAIRINGS = ("all", "first")


def view_pairs(
    num_views: int, pairing: str, target_views: Collection[int] | None = None
) -> tuple[tuple[int, int], ...]:
    """List the pairs of views (i, j), i < j, that a loss compares.

    Args:
        num_views: V.
        pairing: "all" for each of the V (V - 1) / 2 pairs; "first" for (0, k) only, MSCN's asymmetric pairs: one
            anchor view against each of its masked partners, which are not compared among themselves.
        target_views: where given, every pair has at least one of these views (small crops are not compared with
            one another).

    Raises:
        ValueError: for another pairing.
    """
    if pairing == "all":
        pairs = [(i, j) for i in range(num_views) for j in range(i + 1, num_views)]
    elif pairing == "first":
        pairs = [(0, k) for k in range(1, num_views)]
    else:
        raise ValueError(f"pairing must be one of {', '.join(PAIRINGS)}, got {pairing!r}")
    return tuple(pair for pair in pairs if target_views is None or not set(pair).isdisjoint(target_views))


def view_directions(
    pairs: Iterable[tuple[int, int]],
    online_views: Collection[int],
    target_views: Collection[int],
    self_pairs: bool = False,
) -> tuple[tuple[int, int], ...]:
    """List the (online view, target view) comparisons of a loss with a target network.

    Args:
        pairs: from `view_pairs`; each gives up to two directions.
        online_views, target_views: which views pass the online and the target network.
        self_pairs: also compare a view with itself, seen through both networks.
    """
    found = [way for pair in pairs for way in (pair, pair[::-1]) if way[0] in online_views and way[1] in target_views]
    if self_pairs:
        found += [(view, view) for view in sorted(set(online_views) & set(target_views))]
    return tuple(found)


def unit_length(z_BD: Tensor) -> Tensor:
    """Scale each row of (B, D) to length 1, in float32 (float64 stays float64); call it outside autocast."""
    return F.normalize(z_BD if z_BD.dtype == torch.float64 else z_BD.float(), dim=-1)


@dataclass(frozen=True)
class ViewEmbeddings:
    """The embeddings of V views of one batch.

    Attributes:
        online: V entries: (B, D) behind the projector and, where there is one, the predictor, with gradient; or None
            for a view that does not pass the online network, or not in this call (see `Objective.per_view`).
        target: V entries: (B, D) from the target network, without gradient, or None for a view that it did not see.
        pairs: pairs of views to compare, see `view_pairs`.
        directions: (online view, target view) comparisons, see `view_directions`; all of them, also those whose
            online view is None in this call: a mean over them is the same however the views are divided over calls.
        keys: int64 (B,) on any device, what random choices of the objective depend on (`Draws.from_keys`): functions
            of (seed, epoch, position in the data), so that neither the number of processes nor a resume changes them.
        labels: int64 (B,), -1 where unknown; only for objectives that say `uses_labels`.
    """

    online: tuple[Tensor | None, ...]
    target: tuple[Tensor | None, ...]
    pairs: tuple[tuple[int, int], ...]
    directions: tuple[tuple[int, int], ...] = ()
    keys: Tensor | None = None
    labels: Tensor | None = None

    def present(self) -> list[tuple[int, int]]:
        """Return the directions whose online view is there in this call."""
        return [(i, j) for i, j in self.directions if self.online[i] is not None]


class Objective(nn.Module, ABC):
    """A loss on view embeddings. One file and one line in `OBJECTIVES` make a new one.

    A subclass takes its settings (`SiameseConfig.objective_params`) as keyword arguments, checks them, and may own
    parameters such as prototypes; names in `no_weight_decay()` (timm's convention) get none. It computes in float32
    whatever the autocast state (`without_autocast`).

    Attributes:
        uses_target: whether it reads `ViewEmbeddings.target`; a target network is built only for those that do.
        uses_labels: whether it reads `ViewEmbeddings.labels`.
        takes_size: whether its constructor takes `size`, the embedding size D.
        per_view: whether the loss is a sum over online views of terms that depend on no other online view, so that
            each view's backward pass can be done before the next view's forward pass. It is then called once for each
            online view, with the others None, and the results add up to the loss.
        self_pairs: whether a view is also compared with itself, seen through the target network.
        fewest_views: how many views it needs.
    """

    uses_target: ClassVar[bool] = False
    uses_labels: ClassVar[bool] = False
    takes_size: ClassVar[bool] = False
    per_view: ClassVar[bool] = False
    self_pairs: bool = False
    fewest_views: ClassVar[int] = 2

    def reset_parameters(self) -> None:
        """Draw new values for own parameters, through `transformers.initialization`, which spares loaded ones."""

    def uninformed(self, images: int) -> dict[str, float]:
        """Return what terms come to that no training should leave above it.

        That is their value for a network that gives all images the same embedding, by name; none where that value
        says nothing.

        Args:
            images: N in the joined batch.
        """
        return {}

    @abstractmethod
    def forward(self, views: ViewEmbeddings) -> dict[str, Tensor]:
        """Return named scalar terms, already weighted; the loss is their sum.

        Each term is a mean over this process's batch, such that the mean over processes is the value for the joined
        batch.
        """


def without_autocast(z: Tensor) -> torch.autocast:
    """Return a context that switches autocast off on the device of `z`."""
    known = torch.amp.is_autocast_available(z.device.type)  # the meta device, on which shapes are checked, has none
    return torch.autocast(device_type=z.device.type if known else "cpu", enabled=False)
