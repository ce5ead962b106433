# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""BYOL's regression of target embeddings."""

import torch
from torch import Tensor

from mscn_hf.methods.objectives.objective import Objective, ViewEmbeddings, unit_length, without_autocast


class BYOL(Objective):
    """Symmetrised squared distance of unit-length embeddings (Grill et al. 2020, BYOL, equation 2).

    For views a and b, predictions q of the online and projections z' of the target network, all of unit length:

        L = |q_a - z'_b|^2 + |q_b - z'_a|^2,    |q - z'|^2 = 2 - 2 q . z'

    mean over the batch, mean over the pairs of views. The *sum* of the two directions as in
    deepmind-research/byol/byol_experiment.py, so a loss lies in [0, 8] and is 4 for unrelated embeddings. A direction
    whose target view the target network did not see is left out.
    """

    uses_target = True

    def forward(self, views: ViewEmbeddings) -> dict[str, Tensor]:
        """Return `{"byol": scalar}`, the mean over pairs."""
        with without_autocast(views.online[0]):
            unit = ViewEmbeddings(
                online=tuple(unit_length(q_BD) for q_BD in views.online),
                target=tuple(None if z_BD is None else unit_length(z_BD.detach()) for z_BD in views.target),
                pairs=views.pairs,
            )
            distances = [
                2 - 2 * (q_BD * z_BD).sum(dim=-1).mean() for pair in unit.pairs for q_BD, z_BD in unit.directions(pair)
            ]
            if not distances:
                raise ValueError(f"no pair of {views.pairs} has a view that passed the target network")
            return {"byol": torch.stack(distances).sum() / len(unit.pairs)}
