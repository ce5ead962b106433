# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""What several objectives do with embeddings before they compare them."""

from collections.abc import Iterable

import torch
from torch import Tensor

from mscn_hf.methods.gather import all_gather_batch
from mscn_hf.methods.objectives.objective import ViewEmbeddings


def full_precision(z: Tensor) -> Tensor:
    """Return `z` in float32; float64 stays float64. Call it outside autocast."""
    return z if z.dtype == torch.float64 else z.float()


def join_views(views: Iterable[Tensor]) -> tuple[Tensor, ...]:
    """Join each view's (B, D) over all processes to (N, D), with gradient, in one collective for all of them."""
    return all_gather_batch(torch.stack(list(views), dim=1)).unbind(dim=1)


def compared_views(views: ViewEmbeddings, objective: str) -> dict[int, Tensor]:
    """Return the online embeddings of every view that stands in a pair, by number of the view.

    Args:
        objective: name of the caller, for the message.

    Raises:
        ValueError: if there is no pair, or if such a view did not pass the online network.
    """
    if not views.pairs:
        raise ValueError(f"{objective} compares pairs of views, got none of {len(views.online)} views")
    found = {}
    for view in sorted({view for pair in views.pairs for view in pair}):
        z_BD = views.online[view]
        if z_BD is None:
            raise ValueError(
                f"{objective} compares online views with one another, but view {view} of the pairs "
                f"{list(views.pairs)} does not pass the online network; add it to online_views"
            )
        found[view] = z_BD
    return found
