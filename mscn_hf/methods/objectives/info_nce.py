# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""InfoNCE as SimCLR uses it: NT-Xent over the 2N views of a pair."""

import torch
import torch.nn.functional as F
from torch import Tensor

from mscn_hf.methods.gather import process_rank
from mscn_hf.methods.objectives.embeddings import join_views
from mscn_hf.methods.objectives.objective import Objective, ViewEmbeddings, unit_length, without_autocast
from mscn_hf.methods.objectives.settings import require_positive


class InfoNCE(Objective):
    r"""Normalised temperature-scaled cross entropy (Chen et al. 2020, SimCLR, equation 1).

    For a pair of views with N images in the joined batch of all processes, z the 2N embeddings of unit length:

        L = 1 / 2N  sum_a  - log  exp(z_a . z_p(a) / t)  /  sum_{c != a} exp(z_a . z_c / t)

    where p(a) is the other view of the same image; averaged over the pairs. Each process computes the rows of its own
    2B anchors against all 2N candidates.

    Args:
        temperature: t > 0. The MSCN paper's value is not known; 0.1 is that of google-research/simclr on ImageNet.

    Raises:
        ValueError: if the temperature is not a positive number.
    """

    def __init__(self, temperature: float = 0.1) -> None:
        super().__init__()
        require_positive(temperature=temperature)
        self.temperature = temperature

    def forward(self, views: ViewEmbeddings) -> dict[str, Tensor]:
        """Return `{"info_nce": scalar}`, the mean over pairs."""
        online = [z_BD for z_BD in views.online if z_BD is not None]
        if len(online) != len(views.online):
            raise ValueError("InfoNCE compares online views with one another: all of them pass the online network")
        with without_autocast(online[0]):
            local = [unit_length(z_BD) for z_BD in online]
            joined = join_views(local)
            terms = [_pair_loss(local[i], local[j], joined[i], joined[j], self.temperature) for i, j in views.pairs]
            return {"info_nce": torch.stack(terms).mean()}

    def extra_repr(self) -> str:
        return f"temperature={self.temperature}"


def _pair_loss(a_BD: Tensor, b_BD: Tensor, a_ND: Tensor, b_ND: Tensor, temperature: float) -> Tensor:
    """NT-Xent of this process's 2B anchors (a, b) against the 2N candidates of all processes; unit-length rows."""
    batch, joined = a_BD.shape[0], a_ND.shape[0]
    columns = torch.arange(batch, device=a_BD.device) + process_rank() * batch
    itself = torch.cat([columns, columns + joined])
    positive = torch.cat([columns + joined, columns])
    logits = (torch.cat([a_BD, b_BD]) / temperature) @ torch.cat([a_ND, b_ND]).T
    logits = logits.scatter(1, itself[:, None], float("-inf"))
    return F.cross_entropy(logits, positive)
