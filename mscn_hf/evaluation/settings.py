# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""What every kind of protocol shares: its metrics, the papers' numbers, and the checks of its fields."""

from __future__ import annotations

import dataclasses
import difflib
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Self

if TYPE_CHECKING:
    from .results import Result
    from .task import Task

METRICS = ("top1_accuracy", "top5_accuracy", "mean_per_class_accuracy")
MULTI_LABEL_METRICS = ("map_11point",)
DATASET = "dataset"  # in place of a metric: the one that the data set is reported in
PAPER_KEYS = ("paper", "table", "model", "dataset", "metric", "value")
UNVERIFIED = "unverified"  # of a row of `papers`, optional: its value was not verified against the paper


@dataclass
class Protocol(ABC):
    """A protocol as a document: the settings of one kind, checked, and how to run them.

    Args:
        metrics: what is reported, names of `METRIC_NAMES`.
        papers: published scores under this protocol, each a mapping with the keys of `PAPER_KEYS`; `value` in percent,
            `dataset` the short name of the data set (`imagenet-1k`). `mscn-hf report` shows them beside own scores.
            `unverified: true` marks a value that was not verified against the paper.
    """

    METRIC_NAMES: ClassVar[tuple[str, ...]] = METRICS

    metrics: list[str] = field(default_factory=lambda: ["top1_accuracy", "top5_accuracy"])
    papers: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        if isinstance(self.metrics, str):
            self.metrics = [self.metrics]
        for metric in self.metrics:
            if metric not in self.METRIC_NAMES:
                raise ValueError(f"unknown metric {metric!r}{nearest(metric, self.METRIC_NAMES)}")
        check("metrics", self.metrics, len(self.metrics) > 0, "a list with at least one metric")
        for row in self.papers:
            known = isinstance(row, dict) and set(row) - {UNVERIFIED} == set(PAPER_KEYS)
            if not known or not isinstance(row.get(UNVERIFIED, False), bool):
                raise ValueError(
                    f"each of papers needs exactly the keys {list(PAPER_KEYS)}, and `{UNVERIFIED}: true` where the "
                    f"value was not verified, got {row!r}"
                )

    def for_dataset(self, metrics: list[str] | None, held_out: float | None = None) -> Self:
        """These settings with what they leave to the data set: `metrics: dataset`, and the share of train held out.

        Where the set names no metrics, `dataset` stays; its kind of labels decides.
        """
        return dataclasses.replace(self, metrics=list(metrics)) if metrics and self.metrics == [DATASET] else self

    @property
    def needs_train(self) -> bool:
        """Whether `Task.train` is read. A classifier that exists already is scored without one."""
        return True

    @abstractmethod
    def run(self, task: Task) -> list[Result]:
        """Scores the task's encoder. All ranks must call; rank 0 returns the Results, others an empty list."""

    def facts(self) -> dict[str, Any]:
        """The settings, as a Result keeps them."""
        return {name: value for name, value in dataclasses.asdict(self).items() if name != "papers"}


def nearest(name: Any, known: Any) -> str:
    """`; did you mean 'x'?`, or the known names."""
    near = difflib.get_close_matches(str(name), list(known), n=1, cutoff=0.3)
    return f"; did you mean {near[0]!r}?" if near else f"; known are {list(known)}"


def number(name: str, value: Any) -> float:
    """YAML 1.1 reads 1e-3 as text; so does this, on purpose."""
    try:
        return float(value)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} must be a number, got {value!r}") from error


def numbers(name: str, values: Any) -> list[float]:
    """A list of at least one number."""
    check(name, values, isinstance(values, list | tuple) and len(values) > 0, "a list of numbers")
    return [number(name, value) for value in values]


def check(name: str, value: Any, fine: bool, rule: str, *, boolean: bool = False) -> None:
    """Raises ValueError unless `fine`; `k: yes` is True, which is an int, so booleans are refused where not asked."""
    if not fine or (isinstance(value, bool) and not boolean):
        raise ValueError(f"{name} must be {rule}, got {value!r}")
