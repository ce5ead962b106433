# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""The one form in which a score leaves a probe, and the file that collects them.

Cards, leaderboards and tables are made from `Result`s and from nothing else, so a `Result` refuses to exist without
the facts that make a number comparable: which split it was measured on, by which protocol, and how every choice was
made on the way.
"""

from __future__ import annotations

import dataclasses
import datetime
import difflib
import fcntl
import importlib.metadata
import json
import math
import os
import platform
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

REQUIRED_TEXT = ("task", "dataset", "split", "protocol", "metric", "selection", "model")
WHY_REQUIRED = {
    "protocol": "for example 'knn' or 'linear'; online and offline scores cannot be compared without it",
    "split": "for example 'test'",
    "selection": "say how every choice was made, for example 'none (k=20, T=0.07 fixed)' or '10 % of train held out'",
}
PACKAGES = ("mscn_hf", "torch", "transformers", "datasets", "timm", "accelerate", "numpy", "pillow")


@dataclasses.dataclass(kw_only=True)
class Result:
    """One score of one model on one split.

    Args:
        task: task name as on the Hub.
        dataset: Hub id or folder name of the dataset.
        dataset_config: configuration of the dataset, if it has several.
        dataset_revision: commit of the dataset repository, if known.
        split: split that was scored.
        protocol: name of the protocol, `knn`, `linear`, …
        metric: name of the metric, `top1_accuracy`, `top5_accuracy`, `mean_per_class_accuracy`, …
        value: the score as a fraction in [0, 1].
        interval: (low, high) around the value as fractions, or None.
        interval_method: how the interval was computed; required beside an interval.
        num_examples: how many examples were scored.
        seed: seed of every random choice of the protocol, or None if it makes none.
        selection: how hyper-parameters were chosen, and on which data.
        model: folder, Hub id, or baseline (`pixels`, `random:…`) that was scored.
        model_revision: sha256 over all tensors of the encoder, batch-norm buffers included.
        command: the command that made the number.
        date: ISO date or date and time; today by default.
        settings: everything else that bears on the number (k, temperature, feature layer, preprocessing, skips).
        environment: versions and hardware, see `environment`.
        benchmark_id, task_id: Hub benchmark repository and its task, for `.eval_results`; both or neither.

    Raises:
        ValueError: a required text is missing or empty, a number is outside its range, or a dict holds what JSON
            cannot.
    """

    task: str = "image-classification"
    dataset: str = ""
    dataset_config: str | None = None
    dataset_revision: str | None = None
    split: str = ""
    protocol: str = ""
    metric: str = ""
    value: float = math.nan
    interval: tuple[float, float] | None = None
    interval_method: str | None = None
    num_examples: int = 0
    seed: int | None = None
    selection: str = ""
    model: str = ""
    model_revision: str | None = None
    command: str | None = None
    date: str = ""
    settings: dict[str, Any] = dataclasses.field(default_factory=dict)
    environment: dict[str, Any] = dataclasses.field(default_factory=dict)
    benchmark_id: str | None = None
    task_id: str | None = None

    def __post_init__(self) -> None:
        for name in REQUIRED_TEXT:
            text = getattr(self, name)
            if not isinstance(text, str) or not text.strip():
                hint = f" ({WHY_REQUIRED[name]})" if name in WHY_REQUIRED else ""
                raise ValueError(f"a Result needs a {name}{hint}, got {text!r}")
        self.value = _fraction("value", self.value)
        if self.interval is not None:
            if len(self.interval) != 2:
                raise ValueError(f"interval must be (low, high), got {self.interval!r}")
            low, high = (_fraction("interval", bound) for bound in self.interval)
            if low > high:
                raise ValueError(f"interval must have low <= high, got {self.interval!r}")
            if not self.interval_method:
                raise ValueError("an interval needs its interval_method, for example 'percentile bootstrap, 95 %'")
            self.interval = (low, high)
        if isinstance(self.num_examples, bool) or not isinstance(self.num_examples, int) or self.num_examples < 1:
            raise ValueError(f"num_examples must be a positive integer, got {self.num_examples!r}")
        if (self.benchmark_id is None) != (self.task_id is None):
            raise ValueError(
                "benchmark_id and task_id go together, "
                f"got benchmark_id={self.benchmark_id!r}, task_id={self.task_id!r}"
            )
        self.date = self.date or datetime.date.today().isoformat()
        try:
            datetime.datetime.fromisoformat(self.date)
        except (TypeError, ValueError) as error:
            raise ValueError(f"date must be an ISO date such as 2026-11-21, got {self.date!r}") from error
        for name in ("settings", "environment"):
            try:
                json.dumps(getattr(self, name), allow_nan=False)
            except (TypeError, ValueError) as error:
                raise ValueError(f"{name} must hold only what JSON can: {error}") from error

    def to_dict(self) -> dict[str, Any]:
        """All fields as JSON types, in the order of the dataclass."""
        fields = dataclasses.asdict(self)
        fields["interval"] = None if self.interval is None else list(self.interval)
        return fields

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> Result:
        """The inverse of `to_dict`.

        Raises:
            ValueError: unknown field (the nearest known one is named), or anything `Result` refuses.
        """
        known = [field.name for field in dataclasses.fields(cls)]
        for name in fields:
            if name not in known:
                near = difflib.get_close_matches(name, known, n=1)
                raise ValueError(f"unknown Result field {name!r}" + (f"; did you mean {near[0]!r}?" if near else ""))
        fields = dict(fields)
        if fields.get("interval") is not None:
            fields["interval"] = tuple(fields["interval"])
        return cls(**fields)


def _fraction(name: str, number: Any) -> float:
    try:
        number = float(number)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} must be a fraction in [0, 1], got {number!r}") from error
    if not 0.0 <= number <= 1.0:
        raise ValueError(f"{name} must be a fraction in [0, 1], got {number} (percent are divided by 100)")
    return number


def append_results(path: str | os.PathLike[str], results: Iterable[Result]) -> None:
    """Adds results to a JSON-lines file, one line each; creates the file and its folder where needed.

    All lines go in as one write under a lock, so that several processes can append to one file at once; when the
    write fails (a full disk), the file is cut back to what it was.
    """
    lines = "".join(json.dumps(result.to_dict(), ensure_ascii=False, allow_nan=False) + "\n" for result in results)
    if not lines:
        return
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a+b", buffering=0) as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        end = file.seek(0, os.SEEK_END)
        block = lines.encode()
        if end > 0:
            file.seek(end - 1)
            if file.read(1) != b"\n":  # edited by hand: do not glue our line to the last one
                block = b"\n" + block
        try:
            written = file.write(block)
            if written != len(block):
                raise OSError(f"wrote {written} of {len(block)} bytes to {path}")
            os.fsync(file.fileno())
        except OSError:
            file.truncate(end)
            raise


def read_results(path: str | os.PathLike[str]) -> list[Result]:
    """Reads a JSON-lines file of results; empty lines are passed over.

    Raises:
        ValueError: a line is not a Result; the message names file and line.
    """
    results = []
    for number, line in enumerate(Path(path).read_text(encoding="utf-8").split("\n"), start=1):
        if not line.strip():
            continue
        try:
            fields = json.loads(line)
            if not isinstance(fields, dict):
                raise ValueError(f"expected a JSON object, got {type(fields).__name__}")
            results.append(Result.from_dict(fields))
        except (TypeError, ValueError) as error:
            raise ValueError(f"{path}, line {number}: {error}") from error
    return results


def environment() -> dict[str, Any]:
    """Versions and hardware that a number was made with, as JSON types."""
    versions: dict[str, str | None] = {}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = None
    return {
        "python": platform.python_version(),
        "packages": versions,
        "platform": platform.platform(),
        "processor": _processor(),
        "cpu_threads": torch.get_num_threads(),
        "accelerators": [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())],
    }


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
