# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""From class scores to right and wrong, and from two splits' labels to one list of classes."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


def topk_correct(scores_MK: Tensor, labels_M: Tensor, k: int, *, votes: bool = False) -> Tensor:
    """Whether the true class is among the k highest scores, bool (M,).

    Of equal scores the lower class stands first, so the answer does not hang on a sort; a label outside [0, K) is
    never right. With `votes` (k-NN), a class without any vote is not among the k highest: when all neighbours agree,
    the other four of a top-5 would be filled with whatever classes come first.
    """
    labels_M = labels_M.to(scores_MK.device)
    known_M = (labels_M >= 0) & (labels_M < scores_MK.shape[1])
    column_M1 = labels_M.clamp(0, scores_MK.shape[1] - 1)[:, None]
    true_M1 = scores_MK.gather(1, column_M1)
    classes_K = torch.arange(scores_MK.shape[1], device=scores_MK.device)
    ahead_MK = (scores_MK > true_M1) | ((scores_MK == true_M1) & (classes_K < column_M1))
    if votes:
        known_M = known_M & (true_M1[:, 0] > 0)
    return known_M & (ahead_MK.sum(dim=1) < k)


@dataclass
class Labels:
    """Labels of two splits in one numbering: classes of train are 0..K-1; a test class unknown to train is -1."""

    train_N: np.ndarray
    test_M: np.ndarray
    test_class_M: np.ndarray  # numbering of all test classes, for means over classes
    names: list[str]
    absent: list[str]  # test classes that train does not hold


def classes_of(labels_N: np.ndarray, label_names: list[str] | None, where: str) -> tuple[np.ndarray, list[str]]:
    """Numbers the classes that occur 0..K-1, whatever gaps the labels have.

    Returns:
        labels in the new numbering (N,), and the K names (the label itself where the dataset names none).

    Raises:
        ValueError: missing labels (None or -1), lists of classes, one class only, or a label beyond the names.
    """
    if labels_N.ndim != 1:
        raise ValueError(f"images of {where} have lists of classes; this protocol takes one class an image")
    missing = int((labels_N < 0).sum())
    if missing:
        raise ValueError(
            f"{missing} of {len(labels_N)} images of {where} have no label: name the column with --label_column, "
            "or take a split that is labelled"
        )
    present_K, compact_N = np.unique(labels_N, return_inverse=True)
    if label_names is not None and present_K[-1] >= len(label_names):
        raise ValueError(f"label {present_K[-1]} of {where} is beyond the {len(label_names)} names of the dataset")
    names = [str(label) if label_names is None else label_names[label] for label in present_K]
    if len(names) < 2:
        raise ValueError(f"{where} holds one class only ({names[0]!r}): there is nothing to tell apart")
    return compact_N.astype(np.int64), names


def match_test_labels(
    train_N: np.ndarray, train_names: list[str], test_M: np.ndarray, test_label_names: list[str] | None, where: str
) -> Labels:
    """Puts test labels into train's numbering by class name.

    A test image whose class train does not hold counts as wrong (a warning names the class), because leaving it out
    would make the score better than the classifier is.
    """
    try:
        compact_M, test_names = classes_of(test_M, test_label_names, where)
    except ValueError:
        if len(np.unique(test_M)) != 1 or test_M[0] < 0:
            raise
        compact_M = np.zeros(len(test_M), dtype=np.int64)  # one class in test is odd but can be scored
        test_names = [str(test_M[0]) if test_label_names is None else test_label_names[test_M[0]]]
    position = {name: number for number, name in enumerate(train_names)}
    to_train = np.array([position.get(name, -1) for name in test_names], dtype=np.int64)
    absent = [name for name in test_names if name not in position]
    if len(absent) == len(test_names):
        raise ValueError(
            f"{where} and train share no class: test has {test_names[:5]}, train has {train_names[:5]}; "
            "are both splits labelled the same way?"
        )
    if absent:
        warnings.warn(
            f"{len(absent)} of {len(test_names)} classes of {where} do not occur in train and count as wrong: "
            f"{absent[:10]}",
            stacklevel=2,
        )
    return Labels(train_N, to_train[compact_M], compact_M, train_names, absent)


def match_validation_labels(
    train_N: np.ndarray, train_names: list[str], held_M: np.ndarray, held_names: list[str] | None, where: str
) -> np.ndarray:
    """Labels of the validation split in train's numbering.

    Raises:
        ValueError: it has a class that train lacks.
    """
    labels = match_test_labels(train_N, train_names, held_M, held_names, where)
    refuse_strangers(labels.absent, where)
    return labels.test_M


def refuse_strangers(absent: list[str], where: str) -> None:
    """Raises ValueError where a validation split has classes that train lacks."""
    if absent:
        raise ValueError(f"{where} has classes that train lacks, so nothing can be chosen on them: {absent[:10]}")
