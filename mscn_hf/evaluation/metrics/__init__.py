# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Metrics as `evaluate.Metric` modules that load without a network:

evaluate.load(mscn_hf.evaluation.metrics.path("topk_accuracy"))
"""

from pathlib import Path

NAMES = ("topk_accuracy", "mean_per_class_accuracy", "map_11point")


def path(name: str) -> str:
    """Path of a metric's script, for `evaluate.load`."""
    if name not in NAMES:
        raise ValueError(f"no metric {name!r}; there are {list(NAMES)}")
    return str(Path(__file__).with_name(f"{name}.py"))
