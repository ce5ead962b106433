# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""One model, one protocol, one dataset -> Results."""

from __future__ import annotations

import dataclasses

from accelerate import PartialState

from mscn_hf.data.source import ImageSource

from .encoder import FrozenEncoder
from .results import Result
from .settings import Protocol
from .task import ExtractOptions, Task

__all__ = ["ExtractOptions", "evaluate_encoder"]


def evaluate_encoder(
    encoder: FrozenEncoder,
    train: ImageSource,
    test: ImageSource,
    protocol: str,
    settings: Protocol,
    *,
    validation: ImageSource | None = None,
    options: ExtractOptions | None = None,
    seed: int = 0,
    process: PartialState | None = None,
    command: str | None = None,
    benchmark: tuple[str | None, str | None] = (None, None),
) -> list[Result]:
    """Scores an encoder under one protocol; see `Task` for the arguments and the protocol's class for what it does.

    Every choice is made on `train` (or `validation`); only then the rows of `test` are read, once. Under several
    processes all must call; rank 0 alone returns Results, the others an empty list. A benchmark's task takes one
    score: the first Result alone carries `benchmark`.

    Raises:
        ValueError: labels that cannot be used, or anything `extract` refuses.
    """
    options = options or ExtractOptions()
    task = Task(encoder, train, test, protocol, validation, options, seed, process, command, benchmark)
    results = settings.run(task)
    return results[:1] + [dataclasses.replace(result, benchmark_id=None, task_id=None) for result in results[1:]]
