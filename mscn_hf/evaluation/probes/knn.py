# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Weighted k-nearest-neighbour classification on frozen features.

Shapes: N bank rows, M queries, D features, K classes, c candidates.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from ..cache import FeatureSet
from ..feature_protocol import FeatureProtocol, Fitted, Held
from ..settings import check, number
from ..task import Task
from .faiss_search import faiss_candidates

Matrix = Tensor | np.ndarray
# Unit-length queries (M, D) and how many -> that many bank rows for each, int64 (M, c), -1 where none was found.
Candidates = Callable[[Tensor, int], Tensor]

# Similarities in float32 tell neighbours apart to about 1e-7. This many more than k are kept and ordered again in
# float64, so that which neighbours vote does not hang on the size of a chunk or the kernel of a GEMM.
SPARE_CANDIDATES = 4
QUERIES_AT_ONCE = 4096


@dataclass
class KNNSettings(FeatureProtocol):
    """Weighted k-NN (Wu et al. 2018): k neighbours by cosine similarity, weights exp(similarity / temperature).

    Args:
        k, temperature: see `knn_predict`.
        faiss: null searches exactly, chunk by chunk, in bounded memory. A string of faiss' index factory ("Flat",
            "IVF1024,Flat", "IVF4096,SQ8") lets that library, where it is installed, look for the candidates in an
            index in memory; similarities and votes stay ours.
        nprobe: lists of an IVF index that are searched for each query.

    Under several processes each votes on its share of the test images.
    """

    every_rank: ClassVar[bool] = True

    k: int = 20
    temperature: float = 0.07
    faiss: str | None = None
    nprobe: int = 64

    def __post_init__(self) -> None:
        super().__post_init__()
        check("k", self.k, isinstance(self.k, int) and self.k >= 1, "a positive integer")
        self.temperature = number("temperature", self.temperature)
        check("temperature", self.temperature, self.temperature > 0, "positive")
        check("faiss", self.faiss, self.faiss is None or isinstance(self.faiss, str), "null or a string")
        check("nprobe", self.nprobe, isinstance(self.nprobe, int) and self.nprobe >= 1, "a positive integer")

    def fit(
        self, bank: FeatureSet, labels_N: np.ndarray, num_classes: int, task: Task, held: Held | None = None
    ) -> Fitted:
        """See `FeatureProtocol.fit`; nothing is fitted, the bank is kept."""
        if self.k > len(bank):
            raise ValueError(f"k-NN with k = {self.k} needs at least as many train images, got {len(bank)}")

        candidates = None if self.faiss is None else faiss_candidates(bank.features, self.faiss, self.nprobe)

        def scores(features_MD: np.ndarray) -> Tensor:
            return knn_predict(
                bank.features,
                labels_N,
                features_MD,
                self.k,
                self.temperature,
                num_classes,
                device=task.encoder.device,
                candidates=candidates,
            )

        return Fitted(scores, f"none (k={self.k}, T={self.temperature:g} fixed)", votes=True)


def knn_predict(
    bank_ND: Matrix,
    bank_labels_N: Matrix,
    queries_MD: Matrix,
    k: int = 20,
    temperature: float = 0.07,
    num_classes: int | None = None,
    chunk: int = 16384,
    bank_chunk: int = 8192,
    device: torch.device | str | None = None,
    candidates: Candidates | None = None,
) -> Tensor:
    """Class scores of each query by the votes of its k nearest bank rows under cosine similarity.

    Each neighbour votes for its class with weight exp(similarity / T) (Wu et al. 2018, sec. 3.4, with tau = 0.07); the
    votes of a query are divided by their sum. Neighbours of equal similarity are taken in bank order.

    Args:
        bank_ND, queries_MD: features, float; tensors or arrays (a memory-mapped array is read chunk by chunk).
        bank_labels_N: integer classes in [0, num_classes).
        k: number of neighbours, at most N.
        temperature: T, positive.
        num_classes: K; by default the largest label plus one. Give it: labels may have gaps at the end.
        chunk, bank_chunk: queries and bank rows held at a time. The bank is read once for each chunk of queries, and
            memory is about 8 * chunk * D + 4 * 4096 * bank_chunk bytes.
        device: where to compute; by default where the queries are.
        candidates: who may be a neighbour, where not every bank row is compared.

    Returns:
        scores_MK: float64 on `device`, each row sums to 1.

    Raises:
        ValueError: k larger than the bank, shapes that do not fit, a label out of range, or features not finite.
    """
    if len(bank_ND) == 0 or len(bank_labels_N) != len(bank_ND):
        raise ValueError(f"the bank has {len(bank_ND)} rows and {len(bank_labels_N)} labels")
    if bank_ND.ndim != 2 or queries_MD.ndim != 2 or bank_ND.shape[1] != queries_MD.shape[1]:
        raise ValueError(f"features do not fit: bank {tuple(bank_ND.shape)}, queries {tuple(queries_MD.shape)}")
    if not 1 <= k <= len(bank_ND):
        raise ValueError(f"k must lie between 1 and the number of bank rows ({len(bank_ND)}), got {k}")
    if not temperature > 0:
        raise ValueError(f"temperature must be positive, got {temperature}")
    if device is None:
        device = queries_MD.device if isinstance(queries_MD, Tensor) else "cpu"
    labels_N = torch.as_tensor(np.asarray(bank_labels_N) if isinstance(bank_labels_N, np.ndarray) else bank_labels_N)
    labels_N = labels_N.to(device=device, dtype=torch.int64)
    num_classes = int(labels_N.max()) + 1 if num_classes is None else num_classes
    if int(labels_N.min()) < 0 or int(labels_N.max()) >= num_classes:
        raise ValueError(
            f"bank labels must lie in [0, {num_classes}), got {int(labels_N.min())} to {int(labels_N.max())}"
        )

    scores_MK = torch.zeros(len(queries_MD), num_classes, dtype=torch.float64, device=device)
    for start in range(0, len(queries_MD), chunk):
        rows = slice(start, start + chunk)
        queries = _finite(_rows(queries_MD, rows, device))
        keep = min(k + SPARE_CANDIDATES, len(bank_ND))
        unit_MD = normalize(queries, dim=1)
        index_Mc = _nearest(bank_ND, unit_MD, keep, bank_chunk) if candidates is None else candidates(unit_MD, keep)
        similarity_Mk, index_Mk = _in_order(bank_ND, queries, index_Mc, k)
        # Shifted by the row's largest, which cancels in the quotient: exp() cannot overflow however small T is.
        weight_Mk = torch.exp((similarity_Mk - similarity_Mk[:, :1]) / temperature)
        weight_Mk /= weight_Mk.sum(dim=1, keepdim=True)
        votes_Mk = labels_N[index_Mk]
        for neighbour in range(k):  # one column at a time: no two additions meet, so the sum's order is fixed on CUDA
            scores_MK[rows].scatter_add_(1, votes_Mk[:, neighbour, None], weight_Mk[:, neighbour, None])
    return scores_MK


def _rows(features: Matrix, rows: slice | Tensor, device: torch.device | str) -> Tensor:
    part = features[rows.cpu().numpy() if isinstance(rows, Tensor) and isinstance(features, np.ndarray) else rows]
    part = torch.from_numpy(np.array(part)) if isinstance(part, np.ndarray) else part
    return part.to(device=device, dtype=torch.float32)


def _finite(part_ND: Tensor) -> Tensor:
    # The sum of finite numbers of float32 is finite in float64, and sees NaN and infinite ones, in one pass.
    if not bool(part_ND.sum(dtype=torch.float64).isfinite()):
        raise ValueError("features hold NaN or infinite values; k-NN needs finite ones")
    return part_ND


def _nearest(bank_ND: Matrix, unit_MD: Tensor, keep: int, bank_chunk: int) -> Tensor:
    """The bank rows with the largest similarities in float32, int64 (M, c)."""
    parts = unit_MD.split(QUERIES_AT_ONCE)
    best = [part.new_empty(len(part), 0) for part in parts]
    index = [torch.empty(len(part), 0, dtype=torch.int64, device=part.device) for part in parts]
    # One piece of memory for all products: a fresh one is handed out by the system page by page, each time.
    room = unit_MD.new_empty(min(QUERIES_AT_ONCE, len(unit_MD)) * min(bank_chunk, len(bank_ND)))
    for start in range(0, len(bank_ND), bank_chunk):
        bank = normalize(_finite(_rows(bank_ND, slice(start, start + bank_chunk), unit_MD.device)), dim=1)
        for place, part in enumerate(parts):
            similarity_MN = room[: len(part) * len(bank)].view(len(part), len(bank))
            new_Mc, new_index_Mc = _largest(torch.mm(part, bank.T, out=similarity_MN), keep)
            # Earlier rows stand first, and the sort is stable: equal similarities stay in bank order.
            best_Mc, order = torch.cat([best[place], new_Mc], dim=1).sort(dim=1, descending=True, stable=True)
            index_Mc = torch.cat([index[place], new_index_Mc + start], dim=1)
            best[place], index[place] = best_Mc[:, :keep], index_Mc.gather(1, order)[:, :keep]
    return torch.cat(index)


def _in_order(bank_ND: Matrix, queries_MD: Tensor, index_Mc: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k nearest of the candidates, (M, k) similarities in float64 and indices, nearest first."""
    index_Mc = index_Mc.to(queries_MD.device).sort(dim=1).values  # equal similarities are to stay in bank order
    exact_Mc = torch.empty(index_Mc.shape, dtype=torch.float64, device=queries_MD.device)
    rows_at_once = max(1, 2**20 // (index_Mc.shape[1] * queries_MD.shape[1]))  # 8 MiB of float64: fits a cache
    for start in range(0, len(index_Mc), rows_at_once):
        rows = slice(start, start + rows_at_once)
        exact_MD1 = normalize(queries_MD[rows].double(), dim=1)[:, :, None]
        candidates_cD = _rows(bank_ND, index_Mc[rows].clamp(min=0).flatten(), queries_MD.device).double()
        length_Mc = torch.linalg.vector_norm(candidates_cD, dim=1).clamp(min=1e-12).view(len(exact_MD1), -1)
        candidates_McD = candidates_cD.view(*length_Mc.shape, -1)
        exact_Mc[rows] = (candidates_McD @ exact_MD1)[:, :, 0] / length_Mc
    exact_Mc.masked_fill_(index_Mc < 0, float("-inf"))
    if bool(((index_Mc >= 0).sum(dim=1) < k).any()):
        raise ValueError(f"the index gives some images fewer than {k} neighbours: raise nprobe")
    exact_Mc, order = exact_Mc.sort(dim=1, descending=True, stable=True)
    return exact_Mc[:, :k], index_Mc.gather(1, order)[:, :k]


def _largest(similarity_MN: Tensor, keep: int) -> tuple[Tensor, Tensor]:
    """The `keep` largest of each row in the order of their columns; of equal ones, those of the lowest columns."""
    width = similarity_MN.shape[1]
    if width <= keep:
        return similarity_MN, torch.arange(width, device=similarity_MN.device).expand_as(similarity_MN)
    values, index = similarity_MN.topk(keep + 1, dim=1)
    index = index[:, :keep].contiguous()
    tied = values[:, keep - 1] == values[:, keep]  # topk may then keep any of the equal ones: settle it by column
    if bool(tied.any()):
        index[tied] = similarity_MN[tied].sort(dim=1, descending=True, stable=True).indices[:, :keep]
    index = index.sort(dim=1).values
    return similarity_MN.gather(1, index), index
