# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Records -> one page of pictures and tables, made from Results, training.json and sweep.json alone.

A record is a folder with results.jsonl: of a training run, or of `mscn-hf evaluate … --out FOLDER/results.jsonl`.
"""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mscn_hf.evaluation.bootstrap import t_interval
from mscn_hf.evaluation.results import Result
from mscn_hf.evaluation.score_plots import PlotRow, plot_rows
from mscn_hf.evaluation.score_table import SHORT_METRIC

from .records import SWEEP as SWEEP
from .records import Column, Row, read_rows, shown_command, tell_apart
from .safe_text import markdown, plain

_SEED = re.compile(r"_seed\d+$")
MOST_ACROSS = 6  # columns of scores that can be read beside one another
_MARK = "<!-- Written by `mscn-hf report --markdown`; edit nothing by hand. -->"
_OPENING = (
    "Scores in %, of each protocol the first metric that it names, with 95 % intervals; what they are intervals of "
    "stands below each table. Random: the same network, fresh weights; unfiltered: the same weights, high-pass filter "
    "left out.",
    "RankMe: effective number of dimensions of the features of training images at the end; near 1 is a collapse.",
)


def write_results_page(runs: Sequence[str | Path], path: str | Path, title: str = "Results") -> Path:
    """Writes pictures and tables of the records' scores on each data set, and of each sweep with its paper's scores.

    Networks of the same name, weights and seed share a row, whichever record has their scores. More than
    `MOST_ACROSS` protocols stand below one another, with networks as columns.

    Args:
        runs: folders with `results.jsonl`; with `training.json` (beside it or in `encoder/`) where it is a training
            run, and with `sweep.json` if that is one of a sweep.
        path: Markdown file to write; the pictures lie beside it, `<its stem>_<data set or sweep>_<split>.png`.
        title: its heading.

    Raises:
        FileNotFoundError: a folder without results.jsonl.
    """
    page = Path(path)
    tables: dict[tuple[str, str, str], list[Row]] = {}
    sweeps: dict[tuple[str, bool, str, str], list[Row]] = {}
    for row in (row for run in map(Path, runs) for row in read_rows(run)):
        dataset, split = row.place
        if row.sweep:
            place = (str(row.sweep["sweep"]), bool(row.sweep["small"]), dataset, split)
            sweeps.setdefault(place, []).append(row)
        else:
            _add(tables.setdefault((dataset, split, _drawn(row.results)), []), row)
    opening = list(_OPENING)
    if (page.parent / "evaluation.md").is_file():  # this project's own page, beside its other documents
        opening.append("How to make the data sets that are named here: [evaluation.md](evaluation.md#data-sets).")
    lines = [f"# {title}", "", _MARK, "", *opening, ""]
    pictures = _Pictures(page)
    for (dataset, split, drawn), rows in sorted(tables.items(), key=lambda item: item[0]):
        lines += _dataset_section(dataset, split, drawn, rows, pictures)
    for (_, _, dataset, split), rows in sorted(sweeps.items(), key=lambda item: item[0]):
        lines += _sweep_section(dataset, split, rows, pictures)
    page.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return page


def _dataset_section(dataset: str, split: str, drawn: str, rows: list[Row], pictures: "_Pictures") -> list[str]:
    tell_apart(rows)
    lines = [f"## {markdown(dataset)}, {markdown(split)}" + (f": {drawn}" if drawn else ""), ""]
    for part, columns, turned in _parts(rows):
        name = f"{dataset}_{split}" + ("_drawn" if drawn else "") + ("_protocols" if turned else "")
        lines += pictures.draw(name, f"{dataset}, {split}" + (f": {drawn}" if drawn else ""), part, columns)
        lines += [*(_by_protocol(part, columns) if turned else _by_network(part, columns)), ""]
        lines += _over_seeds(part, columns)
    return [*lines, *_notes(rows)]


def _sweep_section(dataset: str, split: str, rows: list[Row], pictures: "_Pictures") -> list[str]:
    facts, rows = rows[0].sweep, [row for row in rows if row.own]
    tell_apart(rows)
    name = f"{facts['sweep']}_small" if facts["small"] else str(facts["sweep"])
    about = f"{markdown(facts['paper'])}. Here on {markdown(dataset)}, {markdown(split)}."
    if facts["small"]:
        about += " The paper's scores are of the full size: only their order can be compared."
    lines = [f"## Sweep {markdown(name)}: {markdown(facts['table'])}", "", about, ""]
    lines += pictures.draw(f"{name}_{dataset}_{split}", f"{name}, {dataset}, {split}", rows, _columns(rows))
    return [*lines, *_sweep_table(rows), "", *_notes(rows)]


def _drawn(results: Sequence[Result]) -> str:
    """How much of the splits was used, where that is a draw: such scores cannot stand beside those of the whole."""
    for result in results:
        settings = result.settings
        most = {"test": settings.get("max_test_images"), "train": settings.get("max_train_images")}
        used = {"test": result.num_examples, "train": settings.get("num_train")}
        cut = [f"{used[part]:,} {part} images" for part in most if most[part] is not None and most[part] == used[part]]
        if cut:
            return f"a draw of {' and '.join(cut)}"
    return ""


def _add(rows: list[Row], row: Row) -> None:
    """Puts the scores beside those of the same network, unless they contradict one another."""
    for other in rows:
        same = (other.name, other.kind, other.revision, other.seed) == (row.name, row.kind, row.revision, row.seed)
        if same and all(_alike(other.scores[c], r) for c, r in row.scores.items() if c in other.scores):
            other.results = [*other.results, *(r for c, r in row.scores.items() if c not in other.scores)]
            if row.own and not other.own:
                other.own, other.training = True, row.training
            return
    rows.append(row)


def _alike(one: Result, other: Result) -> bool:
    return (one.value, one.num_examples) == (other.value, other.num_examples)


def _parts(rows: list[Row]) -> list[tuple[list[Row], list[Column], bool]]:
    """Which rows and columns stand in a table, and whether it lies on its side.

    Networks with more protocols than can be read beside one another have a table of their own; what they share with
    the others stands in the table of all as well.
    """
    wide = [row for row in rows if len(row.scores) > MOST_ACROSS]
    common = _columns([row for row in rows if row not in wide])
    if len(common) > MOST_ACROSS:
        return [(rows, _columns(rows), True)]
    shared = [row for row in rows if any(column in row.scores for column in common)]
    parts = [(shared, common, False)] if common else []
    return [*parts, (wide, _columns(wide), True)] if wide else parts


def _columns(rows: Sequence[Row]) -> list[Column]:
    return list(dict.fromkeys(column for row in rows for column in row.scores))


def _head(column: Column) -> str:
    protocol, metric = column
    lower = " (lower is better)" if metric == "mean_corruption_error" else ""
    return f"{markdown(protocol)} {SHORT_METRIC.get(metric, metric)}{lower}"


def _by_network(rows: Sequence[Row], columns: Sequence[Column]) -> list[str]:
    """A line for each network."""
    lines = _table_head(["network", *map(_head, columns), "RankMe", "images seen", "training", "seed"])
    for row in rows:
        lines.append(_cells([row.shown, *(_score(row.scores.get(c)) for c in columns), *_trained(row), _seed(row)]))
    return lines


def _by_protocol(rows: Sequence[Row], columns: Sequence[Column]) -> list[str]:
    """A line for each protocol; more networks than can be read beside one another stand in several tables."""
    lines: list[str] = []
    tables = -(-len(rows) // MOST_ACROSS)
    for number in range(tables):
        some = rows[len(rows) * number // tables : len(rows) * (number + 1) // tables]
        lines += [*([""] if lines else []), *_table_head(["protocol", *(row.shown for row in some)])]
        for column in columns:
            if any(column in row.scores for row in some):
                lines.append(_cells([_head(column), *(_score(row.scores.get(column)) for row in some)]))
        if any(row.facts for row in some):
            for name, *cells in zip(("RankMe", "images seen", "training"), *map(_trained, some)):
                lines.append(_cells([name, *cells]))
        lines.append(_cells(["seed", *map(_seed, some)]))
    return lines


def _over_seeds(rows: Sequence[Row], columns: Sequence[Column]) -> list[str]:
    """A table of means over the seeds of one recipe; nothing where none was trained with several."""
    groups: dict[tuple[str, str, str], list[Row]] = {}
    for row in rows:
        recipe = {k: v for k, v in row.training.get("recipe", {}).items() if k not in ("seed", "output_dir")}
        if row.own:
            key = _SEED.sub("", row.shown.rstrip(")")), row.kind, json.dumps(recipe, sort_keys=True)
            groups.setdefault(key, []).append(row)
    lines = []
    for (name, kind, _), some in groups.items():
        seeds = [row.seed for row in some]
        if len(some) > 1 and len(set(seeds)) == len(seeds):
            cells = [_mean([row.scores[c].value for row in some if c in row.scores]) for c in columns]
            lines.append(_cells([name + (")" if kind else ""), *cells, ", ".join(map(str, seeds))]))
    if not lines:
        return []
    head = _table_head(["mean over seeds", *map(_head, columns), "seeds"])
    return ["Means over seeds of one recipe, Student's t, 95 %:", "", *head, *lines, ""]


def _mean(values: list[float]) -> str:
    if len(values) < 2:
        return "-"
    interval = t_interval(values)
    return f"**{100 * sum(values) / len(values):.1f}** [{100 * interval.low:.1f}, {100 * interval.high:.1f}]"


def _sweep_table(rows: Sequence[Row]) -> list[str]:
    columns = _columns(rows)
    runs = [row.sweep["changes"] for row in rows if not row.kind]
    # What all runs of the sweep change says nothing of their differences.
    common = {k: v for k, v in runs[0].items() if len(runs) > 1 and all(k in r and r[k] == v for r in runs)}
    lines = [f"In all of these runs: {markdown(_settings(common))}.", ""] if common else []
    lines += _table_head(["run", "changes", "paper", *map(_head, columns), "RankMe", "images seen", "seed"])
    for row in rows:
        itself = not row.kind
        changes = _settings({k: v for k, v in row.sweep["changes"].items() if k not in common}) if itself else ""
        score = row.sweep["score"]
        cells = [row.shown, markdown(changes) or "-", "-" if score is None or not itself else f"{score:.1f}"]
        cells += [_score(row.scores.get(c)) for c in columns]
        lines.append(_cells([*cells, *_trained(row)[:2], _seed(row)]))
    return lines


def _settings(changes: dict[str, Any]) -> str:
    return ", ".join(f"{key}={json.dumps(value)}" for key, value in changes.items())


def _trained(row: Row) -> list[str]:
    """RankMe, images seen, minutes of training."""
    facts = row.facts
    rankme = facts.get("rankme")
    seen = [f"{facts['samples_seen']:,}", f"{facts['seconds'] / 60:.1f} min"] if facts else ["-", "-"]
    return [f"{rankme[-1]:.1f}" if rankme else "-", *seen]


def _seed(row: Row) -> str:
    return "-" if row.seed is None else str(row.seed)


def _notes(rows: Sequence[Row]) -> list[str]:
    """What stands below the tables: size of the test split, intervals, choices, machine, commands."""
    results = [result for row in rows for result in row.results]
    lines = [f"Test images: {_said_of(results, lambda r: f'{r.num_examples:,}')}."]
    lines += ["", f"Intervals: {_said_of(results, _interval)}."]
    lines += ["", f"Choices: {_said_of(results, _choice)}."]
    trained = {_hardware(row.training.get("environment", {})) for row in rows if row.own and row.training}
    scored = {_hardware(r.environment) for row in rows if not row.training for r in row.results}
    for what, machines in (("Trained", trained - {""}), ("Scored", scored - {""})):
        if machines:
            lines += ["", f"{what} on: {'; '.join(sorted(machines))}."]
    given = {str(row.sweep.get("command") or row.training.get("command") or "") for row in rows if row.own}
    given |= {result.command or "" for row in rows if not row.sweep for result in row.results}
    commands = sorted(shown_command(command) for command in given - {""})
    if commands:
        lines += ["", "```", *commands, "```"]
    return [*lines, ""]


def _said_of(results: Sequence[Result], say: Any) -> str:
    """What is said of the Results, with the protocols that it is said of where it is not the same for all."""
    found: dict[str, list[str]] = {}
    for result in results:
        names = found.setdefault(say(result), [])
        if result.protocol not in names:
            names.append(result.protocol)
    if len(found) == 1:
        return markdown(next(iter(found)))
    return "; ".join(f"{markdown(', '.join(names))}: {markdown(text)}" for text, names in found.items())


def _interval(result: Result) -> str:
    """The kind of interval; number of resamples and seed of its draws, which may differ, are in the record."""
    return re.sub(r", \d+ resamples(, seed \d+)?", "", result.interval_method or "none")


def _choice(result: Result) -> str:
    """How choices were made, without the seed and what was done after the choice."""
    text = re.sub(r",? (from )?seed \d+", "", result.selection)
    return re.split(r";(?![^(]*\))", text)[0]


def _hardware(environment: dict[str, Any]) -> str:
    """Accelerators, or the processor and its threads; empty where neither was recorded."""
    if cards := environment.get("accelerators"):
        return markdown(", ".join(cards))
    if not environment.get("processor"):
        return ""
    threads = environment.get("cpu_threads", "?")
    return markdown(f"{environment['processor']}, {threads} thread{'s' if threads != 1 else ''}")


def _score(result: Result | None) -> str:
    if result is None:
        return "-"
    if result.interval is None:
        return f"**{100 * result.value:.1f}**"
    low, high = result.interval
    return f"**{100 * result.value:.1f}** [{100 * low:.1f}, {100 * high:.1f}]"


def _table_head(cells: Sequence[str]) -> list[str]:
    return [_cells(cells), "|" + "---|" * len(cells)]


def _cells(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


class _Pictures:
    """Draws the pictures of a page, each into a file of its own."""

    def __init__(self, page: Path) -> None:
        self.page = page
        self.files: set[str] = set()

    def draw(self, name: str, title: str, rows: Sequence[Row], columns: Sequence[Column]) -> list[str]:
        """Draws networks, seeds of one recipe on one line, and names the picture; nothing where there are none."""
        lines: dict[str, PlotRow] = {}
        for row in sorted(rows, key=lambda row: (row.kind == "random", row.name.startswith("pixels"))):
            label = plain(_SEED.sub("", row.name), 60)
            results = [result for column, result in row.scores.items() if column in columns]
            if row.kind == "random" and label in lines:
                lines[label].baseline.extend(results)
                continue
            label += {"": "", "random": ", random weights", "unfiltered": ", unfiltered"}[row.kind]
            paper = None if row.kind else row.sweep.get("score")
            lines.setdefault(label, PlotRow(label, paper=paper)).scores.extend(results)
        if not any(line.scores for line in lines.values()):
            return []
        stem = f"{self.page.stem}_{re.sub(r'[^A-Za-z0-9.]+', '_', name).strip('_')}"
        file, number = f"{stem}.png", 1
        while file in self.files:  # two names may differ in signs only
            number += 1
            file = f"{stem}_{number}.png"
        self.files.add(file)
        plot_rows(list(lines.values()), self.page.with_name(file), title)
        return [f"![Scores of each network, with intervals]({file})", ""]
