# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""From the words of a command to what a run needs: the device, the splits, how features are made."""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import shlex
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
from accelerate import PartialState
from accelerate.utils import broadcast_object_list, gather_object

from mscn_hf.data import ImageSource, SourceError
from mscn_hf.views.checks import as_device

from .cache import file_hash
from .dataset_file import DatasetFile, find_dataset
from .encoder import FrozenEncoder, text_hash
from .loading import load_encoder
from .probe import evaluate_encoder
from .results import Result
from .robustness.settings import HeadProtocol
from .settings import Protocol
from .task import ExtractOptions

T = TypeVar("T")

# Sets of test images alone often lie in a split called train. It is not trained on as well.
NO_TRAIN = "none beside the test split"
# Settings of any kind of protocol that name files: what these hold can change under the same name.
FILE_FIELDS = ("lists", "subset_list", "class_map", "folder_map", "classes")


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

    def asked(self, name: str, settings: Protocol, encoder: FrozenEncoder) -> str:
        """A hash of all that fixes a score but its seed and limits; Results keep it under `asked`.

        By it a suite knows its own Results again: a protocol may give several under names of their own, while images,
        lists and a model's configuration can change under theirs.

        Raises:
            ValueError: pictures that the protocol itself names cannot be opened.
        """
        sources = (self.train if settings.needs_train else None, self.validation, self.test)
        images = [None if s is None else [s.fingerprint, s.modified, s.split] for s in sources]
        where = [self.test.name, self.test.config_name, self.test.revision]
        own = settings.inputs() if isinstance(settings, HeadProtocol) else []
        files = [file_hash(path) for path in named_files(settings)]
        return text_hash([name, settings.facts(), encoder.identity(), where, images, own, files])[:16]


def named_files(settings: Protocol) -> list[Path]:
    """The files that a protocol's settings name, missing ones left out: the protocol says so when it runs."""
    found: list[Path] = []
    for name in FILE_FIELDS:
        value = getattr(settings, name, None)
        paths = [path for group in value.values() for path in group] if isinstance(value, dict) else [value]
        found += [Path(path) for path in paths if isinstance(path, str) and Path(path).is_file()]
    return found


@dataclass
class RunSetup:
    """Where a command runs, and how features are made."""

    process: PartialState
    device: torch.device
    options: ExtractOptions

    def agree(self, work: Callable[[], T]) -> T:
        """What `work` gives here, once every process has done it; where one fails, all do.

        A process that went on alone would wait in the next exchange for ever, or take part in another one.

        Raises:
            ValueError: the input was at fault, in this process (then its own error) or in another one.
            RuntimeError: anything else went wrong in one of several processes.
        """
        try:
            value, failure = work(), None
        except Exception as error:
            value, failure = None, error
        if self.process.num_processes > 1:
            told = [None if failure is None else (_can_be_mended(failure), f"{type(failure).__name__}: {failure}")]
            failed = [(rank, *said) for rank, said in enumerate(gather_object(told)) if said is not None]
            if not all(mended for _, mended, _ in failed):
                raise RuntimeError("; ".join(f"process {rank}: {text}" for rank, _, text in failed)) from failure
            if failed and failure is None:
                raise ValueError(f"process {failed[0][0]} could not go on: {failed[0][2]}")
        if failure is not None:
            raise failure
        return value  # type: ignore[return-value]

    def from_main(self, work: Callable[[], T]) -> T:
        """What `work` gives on the first process, which alone does it; raises as `agree` does."""
        value = self.agree(lambda: work() if self.process.is_main_process else None)
        if self.process.num_processes > 1:
            value = broadcast_object_list([value])[0]
        return value  # type: ignore[return-value]

    def all_same(self, value: str) -> bool:
        """Whether every process brings the same text."""
        return self.process.num_processes == 1 or len(set(gather_object([value]))) == 1


def _can_be_mended(error: Exception) -> bool:
    return isinstance(error, ValueError | OSError)


def set_up(args: argparse.Namespace) -> RunSetup:
    """Checks the arguments of `mscn-hf evaluate` and starts the processes.

    Raises:
        ValueError: arguments that contradict one another, or no such device.
    """
    if (args.benchmark_id is None) != (args.task_id is None):
        raise ValueError("--benchmark_id and --task_id go together")
    if Path(args.out).is_dir():
        raise ValueError(f"--out {args.out} is a folder; give a file, for example {Path(args.out) / 'results.jsonl'}")
    asked = as_device("--device", args.device) if args.device else None
    # Rank 0 may fit a probe for long while the others wait for the next extraction.
    use_cpu = args.device == "cpu" or not torch.cuda.is_available()
    process = PartialState(cpu=use_cpu, timeout=datetime.timedelta(hours=12))
    options = ExtractOptions(
        args.cache_dir,
        args.batch_size,
        args.num_workers,
        args.max_train_images,
        args.max_test_images,
        progress=process.is_main_process,
    )
    return RunSetup(process, asked or process.device, options)


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
    asked = splits.asked(name, settings, encoder)  # before: files may change while hours pass
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
        if result.dataset == splits.test.name:  # a protocol may bring pictures of its own
            result.settings |= splits.dataset.facts()
        result.settings["asked"] = asked
    return results
