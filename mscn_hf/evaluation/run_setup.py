# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""From the words of a command to what a run needs: the device, the splits, how features are made."""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState

from mscn_hf.data.source import ImageSource, SourceError

from .dataset_file import DatasetFile, find_dataset
from .encoder import FrozenEncoder, text_hash
from .loading import load_encoder
from .probe import evaluate_encoder
from .results import Result
from .settings import Protocol
from .task import ExtractOptions

# Sets of test images alone often lie in a split called train. It is not trained on as well.
NO_TRAIN = "none beside the test split"


@dataclass
class Splits:
    """The opened splits of a data set.

    Attributes:
        dataset: its description.
        train: None where the set has no such split; a protocol that fits nothing needs none.
        no_train: why there is none.
    """

    dataset: DatasetFile
    train: ImageSource | None
    test: ImageSource
    validation: ImageSource | None
    no_train: Exception | None = None

    def train_for(self, settings: Protocol) -> ImageSource:
        """The train split; in its place the test split, unread, for a protocol that needs none.

        Raises:
            SourceError: the protocol needs one and there is none.
        """
        if self.train is None and settings.needs_train:
            raise self.no_train or SourceError(f"dataset {self.dataset.dataset!r} has no train split")
        return self.train or self.test

    def facts(self, name: str, settings: Protocol) -> dict[str, Any]:
        """What Results keep of the data set, and under `asked` a hash of the protocol and the images asked for.

        By it a suite knows its own Results again: a protocol may give several under names of their own, and a folder
        of images can change under its name.
        """
        sources = (self.train if settings.needs_train else None, self.validation, self.test)
        images = [None if source is None else [source.fingerprint, source.split] for source in sources]
        return {**self.dataset.facts(), "asked": text_hash([name, settings.facts(), images])[:16]}


@dataclass
class RunSetup:
    """Where a command runs, and how features are made."""

    process: PartialState
    device: torch.device
    options: ExtractOptions


def set_up(args: argparse.Namespace) -> RunSetup:
    """Checks the arguments of `mscn-hf evaluate` and starts the processes.

    Raises:
        ValueError: arguments that contradict one another, or no such device.
    """
    if (args.benchmark_id is None) != (args.task_id is None):
        raise ValueError("--benchmark_id and --task_id go together")
    if Path(args.out).is_dir():
        raise ValueError(f"--out {args.out} is a folder; give a file, for example {Path(args.out) / 'results.jsonl'}")
    # Rank 0 may fit a probe for long while the others wait for the next extraction.
    use_cpu = args.device == "cpu" or not torch.cuda.is_available()
    process = PartialState(cpu=use_cpu, timeout=datetime.timedelta(hours=12))
    device = torch.device(args.device) if args.device else process.device
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"--device {args.device}: no CUDA device can be used here")
    options = ExtractOptions(
        args.cache_dir,
        args.batch_size,
        args.num_workers,
        args.max_train_images,
        args.max_test_images,
        progress=process.is_main_process,
    )
    return RunSetup(process, device, options)


def open_splits(dataset: DatasetFile) -> Splits:
    """Opens what a data set has of train, validation and test; reads no row.

    Raises:
        SourceError: the test split, or a validation split that was named, cannot be opened.
    """
    test = dataset.open("test")
    assert test is not None
    train, no_train = None, None
    try:
        if dataset.train == NO_TRAIN:
            raise SourceError(f"{dataset.test!r} is both train and test here: a score on train says nothing")
        train = dataset.open("train")
    except SourceError as error:
        no_train = error
    validation = dataset.open("validation")
    return Splits(dataset, train, test, validation, no_train)


def describe_dataset(args: argparse.Namespace) -> DatasetFile:
    """The data set with what the command line says in place of what its description does."""
    given = {
        "config": args.dataset_config_name,
        "revision": args.revision,
        "train": args.train_split,
        "validation": getattr(args, "validation_split", None),
        "test": args.test_split,
        "image_column": args.image_column,
        "label_column": args.label_column,
    }
    described = find_dataset(args.dataset)
    if args.train_split is None and args.test_split == described.train:
        given["train"] = NO_TRAIN
    return dataclasses.replace(described, **{k: v for k, v in given.items() if v is not None})


def load_model(args: argparse.Namespace, name: str, device: torch.device | str) -> FrozenEncoder:
    """One of the models that the arguments name, on its device."""
    encoder = load_encoder(
        name, args.model_revision, args.trust_remote_code, pretrained=args.pretrained, seed=args.seed
    )
    return encoder.to(device)


def score_model(
    args: argparse.Namespace, setup: RunSetup, splits: Splits, name: str, settings: Protocol, encoder: FrozenEncoder
) -> list[Result]:
    """One encoder's Results under the protocol `name`, as `mscn-hf evaluate` keeps them; see `evaluate_encoder`."""
    as_command = sys.argv[1:2] == ["evaluate"]  # else evaluation/run.py
    results = evaluate_encoder(
        encoder,
        splits.train_for(settings),
        splits.test,
        name,
        settings,
        validation=splits.validation,
        options=setup.options,
        seed=args.seed,
        process=setup.process,
        command=shlex.join(["mscn-hf", *sys.argv[1:]] if as_command else ["python", *sys.argv]),
        benchmark=(args.benchmark_id, args.task_id),
    )
    for result in results:
        result.settings |= splits.facts(name, settings)
    return results
