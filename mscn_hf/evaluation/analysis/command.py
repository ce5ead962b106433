# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""`mscn-hf analyze --model … --dataset … --out FOLDER`."""

from __future__ import annotations

import argparse
import datetime
import os
import shlex
from pathlib import Path

import torch

from ..results import environment
from ..run_setup import describe_dataset, load_model, open_splits
from ..score_table import short_names
from ..task import ExtractOptions
from .page import file_stem, write_page
from .study import StudyOptions, study_encoder


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `run`."""
    parser.add_argument("--model", nargs="+", required=True, help="as in `mscn-hf evaluate`; several are compared")
    parser.add_argument("--model_revision", help="branch, tag or commit of the model on the Hub")
    parser.add_argument("--trust_remote_code", action="store_true", help="run the code in the model repository")
    parser.add_argument("--pretrained", action="store_true", help="of timm:NAME, download the published weights")
    parser.add_argument("--dataset", "--dataset_name", dest="dataset", required=True, help="as in `mscn-hf evaluate`")
    parser.add_argument("--dataset_config_name", help="configuration of the dataset")
    parser.add_argument("--revision", help="branch, tag or commit of the dataset on the Hub")
    parser.add_argument("--train_split", help="RankMe is of it, neighbours are looked for in it; `train` by default")
    parser.add_argument("--test_split", help="everything else is of it; may lack labels; `test` by default")
    parser.add_argument("--image_column", help="found by type where not given")
    parser.add_argument("--label_column", help="found by type and usual names where not given")
    parser.add_argument("--classes", nargs="+", help="drawn with their neighbours; the most confused by default")
    parser.add_argument("--neighbours", type=int, default=5, help="of each image (default: %(default)s)")
    parser.add_argument("--queries", type=int, default=10, help="lines of the gallery (default: %(default)s)")
    parser.add_argument("--max_train_images", type=int, default=10_000, help="a seeded draw (default: %(default)s)")
    parser.add_argument("--max_test_images", type=int, default=5_000, help="a seeded draw (default: %(default)s)")
    parser.add_argument("--batch_size", type=int, default=64, help="images a forward pass")
    parser.add_argument("--num_workers", type=int, default=min(8, os.cpu_count() or 1), help="decoding processes")
    parser.add_argument("--cache_dir", help="where extracted features are kept ($MSCN_HF_CACHE, HF_HOME/mscn_hf)")
    parser.add_argument("--seed", type=int, default=0, help="of draws and of fresh weights")
    parser.add_argument("--device", help="cuda, cuda:1, cpu, …; cuda where there is one by default")
    parser.add_argument("--out", required=True, help="folder for index.md, its pictures and analysis.json")


def run(args: argparse.Namespace) -> int:
    """Studies every model and writes the page; returns the exit status.

    Raises:
        ValueError: an option out of range, a model or data set that cannot be opened, or features not finite.
    """
    for name in ("neighbours", "queries", "max_train_images", "max_test_images"):
        if getattr(args, name) < 1:
            raise ValueError(f"--{name} must be positive, got {getattr(args, name)}")
    folder = Path(args.out)
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"--out {args.out} is a file; give a folder")
    splits = open_splits(describe_dataset(args))
    train, test = splits.train, splits.test
    if train is None:
        raise splits.no_train or ValueError(f"{args.dataset} has no train split")
    device = args.device or ("cuda" if torch.cuda.is_available() else "cpu")
    extract = ExtractOptions(
        args.cache_dir, args.batch_size, args.num_workers, args.max_train_images, args.max_test_images
    )
    options = StudyOptions(extract, args.neighbours, args.queries, args.classes, seed=args.seed)
    folder.mkdir(parents=True, exist_ok=True)
    studies = []
    for number, (model, name) in enumerate(zip(args.model, short_names(args.model), strict=True), start=1):
        encoder = load_model(args, model, device)
        studies.append(study_encoder(encoder, train, test, folder, file_stem(number, name), options))
        options.classes = options.classes or studies[0].drawn_classes  # the same for all, so that they compare
    facts = {
        "dataset": test.name,
        "dataset_config": test.config_name,
        "dataset_revision": test.revision,
        "train_split": train.split,
        "test_split": test.split,
        "seed": args.seed,
        "neighbours": args.neighbours,
        "command": _command(args),
        "date": datetime.date.today().isoformat(),
        "environment": environment(),
    }
    print(write_page(folder, studies, facts))
    return 0


def _command(args: argparse.Namespace) -> str:
    """The command that would make this page again."""
    words = ["mscn-hf", "analyze"]
    for name, value in vars(args).items():
        if value is not None and value is not False:
            values = value if isinstance(value, list) else [] if value is True else [value]
            words += [f"--{name}", *(str(item) for item in values)]
    return shlex.join(words)
