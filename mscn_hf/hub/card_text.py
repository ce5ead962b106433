# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""The words of a model card: facts in, Markdown out that shows them as they are."""

import json
from pathlib import Path
from typing import Any

import yaml

from mscn_hf.evaluation.results import Result

from .model_folder import ModelFolder, count_parameters
from .papers import PAPERS, TITLES, papers_of
from .safe_text import fenced, markdown, public_command, public_name, public_value, without_paths
from .usage import Usage

CAPTIONS = {
    "views": "What the network saw in training: the original image, each step of the augmentation, each branch.",
    "scores": "Scores of these weights beside those of the baselines, with intervals.",
    "curves": "Loss and online measures in the course of training.",
}


def summary(model: ModelFolder) -> str:
    """What the model is, from its configuration and weights."""
    config = model.config
    names = {"mscn": "An MSCN", "relicv2": "A ReLICv2", "vit_msn": "An MSN"}
    encoder = config.get("encoder")
    inner = encoder if config["model_type"] == "filtered" and isinstance(encoder, dict) else {}
    name = str(inner.get("architecture") or inner.get("model_type") or config["model_type"])
    kind = names.get(name, f"A {markdown(name)}")
    count = sum(count_parameters(path) for path in sorted(model.path.glob("*.safetensors")))
    size = f"{count / 1e6:.1f} million" if count >= 1e6 else f"{count:,}"
    text = f"{kind} image encoder of {size} parameters: it turns an image into one feature vector."
    if isinstance(sigma := config.get("high_pass_sigma"), int | float):
        text += (
            f" The encoder high-passes its own input (a Gaussian blur of {sigma:g} pixels is subtracted), so give it "
            "images normalised in the ordinary way."
        )
    return text + " It has no classifier."


def trained_with_labels(training: dict[str, Any]) -> bool:
    """Whether the record says that the network was trained to name its images."""
    recipe = training.get("recipe")
    return isinstance(recipe, dict) and recipe.get("objective") == "cross_entropy"


def trained_sentence(training: dict[str, Any]) -> str:
    """Papers behind the method, where a method was recorded."""
    method = training.get("method")
    if not method:
        return ""
    named = [TITLES[key] for key in papers_of(str(method))]
    based = f", after {' and '.join(named)}" if named else ""
    labels = "with their labels" if trained_with_labels(training) else "without labels"
    return f"It was trained on images {labels}, with the method {markdown(method, 80)}{based}."


def example(usage: Usage) -> dict[str, str]:
    """A usage example for the template."""
    return {
        "needs": usage.needs,
        "code": fenced(usage.code, "python"),
        "shape": str(usage.shape) if usage.shape is not None else "",
        "failed": markdown(without_paths(usage.error)) if usage.error else "",
    }


def score_row(result: Result) -> dict[str, str]:
    """One row of the table of scores."""
    revision = f" ({result.model_revision[:8]})" if result.model_revision else ""
    config = f", {result.dataset_config}" if result.dataset_config else ""
    return {
        "model": markdown(public_name(result.model), 100) + revision,
        "dataset": markdown(public_name(result.dataset) + config, 120),
        "split": markdown(result.split, 60),
        "protocol": markdown(without_paths(result.protocol), 60),
        "metric": markdown(result.metric, 60),
        "value": f"{result.value:.4f}",
        "interval": f"{result.interval[0]:.4f} to {result.interval[1]:.4f}" if result.interval is not None else "",
        "num_examples": str(result.num_examples),
        "seed": "" if result.seed is None else str(result.seed),
        "date": markdown(result.date, 40),
    }


def comparable(others: list[Result], own: list[Result]) -> list[Result]:
    """Results of other weights that were measured as one of the own ones was."""

    def measured(result: Result) -> tuple[str | None, ...]:
        return result.dataset, result.dataset_config, result.split, result.protocol, result.metric

    asked = {measured(result) for result in own}
    return [result for result in others if measured(result) in asked]


def protocol_notes(own: list[Result]) -> list[str]:
    """How each value was made: selection, interval, settings; equal notes once."""
    notes: dict[str, None] = {}
    for result in own:
        parts = [f"choices: {markdown(without_paths(result.selection))}"]
        if result.interval_method:
            parts.append(f"interval: {markdown(without_paths(result.interval_method))}")
        if result.settings:
            settings = public_value(result.settings).items()
            said = ", ".join(f"{name} = {json.dumps(value, ensure_ascii=False)}" for name, value in settings)
            parts.append(f"settings: {markdown(said, 1000)}")
        protocol, dataset = without_paths(result.protocol), public_name(result.dataset)
        notes[f"**{markdown(protocol, 60)}** on {markdown(dataset, 120)}; {'; '.join(parts)}"] = None
    return list(notes)


def picture_rows(pictures: dict[str, Path]) -> list[dict[str, str]]:
    """Pictures with captions, the well-known ones first; names were checked when the folder was opened."""
    ordered = sorted(pictures, key=lambda name: (Path(name).stem not in CAPTIONS, name != "views.png", name))
    return [{"name": n, "caption": CAPTIONS.get(Path(n).stem, Path(n).stem.replace("_", " "))} for n in ordered]


def training_rows(training: dict[str, Any]) -> list[dict[str, str]]:
    """The rows of the table on training, those that were recorded."""
    dataset = training.get("dataset") or {}
    seconds = training.get("seconds")
    facts = {
        "method": training.get("method"),
        "data set": public_name(str(dataset["name"])) if dataset.get("name") else None,
        "configuration": dataset.get("config_name"),
        "split": dataset.get("split"),
        "revision": dataset.get("revision"),
        "images in it": dataset.get("rows"),
        "samples seen": training.get("samples_seen"),
        "images skipped as broken": training.get("skipped_images"),
        "wall time": f"{seconds:.0f} s" if isinstance(seconds, int | float) else None,
    }
    return [{"name": name, "value": markdown(without_paths(str(v)))} for name, v in facts.items() if v is not None]


def yaml_block(value: Any) -> str:
    """A JSON-able value as a block of YAML, without local paths; nothing for nothing."""
    if not value:
        return ""
    return fenced(yaml.safe_dump(public_value(value), sort_keys=False, allow_unicode=True, width=110), "yaml")


def command_block(training: dict[str, Any], own: list[Result]) -> str:
    """The commands of training and evaluation, each once, for a shell."""
    commands = [training.get("command"), *(result.command for result in own)]
    lines = dict.fromkeys(public_command(str(command)) for command in commands if command)
    return fenced("\n".join(lines), "bash") if lines else ""


def limits(model: ModelFolder, own: list[Result]) -> list[str]:
    """What a user should not expect, from what is on record."""
    dataset = (model.training.get("dataset") or {}).get("name")
    source = f" ({markdown(public_name(str(dataset)), 120)})" if dataset else ""
    said = [
        f"The features carry the content and the biases of the images that the network was trained on{source}; which "
        "people, places and things they show, and how, was not examined. Uses that touch people need their own tests.",
        "Features are not decisions: a classifier, detector or search index on top needs its own training and tests.",
    ]
    if own:
        tested = sorted({markdown(public_name(result.dataset), 120) for result in own})
        said.append(
            f"It was scored on {', '.join(tested)} and on nothing else; other domains and image sizes are untested."
        )
    else:
        said.append("No score of these weights is on record: take nothing about their quality for granted.")
    if model.config.get("high_pass_sigma"):
        said.append("The input filter removes slow changes of brightness and colour; a task may need just those.")
    return said


def licence(identifier: str | None) -> str:
    """What may be done with weights and code."""
    weights = f"The weights: `{identifier}`." if identifier else "No licence has been chosen for the weights yet."
    return f"{weights} Python files, where there are any: Apache-2.0. The training images keep their owners' licences."


def citations(model: ModelFolder) -> str:
    """BibTeX of the papers behind method and architecture."""
    keys = papers_of(str(model.training.get("method", "")), model.config["model_type"])
    return fenced("\n\n".join(PAPERS[key] for key in keys), "bibtex") if keys else ""
