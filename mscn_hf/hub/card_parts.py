# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""What the cards of own and of converted models share: the mark, scores, tried usage examples, the YAML head."""

import logging
import re
from dataclasses import dataclass

from huggingface_hub import EvalResult, ModelCardData
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id

from mscn_hf.evaluation.results import Result

from .model_folder import ModelFolder, UnfitFolderError
from .safe_text import is_local_path, plain, public_name, without_paths
from .usage import Usage, run_usage

logger = logging.getLogger(__name__)

MARKER = "<!-- Written by mscn-hf; remove this line and `mscn-hf push` publishes your own text unchanged. -->"


@dataclass(frozen=True)
class Scores:
    """Results of exactly the weights with this hash, and of others; without any results the hash is not computed."""

    weights_hash: str | None = None
    own: tuple[Result, ...] = ()
    others: tuple[Result, ...] = ()


def try_usage(examples: list[Usage], model_id: str, model: ModelFolder, *, strict: bool) -> list[Usage]:
    """Runs the usage examples on a model's folder and records the outcome in them.

    Raises:
        UnfitFolderError: one fails, and `strict`; otherwise a failure is a warning.
    """
    tried = run_usage(examples, model_id, model.path)
    for example in tried:
        if example.error and strict:
            raise UnfitFolderError(f"the card's usage example does not run on {model.path}: {example.error}")
        if example.error:
            logger.warning("a usage example of the card failed: %s", example.error)
    return tried


def card_metadata(model: ModelFolder, own: list[Result], *, name: str, license: str | None) -> ModelCardData:
    """The YAML head of the card: what the Hub filters by, and every own Result in the model-index."""
    trained_on = model.training.get("dataset") or {}
    dataset = hub_dataset(str(trained_on.get("name", "")), trained_on.get("revision"))
    method = re.findall(r"[a-z0-9]+", str(model.training.get("method", "")).lower())
    return ModelCardData(
        license=license,
        library_name="transformers",
        pipeline_tag="image-feature-extraction",
        tags=[*dict.fromkeys([model.config["model_type"], *method, "self-supervised-learning", "vision"])],
        datasets=[dataset] if dataset else None,
        metrics=sorted({metric_type(result.metric) for result in own}) or None,
        model_name=name if own else None,
        eval_results=[model_index_entry(result) for result in own] or None,
    )


def model_index_entry(result: Result) -> EvalResult:
    """One Result as an entry of the model-index; everything that qualifies the number stands in `metric_args`."""
    dataset = plain(public_name(result.dataset))
    qualifiers = {
        "metric": result.metric,
        "protocol": without_paths(result.protocol),
        "selection": plain(without_paths(result.selection)),
        "num_examples": result.num_examples,
        "seed": result.seed,
        "interval": list(result.interval) if result.interval is not None else None,
        "interval_method": without_paths(result.interval_method) if result.interval_method else None,
        "date": result.date,
    }
    return EvalResult(
        task_type=result.task,
        dataset_type=hub_dataset(result.dataset, result.dataset_revision) or dataset,
        dataset_name=dataset,
        dataset_config=result.dataset_config,
        dataset_split=result.split,
        dataset_revision=result.dataset_revision,
        metric_type=metric_type(result.metric),
        metric_name=f"{without_paths(result.protocol)}: {result.metric}",
        metric_value=result.value,
        metric_args={key: value for key, value in qualifiers.items() if value is not None},
    )


def metric_type(metric: str) -> str:
    """The Hub's id of a metric: its list knows one accuracy."""
    return "accuracy" if "accuracy" in metric or metric in ("top1", "top5") else plain(metric, 50)


def hub_dataset(name: str, revision: str | None) -> str | None:
    """`org/name` if that names a dataset repository; a local folder has no revision and gives None."""
    if not revision or is_local_path(name) or name.count("/") != 1:
        return None
    try:
        validate_repo_id(name)
    except HFValidationError:
        return None
    return name
