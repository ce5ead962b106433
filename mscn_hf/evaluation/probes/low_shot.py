# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Low-shot classification: logistic regression on the features of a few images of each class, over several draws.

Shapes: N images of a draw, M test images, D features, K classes.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from ..bootstrap import bootstrap_interval, t_interval
from ..feature_protocol import feature_facts
from ..results import Result
from ..scores import Labels, classes_of, match_test_labels, topk_correct
from ..settings import Protocol, check, number
from ..subset import find_listed, read_list
from ..task import Task
from .linear import as_tensor
from .logistic import fit_logistic

logger = logging.getLogger(__name__)

CENTERINGS = ("coordinates", "split", "train", "none")
Classifier = Callable[[Tensor], Tensor]


@dataclass
class LowShotSettings(Protocol):
    """Few labelled images a class, as MSN is evaluated (Assran et al. 2022; their logistic_eval.py).

    Args:
        shots: images of each class; a number below 1 is a share of each class (at least one image).
        draws: seeded draws for each number.
        lists: published draws in place of seeded ones: a name for the Result -> paths of files with an image's file
            name a line. A name that equals a number of `shots` replaces its draws.
        strength: lambda of sum of losses + lambda / 2 * sum W^2 without intercept; scikit-learn's C is 1 / lambda.
            MSN: 0.0025 for few shots, 0.075 for 1 %.
        centering: what is taken from a feature vector before it is scaled to unit length: `coordinates` the mean of
            its own coordinates, which is what MSN's code does (cyanure's `preprocess(columns=False)` works image by
            image); `split` the mean vector of the draw, of test images that of test; `train` that of the draw for
            both; `none`.
        tolerance: see `fit_logistic`.
    """

    METRIC_NAMES: ClassVar[tuple[str, ...]] = ("top1_accuracy", "mean_per_class_accuracy")

    metrics: list[str] = field(default_factory=lambda: ["top1_accuracy"])
    shots: list[float] = field(default_factory=lambda: [1, 2, 5])
    draws: int = 3
    lists: dict[str, list[str]] = field(default_factory=dict)
    strength: float = 0.0025
    centering: str = "coordinates"
    tolerance: float = 1e-6

    def __post_init__(self) -> None:
        super().__post_init__()
        fine = isinstance(self.shots, list | tuple) and all(_is_shot(shot) for shot in self.shots)
        check("shots", self.shots, fine, "a list of whole numbers from 1, or shares of a class in (0, 1)")
        check("draws", self.draws, isinstance(self.draws, int) and self.draws >= 1, "a positive integer")
        check("lists", self.lists, isinstance(self.lists, dict), "a mapping from a name to paths")
        self.lists = {
            str(name): [paths] if isinstance(paths, str) else list(paths) for name, paths in self.lists.items()
        }
        check("lists", self.lists, all(self.lists.values()), "a mapping from a name to at least one path")
        if not self.shots and not self.lists:
            raise ValueError("low_shot needs shots or lists")
        for name in ("strength", "tolerance"):
            setattr(self, name, number(name, getattr(self, name)))
            check(name, getattr(self, name), getattr(self, name) > 0, "positive")
        check("centering", self.centering, self.centering in CENTERINGS, f"one of {CENTERINGS}")

    def run(self, task: Task) -> list[Result]:
        """See `Protocol.run`: one Result for each number of shots and metric; nothing is chosen.

        Where there are several numbers the Results' protocol is `<name>-<number>`.

        Raises:
            ValueError: labels that cannot be used, images of a list that are not there, or anything `extract` refuses.
        """
        task.check_labels()
        bank = task.features(task.train)
        labels_N, names = classes_of(bank.labels, bank.label_names, f"{task.train.name}, {task.train.split}")
        sizes: dict[str, list[int]] = {}

        def fit() -> dict[str, list[Classifier]]:
            classifiers = {}
            for group, draws in self._groups(labels_N, names, bank.rows, task).items():
                sizes[group] = [len(rows) for rows in draws]
                classifiers[group] = [
                    self._fit(as_tensor(bank.features[rows], task.encoder.device), labels_N[rows], len(names))
                    for rows in draws
                ]
            return classifiers

        classifiers = task.on_main(fit)
        queries = task.features(task.test)
        if classifiers is None:
            return []
        where = f"{task.test.name}, {task.test.split}"
        labels = match_test_labels(labels_N, names, queries.labels, queries.label_names, where)
        facts = feature_facts(task, bank, queries, len(names), labels.absent)
        test_MD = as_tensor(queries.features, task.encoder.device)
        results = []
        for group, fitted in classifiers.items():
            scores = [classifier(test_MD) for classifier in fitted]
            source = "files" if group in self.lists else f"seed {task.seed}"
            common = task.result(
                self.metrics[0],
                0.0,
                f"none (lambda = {self.strength:g} fixed; {len(scores)} draws from {source})",
                len(queries),
                protocol=task.protocol if len(classifiers) == 1 else f"{task.protocol}-{group}",
                settings={**self._alone(group).facts(), **facts, "group": group, "images_in_draw": sizes[group]},
            )
            results.extend(_measure(common, scores, labels, self.metrics, task.seed))
        return results

    def _alone(self, group: str) -> LowShotSettings:
        """The settings that make this group's Results and no others."""
        if group in self.lists:
            return dataclasses.replace(self, shots=[], lists={group: self.lists[group]})
        return dataclasses.replace(self, shots=[shot for shot in self.shots if f"{shot:g}" == group], lists={})

    def _groups(
        self, labels_N: np.ndarray, names: list[str], positions_N: np.ndarray, task: Task
    ) -> dict[str, list[np.ndarray]]:
        """Indices into the bank of each draw, by the name of its Result."""
        groups: dict[str, list[np.ndarray]] = {}
        for shot in self.shots:
            if f"{shot:g}" not in self.lists:
                seeds = [(task.seed, draw) for draw in range(self.draws)]
                groups[f"{shot:g}"] = [draw_shots(labels_N, shot, seed) for seed in seeds]
                _tell_small_classes(labels_N, names, shot)
        if self.lists:
            file_names = _file_names(task, positions_N)
            for name, paths in self.lists.items():
                groups[name] = [find_listed(file_names, read_list(path, None), path) for path in paths]
        return groups

    def _fit(self, x_ND: Tensor, labels_N: np.ndarray, num_classes: int) -> Classifier:
        mean_D = x_ND.mean(dim=0)
        z_ND = self._prepare(x_ND, mean_D)
        fit = fit_logistic(
            z_ND,
            torch.from_numpy(labels_N).to(z_ND.device),
            self.strength / len(z_ND),
            num_classes,
            intercept=False,
            tolerance=self.tolerance,
        )
        weight_DK = fit.weight_GDK[0].to(x_ND.dtype)

        def scores(test_MD: Tensor) -> Tensor:
            centre_D = test_MD.mean(dim=0) if self.centering == "split" else mean_D
            return self._prepare(test_MD, centre_D) @ weight_DK

        return scores

    def _prepare(self, x_ND: Tensor, mean_D: Tensor) -> Tensor:
        if self.centering == "coordinates":
            x_ND = x_ND - x_ND.mean(dim=1, keepdim=True)
        elif self.centering != "none":
            x_ND = x_ND - mean_D
        return normalize(x_ND, dim=1)


def _file_names(task: Task, positions_N: np.ndarray) -> list[str]:
    """File name of each image whose features are kept; reads the rows of train once more, undecoded."""
    kept = set(positions_N.tolist())
    return [row.id.rsplit("/", 1)[-1] for number, row in enumerate(task.train.rows()) if number in kept]


def draw_shots(labels_N: np.ndarray, shot: float, seed: Any) -> np.ndarray:
    """Indices of `shot` images of each class, or that share of each class where below 1, drawn with `seed`; sorted.

    A class with fewer images gives all that it has.
    """
    random = np.random.default_rng(seed)
    chosen = []
    for label in np.unique(labels_N):
        members = random.permutation(np.flatnonzero(labels_N == label))
        chosen.append(members[: int(shot) if shot >= 1 else max(1, round(shot * len(members)))])
    return np.sort(np.concatenate(chosen))


def _measure(common: Result, scores: list[Tensor], labels: Labels, metrics: list[str], seed: int) -> list[Result]:
    test_M = torch.from_numpy(labels.test_M)
    results = []
    for metric in metrics:
        groups_M = labels.test_class_M if metric == "mean_per_class_accuracy" else None
        correct = [topk_correct(scores_MK, test_M, 1).cpu().numpy() for scores_MK in scores]
        values = [_accuracy(correct_M, groups_M) for correct_M in correct]
        if any(not np.array_equal(correct[0], other_M) for other_M in correct[1:]):
            interval = t_interval(values)
        else:  # one draw, or all of the same images: nothing is known of other draws
            interval = bootstrap_interval(correct[0], groups_N=groups_M, seed=seed)
        results.append(
            dataclasses.replace(
                common,
                metric=metric,
                value=float(np.mean(values)),
                interval=(interval.low, interval.high),
                interval_method=interval.method,
                settings={**common.settings, "value_of_each_draw": values},
            )
        )
    return results


def _accuracy(correct_M: np.ndarray, groups_M: np.ndarray | None) -> float:
    if groups_M is None:
        return float(correct_M.mean())
    return float(np.mean([correct_M[groups_M == group].mean() for group in np.unique(groups_M)]))


def _tell_small_classes(labels_N: np.ndarray, names: list[str], shot: float) -> None:
    small = [name for name, count in zip(names, np.bincount(labels_N), strict=True) if count < shot]
    if small:
        logger.warning("%d classes have fewer than %g images and give all of them: %s", len(small), shot, small[:10])


def _is_shot(shot: Any) -> bool:
    if isinstance(shot, bool) or not isinstance(shot, int | float) or shot <= 0:
        return False
    return shot < 1 or float(shot).is_integer()
