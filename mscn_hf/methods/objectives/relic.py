# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""ReLIC's contrast with sampled negatives and its invariance of the whole distribution."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from mscn_hf.methods.gather import process_rank
from mscn_hf.methods.objectives.embeddings import join_views
from mscn_hf.methods.objectives.objective import Objective, ViewEmbeddings, unit_length, without_autocast
from mscn_hf.methods.objectives.settings import require_integer, require_not_negative, require_positive
from mscn_hf.views.draws import Draws, Stream, integer_below

STOP_GRADIENTS = ("entropy", "reference")
MOST_FLOYD_STEPS = 64  # each step looks through all before it: their cost is quadratic


class ReLIC(Objective):
    r"""Contrast and invariance of online and target views (Tomasev et al. 2022, ReLICv2, equations 1 to 4).

    For each direction (l, k): o the embeddings of view l from the online, t those of view k from the target network,
    all of unit length and t without gradient; M(i) the other images of the joined batch that serve image i as
    negatives; r the temperature:

        p(i)  = softmax over {i} and M(i) of  o_i . t_m / r        anchor o_i among the targets
        p'(i) = softmax over {i} and M(i) of  t_i . o_m / r        the roles swapped, the same images

        L = contrast_scale * - log p(i)_i  +  invariance_scale * KL(p(i) || p'(i))

    mean over the batch and over `ViewEmbeddings.directions`. ReLIC (Mitrovic et al. 2021) is the case of two views;
    ReLICv2 has large views on both sides and small ones on the online side only, that is `target_views` = the large
    ones. Gradient flows through the online embeddings wherever they stand, those of other processes included.

    The negatives of an image are drawn anew for each direction, from its key, so the loss is the same however views
    are divided over calls and images over processes (`sample_negatives`).

    Args:
        temperature: r > 0.
        contrast_scale, invariance_scale: weights of the two terms, at least 0. These and the temperature are not given
            in the text that this follows; the values are inferred.
        negatives: how many for each image, or "all" other images of the joined batch; also all where there are no more
            than that. 10 serve as well as the whole batch of 4096 (ReLICv2, table 21).
        stop_gradient: what of KL = E_p log p - E_p log p' gets no gradient: "entropy": its first term (equation 2);
            "reference": p as a whole, as in UDA. The value is the same. With "entropy", p is also drawn to
            where p' is largest, be that a negative: where similarities are negative for an image and itself, "entropy"
            pulls them down further, "reference" leaves them to the contrast.
        self_pairs: also compare a view with itself, seen through both networks.

    Raises:
        ValueError: for settings out of range.
    """

    uses_target = True
    per_view = True

    def __init__(
        self,
        temperature: float = 0.2,
        contrast_scale: float = 0.3,
        invariance_scale: float = 2.0,
        negatives: int | str = 10,
        stop_gradient: str = "entropy",
        self_pairs: bool = True,
    ) -> None:
        super().__init__()
        require_positive(temperature=temperature)
        require_not_negative(contrast_scale=contrast_scale, invariance_scale=invariance_scale)
        if isinstance(negatives, str):
            if negatives != "all":
                raise ValueError(f"negatives must be a number of images or 'all', got {negatives!r}")
        else:
            require_integer(1, negatives=negatives)
        if stop_gradient not in STOP_GRADIENTS:
            raise ValueError(f"stop_gradient must be one of {', '.join(STOP_GRADIENTS)}, got {stop_gradient!r}")
        self.temperature = temperature
        self.contrast_scale = contrast_scale
        self.invariance_scale = invariance_scale
        self.negatives = negatives
        self.stop_gradient = stop_gradient
        self.self_pairs = bool(self_pairs)

    def forward(self, views: ViewEmbeddings) -> dict[str, Tensor]:
        """Return `{"contrast": scalar, "invariance": scalar}`: sums over the directions present / number of all.

        Raises:
            ValueError: without directions, or without keys where negatives are sampled.
        """
        if not views.directions:
            raise ValueError(f"no pair of {views.pairs} has a view that passed the target network")
        online = {view: z_BD for view, z_BD in enumerate(views.online) if z_BD is not None}
        ways = [(number, i, j) for number, (i, j) in enumerate(views.directions) if i in online]
        if not ways:  # a view that is compared with none adds nothing, but has a backward pass
            nothing = 0.0 * torch.stack([z_BD.sum() for z_BD in online.values()]).sum()
            return {"contrast": nothing, "invariance": nothing}
        with without_autocast(next(iter(online.values()))):
            o_BD = {i: unit_length(online[i]) for i in sorted({i for _, i, _ in ways})}
            t_BD = {j: unit_length(_target(views, j)) for j in sorted({j for _, _, j in ways})}
            o_ND = dict(zip(o_BD, join_views(o_BD.values()), strict=True))
            t_ND = dict(zip(t_BD, join_views(t_BD.values()), strict=True))
            contrast, invariance = [], []
            for number, i, j in ways:
                compared_BN = self._compared(views.keys, number, o_BD[i], o_ND[i])
                log_p_BN = self._log_probabilities(o_BD[i], t_ND[j], compared_BN)
                swapped_BN = self._log_probabilities(t_BD[j], o_ND[i], compared_BN)
                contrast.append(F.nll_loss(log_p_BN, _own_columns(compared_BN, o_BD[i])))
                invariance.append(self._divergence(log_p_BN, swapped_BN).mean())
            return {
                "contrast": self.contrast_scale / len(views.directions) * torch.stack(contrast).sum(),
                "invariance": self.invariance_scale / len(views.directions) * torch.stack(invariance).sum(),
            }

    def uninformed(self, images: int) -> dict[str, float]:
        """Return the contrast of a network for which all candidates are alike."""
        negatives = images - 1 if isinstance(self.negatives, str) else min(self.negatives, images - 1)
        return {"contrast": self.contrast_scale * math.log(1 + negatives)}

    def _compared(self, keys: Tensor | None, number: int, o_BD: Tensor, o_ND: Tensor) -> Tensor | None:
        """Choose the images that a direction compares each anchor with, itself first; None: the joined batch."""
        batch, joined = o_BD.shape[0], o_ND.shape[0]
        if isinstance(self.negatives, str) or self.negatives >= joined - 1:
            return None
        if keys is None:
            raise ValueError(
                f"ReLIC draws {self.negatives} negatives for each image from its key: pass keys, "
                "or set negatives to 'all'"
            )
        first_row = process_rank() * batch
        chosen_BN = sample_negatives(Draws.from_keys(keys), number, first_row, joined, self.negatives)
        itself_B1 = first_row + torch.arange(batch, device=chosen_BN.device)[:, None]
        return torch.cat([itself_B1, chosen_BN], dim=1).to(o_BD.device, non_blocking=True)

    def _log_probabilities(self, anchor_BD: Tensor, images_ND: Tensor, compared_BN: Tensor | None) -> Tensor:
        """Return the logarithms of each anchor's distribution over the images it is compared with."""
        # All N products, then the few: little beside the network's work, and three times as fast on a CPU, gradient
        # included, as gathering the embeddings of the few (10 of 256).
        logits_BN = anchor_BD @ images_ND.T / self.temperature
        return F.log_softmax(logits_BN if compared_BN is None else logits_BN.gather(1, compared_BN), dim=1)

    def _divergence(self, log_p: Tensor, log_swapped: Tensor) -> Tensor:
        """Return KL(p || p') of each row, (B,), with the gradient that `stop_gradient` asks for."""
        p = log_p.exp()
        if self.stop_gradient == "reference":
            p = p.detach()
        return (p * log_p).sum(dim=1).detach() - (p * log_swapped).sum(dim=1)

    def extra_repr(self) -> str:
        return (
            f"temperature={self.temperature}, contrast_scale={self.contrast_scale}, "
            f"invariance_scale={self.invariance_scale}, negatives={self.negatives!r}, "
            f"stop_gradient={self.stop_gradient!r}, self_pairs={self.self_pairs}"
        )


def sample_negatives(draws: Draws, number: int, first_row: int, joined: int, n: int) -> Tensor:
    """Choose `n` other images of the joined batch for each image, uniformly and without replacement.

    Floyd's subset algorithm (Bentley and Floyd 1987), one step for all images at a time: `n` small steps, however
    large the joined batch. Where `n` is large that is slower than the places of the `n` largest of N - 1 numbers.

    Args:
        draws: those of this process's B images. The choice for an image depends on its key, `number`, its row and
            `joined` alone.
        number: of the direction, so that each has negatives of its own.
        first_row: row of this process's first image in the joined batch.
        joined: N, images in the joined batch.
        n: 1 to N - 1.

    Returns:
        int64 (B, n): rows of the joined batch, those of a row all different, never the image itself. Every set is
        equally likely, not every order.

    Raises:
        ValueError: if there are not `n` other images.
    """
    others = joined - 1
    if not 1 <= n <= others:
        raise ValueError(f"cannot choose {n} of the {others} other images in a joined batch of {joined}")
    if n > MOST_FLOYD_STEPS:
        chosen_BN = draws.uniform(view=number, stream=Stream.NEGATIVES, n=others).topk(n, dim=1).indices
    else:
        chosen_BN = _floyd(draws.uniform(view=number, stream=Stream.NEGATIVES, n=n), others)
    row_B1 = first_row + torch.arange(chosen_BN.shape[0], device=chosen_BN.device)[:, None]
    return chosen_BN + (chosen_BN >= row_B1)


def _floyd(uniform_BN: Tensor, others: int) -> Tensor:
    """Choose as many of range(others), without replacement, as there are uniform numbers."""
    n = uniform_BN.shape[1]
    last_N = torch.arange(others - n, others, device=uniform_BN.device)
    chosen_BN = integer_below(uniform_BN, last_N + 1)
    for step in range(1, n):
        candidate_B1 = chosen_BN[:, step : step + 1]
        taken_B1 = (chosen_BN[:, :step] == candidate_B1).any(dim=1, keepdim=True)
        chosen_BN[:, step : step + 1] = torch.where(taken_B1, last_N[step], candidate_B1)
    return chosen_BN


def _own_columns(compared_BN: Tensor | None, o_BD: Tensor) -> Tensor:
    """Return the column of each anchor's own image in its distribution, (B,)."""
    columns_B = torch.arange(o_BD.shape[0], device=o_BD.device)
    return columns_B + process_rank() * len(columns_B) if compared_BN is None else torch.zeros_like(columns_B)


def _target(views: ViewEmbeddings, view: int) -> Tensor:
    z_BD = views.target[view]
    assert z_BD is not None, f"direction to view {view}, which the target network did not see"
    return z_BD.detach()
