# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""A classifier on corrupted copies of the test split, or on ImageNet-C's files: each accuracy, their mean, and mCE.

Shapes: N images, C corruptions, S severities.
"""

from __future__ import annotations

import dataclasses
import functools
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
from .copies import CorruptedCopies, WithoutBorder, without_margin
from .corruptions import CORRUPTIONS, SEVERITIES
from .folders import CorruptedFolders, open_folders
from .heads import Classifier, fitted_head, linear_settings, own_head
from .interval import mean_interval
from .scoring import KeepFn, classes_ahead, score_rows
from .settings import HeadProtocol

logger = logging.getLogger(__name__)

BASELINE_KEYS = ("name", "num_classes", "errors")
TOP = {"top1_accuracy": 1, "top5_accuracy": 5}


@dataclass
class Scored:
    """Answers on corrupted pictures, in stored order.

    Attributes:
        ahead_NCS: classes that stand before the right one, see `classes_ahead`.
        names: class of each of the N images.
        skipped, left_out: images that could not be decoded, and those of classes out of scope.
        facts: what a Result keeps of where the pictures are from.
        clean_N: as `ahead_NCS`, of the pictures without corruption, where there are any.
    """

    ahead_NCS: np.ndarray
    names: list[str]
    skipped: int
    left_out: int
    facts: dict[str, Any]
    clean_N: np.ndarray | None = None


@dataclass
class RobustnessSettings(HeadProtocol):
    """ImageNet-C's corruptions, made of any test split or read (Hendrycks & Dietterich 2019, sec. 4.1).

    Args:
        files: folder of the benchmark's own pictures (`$NAMES` of the environment are filled in), laid out as
            `<corruption>/<severity>/<class>/<image>.JPEG`. They are scored as they are in place of copies of the test
            split, whose images are not read; `resize`, `crop` and `jpeg_quality` are null then, and a margin that the
            encoder's preprocessing would cut away stays, because these are cropped already. null: copies are made.
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
    files: str | None = None
    corruptions: list[str] = field(default_factory=lambda: list(CORRUPTIONS))
    severities: list[int] = field(default_factory=lambda: list(SEVERITIES))
    resize: int | None = 256
    crop: int | None = 224
    jpeg_quality: int | None = 85
    baseline: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.files is not None:
            check("files", self.files, isinstance(self.files, str) and bool(self.files.strip()), "null or a folder")
            self.resize = self.crop = self.jpeg_quality = None
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

    @functools.cached_property
    def folders(self) -> CorruptedFolders | None:
        """The folders of `files`, listed once; raises ValueError where they are not all there."""
        return None if self.files is None else open_folders(self.files, self.corruptions, self.severities)

    def inputs(self) -> list[Any]:
        """See `HeadProtocol.inputs`."""
        return [] if self.folders is None else [self.folders.fingerprint, self.folders.modified]

    def run(self, task: Task) -> list[Result]:
        """See `Protocol.run`.

        Raises:
            ValueError: no head, labels that cannot be used, a picture too small, folders of `files` that are not all
                there, or anything `extract` refuses.
        """
        maps, folders = self.maps(), self.folders  # what is wrong with them is said before anything is fitted
        if self.head == "linear":
            classifier = fitted_head(task, task.train, linear_settings(self.linear))
        else:
            classifier = own_head(task)
        # A class that a head fitted on train never saw counts as wrong; one that a published head lacks is a mistake.
        strangers = "wrong" if self.head == "linear" else "error"
        listed = task.test.label_names if folders is None else None
        matcher = ClassMatcher(classifier.names, classifier.count, listed, *maps, strangers)

        def keep(scores_SK: Tensor, name: str, place: int | None) -> np.ndarray | None:
            columns = matcher.columns(name, place)
            return None if columns is None else classes_ahead(scores_SK, columns)

        if folders is None:
            scored = self._score_copies(task, classifier, keep)
        else:
            scored = self._score_folders(task, classifier, keep, folders)
        return self._results(task, classifier, scored) if task.is_main else []

    def _score_copies(self, task: Task, classifier: Classifier, keep: KeepFn) -> Scored:
        preprocess, cut = without_margin(task.encoder) if self.crop is not None else (task.encoder.preprocess, False)
        copies = CorruptedCopies(
            self.corruptions, self.severities, self.resize, self.crop, self.jpeg_quality, task.seed
        )
        a_row = 1 + len(self.corruptions) * len(self.severities)
        rows = score_rows(task, classifier, preprocess, copies, a_row, keep)
        ahead_NS = np.stack(rows.kept)
        ahead_NCS = ahead_NS[:, 1:].reshape(-1, len(self.corruptions), len(self.severities))
        facts = {"margin_left_out": cut}
        return Scored(ahead_NCS, rows.names, len(rows.skipped), rows.left_out, facts, ahead_NS[:, 0])

    def _score_folders(self, task: Task, classifier: Classifier, keep: KeepFn, folders: CorruptedFolders) -> Scored:
        """One pass over each folder. An image that one of them holds damaged is left out of all."""
        preprocess, cut = without_margin(task.encoder)
        found: list[dict[int, int]] = []
        names: dict[int, str] = {}
        skipped: set[str] = set()
        left_out = 0
        for source in folders.sources.values():
            here = dataclasses.replace(task, test=source)
            rows = score_rows(here, classifier, preprocess, WithoutBorder(), 1, keep)
            found.append({place: int(kept[0]) for place, kept in zip(rows.positions, rows.kept, strict=True)})
            names.update(zip(rows.positions, rows.names, strict=True))
            skipped.update(row_id for row_id, _ in rows.skipped)
            left_out = max(left_out, rows.left_out)
        whole = sorted(set.intersection(*(set(places) for places in found)))
        if not whole:
            raise ValueError(f"{folders.name}: not one image can be decoded in all {len(found)} folders")
        ahead_NS = np.array([[places[place] for places in found] for place in whole], dtype=np.int64)
        ahead_NCS = ahead_NS.reshape(-1, len(self.corruptions), len(self.severities))
        facts = {"margin_left_out": cut, "files_fingerprint": folders.fingerprint}
        return Scored(ahead_NCS, [names[place] for place in whole], len(skipped), left_out, facts)

    def _results(self, task: Task, classifier: Classifier, scored: Scored) -> list[Result]:
        ahead_NCS = scored.ahead_NCS
        errors_N = self._corruption_errors(ahead_NCS == 0, classifier.count)
        first_N = ahead_NCS[:, 0, 0]
        absent = sorted({name for name, ahead in zip(scored.names, first_N, strict=True) if ahead == classifier.count})
        if absent:
            logger.warning("classes that train does not hold count as wrong: %s", absent[:10])
        settings = {
            **self.facts(),
            **classifier.facts,
            "feature": task.encoder.feature,
            "preprocessing": task.encoder.preprocessing,
            **scored.facts,
            "classes_absent_from_train": absent,
            "skipped_test": scored.skipped,
            "left_out_test": scored.left_out,
            "max_test_images": task.options.max_test_images,
            "clean_top1_accuracy": None if scored.clean_N is None else float((scored.clean_N == 0).mean()),
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
        own: dict[str, Any] = {}
        if self.folders is not None:  # what was scored is not the data set that the head was fitted on
            own = {"dataset": self.folders.name, "split": f"{len(self.folders.sources)} folders"}
            own |= {"dataset_config": None, "dataset_revision": None}
        common = task.result(self.metrics[0], 0.0, classifier.selection, len(ahead_NCS), settings=settings, **own)
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
