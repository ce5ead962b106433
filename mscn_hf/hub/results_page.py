# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Runs -> one page of pictures and tables, made from Results and training.json alone (`docs/results.md`)."""

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mscn_hf.evaluation.report import SHORT_METRIC, PlotRow, plot_rows
from mscn_hf.evaluation.results import Result, read_results

from .safe_text import base_name, markdown, plain, public_command, public_json, public_name

# What a run of a sweep leaves about its place in it.
SWEEP = "sweep.json"
_MARK = "<!-- Written by `mscn-hf report --markdown`; edit nothing by hand. -->"


@dataclass(frozen=True)
class _Row:
    """One network on one split: its run, what it is to the run, and its Results."""

    run: str
    kind: str  # "encoder", "random", "unfiltered", "other"
    name: str
    training: dict[str, Any]
    sweep: dict[str, Any]
    results: list[Result]


def write_results_page(runs: Sequence[str | Path], path: str | Path, title: str = "Results") -> Path:
    """Writes a picture and a table of the runs' scores of each data set, and of each sweep with its paper's scores.

    Args:
        runs: folders of runs, each with `results.jsonl` and `training.json` (beside it or in `encoder/`), and with
            `sweep.json` if it is one of a sweep.
        path: Markdown file to write; the pictures lie beside it, `<its stem>_<data set or sweep>.png`.
        title: its heading.

    Raises:
        FileNotFoundError: a folder without results.jsonl.
    """
    page = Path(path)
    tables: dict[tuple[str, str], list[_Row]] = {}
    sweeps: dict[tuple[str, bool, str, str], list[_Row]] = {}
    for row, dataset, split in (found for run in map(Path, runs) for found in _rows(run)):
        if row.sweep:
            place = (str(row.sweep["sweep"]), bool(row.sweep["small"]), dataset, split)
            sweeps.setdefault(place, []).append(row)
        else:
            tables.setdefault((dataset, split), []).append(row)
    lines = [f"# {title}", "", _MARK, ""]
    lines += [
        "Accuracy in %, with 95 % bootstrap intervals over test images. Random: the same network, fresh weights; "
        "unfiltered: the same weights, high-pass filter left out.",
        "RankMe: effective number of dimensions of the features of training images at the end; near 1 is a collapse.",
        "",
    ]
    for (dataset, split), rows in sorted(tables.items(), key=lambda item: item[0]):
        lines += [f"## {markdown(dataset)}, {markdown(split)}", ""]
        lines += _picture(page, dataset, f"{dataset}, {split}", rows)
        lines += _table(rows)
    for (sweep, small, dataset, split), rows in sorted(sweeps.items(), key=lambda item: item[0]):
        facts = rows[0].sweep
        name = f"{sweep}_small" if small else sweep
        lines += [f"## Sweep {markdown(name)}: {markdown(facts['table'])}", "", f"{markdown(facts['paper'])}. "]
        lines[-1] += f"Here on {markdown(dataset)}, {markdown(split)}."
        if small:
            lines[-1] += " The paper's scores are of the full size: only their order can be compared."
        lines += ["", *_picture(page, name, f"{name}, {dataset}, {split}", rows)]
        lines += _sweep_table(rows)
    page.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return page


def keep_records(runs: Sequence[str | Path], folder: str | Path) -> list[Path]:
    """Copies what a page is made from, `results.jsonl`, `training.json` and `sweep.json`, without local paths.

    Returns:
        the folders written, `folder/<run>/` or, of a sweep, `folder/<sweep>-<run>/`; an earlier record of a run of the
        same name is replaced.
    """
    kept: list[Path] = []
    for run in map(Path, runs):
        sweep = _read(run / SWEEP)
        name = base_name(str(run))
        if sweep:
            name = f"{sweep['sweep']}{'_small' if sweep['small'] else ''}-{sweep['run']}"
        target = Path(folder) / name
        if target in kept:
            raise ValueError(f"two runs are named {target.name!r}: their records would overwrite one another")
        target.mkdir(parents=True, exist_ok=True)
        records = [_public_record(result) for result in read_results(run / "results.jsonl")]
        (target / "results.jsonl").write_text("\n".join(records) + "\n", encoding="utf-8")
        for file, content in (("training.json", _training(run)), (SWEEP, sweep)):
            if content:
                (target / file).write_bytes(public_json(json.dumps(content).encode()))
        kept.append(target)
    return kept


def _public_record(result: Result) -> str:
    names = {"model": public_name(result.model), "dataset": public_name(result.dataset)}
    record = json.loads(public_json(json.dumps({**result.to_dict(), **names}).encode()))
    return json.dumps(record, ensure_ascii=False)


def _rows(run: Path) -> Iterable[tuple[_Row, str, str]]:
    """The rows of a run, each with its data set and split."""
    training, sweep = _training(run), _read(run / SWEEP)
    name = str(sweep["run"]) if sweep else run.name
    by_model: dict[tuple[str, str, str], list[Result]] = {}
    for result in read_results(run / "results.jsonl"):
        by_model.setdefault((public_name(result.dataset), result.split, result.model), []).append(result)
    for (dataset, split, model), results in by_model.items():
        prefix, _, path = model.rpartition(":")
        if prefix in ("random", "unfiltered"):
            kind, shown = prefix, f"{prefix} ({name})"
        elif not prefix and base_name(path) == "encoder":
            kind, shown = "encoder", name
        else:
            kind, shown = "other", markdown(public_name(model))
        yield _Row(name, kind, shown, training, sweep, results), dataset, split


def _picture(page: Path, name: str, title: str, rows: list[_Row]) -> list[str]:
    """Draws the networks that were trained, seeds of one recipe on one line; nothing where there are none."""
    lines: dict[str, PlotRow] = {}
    for row in rows:
        results = [r for r in row.results if r.metric == "top1_accuracy"]
        label = plain(re.sub(r"_seed\d+$", "", row.run), 60)
        if not results or row.kind == "other":
            continue
        if row.kind == "unfiltered":
            label += ", unfiltered"
        line = lines.setdefault(label, PlotRow(label, paper=row.sweep.get("score")))
        (line.baseline if row.kind == "random" else line.scores).extend(results)
    if not any(line.scores for line in lines.values()):
        return []
    file = f"{page.stem}_{re.sub(r'[^A-Za-z0-9.]+', '_', name).strip('_')}.png"
    plot_rows(list(lines.values()), page.with_name(file), title)
    return [f"![Scores of each network, with intervals]({file})", ""]


def _columns(rows: list[_Row]) -> dict[tuple[str, str], str]:
    found = [(r.protocol, r.metric) for row in rows for r in row.results if r.metric == "top1_accuracy"]
    return {(p, m): f"{p} {SHORT_METRIC.get(m, m)}" for p, m in found}


def _table(rows: list[_Row]) -> list[str]:
    columns = _columns(rows)
    head = ["network", *columns.values(), "RankMe", "images seen", "training", "seed"]
    lines = [_cells(head), "|" + "---|" * len(head)]
    for row in rows:
        last = {(r.protocol, r.metric): r for r in row.results}
        trained = row.training if row.kind == "encoder" else {}
        cells = [row.name, *(_score(last.get(c)) for c in columns), *_trained(trained)]
        cells += [f"{trained['seconds'] / 60:.1f} min" if trained else "-", str(row.results[0].seed)]
        if _cells(cells) not in lines:
            lines.append(_cells(cells))
    return [*lines, *_notes(rows)]


def _sweep_table(rows: list[_Row]) -> list[str]:
    columns = _columns(rows)
    head = ["run", "changes", "paper", *columns.values(), "RankMe", "images seen", "seed"]
    lines = [_cells(head), "|" + "---|" * len(head)]
    for row in rows:
        if row.kind == "other":
            continue
        last = {(r.protocol, r.metric): r for r in row.results}
        own = row.kind == "encoder"
        changes = ", ".join(f"{key}={json.dumps(value)}" for key, value in row.sweep["changes"].items()) if own else ""
        score = row.sweep["score"]
        cells = [row.name, markdown(changes) or "-", "-" if score is None or not own else f"{score:.1f}"]
        cells += [_score(last.get(c)) for c in columns]
        lines.append(_cells([*cells, *_trained(row.training if own else {}), str(row.results[0].seed)]))
    return [*lines, *_notes(rows)]


def _trained(training: dict[str, Any]) -> list[str]:
    rankme = training.get("rankme")
    return [f"{rankme[-1]:.1f}" if rankme else "-", f"{training['samples_seen']:,}" if training else "-"]


def _notes(rows: list[_Row]) -> list[str]:
    """What stands below a table: size of the test split, choices, machine, commands."""
    results = [result for row in rows for result in row.results]
    images = sorted({f"{r.num_examples:,}" for r in results})
    choices = sorted({f"{r.protocol}: {r.selection.split(';')[0]}" for r in results})
    lines = ["", f"{', '.join(images)} test images. Choices: {'; '.join(choices)}."]
    hardware = sorted({_hardware(row.training) for row in rows if row.training})
    if hardware:
        lines += ["", f"Trained on: {'; '.join(hardware)}."]
    given = {str(row.sweep.get("command") or row.training.get("command") or "") for row in rows}
    commands = sorted(public_command(command) for command in given - {""})
    if commands:
        lines += ["", "```", *commands, "```"]
    return [*lines, ""]


def _training(run: Path) -> dict[str, Any]:
    return _read(run / "training.json") or _read(run / "encoder" / "training.json")


def _read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def _score(result: Result | None) -> str:
    if result is None:
        return "-"
    low, high = result.interval or (result.value, result.value)
    return f"**{100 * result.value:.1f}** [{100 * low:.1f}, {100 * high:.1f}]"


def _hardware(training: dict[str, Any]) -> str:
    environment = training.get("environment", {})
    cards = environment.get("accelerators") or []
    threads = environment.get("cpu_threads", "?")
    cpu = f"{environment.get('processor', 'processor not recorded')}, {threads} thread{'s' if threads != 1 else ''}"
    return markdown(", ".join(cards) or cpu)


def _cells(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
