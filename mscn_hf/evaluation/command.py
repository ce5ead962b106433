# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""`mscn-hf evaluate PROTOCOL --model … --dataset … --out results.jsonl`; the same through evaluation/run.py."""

from __future__ import annotations

import argparse
import datetime
import os
import shlex
import sys
from pathlib import Path

import torch
from accelerate import PartialState

from mscn_hf.data.source import ImageSource, open_source
from mscn_hf.resources import list_resources

from .loading import load_encoder
from .probe import ExtractOptions, evaluate_encoder
from .protocols import load_protocol
from .report import format_table
from .results import append_results


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `run`, shared by the command and the script."""
    protocols = ", ".join(list_resources("protocols"))
    parser.add_argument("protocol", help=f"{protocols}, or the path of a YAML file")
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
    parser.add_argument("--dataset", "--dataset_name", dest="dataset", required=True, help="Hub id or local folder")
    parser.add_argument("--dataset_config_name", help="configuration of the dataset")
    parser.add_argument("--revision", help="branch, tag or commit of the dataset on the Hub")
    parser.add_argument("--train_split", default="train", help="bank or training set; every choice is made on it")
    parser.add_argument("--test_split", default="test", help="what is scored; read once, after every choice")
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
    """Scores every model under one protocol, appends the Results to `--out` and prints a table.

    Returns:
        0, or 2 after a message on stderr where the input was at fault.
    """
    try:
        return _run(args)
    except (ValueError, FileNotFoundError) as error:
        print(f"mscn-hf evaluate: {error}", file=sys.stderr)
        return 2


def _run(args: argparse.Namespace) -> int:
    protocol, settings = load_protocol(args.protocol)
    if (args.benchmark_id is None) != (args.task_id is None):
        raise ValueError("--benchmark_id and --task_id go together")
    if Path(args.out).is_dir():
        raise ValueError(f"--out {args.out} is a folder; give a file, for example {Path(args.out) / 'results.jsonl'}")
    if args.train_split == args.test_split:
        raise ValueError(f"--train_split and --test_split are both {args.test_split!r}: a score on train says nothing")
    # Rank 0 may fit a probe for long while the others wait for the next extraction.
    use_cpu = args.device == "cpu" or not torch.cuda.is_available()
    process = PartialState(cpu=use_cpu, timeout=datetime.timedelta(hours=12))
    device = torch.device(args.device) if args.device else process.device
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"--device {args.device}: no CUDA device can be used here")

    def source(split: str) -> ImageSource:
        return open_source(
            args.dataset,
            config_name=args.dataset_config_name,
            split=split,
            image_column=args.image_column,
            label_column=args.label_column,
            revision=args.revision,
        )

    train, test = source(args.train_split), source(args.test_split)
    options = ExtractOptions(
        args.cache_dir,
        args.batch_size,
        args.num_workers,
        args.max_train_images,
        args.max_test_images,
        progress=process.is_main_process,
    )
    everything = []
    for name in args.model:
        encoder = load_encoder(
            name, args.model_revision, args.trust_remote_code, pretrained=args.pretrained, seed=args.seed
        ).to(device)
        results = evaluate_encoder(
            encoder,
            train,
            test,
            protocol,
            settings,
            options=options,
            seed=args.seed,
            process=process,
            command=shlex.join(["mscn-hf", "evaluate", *sys.argv[2:]] if _is_cli() else ["python", *sys.argv]),
            benchmark=(args.benchmark_id, args.task_id),
        )
        append_results(args.out, results)
        everything.extend(results)
    if process.is_main_process:
        print(format_table(everything))
        print(f"appended to {args.out}")
    return 0


def _is_cli() -> bool:
    return len(sys.argv) > 1 and sys.argv[1] == "evaluate"
