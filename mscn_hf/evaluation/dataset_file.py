# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Data sets as documents: `evaluation/datasets/*.yaml` say where a set lies, which splits it has, and its metric."""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from mscn_hf.data.source import ImageSource, open_source
from mscn_hf.resources import find_resource, list_resources

from .row_share import divide_rows
from .settings import METRICS, MULTI_LABEL_METRICS, check, nearest

ROLES = ("train", "validation", "test")
ABOUT_PAPERS = ("yes", "no", "unknown", "partly")


@dataclass
class DatasetFile:
    """Where a data set lies and how it is scored.

    Args:
        dataset: Hub id, or a folder (`$NAMES` of the environment are filled in; a relative one is looked for beside
            the YAML file first).
        config, revision: as in `datasets.load_dataset`.
        train: name of the split that everything is fitted on.
        validation: name of the split that choices are made on; or a share of each class of train that is held out for
            them; None leaves the share to the protocol.
        test: name of the split that is scored; or a share of the rows of train that are set aside (then, and only
            then, the set has no test split of its own).
        image_column, label_column: found by type and usual names where not given.
        metrics: what the set is reported in, for protocols with `metrics: dataset`; None leaves it to the kind of
            labels: top-1 accuracy, or 11-point mAP where images hold several classes.
        follows_papers: whether these splits are those that the papers report: yes, no, partly or unknown.
        note: what is to be said about the splits.
        name: of the file, "" for a set that was named directly.
    """

    dataset: str
    config: str | None = None
    revision: str | None = None
    train: str = "train"
    validation: str | float | None = None
    test: str | float = "test"
    image_column: str | None = None
    label_column: str | None = None
    metrics: list[str] | None = None
    follows_papers: str = "unknown"
    note: str = ""
    name: str = ""

    def __post_init__(self) -> None:
        for key in ("dataset", "train"):
            value = getattr(self, key)
            check(key, value, isinstance(value, str) and bool(value.strip()), "a name")
        for key in ("validation", "test"):
            value = getattr(self, key)
            share = isinstance(value, int | float) and 0 < value < 1
            missing = value is None and key == "validation"
            named = isinstance(value, str) and bool(value.strip())
            check(key, value, named or share or missing, "a split's name, or a share of train in (0, 1)")
        for key in ("validation", "test"):
            if getattr(self, key) == self.train:
                raise ValueError(f"train and {key} are both {self.train!r}: a score on train says nothing")
        if self.validation is not None and self.validation == self.test and isinstance(self.test, str):
            raise ValueError(f"validation and test are both {self.test!r}: choices may not see the test split")
        known = (*METRICS, *MULTI_LABEL_METRICS)
        if self.metrics is not None:
            listed = isinstance(self.metrics, list) and len(self.metrics) > 0
            check("metrics", self.metrics, listed, "a list of metrics")
        for metric in self.metrics or []:
            if metric not in known:
                raise ValueError(f"unknown metric {metric!r}{nearest(metric, known)}")
        if isinstance(self.follows_papers, bool):  # YAML 1.1 reads yes and no as booleans
            self.follows_papers = "yes" if self.follows_papers else "no"
        check("follows_papers", self.follows_papers, self.follows_papers in ABOUT_PAPERS, f"one of {ABOUT_PAPERS}")

    @property
    def held_out(self) -> float | None:
        """Share of each class of train that choices are made on, where the set says so."""
        return float(self.validation) if isinstance(self.validation, int | float) else None

    def open(self, role: str) -> ImageSource | None:
        """The split for `train`, `validation` or `test`; None for a validation split that there is not.

        Raises:
            ValueError: another role.
            SourceError: anything `open_source` refuses.
        """
        if role not in ROLES:
            raise ValueError(f"role must be one of {ROLES}, got {role!r}")
        split = getattr(self, role)
        if role == "validation" and not isinstance(split, str):
            return None
        if isinstance(self.test, str) or role == "validation":
            return self._open(split)
        test, train = divide_rows(self._open(self.train), float(self.test))
        return test if role == "test" else train

    def _open(self, split: str) -> ImageSource:
        if "$" in self.dataset:
            raise ValueError(
                f"{self.name}: the set is looked for in {self.dataset!r}: set that variable to the folder of your copy"
                + (f" ({self.note})" if self.note else "")
            )
        return open_source(
            self.dataset,
            config_name=self.config,
            split=split,
            image_column=self.image_column,
            label_column=self.label_column,
            revision=self.revision,
        )

    def facts(self) -> dict[str, Any]:
        """What a Result keeps of a set that a file describes; nothing of others."""
        if not self.name:
            return {}
        return {"dataset_file": self.name, "follows_papers": self.follows_papers, "splits": self.note}


def load_dataset_file(name: str) -> DatasetFile:
    """Reads the description of a data set by its name (`cifar10`, `dtd`, …) or from a YAML file of one's own.

    Raises:
        FileNotFoundError: no such description; names the nearest.
        ValueError: unknown key (names the nearest) or a value that cannot be; names the file.
    """
    path = find_resource("datasets", name)
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
        if not isinstance(document, dict) or "dataset" not in document:
            raise ValueError("expected keys and values, with `dataset` among them")
        known = [entry.name for entry in dataclasses.fields(DatasetFile) if entry.name != "name"]
        for key in document:
            if key not in known:
                raise ValueError(f"unknown key {key!r}{nearest(key, known)}")
        described = DatasetFile(**document, name=path.stem)
    except (ValueError, TypeError, yaml.YAMLError) as error:
        raise ValueError(f"{path}: {error}") from error
    described.dataset = os.path.expandvars(described.dataset)
    beside = path.parent / described.dataset
    if beside.exists():
        described.dataset = str(beside)
    return described


def find_dataset(name: str) -> DatasetFile:
    """What a user means by a data set: a file or folder, the name of a description, a YAML file, or a Hub id.

    A folder of one's own with the name of a description is the folder.
    """
    if name.endswith((".yaml", ".yml")):
        return load_dataset_file(name)
    if not Path(name).exists() and name in list_resources("datasets"):
        return load_dataset_file(name)
    return DatasetFile(name)
