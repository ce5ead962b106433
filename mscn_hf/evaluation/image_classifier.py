# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""A network with the classification head it was published with, beside the encoder that is scored."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from .encoder import weights_hash


@dataclass
class ImageClassifier:
    """A network that gives a score for each of K classes.

    Attributes:
        model: in eval mode, its parameters take no gradient.
        forward: preprocessed images_BCHW -> scores_BK.
        names: of the K classes, or None where the checkpoint names none.
        revision: sha256 over all tensors, head included.
    """

    model: nn.Module
    forward: Callable[[Tensor], Tensor]
    names: list[str] | None
    revision: str = ""

    def __post_init__(self) -> None:
        self.model.requires_grad_(False).eval()
        self.revision = self.revision or weights_hash(self.model)


def transformers_classifier(
    encoder: nn.Module, name: str, where: Mapping[str, Any], changes: Mapping[str, Any]
) -> ImageClassifier:
    """The checkpoint of a transformers model with its own head.

    Args:
        encoder: the model as AutoModel loaded it; its tensors must be those of the classifier's.
        name: folder or Hub id.
        where: revision and trust_remote_code.
        changes: fields of the configuration that differ from the published ones.

    Raises:
        ValueError: the checkpoint holds no head, or another encoder than the one that is scored.
    """
    from transformers import AutoModelForImageClassification

    try:
        model, info = AutoModelForImageClassification.from_pretrained(
            name, dtype=torch.float32, output_loading_info=True, **where, **changes
        )
    except (OSError, ValueError) as error:
        raise ValueError(f"{name!r} has no classification head that can be loaded: {error}") from error
    missing = sorted(info["missing_keys"])
    if missing:
        raise ValueError(
            f"{name!r} has no trained classification head ({missing[:3]} are not in the checkpoint): "
            "take a head that is fitted on train (head: linear)"
        )
    _check_same_encoder(encoder, getattr(model, model.base_model_prefix, None), name)
    labels = model.config.id2label
    names: list[str] | None = [str(labels[number]) for number in range(model.config.num_labels)]
    if all(re.fullmatch(r"LABEL_\d+", label) for label in names or ()):
        names = None
    return ImageClassifier(model, lambda images_BCHW: model(pixel_values=images_BCHW).logits, names)


def _check_same_encoder(encoder: nn.Module, base: nn.Module | None, name: str) -> None:
    if base is None:
        return
    own, other = encoder.state_dict(), base.state_dict()
    shared = own.keys() & other.keys()
    if not shared or any(not torch.equal(own[key].cpu(), other[key].cpu()) for key in shared):
        raise ValueError(f"{name!r}: the classifier holds another encoder than AutoModel loads from there")


def timm_classifier(encoder: nn.Module, source: str) -> ImageClassifier:
    """The published weights of a timm model with its own head.

    Raises:
        ValueError: it has none, or timm cannot load it.
    """
    import timm
    from timm.data import ImageNetInfo, infer_imagenet_subset

    try:
        model = timm.create_model(source, pretrained=True)
    except (OSError, RuntimeError, ValueError) as error:
        raise ValueError(f"timm cannot load {source!r} with its head: {error}") from error
    count = int(getattr(model, "num_classes", 0) or 0)
    if count < 2:
        raise ValueError(f"{source!r} has no classification head: take one that is fitted on train (head: linear)")
    _check_same_encoder(encoder, model, source)
    names = (getattr(model, "pretrained_cfg", None) or {}).get("label_names")
    subset = infer_imagenet_subset(model)
    if not names and subset:
        names = ImageNetInfo(subset).label_names()
    return ImageClassifier(model, model, [str(name) for name in names] if names else None)
