# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Protocols as documents: `evaluation/protocols/*.yaml` -> settings that were checked."""

from __future__ import annotations

import dataclasses
from typing import Any

import yaml

from mscn_hf.resources import find_resource

from .probes.knn import KNNSettings
from .probes.linear import LinearSettings
from .probes.low_shot import LowShotSettings
from .probes.regression import LogisticSettings
from .robustness.corrupted import RobustnessSettings
from .robustness.zero_shot import ZeroShotSettings
from .settings import Protocol, nearest
from .tuning.augmented_linear import AugmentedLinearSettings
from .tuning.finetune import FinetuneSettings

KINDS: dict[str, type[Protocol]] = {
    "knn": KNNSettings,
    "linear": LinearSettings,
    "logistic": LogisticSettings,
    "low_shot": LowShotSettings,
    "augmented_linear": AugmentedLinearSettings,
    "finetune": FinetuneSettings,
    "robustness": RobustnessSettings,
    "zero_shot": ZeroShotSettings,
}


def load_protocol(name: str) -> tuple[str, Protocol]:
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
        if kind not in KINDS:
            raise ValueError(f"kind must be one of {sorted(KINDS)}, got {kind!r}")
        known = [field.name for field in dataclasses.fields(KINDS[kind])]
        for key in fields:
            if key not in known:
                raise ValueError(f"unknown key {key!r}{nearest(key, known)}")
        return path.stem, KINDS[kind](**fields)
    except (ValueError, TypeError, yaml.YAMLError) as error:
        raise ValueError(f"{path}: {error}") from error
