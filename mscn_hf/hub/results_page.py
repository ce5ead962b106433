# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Runs -> one page of tables, made from Results and training.json alone (`docs/results.md`)."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mscn_hf.evaluation.report import SHORT_METRIC
from mscn_hf.evaluation.results import Result, read_results

from .safe_text import base_name, markdown, public_command, public_json, public_name

# name of the run, name of the row, training.json, Results
Row = tuple[str, str, dict[str, Any], list[Result]]
_MARK = "<!-- Written by `mscn-hf report --markdown`; edit nothing by hand. -->"


def write_results_page(runs: Sequence[str | Path], path: str | Path, title: str = "Results") -> Path:
    """Writes tables of the runs' scores, one a data set, with what each network was trained on and for how long.

    Args:
        runs: folders of runs, each with `results.jsonl` and `training.json` (beside it or in `encoder/`).
        path: Markdown file to write.
        title: its heading.

    Raises:
        FileNotFoundError: a folder without results.jsonl.
    """
    tables: dict[tuple[str, str], list[Row]] = {}
    for run in map(Path, runs):
        training = _training(run)
        by_model: dict[tuple[str, str, str], list[Result]] = {}
        for result in read_results(run / "results.jsonl"):
            by_model.setdefault((public_name(result.dataset), result.split, result.model), []).append(result)
        for (dataset, split, model), results in by_model.items():
            row = (run.name, _row_name(run, model), training, results)
            tables.setdefault((dataset, split), []).append(row)
    lines = [f"# {title}", "", _MARK, ""]
    lines += [
        "Accuracy in %, with 95 % bootstrap intervals over test images. Random: the same network, fresh weights.",
        "RankMe: effective number of dimensions of the features of training images at the end; near 1 is a collapse.",
        "",
    ]
    for (dataset, split), rows in sorted(tables.items()):
        lines += _table(dataset, split, rows)
    Path(path).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return Path(path)


def keep_records(runs: Sequence[str | Path], folder: str | Path) -> list[Path]:
    """Copies what a page is made from, `results.jsonl` and `training.json`, to `folder/<run>/`, without local paths.

    Returns:
        the folders written; an earlier record of a run of the same name is replaced.
    """
    kept = []
    for run in map(Path, runs):
        target = Path(folder) / base_name(str(run))
        if target in kept:
            raise ValueError(f"two runs are named {target.name!r}: their records would overwrite one another")
        target.mkdir(parents=True, exist_ok=True)
        records = [_public_record(result) for result in read_results(run / "results.jsonl")]
        (target / "results.jsonl").write_text("\n".join(records) + "\n", encoding="utf-8")
        training = _training(run)
        if training:
            (target / "training.json").write_bytes(public_json(json.dumps(training).encode()))
        kept.append(target)
    return kept


def _public_record(result: Result) -> str:
    names = {"model": public_name(result.model), "dataset": public_name(result.dataset)}
    record = json.loads(public_json(json.dumps({**result.to_dict(), **names}).encode()))
    return json.dumps(record, ensure_ascii=False)


def _table(dataset: str, split: str, rows: list[Row]) -> list[str]:
    columns = list(
        dict.fromkeys((r.protocol, r.metric) for *_, results in rows for r in results if r.metric == "top1_accuracy")
    )
    head = [
        "network",
        *(f"{p} {SHORT_METRIC.get(m, m)}" for p, m in columns),
        "RankMe",
        "images seen",
        "training",
        "seed",
    ]
    lines = [f"## {markdown(dataset)}, {markdown(split)}", "", _cells(head), "|" + "---|" * len(head)]
    seen: set[tuple[str, ...]] = set()
    for run, name, training, results in rows:
        last = {(r.protocol, r.metric): r for r in results}
        trained = training if name == run else {}
        first = next(iter(last.values()))
        cells = [name, *(_score(last.get(c)) for c in columns)]
        cells.append(f"{trained['rankme'][-1]:.1f}" if trained.get("rankme") else "-")
        cells.append(f"{trained['samples_seen']:,}" if trained else "-")
        cells += [f"{trained['seconds'] / 60:.1f} min" if trained else "-", str(first.seed)]
        if tuple(cells) not in seen:
            lines.append(_cells(cells))
            seen.add(tuple(cells))
    images = {r.num_examples for *_, results in rows for r in results}
    lines += ["", f"{', '.join(f'{n:,}' for n in sorted(images))} test images. Choices: "]
    lines[-1] += "; ".join(sorted({f"{r.protocol}: {r.selection.split(';')[0]}" for *_, rs in rows for r in rs})) + "."
    hardware = sorted({_hardware(training) for _, _, training, _ in rows if training})
    lines += ["", f"Trained on: {'; '.join(hardware)}.", "", "```"]
    lines += sorted({public_command(training["command"]) for _, _, training, _ in rows if training.get("command")})
    return [*lines, "```", ""]


def _training(run: Path) -> dict[str, Any]:
    for path in (run / "training.json", run / "encoder" / "training.json"):
        if path.is_file():
            return json.loads(path.read_text(encoding="utf-8"))
    return {}


def _row_name(run: Path, model: str) -> str:
    if model.startswith("random:"):
        return f"random ({run.name})"
    return run.name if base_name(model) == "encoder" else markdown(public_name(model))


def _score(result: Result | None) -> str:
    if result is None:
        return "-"
    low, high = result.interval or (result.value, result.value)
    return f"**{100 * result.value:.1f}** [{100 * low:.1f}, {100 * high:.1f}]"


def _hardware(training: dict[str, Any]) -> str:
    environment = training.get("environment", {})
    cards = environment.get("accelerators") or []
    cpu = f"{environment.get('processor', 'processor not recorded')}, {environment.get('cpu_threads', '?')} threads"
    return markdown(", ".join(cards) or cpu)


def _cells(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
