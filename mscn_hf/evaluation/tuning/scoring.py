# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""What trained heads say about images that the encoder's own preprocessing prepared; shared by all ranks.

Shapes: M images, G heads, K classes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from accelerate.utils import gather_object
from torch import Tensor
from torch.utils.data import DataLoader
from tqdm.auto import tqdm

from ..reading import Preprocessor, RankBatches, choose_rows
from ..scores import topk_correct
from ..task import Task
from .classifier import LinearHeads
from .images import Pool


@dataclass
class Scores:
    """Scores of one head for the images of a split in stored order, and the ids and reasons of broken ones."""

    scores_MK: Tensor
    labels: list[Any]
    skipped: list[tuple[str, str]] = field(default_factory=list)


@dataclass
class Judgement:
    """Of G heads on M held-out images: share of right ones and mean cross-entropy, NaN where it is not finite."""

    accuracy_G: np.ndarray
    loss_G: np.ndarray
    images: int


class _PoolRows:
    """A pool as `RankBatches` reads a source."""

    def __init__(self, pool: Pool) -> None:
        self.rows = pool.in_order


def score_test(model: LinearHeads, task: Task) -> Scores:
    """Reads the test split, once, and scores it with a single head. All ranks call and all get the scores.

    Raises:
        ValueError: not one image can be decoded, a row has several labels, or a score is not finite.
    """
    chosen = choose_rows(task.test, task.options.max_test_images, task.seed)
    places: list[int] = []
    labels: list[Any] = []
    skipped: list[tuple[str, str]] = []
    blocks = []
    for batch, logits_BGK in _scored(model, task.test, task, chosen, task.options.max_test_images, "test"):
        skipped.extend(batch["skipped"])
        if logits_BGK is not None:
            places.extend(place for place, _, _ in batch["good"])
            labels.extend(label for _, _, label in batch["good"])
            blocks.append(logits_BGK[:, 0].cpu())
    parts = _gathered((places, labels, skipped, torch.cat(blocks) if blocks else None), task)
    kept = [part for part in parts if part[3] is not None]
    broken = [pair for part in parts for pair in part[2]]
    where = f"{task.test.name}, {task.test.split}"
    if not kept:
        reasons = "; ".join(f"{row_id}: {reason}" for row_id, reason in broken[:3])
        raise ValueError(f"not one of {len(broken)} images of {where} can be decoded ({reasons})")
    order = np.argsort(np.concatenate([part[0] for part in kept]), kind="stable")
    scores_MK = torch.cat([part[3] for part in kept])[torch.from_numpy(order)]
    if not bool(scores_MK.isfinite().all()):
        raise ValueError(f"{task.encoder.name}: scores on {where} are not finite; lower the learning rates")
    all_labels = [label for part in kept for label in part[1]]
    return Scores(scores_MK, [all_labels[n] for n in order], broken)


def judge(model: LinearHeads, pool: Pool, task: Task) -> Judgement:
    """Accuracy and loss of every head on the images of a pool; an image of a class that no head knows is wrong."""
    heads = len(model.heads)
    right_G, loss_G, images, known = torch.zeros(heads).double(), torch.zeros(heads).double(), 0, 0
    for batch, logits_BGK in _scored(model, _PoolRows(pool), task, None, None, "held out"):
        if logits_BGK is None:
            continue
        labels_B = torch.tensor([label for _, _, label in batch["good"]], device=logits_BGK.device)
        known_B = labels_B >= 0
        for head in range(heads):
            scores_BK = logits_BGK[:, head]
            finite_B = scores_BK.isfinite().all(dim=1)
            right_G[head] += (topk_correct(scores_BK, labels_B, 1) & finite_B).sum().cpu()
            loss = torch.nn.functional.cross_entropy(scores_BK[known_B].double(), labels_B[known_B], reduction="sum")
            loss_G[head] += loss.cpu()
        images += len(labels_B)
        known += int(known_B.sum())
    parts = _gathered((right_G, loss_G, images, known), task)
    right_G, loss_G = (torch.stack([part[which] for part in parts]).sum(dim=0) for which in (0, 1))
    images, known = (sum(part[which] for part in parts) for which in (2, 3))
    if images == 0 or known == 0:
        raise ValueError(f"not one of the {len(pool)} images that a choice was to be made on can be used")
    loss_G = torch.where(loss_G.isfinite(), loss_G / known, torch.nan)
    return Judgement((right_G / images).numpy(), loss_G.numpy(), images)


def _scored(
    model: LinearHeads, rows: Any, task: Task, chosen: np.ndarray | None, limit: int | None, title: str
) -> Iterator[tuple[dict[str, Any], Tensor | None]]:
    """This rank's batches, with the logits_BGK of the images that could be decoded."""
    process, encoder = task.process, task.encoder
    rank, ranks = (process.process_index, process.num_processes) if process is not None else (0, 1)
    loader = DataLoader(
        Preprocessor(encoder.preprocess),
        batch_sampler=RankBatches(rows, task.options.batch_size, chosen, limit, rank, ranks),  # type: ignore[arg-type]
        num_workers=task.options.num_workers,
        collate_fn=_as_is,
        generator=torch.Generator(),
    )
    model.eval()
    with tqdm(unit="img", desc=f"{encoder.name}, {title}", disable=not task.options.progress or rank > 0) as bar:
        for batch in loader:
            with torch.inference_mode():
                logits_BGK = model(batch["images"].to(encoder.device)).float() if batch["good"] else None
            yield batch, logits_BGK
            bar.update((len(batch["good"]) + len(batch["skipped"])) * ranks)


def _as_is(batch: Any) -> Any:
    return batch


def _gathered(value: Any, task: Task) -> list[Any]:
    if task.process is None or task.process.num_processes == 1:
        return [value]
    return gather_object([value])
