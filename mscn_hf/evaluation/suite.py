# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""`mscn-hf evaluate all --budget small --model … --dataset … --out results.jsonl`: many protocols in one go."""

from __future__ import annotations

import argparse
import logging
import sys
from dataclasses import dataclass, field
from pathlib import Path

from .dataset_file import find_dataset
from .encoder import FrozenEncoder
from .results import Result, append_results, read_results
from .run_setup import RunSetup, Splits, describe_dataset, load_model, open_splits, score_model, set_up
from .score_table import format_by_protocol
from .settings import Protocol
from .suite_file import SuiteEntry, load_suite

logger = logging.getLogger(__name__)


@dataclass
class SuiteRun:
    """What becomes of a suite.

    Attributes:
        args: the words of the command.
        setup: device and options.
        before: Results that the file held at the start; on the first process only, which decides what they spare.
        splits: opened data sets by name (None: the command's), or why one could not be opened.
        results: new ones and those that were there already, in order.
        failures: (what, reason).
        appended: number of new results.
    """

    args: argparse.Namespace
    setup: RunSetup
    before: list[Result]
    splits: dict[str | None, Splits | Exception] = field(default_factory=dict)
    results: list[Result] = field(default_factory=list)
    failures: list[tuple[str, str]] = field(default_factory=list)
    appended: int = 0

    def say(self, text: str) -> None:
        """One line on stderr, by the first process alone."""
        if self.setup.process.is_main_process:
            print(text, file=sys.stderr)

    def failed(self, what: str, error: Exception) -> None:
        """Notes what could not be run, and why."""
        reason = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
        if not isinstance(error, ValueError | OSError):
            reason = f"{type(error).__name__}: {reason}"
        self.failures.append((what, reason))
        self.say(f"{what}: not run: {reason}")
        logger.info("%s", what, exc_info=error)

    def open(self, name: str | None) -> Splits:
        """The splits of a data set, opened once; raises again what was raised then."""
        if name not in self.splits:
            try:
                self.splits[name] = open_splits(describe_dataset(self.args) if name is None else find_dataset(name))
            except (ValueError, OSError) as error:
                self.splits[name] = error
        found = self.splits[name]
        if isinstance(found, Exception):
            raise found
        return found


def run(args: argparse.Namespace) -> int:
    """Scores every model under every protocol of the suite, appends Results to `--out` and prints one table.

    A protocol that cannot be run on a data set is passed over, with the reason; what `--out` holds already for the
    same model, data and settings is not scored again, so that a suite that was stopped goes on. Under several
    processes the first one reads `--out`, and before each score all agree whether it is made.

    Returns:
        0; 1 if a protocol could not be run; 2 after a message on stderr where the input was at fault.

    Raises:
        RuntimeError: a protocol failed on the way under several processes.
    """
    try:
        setup = set_up(args)
        entries = setup.agree(lambda: load_suite(args.budget or "small"))
        main = setup.process.is_main_process
        before = setup.agree(lambda: read_results(args.out) if main and Path(args.out).exists() else [])
        suite = SuiteRun(args, setup, before)
        setup.agree(lambda: _check_own(suite, entries))
    except (ValueError, OSError) as error:
        print(f"mscn-hf evaluate: {error}", file=sys.stderr)
        return 2
    for model in args.model:
        _run_model(suite, entries, model)
    if suite.setup.process.is_main_process:
        print(format_by_protocol(suite.results))
        for what, reason in suite.failures:
            print(f"not run: {what}: {reason}")
        print(f"{suite.appended} new results appended to {args.out}")
    return 1 if suite.failures else 0


def _check_own(suite: SuiteRun, entries: list[SuiteEntry]) -> None:
    own = suite.open(None)
    if own.train is None and all(entry.settings.needs_train for entry in entries if not entry.datasets):
        raise own.no_train or ValueError(f"{suite.args.dataset} has no train split")


def _run_model(suite: SuiteRun, entries: list[SuiteEntry], model: str) -> None:
    try:
        encoder = suite.setup.agree(lambda: load_model(suite.args, model, suite.setup.device))
    except (ValueError, OSError) as error:
        suite.failed(f"every protocol of {model}", error)
        return
    for entry in entries:
        names: list[str | None] = [*entry.datasets] or [None]
        for name in names:
            _run_entry(suite, entry, encoder, name)


def _run_entry(suite: SuiteRun, entry: SuiteEntry, encoder: FrozenEncoder, dataset: str | None) -> None:
    what = f"{entry.name} of {encoder.name}" + (f" on {dataset}" if dataset else "")

    def prepare() -> tuple[Splits, Protocol, str]:
        splits = suite.open(dataset)
        settings = entry.settings.for_dataset(splits.dataset.metrics, splits.dataset.held_out)
        splits.train_for(settings)
        return splits, settings, splits.asked(entry.name, settings, encoder)

    try:
        splits, settings, asked = suite.setup.agree(prepare)
        if not suite.setup.all_same(asked):
            raise ValueError("the processes see other weights, images or files than one another")
    except (ValueError, OSError) as error:
        suite.failed(what, error)
        return
    results = suite.setup.from_main(lambda: find_scored(suite.before, asked, encoder, suite.setup, suite.args.seed))
    if results:
        suite.say(f"{what}: {suite.args.out} holds it for these weights and settings")
        suite.results.extend(results)
        return
    suite.say(what)
    try:
        encoder.assert_frozen()  # by the protocol before
        results = score_model(suite.args, suite.setup, splits, entry.name, settings, encoder)
    except Exception as error:  # hours of other protocols must not be lost to one, whatever its reason
        if suite.setup.process.num_processes > 1:
            raise RuntimeError(
                f"{what} failed in one of several processes, and the others may still wait for it. What was scored "
                f"before is in {suite.args.out}; leave this protocol out, or run it in one process"
            ) from error
        suite.failed(what, error)
        encoder.model.requires_grad_(False).eval()
        return
    suite.setup.agree(lambda: append_results(suite.args.out, results))
    suite.appended += len(results)
    suite.results.extend(results)


def find_scored(results: list[Result], asked: str, encoder: FrozenEncoder, setup: RunSetup, seed: int) -> list[Result]:
    """The Results of this very score: the model by name and weights, `Splits.asked`, limits and seed are the same."""
    options = setup.options
    limits = {"max_train_images": options.max_train_images, "max_test_images": options.max_test_images}
    found: dict[tuple[str, str], Result] = {}
    for r in results:
        if (
            (r.model, r.model_revision, r.seed) == (encoder.name, encoder.revision, seed)
            # What a kind of protocol does not keep it does not use: a ready classifier sees no train images.
            and all(r.settings.get(key, value) == value for key, value in limits.items())
            and r.settings.get("asked") == asked
        ):
            found[r.protocol, r.metric] = r
    return list(found.values())
