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
    per_view = True

    def forward(self, views: ViewEmbeddings) -> dict[str, Tensor]:
        """Return `{"byol": scalar}`: the sum over directions, divided by the number of pairs."""
        if not views.directions:
            raise ValueError(f"no pair of {views.pairs} has a view that passed the target network")
        reference = next(z_BD for z_BD in (*views.online, *views.target) if z_BD is not None)
        with without_autocast(reference):
            distances = []
            for i, j in views.present():
                q_BD, z_BD = views.online[i], views.target[j]
                assert q_BD is not None
                assert z_BD is not None
                distances.append(2 - 2 * (unit_length(q_BD) * unit_length(z_BD.detach())).sum(dim=-1).mean())
            if not distances:  # a view that is compared with none adds nothing, but has a backward pass
                return {"byol": 0.0 * torch.stack([z_BD.sum() for z_BD in views.online if z_BD is not None]).sum()}
            return {"byol": torch.stack(distances).sum() / len(views.pairs)}
