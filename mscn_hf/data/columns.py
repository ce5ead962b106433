# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Which column of a dataset holds the images, their labels and their masks."""

import difflib
from typing import Any

from datasets import ClassLabel, Image, Sequence, Value

from mscn_hf.views.recipe import MADE_MASKS

_IMAGE_NAMES = ("image", "img", "jpg", "jpeg", "png", "webp", "bytes")
_LABEL_NAMES = ("label", "labels", "cls", "fine_label", "class", "target")


class SourceError(ValueError):
    """A dataset that cannot be opened or lacks what was asked; the message names the value and what to do."""


def find_image_column(features: Any, asked: str | None, mask: str | None, name: str) -> str:
    """The column that was asked for, or the one image column, or the one of a usual name."""
    if asked is not None:
        if asked not in features:
            raise SourceError(f"dataset {name!r} has no column {asked!r}; its columns are {sorted(features)}")
        if asked == mask:
            raise SourceError(f"dataset {name!r}: column {asked!r} cannot hold both the images and their masks")
        return asked
    features = {c: f for c, f in features.items() if c != mask}
    images = [c for c, f in features.items() if isinstance(f, Image)]
    if not images:  # raw bytes without a feature type
        images = [c for c in _IMAGE_NAMES if c in features and not isinstance(features[c], ClassLabel)]
    if len(images) > 1:
        images = [c for c in _IMAGE_NAMES if c in images][:1] or images
    if len(images) != 1:
        raise SourceError(f"dataset {name!r}: give image_column; its columns are {sorted(features)}")
    return images[0]


def check_mask_column(features: Any, column: str, name: str) -> None:
    """Refuses a column of masks that is missing or holds no image files."""
    if column not in features:
        near = difflib.get_close_matches(column, [*features, *MADE_MASKS], n=1, cutoff=0.5)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise SourceError(
            f"dataset {name!r} has no column {column!r} for masks; its columns are {sorted(features)}{hint}"
        )
    check_image_feature(features[column], column, name)


def check_image_feature(feature: Any, column: str, name: str) -> None:
    """Refuses a column that holds no image files."""
    is_bytes = isinstance(feature, Value) and feature.dtype in ("binary", "large_binary", "null")
    is_pair = isinstance(feature, dict) and "bytes" in feature
    if not isinstance(feature, Image) and not is_bytes and not is_pair:
        raise SourceError(f"dataset {name!r}: column {column!r} holds no images but {feature}")


def find_labels(features: Any, asked: str | None, name: str) -> tuple[str | None, list[str] | None]:
    """The label column, None where there is none, and the names of its classes, None where it has none."""
    if asked is not None and asked not in features:
        raise SourceError(f"dataset {name!r} has no label column {asked!r}; its columns are {sorted(features)}")
    classes = [c for c, f in features.items() if isinstance(f, ClassLabel)]
    column = asked or next((c for c in _LABEL_NAMES if c in features), classes[0] if len(classes) == 1 else None)
    if column is None:
        return None, None
    feature = features[column]
    if isinstance(feature, Sequence):
        feature = feature.feature
    return column, list(feature.names) if isinstance(feature, ClassLabel) else None
