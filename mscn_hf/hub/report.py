# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""`mscn-hf report RESULTS …`: tables and pictures of Results, beside the papers' scores."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Sequence
from pathlib import Path

from mscn_hf.evaluation.published import format_published, plot_published
from mscn_hf.evaluation.results import Result, read_results
from mscn_hf.evaluation.score_plots import plot_scores
from mscn_hf.evaluation.score_table import format_table

from .records import keep_records, result_names
from .results_page import write_results_page

RESULTS = "results.jsonl"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `run`."""
    parser.add_argument("results", nargs="+", help="file of Results, or a folder with results.jsonl")
    parser.add_argument("--plot", help="PNG to write")
    parser.add_argument("--papers", help="PNG to write: scores beside the published ones of the same protocol")
    parser.add_argument("--markdown", help="page of tables and pictures to write, from folders with results.jsonl")
    parser.add_argument("--keep", help="folder for copies of the folders' records without local paths")


def run(args: argparse.Namespace) -> int:
    """Prints the tables and writes what was asked for.

    Raises:
        ValueError: `--markdown` or `--keep` with a file that is not called results.jsonl.
        FileNotFoundError: no such file.
    """
    files = [Path(name) / RESULTS if Path(name).is_dir() else Path(name) for name in args.results]
    other = [str(file) for file in files if file.name != RESULTS]
    if other and (args.markdown or args.keep):
        raise ValueError(
            f"--markdown and --keep take folders, or files called {RESULTS}, and read what lies beside them; "
            f"got {other[0]}: put it into a folder of its own as {RESULTS}"
        )
    results = _read(files)
    print(format_table(results))
    if published := format_published(results):
        print(f"\nBeside the papers, whose networks, data and hardware are their own:\n\n{published}")
    if args.plot:
        plot_scores(results, args.plot)
    if args.papers and not plot_published(results, args.papers):
        print(f"no paper has a score under these protocols, sets and metrics: {args.papers} was not drawn")
    runs = [file.parent for file in files]
    if args.keep:
        runs = keep_records(runs, args.keep)
    if args.markdown:
        print(write_results_page(runs, args.markdown))
    return 0


def _read(files: Sequence[Path]) -> list[Result]:
    """All Results; of several files each model goes by its run's name, as kept records call every one `encoder`."""
    if len(files) == 1:
        return read_results(files[0])
    found = []
    for file in files:
        results = read_results(file)
        names = result_names(file.parent, results)
        found += [dataclasses.replace(r, model=names[r.model]) for r in results]
    return found
