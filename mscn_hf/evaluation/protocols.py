# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Protocols as documents: `evaluation/protocols/*.yaml` -> settings that were checked."""

from __future__ import annotations

import dataclasses
import difflib
from dataclasses import dataclass
from typing import Any

import yaml

from mscn_hf.resources import find_resource

METRICS = ("top1_accuracy", "top5_accuracy", "mean_per_class_accuracy")


@dataclass
class _Metrics:
    metrics: list[str] = dataclasses.field(default_factory=lambda: ["top1_accuracy", "top5_accuracy"])

    def __post_init__(self) -> None:
        for metric in self.metrics:
            if metric not in METRICS:
                raise ValueError(f"unknown metric {metric!r}{_nearest(metric, METRICS)}")
        _check("metrics", self.metrics, len(self.metrics) > 0, "a list with at least one metric")


@dataclass
class KNNSettings(_Metrics):
    """Weighted k-NN (Wu et al. 2018): k neighbours by cosine similarity, weights exp(similarity / temperature)."""

    k: int = 20
    temperature: float = 0.07

    def __post_init__(self) -> None:
        super().__post_init__()
        _check("k", self.k, isinstance(self.k, int) and self.k >= 1, "a positive integer")
        self.temperature = _number("temperature", self.temperature)
        _check("temperature", self.temperature, self.temperature > 0, "positive")


@dataclass
class LinearSettings(_Metrics):
    """Linear probe on cached features.

    Args:
        solver: `sgd` sweeps learning_rates x weight_decays; `lbfgs` solves each weight decay to convergence and
            knows no learning rate.
        learning_rates: relative to the curvature bound, see `fit_sgd`; up to 1 is stable.
        weight_decays: L2 strengths; scikit-learn's C is 1 / (weight_decay * N).
        epochs, min_steps: of SGD; whichever is more steps.
        batch_size: of SGD, in features.
        momentum: of SGD (Nesterov).
        standardize: features to zero mean and unit variance over train.
        held_out: share of each train class that the choice is made on.
    """

    solver: str = "sgd"
    learning_rates: list[float] = dataclasses.field(default_factory=lambda: [1.0, 0.3, 0.1])
    weight_decays: list[float] = dataclasses.field(default_factory=lambda: [1.0, 0.1, 0.01, 1e-3, 1e-4, 1e-5])
    epochs: int = 50
    min_steps: int = 250
    batch_size: int = 2048
    momentum: float = 0.9
    standardize: bool = True
    held_out: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        _check("solver", self.solver, self.solver in ("sgd", "lbfgs"), "'sgd' or 'lbfgs'")
        for name in ("learning_rates", "weight_decays"):
            values = getattr(self, name)
            _check(name, values, isinstance(values, list | tuple) and len(values) > 0, "a list of numbers")
            values = [_number(name, value) for value in values]
            _check(name, values, all(value > 0 for value in values), "positive")
            setattr(self, name, values)
        for name in ("epochs", "min_steps", "batch_size"):
            value = getattr(self, name)
            _check(name, value, isinstance(value, int) and value >= 1, "a positive integer")
        self.momentum = _number("momentum", self.momentum)
        _check("momentum", self.momentum, 0 <= self.momentum < 1, "in [0, 1)")
        self.held_out = _number("held_out", self.held_out)
        _check("held_out", self.held_out, 0 < self.held_out < 1, "in (0, 1)")
        _check("standardize", self.standardize, isinstance(self.standardize, bool), "true or false")

    def grid(self) -> list[dict[str, float]]:
        """The grid points, as keyword dicts."""
        if self.solver == "lbfgs":
            return [{"weight_decay": decay} for decay in self.weight_decays]
        return [{"learning_rate": r, "weight_decay": d} for r in self.learning_rates for d in self.weight_decays]

    def edges(self, point: dict[str, float]) -> list[str]:
        """Which coordinates of a grid point lie at the end of their list, where a wider one might hold a better."""
        lists = {"learning_rate": self.learning_rates, "weight_decay": self.weight_decays}
        return [name for name, value in point.items() if len(lists[name]) > 2 and value in _ends(lists[name])]


SETTINGS: dict[str, type[KNNSettings] | type[LinearSettings]] = {"knn": KNNSettings, "linear": LinearSettings}


def load_protocol(name: str) -> tuple[str, KNNSettings | LinearSettings]:
    """Reads a protocol by its name (`knn`, `linear`, …) or from a YAML file of one's own.

    Returns:
        the protocol's name, under which its Results go, and its settings.

    Raises:
        FileNotFoundError: no such protocol; names the nearest.
        ValueError: unknown key (names the nearest), unknown kind, or a value out of range; names the file.
    """
    path = find_resource("protocols", name)
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
        if not isinstance(document, dict):
            raise ValueError(f"expected keys and values, got {type(document).__name__}")
        fields: dict[str, Any] = dict(document)
        kind = fields.pop("kind", None)
        if kind not in SETTINGS:
            raise ValueError(f"kind must be one of {sorted(SETTINGS)}, got {kind!r}")
        known = [field.name for field in dataclasses.fields(SETTINGS[kind])]
        for key in fields:
            if key not in known:
                raise ValueError(f"unknown key {key!r}{_nearest(key, known)}")
        return path.stem, SETTINGS[kind](**fields)
    except (ValueError, TypeError, yaml.YAMLError) as error:
        raise ValueError(f"{path}: {error}") from error


def _nearest(name: Any, known: Any) -> str:
    near = difflib.get_close_matches(str(name), list(known), n=1, cutoff=0.3)
    return f"; did you mean {near[0]!r}?" if near else f"; known are {list(known)}"


def _number(name: str, value: Any) -> float:
    """YAML 1.1 reads 1e-3 as text; so does this, on purpose."""
    try:
        return float(value)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} must be a number, got {value!r}") from error


def _check(name: str, value: Any, fine: bool, rule: str) -> None:
    if not fine or (isinstance(value, bool) and name != "standardize"):  # `k: yes` is True, which is an int
        raise ValueError(f"{name} must be {rule}, got {value!r}")


def _ends(values: list[float]) -> tuple[float, float]:
    return min(values), max(values)
