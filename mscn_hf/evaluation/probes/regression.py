# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""L2-regularised logistic regression on frozen features, the papers' protocol of linear transfer."""

from __future__ import annotations

import dataclasses
import logging
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ..average_precision import map_11point, map_interval
from ..cache import FeatureSet
from ..feature_protocol import Fitted, feature_facts
from ..multi_label import match_targets, targets_of
from ..results import Result
from ..scores import classes_of, match_test_labels, match_validation_labels, refuse_strangers
from ..settings import DATASET, METRICS, MULTI_LABEL_METRICS, Protocol, check, number
from ..task import Task, measure
from .linear import split_stratified
from .regression_path import NORMALIZATIONS, Path, PathClassifier, fit_path

logger = logging.getLogger(__name__)

HELD_OUT = 0.2


@dataclass
class LogisticSettings(Protocol):
    """Logistic regression over a path of L2 strengths (Kornblith et al. 2019; Grill et al. 2020, app. D).

    Args:
        count, weakest, strongest: `count` log-spaced strengths lambda of sum of losses + lambda / 2 * sum W^2.
            scikit-learn's C is 1 / lambda.
        normalization: of the features, see `Path`; the papers take them as they are.
        held_out: share of train that the choice is made on where there is no validation split; the data set's own
            share by default, else 0.2.
        tolerance, max_passes: of each solution, see `fit_logistic`; the chosen one is solved ten times finer.

    Where images hold several classes each class is a binary regression (one against the rest) and the metric is
    `map_11point`; one strength is chosen for all classes.
    """

    METRIC_NAMES: ClassVar[tuple[str, ...]] = (*METRICS, *MULTI_LABEL_METRICS, DATASET)

    count: int = 45
    weakest: float = 1e-6
    strongest: float = 1e5
    normalization: str = "none"
    held_out: float | None = None
    tolerance: float = 1e-4
    max_passes: int = 300

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("count", "max_passes"):
            value = getattr(self, name)
            check(name, value, isinstance(value, int) and value >= 1, "a positive integer")
        for name in ("weakest", "strongest", "tolerance"):
            setattr(self, name, number(name, getattr(self, name)))
            check(name, getattr(self, name), getattr(self, name) > 0, "positive")
        check("strongest", self.strongest, self.strongest >= self.weakest, f"at least weakest = {self.weakest:g}")
        check("normalization", self.normalization, self.normalization in NORMALIZATIONS, f"one of {NORMALIZATIONS}")
        if self.held_out is not None:
            self.held_out = number("held_out", self.held_out)
            check("held_out", self.held_out, 0 < self.held_out < 1, "in (0, 1)")

    def for_dataset(self, metrics: list[str] | None, held_out: float | None = None) -> LogisticSettings:
        """See `Protocol.for_dataset`."""
        settings = super().for_dataset(metrics, held_out)
        return dataclasses.replace(settings, held_out=held_out if self.held_out is None else self.held_out)

    def path(self, metric: str) -> Path:
        """The strengths, to be chosen from by `metric`."""
        strengths = np.geomspace(self.weakest, self.strongest, self.count).tolist()
        return Path(strengths, self.normalization, self.tolerance, self.max_passes, metric)

    def run(self, task: Task) -> list[Result]:
        """See `Protocol.run`. The strength is chosen on `task.validation`, or on a part of train held out.

        Raises:
            ValueError: labels that cannot be used, a class of the validation split that train lacks, a metric that
                does not fit the labels, or anything `extract` refuses.
        """
        task.check_labels()
        bank = task.features(task.train, multi_label=True)
        several = bank.labels.ndim == 2
        metrics = self._metrics(several, task)
        held = None if task.validation is None else task.features(task.validation, multi_label=several)
        chosen = task.on_main(lambda: self._fit(bank, held, metrics[0], task))
        queries = task.features(task.test, multi_label=several)
        if chosen is None:
            return []
        fitted, names = chosen
        return self._report(task, bank, queries, fitted, names, metrics)

    def _metrics(self, several: bool, task: Task) -> list[str]:
        fitting = MULTI_LABEL_METRICS if several else METRICS
        if self.metrics == [DATASET]:
            return [fitting[0]]
        wrong = [metric for metric in self.metrics if metric not in fitting]
        if wrong:
            kind = "lists of classes" if several else "one class an image"
            raise ValueError(f"{task.train.name} has {kind}, which {wrong[0]} is not for; take one of {list(fitting)}")
        return self.metrics

    def _fit(self, bank: FeatureSet, held: FeatureSet | None, metric: str, task: Task) -> tuple[Fitted, list[str]]:
        """Chooses and fits on train (and validation) alone."""
        where = f"{task.train.name}, {task.train.split}"
        if bank.labels.ndim == 2:
            targets_N, names = targets_of(bank.labels, bank.label_names or [], where)
        else:
            targets_N, names = classes_of(bank.labels, bank.label_names, where)
        device = task.encoder.device
        if held is not None:
            assert task.validation is not None
            where = f"{task.validation.name}, {task.validation.split}"
            held_M = _matched(targets_N, names, held, where)
            classifier = fit_path(
                self.path(metric), bank.features, targets_N, held.features, held_M, len(names), device
            )
            selection = f"the validation split {task.validation.split!r} ({len(held)} images)"
            after = "train and validation"
        else:
            share = HELD_OUT if self.held_out is None else self.held_out
            fit, part = _split(targets_N, share, task.seed)
            classifier = fit_path(
                self.path(metric),
                bank.features[fit],
                targets_N[fit],
                bank.features[part],
                targets_N[part],
                len(names),
                device,
            )
            drawn = "stratified, " if targets_N.ndim == 1 else ""
            selection = f"{100 * share:g} % of train held out ({len(part)} images, {drawn}seed {task.seed})"
            after = "all of train"
        self._warn(classifier)
        chosen = f"L2 strength chosen from {self.count} by {metric} on {selection}; fitted again on {after}"
        facts = {
            "choice": classifier.choice,
            "trials": classifier.trials,
            "num_validation": None if held is None else len(held),
        }
        return Fitted(classifier.scores, chosen, facts), names

    def _warn(self, classifier: PathClassifier) -> None:
        if classifier.choice["at_edge_of_grid"]:
            logger.warning(
                "the best L2 strength, %g, is at the edge of the grid [%g, %g]: a wider one might hold a better",
                classifier.choice["strength"],
                self.weakest,
                self.strongest,
            )

    def _report(
        self,
        task: Task,
        bank: FeatureSet,
        queries: FeatureSet,
        fitted: Fitted,
        names: list[str],
        metrics: list[str],
    ) -> list[Result]:
        where = f"{task.test.name}, {task.test.split}"
        several = bank.labels.ndim == 2
        if several:
            targets_MK, absent = match_targets(names, queries.labels, queries.label_names or [], where)
        else:
            labels = match_test_labels(bank.labels, names, queries.labels, queries.label_names, where)
            absent = labels.absent
        facts = {**self.facts(), **fitted.facts, **feature_facts(task, bank, queries, len(names), absent)}
        common = task.result(metrics[0], 0.0, fitted.selection, len(queries), settings=facts)
        scores_MK = fitted.scores(queries.features)
        if not several:
            return measure(common, scores_MK, labels, metrics, False, task.seed)
        facts["classes_without_test_images"] = [
            name for name, column in zip(names, targets_MK.T, strict=True) if not (column > 0).any()
        ]
        facts["left_out_as_difficult"] = int((targets_MK < 0).sum())
        value = map_11point(scores_MK.cpu().numpy(), targets_MK, len(absent))
        interval = map_interval(scores_MK.cpu().numpy(), targets_MK, len(absent), seed=task.seed)
        whole: dict[str, Any] = {
            "value": value,
            "interval": (interval.low, interval.high),
            "interval_method": interval.method,
        }
        whole["interval_method"] = interval.method
        return [dataclasses.replace(common, metric=metric, **whole) for metric in metrics]


def _matched(targets_N: np.ndarray, names: list[str], held: FeatureSet, where: str) -> np.ndarray:
    """Targets of the validation split in train's order of classes."""
    if targets_N.ndim == 1:
        return match_validation_labels(targets_N, names, held.labels, held.label_names, where)
    matched_MK, absent = match_targets(names, held.labels, held.label_names or [], where)
    refuse_strangers(absent, where)
    return matched_MK


def _split(targets_N: np.ndarray, share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Indices of a fit part and a held-out part."""
    if targets_N.ndim == 1:
        return split_stratified(targets_N, share, seed)
    if len(targets_N) < 2:
        raise ValueError("one train image cannot be divided: give a validation split")
    order = np.random.default_rng(seed).permutation(len(targets_N))
    count = min(len(order) - 1, max(1, round(share * len(order))))
    return np.sort(order[count:]), np.sort(order[:count])
