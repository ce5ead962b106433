# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""A head of ImageNet's classes on pictures that came about otherwise: ImageNet-V2, -R, -Sketch, -A, ObjectNet."""

from __future__ import annotations

import dataclasses
import functools
import logging
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from mscn_hf.data.source import ImageSource, open_source

from ..bootstrap import bootstrap_interval
from ..results import Result
from ..settings import check
from ..task import Task
from .classes import ClassMatcher, read_class_list
from .copies import WithoutBorder
from .heads import Classifier, fitted_head, linear_settings, own_head
from .scoring import ScoredRows, classes_ahead, score_rows
from .settings import HeadProtocol

logger = logging.getLogger(__name__)

# metric -> (how many answers are allowed, whether among the test set's classes only)
ANSWERS = {
    "top1_accuracy": (1, False),
    "top5_accuracy": (5, False),
    "masked_top1_accuracy": (1, True),
    "masked_top5_accuracy": (5, True),
}


@dataclass
class ZeroShotSettings(HeadProtocol):
    """The test split under a head that was fitted elsewhere; nothing is fitted or chosen on the data set itself.

    An image is right where one of the classes that its class stands for is among the answers. With fewer classes than
    the head has, the masked metrics let only those be answered that the test set holds.

    Args:
        train_dataset, train_config, train_split: what a `linear` head is fitted on.
        classes: the test set's classes for the mask, one a line in a file, or `imagenet-a`, `imagenet-r`; null: those
            that the data set names, or, where it names as many as the head has, those that occur.
        border: pixels cut from each side of a picture before anything else.
    """

    METRIC_NAMES: ClassVar[tuple[str, ...]] = tuple(ANSWERS)

    metrics: list[str] = field(default_factory=lambda: list(ANSWERS))
    train_dataset: str = "ILSVRC/imagenet-1k"
    train_config: str | None = None
    train_split: str = "train"
    classes: str | None = None
    border: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        check("border", self.border, isinstance(self.border, int) and self.border >= 0, "0 or more pixels")

    @property
    def needs_train(self) -> bool:
        """See `Protocol.needs_train`: the head is fitted on `train_dataset`."""
        return False

    @functools.cached_property
    def head_train(self) -> ImageSource:
        """The split that a linear head is fitted on, opened once; raises SourceError where that cannot be."""
        return open_source(self.train_dataset, config_name=self.train_config, split=self.train_split)

    def inputs(self) -> list[Any]:
        """See `HeadProtocol.inputs`."""
        if self.head != "linear":
            return []
        return [self.head_train.fingerprint, self.head_train.modified, self.head_train.split]

    def run(self, task: Task) -> list[Result]:
        """See `Protocol.run`.

        Raises:
            ValueError: no head, a class of the test set that the head does not know, or labels that cannot be used.
        """
        maps = self.maps()
        mask_names = None if self.classes is None else read_class_list(self.classes)
        if self.head == "linear":
            classifier = fitted_head(task, self.head_train, linear_settings(self.linear))
        else:
            classifier = own_head(task)
        matcher = ClassMatcher(classifier.names, classifier.count, task.test.label_names, *maps)

        def keep(scores_SK: Tensor, name: str, place: int | None) -> tuple[np.ndarray, list[int]] | None:
            columns = matcher.columns(name, place)
            return None if columns is None else (scores_SK[0].float().numpy(), columns)

        rows = score_rows(task, classifier, task.encoder.preprocess, WithoutBorder(self.border), 1, keep)
        if not task.is_main:
            return []
        mask, how = self._mask(matcher, mask_names, rows, whole=task.options.max_test_images is None)
        return self._results(task, classifier, rows, mask, how)

    def _mask(
        self, matcher: ClassMatcher, mask_names: list[str] | None, rows: ScoredRows, whole: bool
    ) -> tuple[list[int], str]:
        """Columns that the test set's classes stand for, and where they are from."""
        seen = sorted({column for _, columns in rows.kept for column in columns})
        if mask_names is not None:
            mask, how = matcher.all_of(mask_names), f"the list {self.classes!r}"
            strangers = sorted(set(seen) - set(mask))
            if strangers:
                names = [(matcher.names or [])[column] for column in strangers[:5]]
                raise ValueError(f"classes {self.classes!r} lacks classes that the test set holds: {names}")
            return mask, how
        if matcher.listed is not None and len(matcher.listed) < matcher.count:
            return sorted(set(matcher.all_of(matcher.listed)) | set(seen)), "the data set's list of classes"
        if not whole:
            logger.warning(
                "masked scores are left out: a part of the images does not tell all classes; give `classes`"
            )
            return list(range(matcher.count)), "none"
        return seen, "the classes that occur"

    def _results(
        self, task: Task, classifier: Classifier, rows: ScoredRows, mask: list[int], how: str
    ) -> list[Result]:
        settings: dict[str, Any] = {
            **self.facts(),
            **classifier.facts,
            "feature": task.encoder.feature,
            "preprocessing": task.encoder.preprocessing,
            "mask": how,
            "num_masked_classes": len(mask),
            "skipped_test": len(rows.skipped),
            "left_out_test": rows.left_out,
            "max_test_images": task.options.max_test_images,
        }
        common = task.result(self.metrics[0], 0.0, classifier.selection, len(rows.kept), settings=settings)
        results = []
        for metric in self.metrics:
            answers, masked = ANSWERS[metric]
            choices = len(mask) if masked else classifier.count
            if choices <= answers or (masked and len(mask) == classifier.count):
                continue  # always right, or the same as unmasked
            among = mask if masked else None
            ahead = [
                classes_ahead(torch.from_numpy(scores_K)[None], columns, among) for scores_K, columns in rows.kept
            ]
            right_N = np.concatenate(ahead) < answers
            low, high, method = bootstrap_interval(right_N, seed=task.seed)
            value = float(right_N.mean())
            result = dataclasses.replace(
                common, metric=metric, value=value, interval=(low, high), interval_method=method
            )
            results.append(result)
        return results
