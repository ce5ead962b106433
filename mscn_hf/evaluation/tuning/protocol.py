# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""The course of a protocol with training: choose on held-out train, train with the choice, score test once."""

from __future__ import annotations

import logging
import math
from abc import abstractmethod
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..features import number_labels
from ..probes.linear import split_stratified
from ..results import Result
from ..scores import match_test_labels
from ..settings import DATASET, METRICS
from ..task import Task, measure
from .classifier import LinearHeads
from .fitting import Fit, fit_heads
from .images import Pool
from .scoring import judge, score_test
from .settings import TuningSettings
from .training_set import TrainingSet, read_training_set, read_validation
from .view import input_format

logger = logging.getLogger(__name__)

Point = dict[str, float]


@dataclass
class Chosen:
    """A trained classifier with one head, and how it came about."""

    model: LinearHeads
    fit: Fit
    selection: str
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass
class TuningProtocol(TuningSettings):
    """Every choice is made on `train` (or `validation`); only then the rows of `test` are read, once.

    Under several processes all train and score together; rank 0 returns the Results.
    """

    @abstractmethod
    def new_model(self, task: Task, num_classes: int, points: list[Point]) -> LinearHeads:
        """A fresh classifier with one head for each grid point."""

    @abstractmethod
    def groups(self, model: LinearHeads, points: list[Point]) -> list[dict[str, Any]]:
        """The optimizer's parameter groups: `params`, `lr` for a batch of 256, `weight_decay`."""

    @abstractmethod
    def together(self, points: list[Point]) -> list[list[Point]]:
        """Which grid points are trained side by side in one run."""

    def run(self, task: Task) -> list[Result]:
        """See `Protocol.run`.

        Raises:
            ValueError: labels that cannot be used, a list that does not fit the images, images that cannot be decoded,
                an encoder whose features are not finite, or learning rates that are too large.
            RuntimeError: the given encoder changed on the way.
        """
        task.check_labels()
        training = read_training_set(self, task)
        choosing = len(self.grid()) > 1 and task.validation is not None
        validation = read_validation(task, training) if choosing else None
        chosen = self._choose(task, training, validation)
        scores = score_test(chosen.model, task)
        task.encoder.assert_frozen()
        if not task.is_main:
            return []
        test, train = task.test, task.train
        test_M, test_names = number_labels(scores.labels, test.label_names)
        where = f"{test.name}, {test.split}"
        labels = match_test_labels(training.pool.class_N, training.names, test_M, test_names, where)
        form = input_format(task.encoder.preprocess)
        facts: dict[str, Any] = {
            **self.facts(),
            **chosen.facts,
            "steps": chosen.fit.steps,
            "batch_size_used": chosen.fit.batch_size,
            "train_loss": _json(chosen.fit.loss),
            "canvas_size_used": chosen.fit.canvas_size,
            "input_size": form.size,
            "feature": task.encoder.feature,
            "preprocessing": task.encoder.preprocessing,
            "train_split": train.split,
            "train_subset": training.subset,
            "num_train": len(training.pool),
            "num_fitted": chosen.fit.images,
            "num_classes": len(training.names),
            "classes_absent_from_train": labels.absent,
            "broken_train": chosen.fit.broken,
            "skipped_test": len(scores.skipped),
            "max_train_images": task.options.max_train_images,
            "max_test_images": task.options.max_test_images,
        }
        metrics = list(METRICS) if self.metrics == [DATASET] else self.metrics
        common = task.result(metrics[0], 0.0, chosen.selection, len(scores.labels), settings=facts)
        return measure(common, scores.scores_MK, labels, metrics, False, task.seed)

    def _choose(self, task: Task, training: TrainingSet, validation: Pool | None) -> Chosen:
        points, pool = self.grid(), training.pool
        if len(points) == 1:
            model, fit = self._train(task, training, pool, points)
            _refuse_diverged(model, points[0], fit)
            return Chosen(model, fit, "none (every setting is fixed by the protocol)", {"choice": points[0]})
        if validation is None:
            fit_index, held_index = split_stratified(pool.class_N, self.share_held_out, task.seed)
            fit_pool, held = pool.pick(fit_index), pool.pick(held_index)
            where = (
                f"{100 * self.share_held_out:g} % of the training images held out ({len(held)}, stratified, "
                f"seed {task.seed})"
            )
        else:
            fit_pool, held = pool, validation
            where = f"the validation split {validation.source.split!r} ({len(held)} images)"
        trials, model, fit, best = self._try(task, training, fit_pool, held)
        facts: dict[str, Any] = {
            "choice": {**trials[best], "at_edge_of_grid": self.edges(points[best])},
            "trials": trials,
        }
        if facts["choice"]["at_edge_of_grid"] and task.is_main:
            logger.warning("the choice %s lies at the edge of the grid: a wider one might hold a better", points[best])
        after = "not trained again"
        if self.refit:
            whole = pool
            if validation is not None:
                whole = pool.joined(validation.pick(np.flatnonzero(validation.class_N >= 0)))
            model, fit = self._train(task, training, whole, [points[best]])
            _refuse_diverged(model, points[best], fit)
            after = f"trained again on all {len(whole)} images"
        selection = f"{' x '.join(points[0])} chosen from {len(points)} on {where}; {after}"
        return Chosen(model, fit, selection, facts)

    def _try(
        self, task: Task, training: TrainingSet, fit_pool: Pool, held: Pool
    ) -> tuple[list[dict[str, Any]], LinearHeads, Fit, int]:
        """Trains all grid points; returns the trials, and classifier, run and number of the best."""
        trials: list[dict[str, Any]] = []
        best: tuple[LinearHeads, Fit, int, int] | None = None
        for points in self.together(self.grid()):
            model, fit = self._train(task, training, fit_pool, points)
            judged = judge(model, held, task)
            for head, (point, accuracy, loss) in enumerate(zip(points, judged.accuracy_G, judged.loss_G, strict=True)):
                number = len(trials)
                trials.append({**point, "held_out_accuracy": float(accuracy), "held_out_loss": _json(float(loss))})
                if trials[-1]["held_out_loss"] is None:
                    continue
                if best is None or _rank(trials[number]) < _rank(trials[best[2]]):
                    best = (model, fit, number, head)
        if best is None:
            raise ValueError(f"every grid point diverged; lower the learning rates, got {self.grid()}")
        return trials, best[0].only(best[3]), best[1], best[2]

    def _train(self, task: Task, training: TrainingSet, pool: Pool, points: list[Point]) -> tuple[LinearHeads, Fit]:
        model = self.new_model(task, len(training.names), points)
        return model, fit_heads(model, self.groups(model, points), pool, self, task)


def _rank(trial: dict[str, Any]) -> tuple[float, float]:
    """Equal accuracies are common on small held-out parts; the loss, which is finer, settles them."""
    return -trial["held_out_accuracy"], trial["held_out_loss"]


def _refuse_diverged(model: LinearHeads, point: Point, fit: Fit) -> None:
    if not all(model.finite()):
        raise ValueError(f"training diverged at {point} (stopped after {fit.steps} steps); lower the learning rates")


def _json(value: float) -> float | None:
    return value if math.isfinite(value) else None
