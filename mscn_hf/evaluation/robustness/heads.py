# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""The classifier that robustness is measured of: a linear head fitted on train, or the model's own."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
from accelerate.utils import broadcast_object_list
from PIL import Image
from torch import Tensor

from mscn_hf.data.source import ImageSource

from ..probes.linear import LinearProbe, LinearSettings
from ..scores import classes_of
from ..settings import nearest
from ..task import Task
from .kept_heads import FittedHead, head_identity, head_path, read_head, write_head

T = TypeVar("T")

HEADS = ("linear", "own")


@dataclass
class Classifier:
    """Scores for preprocessed images.

    Attributes:
        scores: images_BCHW -> scores_BK on the CPU or the encoder's device, float32 or better.
        names: of the K classes, or None.
        count: K.
        selection: how it was chosen, for the Result.
        facts: about that, for the Result.
    """

    scores: Callable[[Tensor], Tensor]
    names: list[str] | None
    count: int
    selection: str
    facts: dict[str, Any] = field(default_factory=dict)


def linear_settings(fields: dict[str, Any]) -> LinearSettings:
    """The linear probe of `linear:` in a protocol file.

    Raises:
        ValueError: an unknown key, or a value out of range.
    """
    known = [item.name for item in dataclasses.fields(LinearSettings) if item.name not in ("metrics", "papers")]
    if not isinstance(fields, dict):
        raise ValueError(f"linear must be keys and values of the linear probe, got {fields!r}")
    for key in fields:
        if key not in known:
            raise ValueError(f"unknown key {key!r} of linear{nearest(key, known)}")
    return LinearSettings(**fields)


def own_head(task: Task) -> Classifier:
    """The head that the model was published with; nothing is fitted.

    Raises:
        ValueError: it has none.
    """
    encoder = task.encoder
    if encoder.load_classifier is None:
        raise ValueError(f"{encoder.name!r} has no classification head of its own: take head: linear")
    loaded = encoder.load_classifier()
    loaded.model.to(encoder.device)

    @torch.inference_mode()
    def scores(images_BCHW: Tensor) -> Tensor:
        return loaded.forward(images_BCHW.to(encoder.device)).float()

    example = encoder.preprocess([Image.new("RGB", (64, 48), (128, 128, 128))])
    count = int(scores(example).shape[1])
    facts = {"head": "own", "head_revision": loaded.revision, "num_classes": count}
    return Classifier(scores, loaded.names, count, "none (the model's own classification head)", facts)


def fitted_head(task: Task, train: ImageSource, settings: LinearSettings) -> Classifier:
    """A linear probe on features of `train`, fitted by rank 0 and given to all; see `LinearSettings`.

    It is kept beside the features, so that one fit serves every test set.

    Raises:
        ValueError: labels that cannot be used, or anything `extract` refuses.
    """
    if train.label_column is None:
        raise ValueError(f"dataset {train.name!r}, split {train.split!r}: no label column found")
    identity = head_identity(task, train, settings)
    path = head_path(task.options.cache_dir, identity)
    head = _from_main(task, lambda: read_head(path, identity))
    if head is None:
        bank = task.features(train)
        labels_N, names = classes_of(bank.labels, bank.label_names, f"{train.name}, {train.split}")

        def fit() -> FittedHead:
            fitted = settings.fit(bank, labels_N, len(names), task)
            probe = getattr(fitted.scores, "__self__", None)
            assert isinstance(probe, LinearProbe)  # a probe is kept as its tensors, not as a function
            made = FittedHead(probe, names, fitted.selection, fitted.facts, len(bank), len(bank.skipped)).to("cpu")
            write_head(path, identity, made)
            return made

        head = _from_main(task, fit)
    assert head is not None
    # Of rank 0's device another rank has no use.
    probe = head.to(task.encoder.device).probe

    def scores(images_BCHW: Tensor) -> Tensor:
        return probe.scores(task.encoder.features(images_BCHW))

    facts = {
        "head": "linear",
        "linear_settings": settings.facts(),  # all of them; `linear` is what the protocol's document says
        **head.facts,
        "train_dataset": train.name,
        "train_split": train.split,
        "num_train": head.num_train,
        "num_classes": len(head.names),
        "skipped_train": head.skipped_train,
        "max_train_images": task.options.max_train_images,
    }
    return Classifier(scores, head.names, len(head.names), f"linear head: {head.selection}", facts)


def _from_main(task: Task, work: Callable[[], T]) -> T | None:
    """What `work` gives on rank 0, which alone does it, on all ranks."""
    value = task.on_main(work)
    if task.process is not None and task.process.num_processes > 1:
        value = broadcast_object_list([value])[0]
    return value
