# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Results as the Hub's community evaluations: `.eval_results/*.yaml`, from which leaderboards are made."""

import logging
import re
from collections.abc import Iterable

import yaml
from huggingface_hub import EvalResultEntry, eval_result_entries_to_yaml, parse_eval_result_entries

from mscn_hf.evaluation.results import Result

from .safe_text import plain, without_paths

logger = logging.getLogger(__name__)

FOLDER = ".eval_results"
OWN_FILE = re.compile(r"\.eval_results/mscn-hf_[A-Za-z0-9._-]+\.yaml")


def eval_entry(result: Result) -> EvalResultEntry:
    """The Hub's form of one Result. The value stays the fraction that was measured.

    Raises:
        ValueError: the Result names no benchmark.
    """
    if result.benchmark_id is None or result.task_id is None:
        raise ValueError(f"{result.protocol} on {result.dataset!r} names no benchmark_id and task_id")
    protocol = without_paths(result.protocol)
    notes = [f"protocol {protocol}, {result.metric} on {result.split} ({result.num_examples} examples)"]
    if result.interval is not None:
        notes.append(f"interval {result.interval[0]:.4f} to {result.interval[1]:.4f}, {result.interval_method}")
    notes.append(f"selection: {without_paths(result.selection)}")
    if result.seed is not None:
        notes.append(f"seed {result.seed}")
    return EvalResultEntry(
        dataset_id=result.benchmark_id,
        task_id=result.task_id,
        value=result.value,
        # The field is the benchmark repository's commit, which is known only where that repository holds the images.
        dataset_revision=result.dataset_revision if result.dataset == result.benchmark_id else None,
        date=result.date,
        notes=plain("; ".join(notes)),
    )


def eval_results_files(results: Iterable[Result]) -> dict[str, str]:
    """`.eval_results` files of the Results that carry a benchmark, one file per variant (benchmark, protocol, seed).

    A task has one score. Where a variant has several Results of one task, the first says which metric on which images
    it is, a protocol's main metric before its others; of that metric the latest counts, since results.jsonl is
    appended to; the others are left out with a warning.

    Returns:
        path in the repository -> YAML text, sorted by path.
    """
    variants: dict[str, dict[str, Result]] = {}
    for result in results:
        if result.benchmark_id is None or result.task_id is None:
            continue
        parts = [result.benchmark_id, without_paths(result.protocol)]
        parts += [f"seed{result.seed}"] if result.seed is not None else []
        name = "_".join(re.sub(r"[^A-Za-z0-9.]+", "-", part).strip("-.")[:60] for part in parts)
        scores = variants.setdefault(f"{FOLDER}/mscn-hf_{name}.yaml", {})
        first = scores.setdefault(result.task_id, result)
        if _measured(result) == _measured(first):
            scores[result.task_id] = result
        else:
            logger.warning(
                "%s of %s is left out of %s: the task %s has the score %s already",
                *(result.metric, result.protocol, FOLDER, result.task_id, first.metric),
            )
    return {path: _dump([eval_entry(score) for score in scores.values()]) for path, scores in sorted(variants.items())}


def _measured(result: Result) -> tuple[str | None, ...]:
    return result.metric, result.dataset, result.dataset_config, result.split


def read_eval_results(text: str) -> list[EvalResultEntry]:
    """The entries of one `.eval_results` file."""
    return parse_eval_result_entries(yaml.safe_load(text))


def _dump(entries: list[EvalResultEntry]) -> str:
    return yaml.safe_dump(eval_result_entries_to_yaml(entries), sort_keys=False, allow_unicode=True, width=10_000)
