# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""MSN's assignment of views to prototypes."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import initialization as init

from mscn_hf.methods.gather import all_gather_batch, process_rank
from mscn_hf.methods.objectives.embeddings import join_views
from mscn_hf.methods.objectives.objective import Objective, ViewEmbeddings, unit_length, without_autocast
from mscn_hf.methods.objectives.settings import require_integer, require_not_negative, require_positive


class MSN(Objective):
    r"""Masked Siamese Networks (Assran et al. 2022): masked anchors predict the prototypes of an unmasked target.

    For each direction (i, k), with z the anchor of view i from the online, t that of view k from the target network,
    W the K prototypes, all of unit length, and r the temperature:

        p = softmax(W z / r),    q = sinkhorn(softmax(W t / (r * sharpening)))    without gradient
        L = - sum_K q log p      (mean over the batch and over the directions)
            + mean_entropy * (log K - H(p_mean))

    p_mean is the mean of p over every anchor view of every image of the joined batch; the last term is 0 when all
    prototypes are used alike. Dividing the temperature by 1 / `sharpening` is raising the softmax to that power and
    scaling its sum back to 1. Everything is computed with logarithms, so that no temperature underflows.
    Source of formulas and values: facebookresearch/msn, src/losses.py and configs/pretrain/msn_vits16.yaml.

    Args:
        size: D of the embeddings.
        prototypes: K, at least 2.
        temperature: r > 0.
        sharpening: in (0, 1], 1 leaves the targets as they are.
        sinkhorn_iterations: of `sinkhorn` over the joined batch; 0: none.
        mean_entropy: weight of the last term, at least 0.

    Attributes:
        prototypes: W (K, D), trained, without weight decay; of any length.

    Raises:
        ValueError: for settings out of range.
    """

    uses_target = True
    takes_size = True

    def __init__(
        self,
        size: int,
        prototypes: int = 1024,
        temperature: float = 0.1,
        sharpening: float = 0.25,
        sinkhorn_iterations: int = 3,
        mean_entropy: float = 1.0,
    ) -> None:
        super().__init__()
        require_integer(1, size=size)
        require_integer(2, prototypes=prototypes)
        require_positive(temperature=temperature, sharpening=sharpening)
        if sharpening > 1:
            raise ValueError(f"sharpening must lie in (0, 1], got {sharpening}")
        require_integer(0, sinkhorn_iterations=sinkhorn_iterations)
        require_not_negative(mean_entropy=mean_entropy)
        self.temperature = temperature
        self.sharpening = sharpening
        self.sinkhorn_iterations = sinkhorn_iterations
        self.mean_entropy = mean_entropy
        self.prototypes = nn.Parameter(torch.empty(prototypes, size))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the prototypes from U(-1/sqrt(D), 1/sqrt(D)); those that transformers has loaded stay."""
        bound = 1 / math.sqrt(self.prototypes.shape[1])
        init.uniform_(self.prototypes, -bound, bound)

    def no_weight_decay(self) -> set[str]:
        """Return the names of parameters that get no weight decay."""
        return {"prototypes"}

    def forward(self, views: ViewEmbeddings) -> dict[str, Tensor]:
        """Return `{"msn": scalar, "mean_entropy": scalar}`.

        Raises:
            ValueError: without directions, or if an anchor view did not pass the online network in this call.
        """
        if not views.directions:
            raise ValueError(f"no pair of {views.pairs} has a view that passed the target network")
        anchors, targets = (sorted(set(numbers)) for numbers in zip(*views.directions, strict=True))
        with without_autocast(self.prototypes):
            unit_KD = unit_length(self.prototypes)
            log_p_BK = {i: _log_softmax(_embedding(views.online, i), unit_KD, self.temperature) for i in anchors}
            with torch.no_grad():
                q_BK = dict(zip(targets, self._targets([_embedding(views.target, k) for k in targets], unit_KD)))
            terms = [-(q_BK[k] * log_p_BK[i]).sum(dim=1).mean() for i, k in views.directions]
            log_mean_K = _log_mean(torch.cat(list(log_p_BK.values())))
            log_mean_K = _log_mean(all_gather_batch(log_mean_K[None]))
            entropy = -(log_mean_K.exp() * log_mean_K).sum()
            return {
                "msn": torch.stack(terms).mean(),
                "mean_entropy": self.mean_entropy * (math.log(len(unit_KD)) - entropy),
            }

    def _targets(self, z_BD: list[Tensor], unit_KD: Tensor) -> list[Tensor]:
        """Return the probabilities (B, K) that each target view gives this process's images."""
        batch, temperature = z_BD[0].shape[0], self.temperature * self.sharpening
        if not self.sinkhorn_iterations:
            return [_log_softmax(z, unit_KD, temperature).exp() for z in z_BD]
        mine = slice(process_rank() * batch, (process_rank() + 1) * batch)
        log_q_NK = [_log_softmax(z, unit_KD, temperature) for z in join_views(z_BD)]
        return [sinkhorn(log_q, self.sinkhorn_iterations)[mine].exp() for log_q in log_q_NK]

    def extra_repr(self) -> str:
        return (
            f"size={self.prototypes.shape[1]}, prototypes={self.prototypes.shape[0]}, temperature={self.temperature}, "
            f"sharpening={self.sharpening}, sinkhorn_iterations={self.sinkhorn_iterations}, "
            f"mean_entropy={self.mean_entropy}"
        )


def sinkhorn(log_p_NK: Tensor, iterations: int) -> Tensor:
    """Let every prototype take the same share of the batch, then every image sum to 1 again, `iterations` times.

    Args:
        log_p_NK: logarithms of the probabilities of the joined batch.
        iterations: at least 0.

    Returns:
        logarithms (N, K) whose exponentials sum to 1 over K.
    """
    for _ in range(iterations):
        log_p_NK = log_p_NK - log_p_NK.logsumexp(dim=0, keepdim=True)
        log_p_NK = log_p_NK - log_p_NK.logsumexp(dim=1, keepdim=True)
    return log_p_NK


def _log_softmax(z_BD: Tensor, unit_KD: Tensor, temperature: float) -> Tensor:
    return F.log_softmax(unit_length(z_BD) @ unit_KD.T / temperature, dim=1)


def _log_mean(log_p_BK: Tensor) -> Tensor:
    """Return the logarithm of the mean over rows, (K,)."""
    return log_p_BK.logsumexp(dim=0) - math.log(len(log_p_BK))


def _embedding(views: tuple[Tensor | None, ...], view: int) -> Tensor:
    z_BD = views[view]
    if z_BD is None:
        raise ValueError(f"MSN needs all its views in one call, but view {view} is None")
    return z_BD
