# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Results as they lie on somebody's machine."""

from typing import Any

from mscn_hf.evaluation.results import Result

HOME_OF_SOMEBODY = "/home/jane/private work"


def result_of(revision: str | None, **fields: Any) -> Result:
    """A Result as an evaluation of the tiny run would write it."""
    standard = {
        "dataset": f"{HOME_OF_SOMEBODY}/imagenette-96",
        "split": "test",
        "protocol": "knn",
        "metric": "top1_accuracy",
        "value": 0.58125,
        "interval": (0.565, 0.5975),
        "interval_method": "percentile bootstrap, 95 %",
        "num_examples": 3925,
        "seed": 0,
        "selection": "none (k=20, T=0.07 fixed)",
        "model": f"{HOME_OF_SOMEBODY}/run/encoder",
        "model_revision": revision,
        "command": f"mscn-hf evaluate knn --model '{HOME_OF_SOMEBODY}/run/encoder' --out results.jsonl",
        "date": "2026-11-21",
        "settings": {"k": 20, "temperature": 0.07},
        "environment": {"python": "3.11.9", "packages": {"torch": "2.14.1"}},
    }
    return Result(**{**standard, **fields})
