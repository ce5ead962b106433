# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""VICReg's invariance, variance and covariance."""

import torch
import torch.nn.functional as F
from torch import Tensor

from mscn_hf.methods.objectives.embeddings import compared_views, full_precision, join_views
from mscn_hf.methods.objectives.objective import Objective, ViewEmbeddings, without_autocast
from mscn_hf.methods.objectives.settings import require_not_negative, require_positive


class VICReg(Objective):
    r"""Variance-invariance-covariance regularisation (Bardes et al. 2022).

    For a pair of views with embeddings z, z' (N, D) of the joined batch and C(z) their covariance (divisor N - 1):

        invariance * mean_nd (z - z')^2
        + variance * 1/2 (v(z) + v(z')),      v(z) = mean_d max(0, gamma - sqrt(C(z)_dd + epsilon))
        + covariance * (c(z) + c(z')),        c(z) = 1/D sum_{d != e} C(z)_de^2

    averaged over the pairs. This is the authors' code (facebookresearch/vicreg, main_vicreg.py), to which the weights
    25, 25, 1 belong. The paper's equations 1 to 6 differ from it by factors: they add v(z) + v(z') without the half,
    and sum the squared distance over the D dimensions where the code takes its mean.

    Args:
        invariance, variance, covariance: weights of the three terms, at least 0.
        gamma: the standard deviation that each dimension should reach.
        epsilon: added to the variance under the root.

    Raises:
        ValueError: for settings out of range.
    """

    def __init__(
        self,
        invariance: float = 25.0,
        variance: float = 25.0,
        covariance: float = 1.0,
        gamma: float = 1.0,
        epsilon: float = 1e-4,
    ) -> None:
        super().__init__()
        require_not_negative(invariance=invariance, variance=variance, covariance=covariance)
        require_positive(gamma=gamma, epsilon=epsilon)
        self.invariance = invariance
        self.variance = variance
        self.covariance = covariance
        self.gamma = gamma
        self.epsilon = epsilon

    def forward(self, views: ViewEmbeddings) -> dict[str, Tensor]:
        """Return `{"invariance", "variance", "covariance"}`, scalars, means over the pairs.

        Raises:
            ValueError: if a view of a pair did not pass the online network, or for a joined batch of one image.
        """
        compared = compared_views(views, "VICReg")
        with without_autocast(next(iter(compared.values()))):
            local = {view: full_precision(z_BD) for view, z_BD in compared.items()}
            joined = dict(zip(local, join_views(local.values()), strict=True))
            statistics = {view: self._statistics(z_ND) for view, z_ND in joined.items()}
            distance = torch.stack([F.mse_loss(local[i], local[j]) for i, j in views.pairs]).mean()
            variance, covariance = torch.stack(
                [torch.stack(statistics[i]) + torch.stack(statistics[j]) for i, j in views.pairs]
            ).mean(dim=0)
            return {
                "invariance": self.invariance * distance,
                "variance": self.variance * variance / 2,
                "covariance": self.covariance * covariance,
            }

    def _statistics(self, z_ND: Tensor) -> tuple[Tensor, Tensor]:
        """Return v(z) and c(z) of one view."""
        images, size = z_ND.shape
        if images < 2:
            raise ValueError(f"VICReg's variance needs a joined batch of at least 2 images, got {images}")
        centred_ND = z_ND - z_ND.mean(dim=0)
        covariance_DD = centred_ND.T @ centred_ND / (images - 1)
        variance_D = covariance_DD.diagonal()
        hinge = F.relu(self.gamma - (variance_D + self.epsilon).sqrt()).mean()
        return hinge, (covariance_DD.square().sum() - variance_D.square().sum()) / size

    def extra_repr(self) -> str:
        return (
            f"invariance={self.invariance}, variance={self.variance}, covariance={self.covariance}, "
            f"gamma={self.gamma}, epsilon={self.epsilon}"
        )
