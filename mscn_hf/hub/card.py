# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Model cards, made from Results and training.json and from nothing else.

Whatever comes from data or paths is escaped before it meets the template, and metadata is dumped by huggingface_hub,
so a dataset's name can neither add a heading nor a key.
"""

import json
import logging
from collections.abc import Iterable
from pathlib import Path

import yaml
from huggingface_hub import ModelCard

from mscn_hf.evaluation.results import Result, read_results

from . import card_text
from .card_parts import MARKER, Scores, card_metadata, fill_template, try_usage
from .conversion.card import converted_card
from .model_folder import ModelFolder, UnfitFolderError, open_model_folder
from .usage import usage_examples

logger = logging.getLogger(__name__)

# Fields by which two Results are the same measurement, made again. Not the model's name: folders are moved.
IDENTITY = (
    *("model_revision", "task", "dataset", "dataset_config", "dataset_revision", "split"),
    *("protocol", "metric", "seed", "selection"),
)


def write_card(
    folder: str | Path,
    results: Iterable[Result] | str | Path | None = None,
    *,
    repo_id: str | None = None,
    license: str | None = None,
    check_usage: bool = True,
) -> Path:
    """Writes README.md into an encoder's folder and copies the run's pictures beside it; returns its path.

    Args:
        folder: an encoder's folder or the run's folder around it.
        results: Results or a results.jsonl; those of other weights are shown as comparison. None: the folder's own.
        repo_id: repository that the usage examples name; None: the folder's name.
        license: the weights' licence by the Hub's identifier (`apache-2.0`); None: as in the present README.md.
        check_usage: run the usage examples (some seconds) and record the outcome.

    Raises:
        UnfitFolderError: not a model's folder. A README.md from another hand is left as it is, with a warning.
    """
    model = open_model_folder(folder)
    if results is not None:
        model.results = read_results(results) if isinstance(results, str | Path) else list(results)
    for name, picture in model.pictures.items():
        if picture.resolve() != (model.path / name).resolve():
            (model.path / name).write_bytes(picture.read_bytes())
    path = model.path / "README.md"
    if is_handwritten(path):
        logger.warning("%s was not written by mscn-hf and is left as it is", path)
        return path
    render_card(model, scores_of(model), repo_id=repo_id, license=license, check_usage=check_usage).save(path)
    return path


def is_handwritten(readme: Path) -> bool:
    """Whether a README.md exists that does not carry the mark of this module."""
    return readme.is_file() and MARKER not in readme.read_text(encoding="utf-8", errors="replace")


def render_card(
    model: ModelFolder,
    scores: Scores,
    *,
    repo_id: str | None = None,
    license: str | None = None,
    check_usage: bool = True,
    strict: bool = False,
) -> ModelCard:
    """The card of a model folder; see `write_card`. With `strict` a usage example that fails is an error."""
    if (model.path / "conversion.json").is_file():
        options = {"repo_id": repo_id, "license": license, "check_usage": check_usage, "strict": strict}
        return converted_card(model, scores, **options)  # type: ignore[arg-type]
    license = license or _present_license(model.path / "README.md")
    own = list(scores.own)
    title = (repo_id or model.name).rpartition("/")[2]
    model_id = repo_id or model.folder_name
    data = card_metadata(model, own, name=title, license=license)
    examples = usage_examples(model_id, model.config)
    if check_usage:
        examples = try_usage(examples, model_id, model, strict=strict)
    return fill_template(
        "template.md",
        data,
        title=title,
        summary=card_text.summary(model),
        trained=card_text.trained_sentence(model.training),
        examples=[card_text.example(example) for example in examples],
        weights_hash=scores.weights_hash,
        scores=[card_text.score_row(result) for result in own],
        baselines=[card_text.score_row(result) for result in card_text.comparable(list(scores.others), own)],
        protocols=card_text.protocol_notes(own),
        pictures=card_text.picture_rows(model.pictures),
        training=card_text.training_rows(model.training),
        recipe=card_text.yaml_block(model.training.get("recipe")),
        environment=card_text.yaml_block(model.training.get("environment") or _shared_environment(own)),
        commands=card_text.command_block(model.training, own),
        limits=card_text.limits(model, own),
        licence=card_text.licence(license),
        citations=card_text.citations(model),
    )


def scores_of(model: ModelFolder) -> Scores:
    """Splits a folder's results by whether they are of exactly its weights.

    Of two Results that differ in value, date, command or environment only, the later counts.
    """
    if not model.results:
        return Scores()
    from mscn_hf.evaluation.loading import load_encoder  # late: it imports timm's and transformers' models

    try:
        weights_hash = load_encoder(str(model.path)).weights_hash
    except ValueError as error:
        raise UnfitFolderError(
            f"{model.path} cannot be loaded, so its scores cannot be told from others: {error}"
        ) from error
    latest: dict[tuple[object, ...], Result] = {}
    for result in model.results:
        settings = json.dumps(result.settings, sort_keys=True)
        latest[(*(getattr(result, name) for name in IDENTITY), settings)] = result
    own = tuple(result for result in latest.values() if result.model_revision == weights_hash)
    others = tuple(result for result in latest.values() if result.model_revision != weights_hash)
    if not own:
        logger.warning("none of the %d results of %s is of these weights", len(model.results), model.path)
    return Scores(weights_hash, own, others)


def _shared_environment(results: list[Result]) -> dict[str, object] | None:
    return results[-1].environment if results else None


def _present_license(readme: Path) -> str | None:
    if not readme.is_file():
        return None
    try:
        license = ModelCard.load(readme, ignore_metadata_errors=True).data.get("license")
    except (ValueError, yaml.YAMLError):
        return None
    return license if isinstance(license, str) else None
