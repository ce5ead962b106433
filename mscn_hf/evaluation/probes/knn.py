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

from ..cache import FeatureSet
from ..feature_protocol import FeatureProtocol, Fitted, Held
from ..settings import check, number
from ..task import Task
from .faiss_search import faiss_candidates

Matrix = Tensor | np.ndarray
# Unit-length queries (M, D) and how many -> that many bank rows for each, int64 (M, c), -1 where none was found.
Candidates = Callable[[Tensor, int], Tensor]

# Similarities in float32 tell neighbours apart to about 1e-7, and how the last digits fall hangs on the size of a
# chunk and the kernel of a GEMM. This many more than k are kept, and their similarities taken again row by row.
SPARE_CANDIDATES = 4
QUERIES_AT_ONCE = 5120
GROUP = 16  # columns whose largest is looked at first


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


@torch.no_grad()
def knn_predict(
    bank_ND: Matrix,
    bank_labels_N: Matrix,
    queries_MD: Matrix,
    k: int = 20,
    temperature: float = 0.07,
    num_classes: int | None = None,
    chunk: int = 16384,
    bank_chunk: int = 10240,
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
            memory is about 8 * (chunk + bank_chunk) * D + 4 * min(chunk, 5120) * bank_chunk bytes.
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
        queries = _rows(queries_MD, rows, device)
        keep = min(k + SPARE_CANDIDATES, len(bank_ND))
        unit_MD = queries / _lengths(queries)
        index_Mc = _nearest(bank_ND, unit_MD, keep, bank_chunk) if candidates is None else candidates(unit_MD, keep)
        similarity_Mk, index_Mk = _in_order(bank_ND, unit_MD, index_Mc, k)
        # Shifted by the row's largest, which cancels in the quotient: exp() cannot overflow however small T is.
        weight_Mk = torch.exp((similarity_Mk - similarity_Mk[:, :1]) / temperature)
        weight_Mk /= weight_Mk.sum(dim=1, keepdim=True)
        votes_Mk = labels_N[index_Mk]
        for neighbour in range(k):  # one column at a time: no two additions meet, so the sum's order is fixed on CUDA
            scores_MK[rows].scatter_add_(1, votes_Mk[:, neighbour, None], weight_Mk[:, neighbour, None])
    return scores_MK


def _rows(features: Matrix, rows: slice | Tensor, device: torch.device | str) -> Tensor:
    if isinstance(features, np.ndarray):
        part = torch.from_numpy(np.array(features[rows.cpu().numpy() if isinstance(rows, Tensor) else rows]))
    else:
        part = features.index_select(0, rows.to(features.device)) if isinstance(rows, Tensor) else features[rows]
    return part.to(device=device, dtype=torch.float32)


def _lengths(part_ND: Tensor) -> Tensor:
    """Euclidean lengths, float32 (N, 1), at least 1e-12."""
    length_N1 = torch.linalg.vector_norm(part_ND, dim=1, keepdim=True)
    # A length is finite where its row is, short of 1e19: one pass over the rows serves both ends.
    if not bool(length_N1.isfinite().all()):
        raise ValueError("features hold NaN, infinite or huge (above 1e19) values; k-NN needs finite ones")
    return length_N1.clamp_(min=1e-12)


def _nearest(bank_ND: Matrix, unit_MD: Tensor, keep: int, bank_chunk: int) -> Tensor:
    """The bank rows with the largest similarities in float32, int64 (M, c)."""
    parts = unit_MD.split(QUERIES_AT_ONCE)
    best = [part.new_empty(len(part), 0) for part in parts]
    index = [torch.empty(len(part), 0, dtype=torch.int64, device=part.device) for part in parts]
    # One piece of memory for all products: a fresh one is handed out by the system page by page, each time.
    room = unit_MD.new_empty(min(QUERIES_AT_ONCE, len(unit_MD)) * min(bank_chunk, len(bank_ND)))
    unit_bank = unit_MD.new_empty(min(bank_chunk, len(bank_ND)), unit_MD.shape[1])
    for start in range(0, len(bank_ND), bank_chunk):
        rows = _rows(bank_ND, slice(start, start + bank_chunk), unit_MD.device)
        bank = torch.div(rows, _lengths(rows), out=unit_bank[: len(rows)])
        for place, part in enumerate(parts):
            similarity_MN = room[: len(part) * len(bank)].view(len(part), len(bank))
            new_Mc, new_index_Mc = _largest(_products(part, bank, similarity_MN), keep)
            # Earlier rows stand first, and the sort is stable: equal similarities stay in bank order.
            best_Mc, order = torch.cat([best[place], new_Mc], dim=1).sort(dim=1, descending=True, stable=True)
            index_Mc = torch.cat([index[place], new_index_Mc + start], dim=1)
            best[place], index[place] = best_Mc[:, :keep], index_Mc.gather(1, order)[:, :keep]
    return torch.cat(index)


def _products(queries_MD: Tensor, bank_ND: Tensor, out_MN: Tensor) -> Tensor:
    if out_MN.device.type != "cpu":
        return torch.mm(queries_MD, bank_ND.T, out=out_MN)
    # numpy's OpenBLAS, as torch's MKL is slower on AMD processors
    np.dot(queries_MD.numpy(), bank_ND.numpy().T, out=out_MN.numpy())
    return out_MN


def _in_order(bank_ND: Matrix, unit_MD: Tensor, index_Mc: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k nearest of the candidates, similarities (M, k) and indices (M, k), nearest first.

    Each similarity is the sum of one row's products, so it does not depend on what else is computed.
    """
    index_Mc = index_Mc.to(unit_MD.device).sort(dim=1).values  # equal similarities are to stay in bank order
    similarity_Mc = torch.empty(index_Mc.shape, dtype=torch.float64, device=unit_MD.device)
    rows_at_once = max(1, 2**20 // (index_Mc.shape[1] * unit_MD.shape[1]))  # 4 MiB: fits a cache
    for start in range(0, len(index_Mc), rows_at_once):
        rows = slice(start, start + rows_at_once)
        candidates_cD = _rows(bank_ND, index_Mc[rows].clamp(min=0).flatten(), unit_MD.device)
        length_Mc = _lengths(candidates_cD).view(index_Mc[rows].shape)
        products_McD = candidates_cD.view(*length_Mc.shape, -1) * unit_MD[rows, None]
        similarity_Mc[rows] = products_McD.sum(dim=2) / length_Mc
    similarity_Mc.masked_fill_(index_Mc < 0, float("-inf"))
    if bool(((index_Mc >= 0).sum(dim=1) < k).any()):
        raise ValueError(f"the index gives some images fewer than {k} neighbours: raise nprobe")
    similarity_Mc, order = similarity_Mc.sort(dim=1, descending=True, stable=True)
    return similarity_Mc[:, :k], index_Mc.gather(1, order)[:, :k]


def _largest(similarity_MN: Tensor, keep: int) -> tuple[Tensor, Tensor]:
    """The `keep` largest of each row in the order of their columns; of equal ones, those of the lowest columns."""
    width = similarity_MN.shape[1]
    if width <= keep:
        return similarity_MN, torch.arange(width, device=similarity_MN.device).expand_as(similarity_MN)
    values, index = _topk_by_groups(similarity_MN, keep + 1)
    index = index[:, :keep].contiguous()
    tied = values[:, keep - 1] == values[:, keep]  # any of the equal ones may be among them: settle it by column
    if bool(tied.any()):
        index[tied] = similarity_MN[tied].sort(dim=1, descending=True, stable=True).indices[:, :keep]
    index = index.sort(dim=1).values
    return similarity_MN.gather(1, index), index


def _topk_by_groups(values_MN: Tensor, keep: int) -> tuple[Tensor, Tensor]:
    """`Tensor.topk` along rows, for long rows.

    The c largest lie in the c groups of columns of largest maxima, and maxima are cheap.
    """
    groups = values_MN.shape[1] // GROUP
    if groups < 4 * keep:
        return values_MN.topk(keep, dim=1)
    body_MgG = values_MN[:, : groups * GROUP].unflatten(1, (GROUP, groups))  # a group's columns lie `groups` apart
    group_Mc = body_MgG.amax(dim=1).topk(keep, dim=1, sorted=False).indices
    columns = torch.arange(groups * GROUP, device=values_MN.device).view(GROUP, groups)
    index_MC = columns.T[group_Mc].flatten(1)
    if rest := values_MN.shape[1] - groups * GROUP:
        last = torch.arange(rest, device=values_MN.device) + groups * GROUP
        index_MC = torch.cat([index_MC, last.expand(len(values_MN), -1)], dim=1)
    values, place = values_MN.gather(1, index_MC).topk(keep, dim=1)
    return values, index_MC.gather(1, place)
