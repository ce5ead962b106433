# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""`mscn-hf evaluate PROTOCOL --model … --dataset … --out results.jsonl`; the same through evaluation/run.py.

In place of one protocol `all` takes those of `--budget`; see `suite`.
"""

from __future__ import annotations

import argparse
import os
import sys

from mscn_hf.resources import list_resources

from . import suite
from .protocols import load_protocol
from .report import format_table
from .results import append_results
from .run_setup import describe_dataset, load_model, open_splits, score_model, set_up


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `run`, shared by the command and the script."""
    protocols = ", ".join(list_resources("protocols"))
    budgets = ", ".join(list_resources("suites"))
    parser.add_argument("protocol", help=f"{protocols}, the path of a YAML file, or `all`: every protocol of --budget")
    parser.add_argument("--budget", help=f"of `all`: {budgets}, or the path of a YAML file; small by default")
    parser.add_argument(
        "--model",
        nargs="+",
        required=True,
        help="folder or Hub id that AutoModel or timm can load, timm:NAME, random:MODEL (same network, fresh "
        "weights), unfiltered:MODEL (same weights, high-pass filter left out) or pixels; several are scored one after "
        "the other and shown in one table",
    )
    parser.add_argument("--model_revision", help="branch, tag or commit of the model on the Hub")
    parser.add_argument("--trust_remote_code", action="store_true", help="run the code in the model repository")
    parser.add_argument("--pretrained", action="store_true", help="of timm:NAME, download the published weights")
    parser.add_argument(
        "--dataset",
        "--dataset_name",
        dest="dataset",
        required=True,
        help=f"Hub id, local folder, a YAML file that describes a set, or one of those that ship here "
        f"({', '.join(list_resources('datasets'))}); what such a file says holds where no option below is given",
    )
    parser.add_argument("--dataset_config_name", help="configuration of the dataset")
    parser.add_argument("--revision", help="branch, tag or commit of the dataset on the Hub")
    parser.add_argument("--train_split", help="bank or training set, for every fit and choice; `train` by default")
    parser.add_argument(
        "--validation_split",
        help="of its own for choices, for protocols that make any; a part of train is held out by default",
    )
    parser.add_argument("--test_split", help="what is scored; read once, after every choice; `test` by default")
    parser.add_argument("--image_column", help="found by type where not given")
    parser.add_argument("--label_column", help="found by type and usual names where not given")
    parser.add_argument("--batch_size", type=int, default=64, help="images a forward pass")
    parser.add_argument("--num_workers", type=int, default=min(8, os.cpu_count() or 1), help="decoding processes")
    parser.add_argument("--max_train_images", type=int, help="a seeded draw of this many; all by default")
    parser.add_argument("--max_test_images", type=int, help="a seeded draw of this many; all by default")
    parser.add_argument("--cache_dir", help="where extracted features are kept ($MSCN_HF_CACHE, HF_HOME/mscn_hf)")
    parser.add_argument("--seed", type=int, default=0, help="of the held-out part, fresh weights and the bootstrap")
    parser.add_argument("--device", help="cuda, cuda:1, cpu, …; cuda where there is one by default")
    parser.add_argument("--benchmark_id", help="Hub benchmark repository the Results are for")
    parser.add_argument("--task_id", help="task of that benchmark")
    parser.add_argument("--out", required=True, help="JSON-lines file; Results are appended")


def run(args: argparse.Namespace) -> int:
    """Scores every model under one protocol, or all of a suite, appends the Results to `--out` and prints a table.

    Returns:
        0, or 2 after a message on stderr where the input was at fault; of a suite see `suite.run`.
    """
    if args.protocol == "all":
        return suite.run(args)
    try:
        if args.budget is not None:
            raise ValueError(f"--budget {args.budget} is of `all`: evaluate all --budget {args.budget}")
        return _run(args)
    except (ValueError, FileNotFoundError) as error:
        print(f"mscn-hf evaluate: {error}", file=sys.stderr)
        return 2


def _run(args: argparse.Namespace) -> int:
    protocol, settings = load_protocol(args.protocol)
    dataset = describe_dataset(args)
    settings = settings.for_dataset(dataset.metrics, dataset.held_out)
    setup, splits = set_up(args), open_splits(dataset)
    splits.train_for(settings)  # a missing split is said before a model is fetched
    everything = []
    for name in args.model:
        results = score_model(args, setup, splits, protocol, settings, load_model(args, name, setup.device))
        append_results(args.out, results)
        everything.extend(results)
    if setup.process.is_main_process:
        print(format_table(everything))
        print(f"appended to {args.out}")
    return 0
