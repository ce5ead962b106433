# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""`mscn-hf sweep`: the runs of an ablation one after the other, and one table beside the paper's numbers."""

import argparse
import dataclasses
import gc
import json
import os
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import yaml

from mscn_hf.evaluation.results import Result, read_results
from mscn_hf.hub.results_page import SWEEP

from .arguments import PretrainingArguments
from .checkpoints import RECIPE
from .checks import check_run
from .pretrain import main as pretrain
from .recipe_file import RunConfig, parse_run
from .sweep_file import Sweep, SweepRun, read_sweep
from .trainer import NonFiniteLossError

# Fields that may change between two calls of a sweep without making it another one.
_FREE = {"output_dir", "resume", "num_threads", "dataloader_num_workers", "logging_steps", "save_steps"}
BASELINES = ("random:", "unfiltered:")
CARD = Path("encoder") / "README.md"
# What a sweep gives each of its runs by itself.
_OWN = {"config", "output_dir", "resume"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `mscn-hf sweep`; further `--field value` pairs override the recipe in all runs."""
    parser.allow_abbrev = False
    parser.add_argument("sweep", help="name of a sweep that ships with the package, or a file")
    parser.add_argument("--small", action="store_true", help="its form for two CPU cores")
    parser.add_argument("--runs", nargs="+", metavar="RUN", help="these runs only (default: all)")
    parser.add_argument("--list", action="store_true", help="show the runs and train nothing")
    parser.add_argument("--output_dir", help="folder for a folder of each run (default: runs/NAME or runs/NAME_small)")


def run(args: argparse.Namespace, overrides: list[str]) -> int:
    """Trains and scores what is not finished, prints the table; returns the exit status.

    A finished run is passed over, an interrupted one is continued. The settings of all runs are checked before the
    first is trained.

    Raises:
        ValueError: an unknown run or field, a field that the sweep sets itself, or a finished run with other settings
            in the same folder.
        FileNotFoundError: no such sweep or recipe.
    """
    _refuse_own(overrides)
    sweep = read_sweep(args.sweep, args.small)
    runs = sweep.choose(args.runs)
    if args.list:
        print(list_runs(sweep, runs))
        return 0
    out = Path(args.output_dir or f"runs/{sweep.name}{'_small' if sweep.small else ''}")
    plan = [(one, *prepare_run(sweep, one, out, overrides)) for one in runs]
    for one, _, config in plan:
        _check_finished(out / one.name, config)
    for one in runs:
        write_recipe(sweep, one, out)
    diverged = set()
    for number, (one, words, config) in enumerate(plan, start=1):
        main_process = config.training.process_index == 0
        done = is_finished(out / one.name, config)
        if main_process:
            print(f"[{number}/{len(plan)}] {one.name}: {'finished' if done else out / one.name}", flush=True)
        try:
            if not done:
                pretrain(words)
            if main_process and (out / one.name).is_dir():
                record = json.dumps(sweep_record(sweep, one, args.sweep, overrides), indent=2)
                (out / one.name / SWEEP).write_text(record + "\n", encoding="utf-8")
        except NonFiniteLossError as error:
            # Some settings are swept to see where training breaks. Other processes may not know of it.
            if config.training.world_size > 1:
                raise
            print(f"{one.name}: {error}", flush=True)
            diverged.add(one.name)
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
    if plan[0][2].training.process_index == 0:
        print(format_sweep(sweep, runs, out, diverged))
    return 1 if diverged else 0


def list_runs(sweep: Sweep, runs: Sequence[SweepRun]) -> str:
    """A line for each run: its name, the paper's score, what it changes."""
    width = max(len(one.name) for one in runs)
    lines = [f"{sweep.paper}, {sweep.table}"]
    for one in runs:
        score = "" if one.paper is None else f"{one.paper:.1f}"
        changes = ", ".join(f"{key}={_short(value)}" for key, value in one.changes.items())
        lines.append(f"  {one.name:<{width}}  {score:>5}  {changes}")
    return "\n".join(lines)


def is_finished(folder: Path, config: RunConfig) -> bool:
    """Whether a run has its card, which is written last, and its scores, where there is something to score it on."""
    scored = config.data.test_split is not None and bool(config.training.probes)
    return (folder / CARD).is_file() and (not scored or (folder / "results.jsonl").is_file())


def format_sweep(
    sweep: Sweep, runs: Sequence[SweepRun], out: Path, diverged: set[str] | frozenset = frozenset()
) -> str:
    """A table from the Results in `out/<run>`: a row for each run, the paper's score and ours, in percent."""
    scores = {one.name: _scores(out / one.name, sweep.metric) for one in runs}
    protocols = list(dict.fromkeys(protocol for found in scores.values() for protocol in found))
    lines = [["run", "paper", *protocols]]
    for one in runs:
        shown = [_cell(scores[one.name].get(protocol)) for protocol in protocols]
        if one.name in diverged:
            shown = ["diverged", *shown[1:]]
        lines.append([one.name, "-" if one.paper is None else f"{one.paper:.1f}", *shown])
    widths = [max(len(line[n]) if n < len(line) else 0 for line in lines) for n in range(len(lines[0]))]
    rows = [
        "  ".join(text.ljust(w) if n == 0 else text.rjust(w) for n, (text, w) in enumerate(zip(line, widths))).rstrip()
        for line in lines
    ]
    table = "\n".join([rows[0], "  ".join("-" * width for width in widths), *rows[1:]])
    note = f"{sweep.paper}, {sweep.table}; {sweep.metric} in %, [95 % interval]"
    if sweep.small and any(one.paper is not None for one in runs):
        note += "\nthe paper's scores are those of the full size: only their order can be compared"
    return f"{table}\n{note}"


def prepare_run(sweep: Sweep, one: SweepRun, out: Path, overrides: Sequence[str] = ()) -> tuple[list[str], RunConfig]:
    """The words of a run's `mscn-hf pretrain` and what they mean, checked; writes nothing.

    Args:
        sweep, one: the sweep and one of its runs.
        out: folder of the sweep; the recipe will be `out/<run>.yaml`, the run's folder `out/<run>`.
        overrides: words `--field value`; `--views.*.field` is a field of all views of this run.

    Raises:
        ValueError, TypeError: settings that do not fit together, with the names of sweep and run.
    """
    recipe = out / f"{one.name}.yaml"
    words = ["--config", str(recipe), "--output_dir", str(out / one.name), "--resume", "auto", *overrides]
    try:
        config = parse_run(words, one.document)
        check_run(config)
    except (ValueError, TypeError) as error:
        raise type(error)(f"sweep {sweep.name!r}, run {one.name!r}: {error}") from error
    return words, config


def sweep_record(sweep: Sweep, one: SweepRun, file: str, overrides: Sequence[str]) -> dict[str, Any]:
    """What a page of results says of a run's place in its sweep; JSON-able."""
    words = ["mscn-hf", "sweep", file, *(["--small"] if sweep.small else []), "--runs", one.name, *overrides]
    return {
        "sweep": sweep.name,
        "small": sweep.small,
        "paper": sweep.paper,
        "table": sweep.table,
        "metric": sweep.metric,
        "run": one.name,
        "score": one.paper,
        "changes": one.changes,
        "command": shlex.join(words),
    }


def write_recipe(sweep: Sweep, one: SweepRun, out: Path) -> None:
    """Writes a run's recipe to `out/<run>.yaml`, beside its folder."""
    recipe = out / f"{one.name}.yaml"
    text = f"# Run {one.name} of the sweep {sweep.name}.\n" + yaml.safe_dump(one.document, sort_keys=False)
    recipe.parent.mkdir(parents=True, exist_ok=True)
    # Each process writes the same; none may read a half-written file.
    temporary = recipe.with_name(f".{recipe.name}.{os.getpid()}")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, recipe)


def _refuse_own(overrides: Sequence[str]) -> None:
    for word in overrides:
        name = word[2:].partition("=")[0].replace("-", "_")
        if word.startswith("--") and name in _OWN:
            raise ValueError(
                f"{word.partition('=')[0]} cannot be changed: a sweep gives each run its own {name}; --output_dir is "
                "the folder of the sweep"
            )


def _check_finished(folder: Path, config: RunConfig) -> None:
    """A finished run of other settings would be taken for this one."""
    if not is_finished(folder, config) or not (folder / RECIPE).is_file():
        return
    was = yaml.safe_load((folder / RECIPE).read_text(encoding="utf-8"))
    now = yaml.safe_load(yaml.safe_dump(config.document))
    # A recipe holds Trainer's own fields only where they were given.
    defaults = {f.name: getattr(f.default, "value", f.default) for f in dataclasses.fields(PretrainingArguments)}
    for key in (was.keys() | now.keys()) - _FREE:
        before, after = (recipe.get(key, defaults.get(key)) for recipe in (was, now))
        if before != after:
            raise ValueError(
                f"{str(folder)!r} holds a finished run with {key} {_short(before)}, now it is {_short(after)}: "
                "choose another --output_dir"
            )


def _scores(folder: Path, metric: str) -> dict[str, Result]:
    """The run's own Results of one metric, by protocol; of several the last one counts."""
    path = folder / "results.jsonl"
    found = read_results(path) if path.is_file() else []
    # The folder may have been spelled differently when the run was scored; baselines are PREFIX:folder.
    own = (folder.name, "encoder")
    return {
        r.protocol: r
        for r in found
        if r.metric == metric and not r.model.startswith(BASELINES) and Path(r.model).parts[-2:] == own
    }


def _cell(result: Result | None) -> str:
    if result is None:
        return "-"
    if result.interval is None:
        return f"{100 * result.value:.1f}"
    low, high = result.interval
    return f"{100 * result.value:.1f} [{100 * low:.1f}, {100 * high:.1f}]"


def _short(value: Any) -> str:
    text = yaml.safe_dump(value, default_flow_style=True, width=10**6).replace("\n...", "").strip()
    return text if len(text) <= 60 else f"{text[:57]}..."
