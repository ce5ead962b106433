# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Folders with results.jsonl, as a training run or `mscn-hf evaluate … --out FOLDER/results.jsonl` leaves them."""

import json
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mscn_hf.evaluation.results import Result, read_results
from mscn_hf.evaluation.score_table import main_results

from .safe_text import base_name, is_local_path, markdown, public_command, public_json, public_name

# What a run of a sweep leaves about its place in it.
SWEEP = "sweep.json"
Column = tuple[str, str]  # protocol, metric
_BASELINES = ("random", "unfiltered")
_MACHINE = re.compile(r"x86_64|amd64|arm64|aarch64|i[3-6]86|ppc64le|s390x|riscv64", re.IGNORECASE)


@dataclass
class Row:
    """One network on one split.

    Attributes:
        name: of the run, or of the model where it is not the record's own.
        kind: "random", "unfiltered", or "" for the network itself.
        own: whether it is what the record's run trained, or a baseline of that.
        training, sweep: what `training.json` and `sweep.json` hold.
        results: one for each protocol.
    """

    name: str
    kind: str
    own: bool
    training: dict[str, Any]
    sweep: dict[str, Any]
    results: list[Result]

    @property
    def shown(self) -> str:
        """The name in tables."""
        name = re.sub(r"(?<=\w)\\_(?=\w)", "_", markdown(self.name))
        return f"{self.kind} ({name})" if self.kind else name

    @property
    def scores(self) -> dict[Column, Result]:
        """The last Result of each protocol and metric."""
        return {(r.protocol, r.metric): r for r in self.results}

    @property
    def place(self) -> tuple[str, str]:
        """Data set and split."""
        return dataset_of(self.results[0]), self.results[0].split

    @property
    def revision(self) -> str | None:
        """Hash of the weights."""
        return self.results[0].model_revision

    @property
    def seed(self) -> int | None:
        """Of the protocols' random choices."""
        return self.results[0].seed

    @property
    def facts(self) -> dict[str, Any]:
        """training.json of the network itself; nothing for its baselines."""
        return self.training if self.own and not self.kind else {}


def read_rows(run: Path) -> list[Row]:
    """A row for each network, data set, split and seed of a record."""
    training, sweep = read_training(run), read_json(run / SWEEP)
    results = read_results(run / "results.jsonl")
    own, names = own_model(run, results), result_names(run, results)
    # Of an encoder that was trained again in its folder, training.json tells of the last weights.
    weights = [r.model_revision for r in results if r.model == own][-1:]
    groups: dict[tuple[Any, ...], list[Result]] = {}
    for r in main_results(results):
        groups.setdefault((dataset_of(r), r.split, r.model, r.model_revision, r.seed), []).append(r)
    rows = []
    for group in groups.values():
        kind, name = split_model(names[group[0].model])
        current = kind == "random" or [group[0].model_revision] == weights
        rows.append(Row(name, kind, current and split_model(group[0].model)[1] == own, training, sweep, group))
    return rows


def tell_apart(rows: Sequence[Row]) -> None:
    """Gives other weights under one name and seed the first digits of their hash."""
    weights: dict[tuple[str, str, int | None], set[str | None]] = {}
    for row in rows:
        weights.setdefault((row.name, row.kind, row.seed), set()).add(row.revision)
    several = [row for row in rows if len(weights[row.name, row.kind, row.seed]) > 1]
    for row in several:
        row.name = f"{row.name} {(row.revision or '?')[:8]}"


def result_names(run: Path, results: Sequence[Result]) -> dict[str, str]:
    """Name of each model of a record as tables show it, by what its Results call it."""
    own, names = own_model(run, results), {}
    run_name = str(read_json(run / SWEEP).get("run", run.name))
    for model in dict.fromkeys(r.model for r in results):
        kind, of = split_model(model)
        name = run_name if of == own else model_name(of)
        names[model] = f"{kind}:{name}" if kind else name
    return names


def own_model(run: Path, results: Sequence[Result]) -> str | None:
    """The encoder that the record's run trained, as its Results call it; None where the record is of no training."""
    sweep = read_json(run / SWEEP)
    if not sweep and not read_training(run):
        return None
    models = list(dict.fromkeys(split_model(r.model)[1] for r in results))
    names = {run.name, str(sweep.get("run", run.name)), "encoder"}
    encoders = [model for model in models if base_name(model) == "encoder"]
    named = [model for model in encoders if model_name(model) in names]
    # A run's folder may have been renamed since: then its only encoder is its own.
    return named[0] if named else encoders[0] if len(encoders) == 1 else None


def split_model(model: str) -> tuple[str, str]:
    """`random:runs/a/encoder` -> `random`, `runs/a/encoder`."""
    kind, colon, rest = model.partition(":")
    return (kind, rest) if colon and kind in _BASELINES else ("", model)


def model_name(model: str) -> str:
    """A model's name for others: a Hub id stays, `somewhere/RUN/encoder` is RUN."""
    parts = [part for part in re.split(r"[/\\]", model) if part]
    if is_local_path(model) and parts[-1:] == ["encoder"] and parts[:-1] and parts[-2] not in (".", "..", "~"):
        return parts[-2]
    return public_name(model)


def shown_command(command: str) -> str:
    """A command line without local paths, in which an encoder goes by its run's name."""
    try:
        words = [split_model(word) for word in shlex.split(command)]
    except ValueError:  # not a shell's
        return public_command(command)
    named = [(kind, model_name(word) if base_name(word) == "encoder" else word) for kind, word in words]
    return public_command(shlex.join(f"{kind}:{word}" if kind else word for kind, word in named))


def read_training(run: Path) -> dict[str, Any]:
    """training.json of a run, beside its Results or in `encoder/`; empty where there is none."""
    return read_json(run / "training.json") or read_json(run / "encoder" / "training.json")


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object, empty where there is no such file."""
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def dataset_of(result: Result) -> str:
    """A data set's name for others, with its configuration."""
    config = f" ({result.dataset_config})" if result.dataset_config else ""
    return f"{public_name(result.dataset)}{config}"


def keep_records(runs: Sequence[str | Path], folder: str | Path) -> list[Path]:
    """Copies what a page is made from, `results.jsonl`, `training.json` and `sweep.json`, without local paths.

    Returns:
        the folders written, `folder/<run>/` or, of a sweep, `folder/<sweep>-<run>/`; an earlier record of a run of the
        same name is replaced.

    Raises:
        ValueError: two runs, or two models of one run, that have one name without their paths.
    """
    kept: list[Path] = []
    for run in map(Path, runs):
        sweep = read_json(run / SWEEP)
        name = base_name(str(run))
        if sweep:
            name = f"{sweep['sweep']}{'_small' if sweep['small'] else ''}-{sweep['run']}"
        target = Path(folder) / name
        if target in kept:
            raise ValueError(f"two runs are named {target.name!r}: their records would overwrite one another")
        records = _public_results(run)
        target.mkdir(parents=True, exist_ok=True)
        (target / "results.jsonl").write_text("\n".join(records) + "\n", encoding="utf-8")
        for file, content in (("training.json", read_training(run)), (SWEEP, sweep)):
            if content:
                (target / file).write_bytes(public_record(content))
        kept.append(target)
    return kept


def _public_results(run: Path) -> list[str]:
    results = read_results(run / "results.jsonl")
    own = own_model(run, results)
    seen: dict[tuple[str, str], Result] = {}
    lines = []
    for result in results:
        kind, model = split_model(result.model)
        name = "encoder" if model == own else model_name(model)
        first = seen.setdefault((kind, name), result)
        if first.model != result.model and first.model_revision != result.model_revision:
            raise ValueError(
                f"{run}: without their paths {first.model!r} and {result.model!r} have one name, {name!r}"
            )
        public = {"model": f"{kind}:{name}" if kind else name, "dataset": public_name(result.dataset)}
        if result.command:
            public["command"] = shown_command(result.command)
        record = json.loads(public_record({**result.to_dict(), **public}))
        lines.append(json.dumps(record, ensure_ascii=False))
    return lines


def public_record(record: dict[str, Any]) -> bytes:
    """A record as JSON without local paths and without the version of the machine's kernel."""
    environment = record.get("environment")
    if isinstance(environment, dict) and isinstance(environment.get("platform"), str):
        name = environment["platform"]
        machine = _MACHINE.search(name)
        shown = "-".join([name.partition("-")[0], *([machine[0]] if machine else [])])
        record = {**record, "environment": {**environment, "platform": shown}}
    return public_json(json.dumps(record).encode())
