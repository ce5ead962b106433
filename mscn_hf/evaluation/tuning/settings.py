# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""The settings that all protocols with training on augmented images share."""

from __future__ import annotations

import dataclasses
import itertools
import re
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

from ..settings import DATASET, METRICS, Protocol, check, number, numbers
from .schedule import SCHEDULES, Schedule

HEAD_INITS = ("normal", "lecun")
REFERENCE_BATCH = 256
HELD_OUT = 0.1


@dataclass
class TuningSettings(Protocol):
    """Training on random crops and flips; the fields that name several values span the grid (`GRID`).

    Args:
        metrics: see `Protocol`; `dataset` is every one of `METRICS` where the data set names none.
        epochs: passes over the training images.
        batch_size: over all processes; of fewer images than that, all.
        optimizer: `sgd` or `adamw`. Weight decay is on all trained parameters, as in the papers' torch code.
        momentum, nesterov: of sgd.
        schedule, milestones, decay_factor, warmup_epochs: see `Schedule`.
        schedule_by: `step` or `epoch`: when the learning rate moves.
        head_init: `normal`: standard deviation 0.01 (Barlow Twins, DINO); `lecun`: truncated normal of standard
            deviation 1 / sqrt(D) (Haiku's default: BYOL, ReLICv2). Biases begin at 0.
        crop_scale, crop_ratio, flip_p: of the random crop, see `ViewSpec`; its size is the encoder's input size.
        canvas_size: longer side in pixels that images are shrunk to before they are cropped; null: 16/7 of the input
            size (512 for 224).
        held_out: share of each class of the training images that a choice is made on, where the data set brings no
            validation split; the data set's own share by default, else 0.1.
        refit: train once more with the choice on all images, the held-out ones included; false: score what was
            trained without them.
        subset_list: path or https address of a list of file names, one a line: train on these images only.
        subset_sha256: of that list; needed for an address.
        subset_classes: number of classes of the data set that the list is of; any other set takes `subset_share`.
        subset_share: train on this share of the images, equally many of each class, drawn with the seed.

    Learning rates are for a batch of 256 and grow with the batch (Goyal et al. 2017). Images have one class each.
    """

    METRIC_NAMES: ClassVar[tuple[str, ...]] = (*METRICS, DATASET)
    GRID: ClassVar[dict[str, str]] = {}

    epochs: int = 100
    batch_size: int = 256
    optimizer: str = "sgd"
    momentum: float = 0.9
    nesterov: bool = False
    schedule: str = "cosine"
    schedule_by: str = "step"
    milestones: list[int] = field(default_factory=list)
    decay_factor: float = 0.1
    warmup_epochs: float = 0.0
    head_init: str = "normal"
    crop_scale: list[float] = field(default_factory=lambda: [0.08, 1.0])
    crop_ratio: list[float] = field(default_factory=lambda: [3 / 4, 4 / 3])
    flip_p: float = 0.5
    canvas_size: int | None = None
    held_out: float | None = None
    refit: bool = True
    subset_list: str | None = None
    subset_sha256: str | None = None
    subset_classes: int | None = None
    subset_share: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check("metrics", self.metrics, DATASET not in self.metrics or len(self.metrics) == 1, f"{DATASET!r} alone")
        for name in ("epochs", "batch_size", "canvas_size", "subset_classes"):
            value = getattr(self, name)
            optional = value is None and name in ("canvas_size", "subset_classes")
            check(name, value, optional or (isinstance(value, int) and value >= 1), "a positive integer")
        for name, known in (
            ("optimizer", ("sgd", "adamw")),
            ("schedule", SCHEDULES),
            ("schedule_by", ("step", "epoch")),
            ("head_init", HEAD_INITS),
        ):
            check(name, getattr(self, name), getattr(self, name) in known, f"one of {', '.join(known)}")
        for name in ("nesterov", "refit"):
            check(name, getattr(self, name), isinstance(getattr(self, name), bool), "true or false", boolean=True)
        self._check_numbers()
        self._check_schedule()
        self._check_subset()

    def _check_numbers(self) -> None:
        for name, low, high in (("momentum", 0.0, 1.0), ("held_out", 0.0, 1.0), ("flip_p", 0.0, 1.0)):
            if getattr(self, name) is None and name == "held_out":
                continue
            value = number(name, getattr(self, name))
            setattr(self, name, value)
            inside = low < value < high if name == "held_out" else low <= value <= high
            check(name, value, inside, "in (0, 1)" if name == "held_out" else "in [0, 1]")
        for name in ("crop_scale", "crop_ratio"):
            values = numbers(name, getattr(self, name))
            check(name, values, len(values) == 2 and 0 < values[0] <= values[1], "two numbers, the smaller one first")
            setattr(self, name, values)
        for name in self.GRID:
            values = numbers(name, getattr(self, name))
            lowest = "not negative" if name == "weight_decays" else "positive"
            fine = all(value > 0 or (value == 0 and name == "weight_decays") for value in values)
            check(name, values, fine and len(set(values)) == len(values), f"{lowest}, each once")
            setattr(self, name, values)

    def _check_schedule(self) -> None:
        for name in ("decay_factor", "warmup_epochs"):
            setattr(self, name, number(name, getattr(self, name)))
        check("decay_factor", self.decay_factor, 0 < self.decay_factor <= 1, "in (0, 1]")
        check("warmup_epochs", self.warmup_epochs, 0 <= self.warmup_epochs < self.epochs, "in [0, epochs)")
        fine = isinstance(self.milestones, list) and all(type(m) is int and m > 0 for m in self.milestones)
        check("milestones", self.milestones, fine, "a list of positive integers")
        if (self.schedule == "step") != bool(self.milestones):
            raise ValueError(
                f"milestones belong to the schedule 'step', got {self.milestones!r} and {self.schedule!r}"
            )

    def _check_subset(self) -> None:
        if self.subset_share is not None:
            self.subset_share = number("subset_share", self.subset_share)
            check("subset_share", self.subset_share, 0 < self.subset_share <= 1, "in (0, 1]")
        if self.subset_list is None and (self.subset_sha256 is not None or self.subset_classes is not None):
            raise ValueError("subset_sha256 and subset_classes need a subset_list")
        if self.subset_sha256 is not None:
            fine = isinstance(self.subset_sha256, str) and re.fullmatch(r"[0-9a-f]{64}", self.subset_sha256)
            check("subset_sha256", self.subset_sha256, bool(fine), "64 hexadecimal digits")
        if self.subset_list is not None and "://" in self.subset_list:
            check("subset_list", self.subset_list, self.subset_list.startswith("https://"), "a path or https address")
            if self.subset_sha256 is None:
                raise ValueError("a subset_list that is an address needs its subset_sha256")
        if self.subset_list is not None and self.subset_classes is None and self.subset_share is not None:
            raise ValueError(
                "subset_list beside subset_share needs subset_classes, which tells when the list is meant"
            )

    def for_dataset(self, metrics: list[str] | None, held_out: float | None = None) -> Self:
        """See `Protocol.for_dataset`.

        Raises:
            ValueError: `metrics: dataset`, and the data set's own is of lists of classes.
        """
        own = metrics if metrics and self.metrics == [DATASET] else self.metrics
        wrong = [metric for metric in own if metric not in self.METRIC_NAMES]
        if wrong:
            raise ValueError(
                f"the data set is reported in {wrong[0]}, which is for lists of classes, while this protocol trains "
                "on one class an image: score the set by the protocol `transfer`"
            )
        share = held_out if self.held_out is None else self.held_out
        return dataclasses.replace(self, metrics=list(own), held_out=share)

    @property
    def share_held_out(self) -> float:
        """`held_out`, or the share that holds where neither the protocol nor the data set names one."""
        return HELD_OUT if self.held_out is None else self.held_out

    def facts(self) -> dict[str, Any]:
        """See `Protocol.facts`; with the share that is held out, whoever named it."""
        return {**super().facts(), "held_out": self.share_held_out}

    def grid(self) -> list[dict[str, float]]:
        """The grid points, as dicts."""
        lists = [getattr(self, name) for name in self.GRID]
        return [dict(zip(self.GRID.values(), values, strict=True)) for values in itertools.product(*lists)]

    def edges(self, point: dict[str, float]) -> list[str]:
        """Which coordinates of a grid point lie at the end of their list, where a wider one might hold a better."""
        lists = {key: getattr(self, name) for name, key in self.GRID.items()}
        return [
            key for key, value in point.items() if len(lists[key]) > 2 and value in (min(lists[key]), max(lists[key]))
        ]

    def rates(self) -> Schedule:
        """The learning rate over the run."""
        return Schedule(
            self.schedule,
            self.epochs,
            self.warmup_epochs,
            tuple(self.milestones),
            self.decay_factor,
            self.schedule_by == "epoch",
        )
