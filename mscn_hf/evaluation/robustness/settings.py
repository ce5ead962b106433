# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""What the two kinds of this folder share: which head, which classes, which metrics."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

from ..settings import Protocol, check
from .classes import read_map
from .heads import HEADS, linear_settings


@dataclass
class HeadProtocol(Protocol):
    """A protocol that scores a classifier on pictures it was not fitted for.

    Args:
        head: `linear`, fitted on features of train, or `own`, the model's published one.
        linear: keys and values of the linear probe, where they differ from its defaults.
        class_map: JSON file from a class of the test set to what the classifier calls it (a WordNet id, a name, an
            ImageNet number, several between semicolons or in a list); classes it lacks are left out.
        folder_map: JSON file from a folder of the test set to the class's name in `class_map`.
    """

    METRIC_NAMES: ClassVar[tuple[str, ...]] = ("top1_accuracy", "top5_accuracy")

    metrics: list[str] = field(default_factory=lambda: ["top1_accuracy"])
    head: str = "linear"
    linear: dict[str, Any] = field(default_factory=dict)
    class_map: str | None = None
    folder_map: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check("head", self.head, self.head in HEADS, f"one of {list(HEADS)}")
        self.linear = {} if self.linear is None else self.linear
        linear_settings(self.linear)
        if self.folder_map is not None and self.class_map is None:
            raise ValueError("folder_map needs a class_map")

    def inputs(self) -> list[Any]:
        """What fixes the pictures that the protocol itself names, beside the data set it is run on: fingerprints.

        Raises:
            ValueError: they cannot be opened.
        """
        return []

    def maps(self) -> tuple[dict[str, Any] | None, dict[str, str] | None]:
        """What `class_map` and `folder_map` name; read before anything is fitted.

        Raises:
            ValueError: a file that is missing or holds no JSON object.
        """
        class_map = None if self.class_map is None else read_map(self.class_map)
        return class_map, None if self.folder_map is None else read_map(self.folder_map)
