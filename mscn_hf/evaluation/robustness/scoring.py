# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""One pass over a test split: every row decoded once, every copy of it scored.

Shapes: B images, K classes, N rows, S copies of a row.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from accelerate.utils import gather_object
from torch import Tensor
from torch.utils.data import DataLoader
from tqdm.auto import tqdm

from mscn_hf.data.source import ImageSource

from ..encoder import PreprocessFn
from ..reading import RankBatches, choose_rows
from ..task import Task
from .copies import CopiesFn, CopyingPreprocessor
from .heads import Classifier

logger = logging.getLogger(__name__)

# Scores of a row's copies (S, K), name of its class, its number in the list of names -> what is kept, or None.
KeepFn = Callable[[Tensor, str, int | None], Any]


@dataclass
class ScoredRows:
    """What a pass over a split left.

    Attributes:
        kept: for each row in stored order, what `KeepFn` gave.
        names: class of each of those rows.
        positions: place of each of those rows in the split's stored order.
        skipped: (id, reason) of rows that could not be decoded.
        left_out: rows whose class is out of scope.
    """

    kept: list[Any]
    names: list[str]
    positions: list[int]
    skipped: list[tuple[str, str]]
    left_out: int


def score_rows(
    task: Task,
    classifier: Classifier,
    preprocess: PreprocessFn,
    copies: CopiesFn,
    copies_a_row: int,
    keep: KeepFn,
) -> ScoredRows:
    """Scores the copies of every row of the task's test split, whose rows are read once; all ranks must call.

    Args:
        task: its test split, batch size (copies a forward pass), workers, `max_test_images`, seed and process.
        classifier: see `heads`.
        preprocess: PIL images -> images_BCHW.
        copies: a picture -> its `copies_a_row` copies.
        keep: scores of one row -> what is kept, or None: the row is out of scope.

    Raises:
        ValueError: no label column, a row without a label or with several, not one good image, or scores that are not
            finite.
    """
    source, options = task.test, task.options
    if source.label_column is None:
        raise ValueError(
            f"dataset {source.name!r}, split {source.split!r}: no label column; name it with --label_column"
        )
    rank, world = (task.process.process_index, task.process.num_processes) if task.process else (0, 1)
    limit = options.max_test_images
    chosen = choose_rows(source, limit, task.seed)
    rows_at_once = max(1, options.batch_size // copies_a_row)
    batches = RankBatches(source, rows_at_once, chosen, limit, rank, world)
    loader = DataLoader(
        CopyingPreprocessor(preprocess, copies),
        batch_sampler=batches,  # type: ignore[arg-type]
        num_workers=options.num_workers,
        collate_fn=_as_is,
    )
    found: list[tuple[int, str, Any]] = []
    skipped: list[tuple[str, str]] = []
    total = source.num_rows if limit is None else min(limit, source.num_rows or limit)
    title = f"{task.encoder.name} on {source.name}/{source.split}"
    with tqdm(total=total, unit="img", desc=title, disable=not (options.progress and rank == 0)) as bar:
        for batch in loader:
            good: Sequence[tuple[int, str, Any]] = batch["good"]
            if good:
                scores = _scores(classifier, batch["images"], options.batch_size, good).cpu()
                for (position, row_id, label), scores_SK in zip(good, scores.split(copies_a_row), strict=True):
                    name, number = class_name(label, source, row_id)
                    found.append((position, name, keep(scores_SK, name, number)))
            skipped.extend(batch["skipped"])
            bar.update((len(good) + len(batch["skipped"])) * world)
    task.encoder.assert_frozen()
    if world > 1:
        found, skipped = gather_object(found), gather_object(skipped)
    found.sort(key=lambda row: row[0])
    scored = [row for row in found if row[2] is not None]
    if not scored:
        reasons = "; ".join(f"{row_id}: {reason}" for row_id, reason in skipped[:3])
        raise ValueError(
            f"{source.name}, {source.split}: not one image to score ({len(skipped)} cannot be decoded, "
            f"{len(found)} are of classes out of scope; {reasons})"
        )
    for row_id, reason in skipped[:10] if rank == 0 else []:
        logger.warning("%s, %s: image %s skipped (%s)", source.name, source.split, row_id, reason)
    positions, names, kept = zip(*scored, strict=True)
    return ScoredRows(list(kept), list(names), list(positions), skipped, len(found) - len(scored))


def _as_is(batch: Any) -> Any:
    return batch


def _scores(
    classifier: Classifier, images_BCHW: Tensor, batch_size: int, good: Sequence[tuple[int, str, Any]]
) -> Tensor:
    scores_BK = torch.cat([classifier.scores(part) for part in images_BCHW.split(batch_size)])
    bad_B = ~scores_BK.isfinite().all(dim=1)
    if bool(bad_B.any()):
        first = good[int(bad_B.nonzero()[0]) * len(good) // len(scores_BK)]
        raise ValueError(f"the classifier gives scores that are not finite, first for image {first[1]!r}")
    return scores_BK


def class_name(label: Any, source: ImageSource, row_id: str) -> tuple[str, int | None]:
    """Name of a row's class, and its number in the data set's list of names, where it has one.

    Raises:
        ValueError: no label, several, or a number beyond the names.
    """
    if isinstance(label, str):
        return label, None
    if isinstance(label, list | tuple | dict):
        raise ValueError(f"row {row_id} has the label {label!r}; this protocol takes one class an image")
    if label is None or label < 0 or int(label) != label:
        raise ValueError(f"row {row_id} of {source.name}, {source.split}, has no label: take a split that is labelled")
    number, names = int(label), source.label_names
    if names is None:
        return str(number), None
    if number >= len(names):
        raise ValueError(f"label {number} of row {row_id} is beyond the {len(names)} names of {source.name}")
    return names[number], number


def classes_ahead(scores_SK: Tensor, columns: Sequence[int], among: Sequence[int] | None = None) -> np.ndarray:
    """How many classes stand before the best of the right ones, int64 (S,); top-k is right where it is below k.

    Of equal scores the lower class stands first. Without a right class the answer is never right: K is given.

    Args:
        scores_SK: any real dtype.
        columns: classes that are right, at least one; one of them is enough.
        among: classes that may be answered at all (masking), or None for all K.
    """
    if among is not None:
        allowed = sorted(set(among))
        place = {column: number for number, column in enumerate(allowed)}
        scores_SK, columns = scores_SK[:, allowed], [place[column] for column in columns if column in place]
    count = scores_SK.shape[1]
    if not columns:
        return np.full(len(scores_SK), count, dtype=np.int64)
    best_S = scores_SK[:, list(columns)].max(dim=1, keepdim=True).values
    index_K = torch.arange(count, device=scores_SK.device)
    right_K = torch.zeros(count, dtype=torch.bool, device=scores_SK.device)
    right_K[list(columns)] = True
    first_S = torch.where(right_K & (scores_SK == best_S), index_K, count).min(dim=1, keepdim=True).values
    ahead_SK = (scores_SK > best_S) | ((scores_SK == best_S) & (index_K < first_S))
    return ahead_SK.sum(dim=1).cpu().numpy()
