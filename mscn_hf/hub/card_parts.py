# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""What the cards of own and of converted models share: templates, the mark, scores, tried examples, the YAML head."""

import logging
import re
from dataclasses import dataclass
from typing import Any

from huggingface_hub import EvalResult, ModelCard, ModelCardData
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from mscn_hf.evaluation.results import Result
from mscn_hf.resources import resource_folder

from .card_text import trained_with_labels
from .conversion.families import FAMILIES
from .model_folder import ModelFolder, UnfitFolderError
from .safe_text import is_local_path, plain, public_name, without_paths
from .usage import Usage, run_usage

logger = logging.getLogger(__name__)

MARKER = "<!-- Written by mscn-hf; remove this line and `mscn-hf push` publishes your own text unchanged. -->"
SELF_SUPERVISED = "self-supervised-learning"
_LICENSE = re.compile(r"[a-z0-9][a-z0-9.+-]*")


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


def fill_template(name: str, data: ModelCardData, **values: Any) -> ModelCard:
    """The card that a template of model_cards/ gives; huggingface_hub's own way cannot read a part that two share."""
    cards = Environment(loader=FileSystemLoader(resource_folder("cards")), undefined=StrictUndefined)
    return ModelCard(cards.get_template(name).render(card_data=data.to_yaml(), marker=MARKER, **values))


def check_license(license: str | None) -> None:
    """Raises UnfitFolderError if a licence is given that cannot be one of the Hub's identifiers."""
    if license is not None and not _LICENSE.fullmatch(license):
        raise UnfitFolderError(f"license must be a Hub identifier such as apache-2.0 or cc-by-4.0, got {license!r}")


def model_tags(model: ModelFolder, conversion: dict[str, Any] | None = None) -> list[str]:
    """The tags of a card: architecture, method, where the weights come from, and only what is on record of labels.

    Args:
        model: its training.json names method and objective.
        conversion: conversion.json of converted weights, whose family tells how they were trained.
    """
    kind = str(model.config["model_type"])
    method = re.findall(r"[a-z0-9]+", str(model.training.get("method", "")).lower())
    if conversion is None:
        self_supervised = bool(method) and not trained_with_labels(model.training)
        origin = []
    else:
        family = str(conversion["family"])
        self_supervised = family in FAMILIES and FAMILIES[family].without_labels
        origin = [family.replace("_", "-"), "converted"]
        if kind == "relicv2" and family != kind:
            kind = "resnet"  # the architecture is named after one of the methods that train it
    return [*dict.fromkeys([kind, *method, *([SELF_SUPERVISED] if self_supervised else []), "vision", *origin])]


def card_metadata(
    model: ModelFolder,
    own: list[Result],
    *,
    name: str,
    license: str | None,
    conversion: dict[str, Any] | None = None,
) -> ModelCardData:
    """The YAML head of the card: what the Hub filters by, and every own Result in the model-index.

    Raises:
        UnfitFolderError: the licence is not an identifier.
    """
    check_license(license)
    trained_on = model.training.get("dataset") or {}
    dataset = hub_dataset(str(trained_on.get("name", "")), trained_on.get("revision"))
    return ModelCardData(
        license=license,
        library_name="transformers",
        pipeline_tag="image-feature-extraction",
        tags=model_tags(model, conversion),
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
