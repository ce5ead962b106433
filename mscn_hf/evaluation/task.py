# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""One encoder, one protocol, one set of splits: what every kind of protocol is given, and how it reports."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
import torch
from accelerate import PartialState
from accelerate.utils import broadcast_object_list, gather
from torch import Tensor

from mscn_hf.data.source import ImageSource

from .bootstrap import bootstrap_interval
from .cache import FeatureSet
from .encoder import FrozenEncoder
from .features import extract
from .results import Result, environment
from .scores import Labels, topk_correct

T = TypeVar("T")


@dataclass
class ExtractOptions:
    """How features are made; see `extract`."""

    cache_dir: str | os.PathLike[str] | None = None
    batch_size: int = 64
    num_workers: int = 0
    max_train_images: int | None = None
    max_test_images: int | None = None
    progress: bool = True


@dataclass
class Task:
    """What a protocol is run on.

    Attributes:
        encoder: on its device, frozen.
        train: split for every fit and every choice.
        test: split that is scored; a protocol reads its rows once, after every choice.
        protocol: name that the Results carry.
        validation: split of its own for choices, or None: a part of train is held out.
        options: of feature extraction.
        seed: of every random choice.
        process: state of this process under `accelerate launch`, or None.
        command: that made the Results.
        benchmark: (benchmark_id, task_id) or two Nones.
    """

    encoder: FrozenEncoder
    train: ImageSource
    test: ImageSource
    protocol: str
    validation: ImageSource | None = None
    options: ExtractOptions = field(default_factory=ExtractOptions)
    seed: int = 0
    process: PartialState | None = None
    command: str | None = None
    benchmark: tuple[str | None, str | None] = (None, None)

    @property
    def is_main(self) -> bool:
        """Whether this process fits and reports."""
        return self.process is None or self.process.is_main_process

    def on_main(self, work: Callable[[], T]) -> T | None:
        """What `work` gives on rank 0, None on the others; where it raises there, all ranks raise.

        A rank that went on alone would wait in the next exchange for ever, or take part in another one.
        """
        value, failure = None, None
        if self.is_main:
            try:
                value = work()
            except Exception as error:
                failure = error
        if self.process is not None and self.process.num_processes > 1:
            said = broadcast_object_list([None if failure is None else f"{type(failure).__name__}: {failure}"])[0]
            if said is not None and failure is None:
                raise ValueError(f"rank 0 could not go on: {said}")
        if failure is not None:
            raise failure
        return value

    def in_shares(self, scores: Callable[[np.ndarray], Tensor], features_MD: np.ndarray) -> Tensor:
        """`scores` of all rows, (M, K), each rank having computed a share of them; all ranks must call."""
        if self.process is None or self.process.num_processes == 1:
            return scores(features_MD)
        rank, world = self.process.process_index, self.process.num_processes
        share = math.ceil(len(features_MD) / world)
        # The last shares may be short or empty, and all ranks must bring equally many rows.
        rows = np.minimum(np.arange(rank * share, (rank + 1) * share), len(features_MD) - 1)
        return gather(scores(features_MD[rows]).contiguous())[: len(features_MD)]

    def features(self, source: ImageSource, *, multi_label: bool = False) -> FeatureSet:
        """The features of `train`, `validation` or `test`, from the cache where it holds them; all ranks must call.

        Images with lists of classes are refused unless the protocol says that it takes them.
        """
        options = self.options
        return extract(
            self.encoder,
            source,
            options.cache_dir,
            options.batch_size,
            options.num_workers,
            options.max_test_images if source is self.test else options.max_train_images,
            seed=self.seed,
            process=self.process,
            progress=options.progress,
            multi_label=multi_label,
        )

    def check_labels(self) -> None:
        """Raises ValueError where a split has no label column."""
        for source in (self.train, self.validation, self.test):
            if source is not None and source.label_column is None:
                where = f"dataset {source.name!r}, split {source.split!r}"
                raise ValueError(f"{where}: no label column found; name it with --label_column")

    def result(self, metric: str, value: float, selection: str, num_examples: int, **fields: Any) -> Result:
        """A Result of the test split with everything that the task knows filled in; `fields` as in `Result`."""
        common: dict[str, Any] = {
            "dataset": self.test.name,
            "dataset_config": self.test.config_name,
            "dataset_revision": self.test.revision,
            "split": self.test.split,
            "protocol": self.protocol,
            "seed": self.seed,
            "model": self.encoder.name,
            "model_revision": self.encoder.revision,
            "command": self.command,
            "environment": environment(),
            "benchmark_id": self.benchmark[0],
            "task_id": self.benchmark[1],
        }
        common |= fields
        return Result(metric=metric, value=value, selection=selection, num_examples=num_examples, **common)


def measure(
    common: Result, scores_MK: Tensor, labels: Labels, metrics: list[str], votes: bool, seed: int
) -> list[Result]:
    """One Result a metric, the fields other than metric, value and interval from `common`.

    Top-5 of five classes or fewer is always right, so it is left out.
    """
    test_M = torch.from_numpy(labels.test_M)
    first_M = topk_correct(scores_MK, test_M, 1, votes=votes).cpu().numpy()
    results = []
    for metric in metrics:
        correct_M, groups_M = first_M, None
        if metric == "top5_accuracy":
            if scores_MK.shape[1] <= 5:
                continue
            correct_M = topk_correct(scores_MK, test_M, 5, votes=votes).cpu().numpy()
        value = float(correct_M.mean())
        if metric == "mean_per_class_accuracy":
            groups_M = labels.test_class_M
            value = float(np.mean([correct_M[groups_M == group].mean() for group in np.unique(groups_M)]))
        interval = bootstrap_interval(correct_M, groups_N=groups_M, seed=seed)
        results.append(
            dataclasses.replace(
                common,
                metric=metric,
                value=value,
                interval=(interval.low, interval.high),
                interval_method=interval.method,
            )
        )
    return results
