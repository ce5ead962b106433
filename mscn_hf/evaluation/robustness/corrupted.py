# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""A classifier on corrupted copies of the test split: accuracy of each corruption, their mean, and mCE.

Shapes: N images, C corruptions, S severities.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from torch import Tensor

from ..results import Result
from ..settings import check, nearest, number
from ..task import Task
from .classes import ClassMatcher
from .copies import CorruptedCopies, without_margin
from .corruptions import CORRUPTIONS, SEVERITIES
from .heads import Classifier, fitted_head, linear_settings, own_head
from .interval import mean_interval
from .scoring import ScoredRows, classes_ahead, score_rows
from .settings import HeadProtocol

logger = logging.getLogger(__name__)

BASELINE_KEYS = ("name", "num_classes", "errors")
TOP = {"top1_accuracy": 1, "top5_accuracy": 5}


@dataclass
class RobustnessSettings(HeadProtocol):
    """ImageNet-C's corruptions on any test split (Hendrycks & Dietterich 2019, sec. 4.1).

    Args:
        corruptions: names of `CORRUPTIONS`; all 15 by default.
        severities: of 1..5.
        resize, crop: shorter side and square cut from its middle before the corruption, in pixels; both null: each
            picture's own size. With a crop the encoder's preprocessing takes it whole, as the benchmark's does.
        jpeg_quality: the benchmark's pictures went through a JPEG file of quality 85; null: none.
        baseline: `name`, `num_classes` and `errors` (corruption -> error as a fraction, mean over severities) of the
            network that mCE is relative to. mCE is left out where the classifier has another number of classes.
    """

    METRIC_NAMES: ClassVar[tuple[str, ...]] = (*TOP, "mean_corruption_error")

    metrics: list[str] = field(default_factory=lambda: ["top1_accuracy", "mean_corruption_error"])
    corruptions: list[str] = field(default_factory=lambda: list(CORRUPTIONS))
    severities: list[int] = field(default_factory=lambda: list(SEVERITIES))
    resize: int | None = 256
    crop: int | None = 224
    jpeg_quality: int | None = 85
    baseline: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in self.corruptions:
            if name not in CORRUPTIONS:
                raise ValueError(f"unknown corruption {name!r}{nearest(name, CORRUPTIONS)}")
        for key, values in (("corruptions", self.corruptions), ("severities", self.severities)):
            check(key, values, len(values) > 0 and len(set(values)) == len(values), "a list without repeats")
        known = all(value in SEVERITIES and not isinstance(value, bool) for value in self.severities)
        check("severities", self.severities, known, "some of 1 to 5")
        if (self.resize is None) != (self.crop is None):
            raise ValueError(f"resize and crop go together, got {self.resize!r} and {self.crop!r}")
        if self.resize is not None and self.crop is not None:
            check("crop", self.crop, isinstance(self.crop, int) and self.crop >= 32, "null or at least 32")
            check("resize", self.resize, isinstance(self.resize, int) and self.resize >= self.crop, "at least crop")
        quality = self.jpeg_quality
        check("jpeg_quality", quality, quality is None or quality in range(1, 96), "null or 1 to 95")
        if self.baseline is not None:
            self._check_baseline(self.baseline)

    def _check_baseline(self, baseline: dict[str, Any]) -> None:
        if not isinstance(baseline, dict) or set(baseline) != set(BASELINE_KEYS):
            raise ValueError(f"baseline needs exactly the keys {list(BASELINE_KEYS)}, got {baseline!r}")
        errors = baseline["errors"]
        missing = [name for name in self.corruptions if name not in errors]
        if missing:
            raise ValueError(f"baseline.errors lacks {missing}")
        errors = {name: number(f"baseline.errors.{name}", value) for name, value in errors.items()}
        check("baseline.errors", errors, all(0 < value <= 1 for value in errors.values()), "fractions in (0, 1]")
        check("severities", self.severities, set(self.severities) == set(SEVERITIES), "1 to 5 beside a baseline")
        self.baseline = {**baseline, "errors": errors}

    @property
    def needs_train(self) -> bool:
        """See `Protocol.needs_train`."""
        return self.head == "linear"

    def run(self, task: Task) -> list[Result]:
        """See `Protocol.run`.

        Raises:
            ValueError: no head, labels that cannot be used, a picture too small, or anything `extract` refuses.
        """
        maps = self.maps()
        if self.head == "linear":
            classifier = fitted_head(task, task.train, linear_settings(self.linear))
        else:
            classifier = own_head(task)
        preprocess, cut = without_margin(task.encoder) if self.crop is not None else (task.encoder.preprocess, False)
        # A class that a head fitted on train never saw counts as wrong; one that a published head lacks is a mistake.
        strangers = "wrong" if self.head == "linear" else "error"
        matcher = ClassMatcher(classifier.names, classifier.count, task.test.label_names, *maps, strangers)

        def keep(scores_SK: Tensor, name: str, place: int | None) -> np.ndarray | None:
            columns = matcher.columns(name, place)
            return None if columns is None else classes_ahead(scores_SK, columns)

        copies = CorruptedCopies(
            self.corruptions, self.severities, self.resize, self.crop, self.jpeg_quality, task.seed
        )
        a_row = 1 + len(self.corruptions) * len(self.severities)
        rows = score_rows(task, classifier, preprocess, copies, a_row, keep)
        if not task.is_main:
            return []
        return self._results(task, classifier, rows, cut)

    def _results(self, task: Task, classifier: Classifier, rows: ScoredRows, margin_left_out: bool) -> list[Result]:
        ahead_NS = np.stack(rows.kept)
        ahead_NCS = ahead_NS[:, 1:].reshape(len(ahead_NS), len(self.corruptions), len(self.severities))
        errors_N = self._corruption_errors(ahead_NCS == 0, classifier.count)
        absent = sorted(
            {name for name, ahead_S in zip(rows.names, ahead_NS, strict=True) if ahead_S[0] == classifier.count}
        )
        if absent:
            logger.warning("classes that train does not hold count as wrong: %s", absent[:10])
        settings = {
            **self.facts(),
            **classifier.facts,
            "feature": task.encoder.feature,
            "preprocessing": task.encoder.preprocessing,
            "margin_left_out": margin_left_out,
            "classes_absent_from_train": absent,
            "skipped_test": len(rows.skipped),
            "left_out_test": rows.left_out,
            "max_test_images": task.options.max_test_images,
            "clean_top1_accuracy": float((ahead_NS[:, 0] == 0).mean()),
            "top1_accuracy_by_severity": _by_corruption(self.corruptions, (ahead_NCS == 0).mean(axis=0)),
            "mean_corruption_error": None if errors_N is None else float(errors_N.mean()),
        }
        scores: list[tuple[str, str, np.ndarray]] = []  # protocol, metric, a value for each image
        for metric in self.metrics:
            if metric == "mean_corruption_error":
                if errors_N is not None and errors_N.mean() <= 1:
                    scores.append((task.protocol, metric, errors_N))
            elif classifier.count > TOP[metric]:
                right_NCS = ahead_NCS < TOP[metric]
                scores.append((task.protocol, metric, right_NCS.mean(axis=(1, 2))))
                for place, name in enumerate(self.corruptions):
                    scores.append((f"{task.protocol} {name}", metric, right_NCS[:, place].mean(axis=1)))
        common = task.result(self.metrics[0], 0.0, classifier.selection, len(ahead_NS), settings=settings)
        return [_result(common, protocol, metric, values_N, task.seed) for protocol, metric, values_N in scores]

    def _corruption_errors(self, right_NCS: np.ndarray, num_classes: int) -> np.ndarray | None:
        """Each image's share of mCE (N,): mean over corruptions of its error there divided by the baseline's.

        mCE is the mean over corruptions of (sum over severities of the error) / (the same sum of the baseline)
        (Hendrycks & Dietterich 2019, eq. 1); both sums have five terms, so means do as well.
        """
        if "mean_corruption_error" not in self.metrics:
            return None
        if self.baseline is None or self.baseline["num_classes"] != num_classes:
            logger.warning("mCE is left out: there are no baseline errors for %d classes", num_classes)
            return None
        baseline_C = np.array([self.baseline["errors"][name] for name in self.corruptions])
        errors_N = ((1 - right_NCS).mean(axis=2) / baseline_C).mean(axis=1)
        if errors_N.mean() > 1:
            logger.warning("mCE is %.3f; a Result holds fractions, so it stands in the settings only", errors_N.mean())
        return errors_N


def _result(common: Result, protocol: str, metric: str, values_N: np.ndarray, seed: int) -> Result:
    interval = mean_interval(values_N, seed=seed)
    fits = interval.high <= 1  # mCE may go beyond
    return dataclasses.replace(
        common,
        protocol=protocol,
        metric=metric,
        value=float(values_N.mean()),
        interval=(interval.low, interval.high) if fits else None,
        interval_method=interval.method if fits else None,
    )


def _by_corruption(names: Sequence[str], values_CS: np.ndarray) -> dict[str, list[float]]:
    return {name: [float(value) for value in values_S] for name, values_S in zip(names, values_CS, strict=True)}
