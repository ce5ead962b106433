# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Whether a Result was made under a protocol as its document has it."""

from __future__ import annotations

import json
import re
from pathlib import Path

from .results import Result
from .settings import Protocol

_NONE_KEPT = object()


def changed_settings(result: Result, protocol: Protocol) -> list[str]:
    """Names of the protocol's settings that the Result was not made with, `metrics` aside.

    Which metrics are reported changes no score. A setting that the Result's file does not know counts as changed.
    """
    facts = json.loads(json.dumps(protocol.facts()))
    return [
        name for name, value in facts.items() if name != "metrics" and result.settings.get(name, _NONE_KEPT) != value
    ]


def partial_splits(result: Result) -> list[str]:
    """Why its splits are not the papers': `max_train_images`, `max_test_images`, `splits` of the data set's own."""
    parts = [name for name in ("max_train_images", "max_test_images") if result.settings.get(name) is not None]
    return parts + ["splits"] * (result.settings.get("follows_papers", "yes") != "yes")


def dataset_key(name: str) -> str:
    """A data set's name for comparisons: the last part of a path or Hub id, small letters and digits only.

    The folders of ImageNet-V2 end in `-format-val`, which is left out.
    """
    return re.sub(r"[^a-z0-9]", "", Path(name).name.lower().removesuffix("-format-val"))
