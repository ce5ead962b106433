# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""`mscn-hf report RESULTS …`: tables and pictures of Results, beside the papers' scores."""

from __future__ import annotations

import argparse
from pathlib import Path

from mscn_hf.evaluation.published import format_published, plot_published
from mscn_hf.evaluation.results import read_results
from mscn_hf.evaluation.score_plots import plot_scores
from mscn_hf.evaluation.score_table import format_table

from .results_page import keep_records, write_results_page


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `run`."""
    parser.add_argument("results", nargs="+", help="results.jsonl, or the folder of a run that holds one")
    parser.add_argument("--plot", help="PNG to write")
    parser.add_argument("--papers", help="PNG to write: scores beside the published ones of the same protocol")
    parser.add_argument("--markdown", help="page of tables to write, from folders of runs")
    parser.add_argument("--keep", help="folder for copies of the runs' records without local paths")


def run(args: argparse.Namespace) -> int:
    """Prints the tables and writes what was asked for."""
    files = [Path(name) / "results.jsonl" if Path(name).is_dir() else Path(name) for name in args.results]
    results = [result for file in files for result in read_results(file)]
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
