# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Protocols that fit a classifier on features of train and score it on features of test."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from torch import Tensor

from .cache import FeatureSet
from .results import Result
from .scores import classes_of, match_test_labels, match_validation_labels
from .settings import Protocol
from .task import Task, measure


@dataclass
class Fitted:
    """A classifier: features (M, D) -> scores (M, K), how it was chosen, and facts about that for the Result.

    `votes`: a class with a score of 0 got no vote and is not among the k highest.
    """

    scores: Callable[[np.ndarray], Tensor]
    selection: str
    facts: dict[str, Any] = field(default_factory=dict)
    votes: bool = False


Held = tuple[np.ndarray, np.ndarray]


@dataclass
class FeatureProtocol(Protocol):
    """Every choice is made on `train`; only then the rows of `test` are read, once.

    Under several processes all extract, and rank 0 returns the Results. The classifier runs on rank 0, or, where it is
    `every_rank`'s, each rank fits the same one and scores its share of test.
    """

    every_rank: ClassVar[bool] = False
    uses_validation: ClassVar[bool] = False

    @abstractmethod
    def fit(
        self, bank: FeatureSet, labels_N: np.ndarray, num_classes: int, task: Task, held: Held | None = None
    ) -> Fitted:
        """A classifier on the features of train.

        Args:
            bank: features of train.
            labels_N: int64, classes 0..num_classes - 1, all of which occur.
            num_classes: K.
            task: for its seed and device; its test split is not to be touched here.
            held: features and classes of the validation split to choose on, where there is one.
        """

    def run(self, task: Task) -> list[Result]:
        """See `Protocol.run`.

        Raises:
            ValueError: labels that cannot be used, or anything `extract` refuses.
        """
        task.check_labels()
        train, test = task.train, task.test
        bank = task.features(train)
        labels_N, names = classes_of(bank.labels, bank.label_names, f"{train.name}, {train.split}")
        held = self._held(task, labels_N, names)
        if self.every_rank:
            fitted: Fitted | None = self.fit(bank, labels_N, len(names), task, held)
        else:
            fitted = task.on_main(lambda: self.fit(bank, labels_N, len(names), task, held))
        queries = task.features(test)
        if fitted is None:
            return []
        scores_MK = task.in_shares(fitted.scores, queries.features) if self.every_rank else None
        if not task.is_main:
            return []
        scores_MK = fitted.scores(queries.features) if scores_MK is None else scores_MK
        labels = match_test_labels(labels_N, names, queries.labels, queries.label_names, f"{test.name}, {test.split}")
        facts = {**self.facts(), **fitted.facts, **feature_facts(task, bank, queries, len(names), labels.absent)}
        common = task.result(self.metrics[0], 0.0, fitted.selection, len(queries), settings=facts)
        return measure(common, scores_MK, labels, self.metrics, fitted.votes, task.seed)

    def _held(self, task: Task, labels_N: np.ndarray, names: list[str]) -> Held | None:
        if not self.uses_validation or task.validation is None:
            return None
        held = task.features(task.validation)
        where = f"{task.validation.name}, {task.validation.split}"
        return held.features, match_validation_labels(labels_N, names, held.labels, held.label_names, where)


def feature_facts(
    task: Task, bank: FeatureSet, queries: FeatureSet, num_classes: int, absent: list[str]
) -> dict[str, Any]:
    """What a Result keeps about the features that its score was made from."""
    return {
        "feature": task.encoder.feature,
        "feature_dim": int(bank.features.shape[1]),
        "feature_device": queries.device,
        "preprocessing": task.encoder.preprocessing,
        "train_split": task.train.split,
        "num_train": len(bank),
        "num_classes": num_classes,
        "classes_absent_from_train": absent,
        "skipped_train": len(bank.skipped),
        "skipped_test": len(queries.skipped),
        "max_train_images": task.options.max_train_images,
        "max_test_images": task.options.max_test_images,
    }
