# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Barlow Twins' cross-correlation of two views."""

import torch
import torch.nn.functional as F
from torch import Tensor

from mscn_hf.methods.objectives.embeddings import compared_views, full_precision, join_views
from mscn_hf.methods.objectives.objective import Objective, ViewEmbeddings, without_autocast
from mscn_hf.methods.objectives.settings import require_not_negative


class BarlowTwins(Objective):
    r"""Redundancy reduction (Zbontar et al. 2021, equation 1).

    For a pair of views, C (D, D) the cross-correlation of their embeddings over the N images of the joined batch, each
    dimension brought to mean 0 and variance 1 as batch norm does it (divisor N, 1e-5 added to the variance):

        L = scale * ( sum_d (1 - C_dd)^2  +  redundancy * sum_{d != e} C_de^2 )

    averaged over the pairs. The gradient is that of this loss for any number of processes; the authors' code
    (facebookresearch/barlowtwins, main.py) has it divided by their number, which LARS cancels for weights.

    Args:
        redundancy: lambda, at least 0; 0.0051 is that of the authors' code.
        scale: factor of the whole, at least 0. LARS cancels it for weights, so it sets the steps of biases and batch
            norm: 0.0015 is the authors' rate for them (0.024 of that of weights) over 16 processes.

    Raises:
        ValueError: if it is out of range.
    """

    def __init__(self, redundancy: float = 0.0051, scale: float = 1.0) -> None:
        super().__init__()
        require_not_negative(redundancy=redundancy, scale=scale)
        self.redundancy = redundancy
        self.scale = scale

    def forward(self, views: ViewEmbeddings) -> dict[str, Tensor]:
        """Return `{"on_diagonal": scalar, "off_diagonal": scalar}`, means over the pairs; equal on all processes.

        Raises:
            ValueError: if a view of a pair did not pass the online network, or for a joined batch of one image.
        """
        compared = compared_views(views, "Barlow Twins")
        with without_autocast(next(iter(compared.values()))):
            joined = join_views(full_precision(z_BD) for z_BD in compared.values())
            images = joined[0].shape[0]
            if images < 2:
                raise ValueError(f"Barlow Twins' correlation needs a joined batch of at least 2 images, got {images}")
            normal = {
                view: F.batch_norm(z_ND, None, None, training=True)
                for view, z_ND in zip(compared, joined, strict=True)
            }
            terms = torch.stack([_squares(normal[i].T @ normal[j] / images) for i, j in views.pairs]).mean(dim=0)
            return {
                "on_diagonal": self.scale * terms[0],
                "off_diagonal": self.scale * self.redundancy * terms[1],
            }

    def extra_repr(self) -> str:
        return f"redundancy={self.redundancy}, scale={self.scale}"


def _squares(correlation_DD: Tensor) -> Tensor:
    """Return the sums of squares of 1 - the diagonal and of the rest, (2,)."""
    diagonal_D = correlation_DD.diagonal()
    rest = correlation_DD.square().sum() - diagonal_D.square().sum()
    return torch.stack([(1 - diagonal_D).square().sum(), rest])
