# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Labels of images that hold several classes: from what a dataset stores to one number a class and image.

Shapes: N images, K classes. Targets are int8: 1 present, 0 absent, -1 unknown: not counted, neither right nor wrong.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

CLASS_KEYS = ("category", "categories", "classes", "class", "label", "labels")
DIFFICULT_KEYS = ("difficult", "is_difficult")


def plain_label(label: Any) -> Any:
    """A label in Python's own types; the .npy files of webdataset give lists of numpy's."""
    if isinstance(label, np.ndarray | np.generic):
        return label.tolist()
    if isinstance(label, list | tuple):
        return [plain_label(value) for value in label]
    return {key: plain_label(value) for key, value in label.items()} if isinstance(label, dict) else label


def is_multi_label(labels: Sequence[Any]) -> bool:
    """Whether a label column holds lists of classes, or objects as detection sets store them."""
    return any(isinstance(label, list | tuple | dict) for label in labels)


def multi_hot(labels: Sequence[Any], names: list[str] | None) -> tuple[np.ndarray, list[str]]:
    """Targets of a column that holds, image by image, one of

    - a list of classes, numbers or text, empty where there is none;
    - a vector with a number a class: 1, 0, or -1 for unknown (a column is taken for vectors when all its rows have the
      same length of at least 2, that of the names where there are any, and hold nothing but -1, 0 and 1);
    - objects, as a dict of lists or a list of dicts with a key of `CLASS_KEYS` and perhaps one of `DIFFICULT_KEYS`. A
      class of which an image holds only difficult objects is unknown there, as in the VOC2007 classification task.

    Args:
        labels: one entry an image.
        names: of the classes, where the dataset names them.

    Returns:
        targets (N, K) and the K names; a class without a name is called by its number or text.

    Raises:
        ValueError: rows without a list, text mixed with numbers, a class beyond the names, objects without classes, or
            rows that are all [0, 1], which may be either.
    """
    bare = sum(not isinstance(label, list | tuple | dict) for label in labels)
    if bare:
        raise ValueError(
            f"{bare} of {len(labels)} labels are no lists, while others are: give one class an image everywhere, or a "
            "list everywhere (an empty one where no class is present)"
        )
    if _are_vectors(labels, names):
        if all(list(label) == [0, 1] for label in labels):
            raise ValueError("every label is [0, 1]: classes 0 and 1, or class 1 alone? Give names or text")
        targets_NK = np.array(labels).astype(np.int8)
        return targets_NK, names or [str(number) for number in range(targets_NK.shape[1])]
    present = [_classes_of_row(label) for label in labels]
    values = sorted({value for row in present for value in row}, key=lambda value: (isinstance(value, str), value))
    if len({isinstance(value, str) for value in values}) > 1:
        raise ValueError("the label lists mix text and numbers")
    if names is None or (values and isinstance(values[0], str)):
        column = {value: number for number, value in enumerate(values)}
        names = [str(value) for value in values]
    else:
        column = {number: number for number in range(len(names))}
        beyond = [value for value in values if value not in column]
        if beyond:
            raise ValueError(f"label {beyond[0]} is beyond the {len(names)} names of the dataset")
    targets_NK = np.zeros((len(labels), len(names)), dtype=np.int8)
    for row, classes in enumerate(present):
        for value, known in classes.items():
            targets_NK[row, column[value]] = 1 if known else -1
    return targets_NK, names


def targets_of(targets_NK: np.ndarray, names: list[str], where: str) -> tuple[np.ndarray, list[str]]:
    """The classes that can be learnt: those present in at least one image of train.

    Raises:
        ValueError: one class an image, or no class at all.
    """
    if targets_NK.ndim != 2:
        raise ValueError(f"{where} has one class an image; this needs lists of classes")
    seen = np.flatnonzero((targets_NK > 0).any(axis=0))
    if len(seen) == 0:
        raise ValueError(f"no image of {where} holds any class")
    return targets_NK[:, seen], [names[number] for number in seen]


def match_targets(
    train_names: list[str], targets_MK: np.ndarray, names: list[str], where: str
) -> tuple[np.ndarray, list[str]]:
    """Puts the targets of another split into train's order of classes.

    Returns:
        targets (M, K) of train's classes (absent where the split never has a class), and the names of
        classes that this split holds and train does not.

    Raises:
        ValueError: one class an image, or no class in common.
    """
    if targets_MK.ndim != 2:
        raise ValueError(f"{where} has one class an image while train has lists of classes")
    column = {name: number for number, name in enumerate(names)}
    if not set(train_names) & set(names):
        raise ValueError(f"{where} and train share no class: {where} has {names[:5]}, train has {train_names[:5]}")
    matched_MK = np.zeros((len(targets_MK), len(train_names)), dtype=np.int8)
    for number, name in enumerate(train_names):
        if name in column:
            matched_MK[:, number] = targets_MK[:, column[name]]
    absent = [n for n in names if n not in set(train_names) and (targets_MK[:, column[n]] > 0).any()]
    if absent:
        warnings.warn(
            f"{len(absent)} classes of {where} do not occur in train and count with an average precision of 0: "
            f"{absent[:10]}",
            stacklevel=2,
        )
    return matched_MK, absent


def _are_vectors(labels: Sequence[Any], names: list[str] | None) -> bool:
    rows = [label for label in labels if isinstance(label, list | tuple)]
    if len(rows) < len(labels) or len({len(row) for row in rows}) != 1 or len(rows[0]) < 2:
        return False
    if any(isinstance(value, str | dict) or value not in (-1, 0, 1) for row in rows for value in row):
        return False
    if names is None or len(names) == len(rows[0]):
        return True
    if any(len(set(row)) < len(row) or -1 in row for row in rows):
        raise ValueError(f"label vectors of {len(rows[0])} classes do not fit the {len(names)} names")
    return False  # lists of the classes 0 and 1, of more


def _classes_of_row(label: Any) -> dict[Any, bool]:
    """class -> whether a clear object of it is there."""
    objects = _objects(label) if isinstance(label, dict) or (label and isinstance(label[0], dict)) else None
    found: dict[Any, bool] = {}
    for value, difficult in objects if objects is not None else [(value, False) for value in label]:
        if not isinstance(value, str):
            if value is None or int(value) != value or value < 0:
                raise ValueError(f"a list of classes must hold whole numbers from 0 or text, got {value!r}")
            value = int(value)
        found[value] = found.get(value, False) or not difficult
    return found


def _objects(label: Any) -> list[tuple[Any, bool]]:
    entries = label if isinstance(label, dict) else {key: [entry.get(key) for entry in label] for key in label[0]}
    key = next((key for key in CLASS_KEYS if key in entries), None)
    if key is None:
        raise ValueError(f"objects need their classes under one of {list(CLASS_KEYS)}, got keys {sorted(entries)}")
    classes = entries[key]
    difficult = next((entries[key] for key in DIFFICULT_KEYS if key in entries), [False] * len(classes))
    return [(value, bool(hard)) for value, hard in zip(classes, difficult, strict=True)]
