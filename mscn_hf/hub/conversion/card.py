# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Writes a converted model: weights, processor, conversion.json, and the card that is made from it."""

import datetime
import json
import logging
import os
import re
import shutil
from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import ModelCard
from transformers import PreTrainedModel

from mscn_hf.evaluation.encoder import weights_hash
from mscn_hf.models.preprocessing import IMAGENET_MEAN, IMAGENET_STD, preprocessor_dict, save_preprocessor

from .. import card_text
from ..card_parts import Scores, card_metadata, check_license, fill_template, try_usage
from ..model_folder import INTERPOLATIONS, ModelFolder, UnfitFolderError, open_model_folder, read_json
from ..papers import PAPERS
from ..safe_text import fenced, markdown, without_paths
from ..usage import Usage, usage_examples
from .families import FAMILIES, Family
from .files import refuse_used_folder

logger = logging.getLogger(__name__)

CONVERSION_FILE = "conversion.json"
# What a card is made from.
WRITTEN = ("family", "title", "paper", "source", "license", "facts", "model", "environment", "date")


def preprocessor(
    image_size: int = 224,
    resize: int | None = None,
    resample: int = 2,
    image_mean: Sequence[float] = IMAGENET_MEAN,
    image_std: Sequence[float] = IMAGENET_STD,
) -> dict[str, Any]:
    """Evaluation preprocessing of most torch checkpoints: shorter side to 256 by bilinear interpolation, crop 224.

    Args:
        image_size: side of the square that is cut from the middle.
        resize: length in pixels that the shorter side is brought to; None: as 256 for 224.
        resample: PIL's number of the interpolation, 2 bilinear, 3 bicubic.
        image_mean, image_std: of pixels in [0, 1].
    """
    settings = preprocessor_dict(image_size, 0.875, image_mean, image_std)
    return settings | {"resample": resample} | ({"size": {"shortest_edge": resize}} if resize else {})


def write_converted(
    model: PreTrainedModel,
    out: str | Path,
    family: Family | str,
    source: str | None,
    license: str | None,
    facts: dict[str, Any],
    *,
    preprocessor: dict[str, Any] | None = None,
    check_usage: bool = True,
    dry_run: bool = False,
) -> dict[str, Any]:
    """Writes a model with converted weights as a folder that can be loaded, read and published.

    The folder appears when all of it is written, the card too, and the saved weights were loaded again and found equal
    to the bit.

    Args:
        model: with its weights in place.
        out: folder to make; may exist if it is empty.
        family: whose weights these are.
        source: where the checkpoint was published; None: the family's repository.
        license: of the weights, the Hub's identifier; None: the family's, where one is known.
        facts: what the converter found, JSON-able, by name; each becomes a row of the card, but for
            "left out", names or {name: number of tensors}, and "notes", sentences.
        preprocessor: preprocessor_config.json, for models that do not write their own.
        check_usage: run the card's usage example in a new process and say in the card what came of it.
        dry_run: write nothing.

    Returns:
        the content of conversion.json.

    Raises:
        FileExistsError: `out` holds something.
        ValueError: the licence is not an identifier.
        RuntimeError: the saved folder does not give the same model back.
    """
    family = FAMILIES[family] if isinstance(family, str) else family
    license = license or family.license
    check_license(license)
    conversion = {
        "family": family.name,
        "title": family.title,
        "paper": family.paper,
        "source": without_paths(source) if source else family.source,
        "license": license,
        "facts": {name: _public(fact) for name, fact in facts.items()},
        "model": {
            "class": type(model).__name__,
            "parameters": sum(parameter.numel() for parameter in model.parameters()),
            "weights_sha256": weights_hash(model),
        },
        "environment": {name: version(name) for name in ("mscn-hf", "transformers", "torch", "safetensors")},
        "date": datetime.date.today().isoformat(),
    }
    if dry_run:
        return conversion
    refuse_used_folder(out)
    out = Path(out).expanduser().absolute()
    partial = out.with_name(f".{out.name}.{os.getpid()}.partial")
    made = partial / out.name  # its last part stands in the card
    made.mkdir(parents=True)
    try:
        _write(model, made, conversion, preprocessor)
        _load_again(model, made)
        card = converted_card(open_model_folder(made), license=license, check_usage=check_usage)
        card.save(made / "README.md")
        if out.exists():
            out.rmdir()  # empty: a rename onto it is not portable
        made.rename(out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return conversion


def _public(fact: Any) -> Any:
    """Without paths of this machine. Not `public_value`: it would take a tensor called cls_token for a secret."""
    if isinstance(fact, dict):
        return {without_paths(str(name)): _public(value) for name, value in fact.items()}
    if isinstance(fact, list | tuple):
        return [_public(value) for value in fact]
    return without_paths(fact) if isinstance(fact, str) else fact


def _write(
    model: PreTrainedModel, folder: Path, conversion: dict[str, Any], preprocessor: dict[str, Any] | None
) -> None:
    model.save_pretrained(folder)
    if preprocessor is not None:
        save_preprocessor(folder, preprocessor)
    text = json.dumps(conversion, indent=2, ensure_ascii=False) + "\n"
    (folder / CONVERSION_FILE).write_text(text, encoding="utf-8")


def _load_again(model: PreTrainedModel, folder: Path) -> None:
    network: Any = type(model)
    loaded, info = network.from_pretrained(folder, local_files_only=True, output_loading_info=True)
    problems = {name: found for name, found in info.items() if found}
    written, wanted = loaded.state_dict(), model.state_dict()
    different = [name for name in wanted if name not in written or not torch.equal(written[name], wanted[name])]
    if problems or different or len(written) != len(wanted):
        raise RuntimeError(f"what was saved does not load as what was converted: {problems or different[:5]}")


def converted_card(
    model: ModelFolder,
    scores: Scores | None = None,
    *,
    repo_id: str | None = None,
    license: str | None = None,
    check_usage: bool = True,
    strict: bool = False,
) -> ModelCard:
    """The card of a folder with a conversion.json; arguments as in `mscn_hf.hub.card.render_card`."""
    conversion = read_json(model.path / CONVERSION_FILE)
    if missing := [name for name in WRITTEN if name not in conversion]:
        raise UnfitFolderError(
            f"{model.path / CONVERSION_FILE} lacks {', '.join(missing)}; convert the checkpoint again"
        )
    license = license or conversion.get("license")
    own = list(scores.own) if scores else []
    others = list(scores.others) if scores else []
    model_id = repo_id or model.folder_name
    title = model_id.rpartition("/")[2]
    data = card_metadata(model, own, name=title, license=license, conversion=conversion)
    if _classifies(model.config):
        data.pipeline_tag = "image-classification"
    examples = [_with_output(example, model.config) for example in usage_examples(model_id, model.config)]
    if check_usage:
        examples = try_usage(examples, model_id, model, strict=strict)
    return fill_template(
        "converted.md",
        data,
        title=title,
        summary=_summary(model, conversion),
        origin=_origin(conversion),
        note=_note(conversion),
        examples=[card_text.example(example) for example in examples],
        rows=_rows(conversion),
        left_out=_left_out(conversion["facts"].get("left out", ())),
        notes=[markdown(note, 1000) for note in conversion["facts"].get("notes", ())],
        preprocessing=_preprocessing(model.path),
        weights_hash=scores.weights_hash if scores else None,
        scores=[card_text.score_row(result) for result in own],
        baselines=[card_text.score_row(result) for result in card_text.comparable(others, own)],
        protocols=card_text.protocol_notes(own),
        limits=card_text.limits(model, own),
        licence=card_text.licence(license),
        citation=_citation(conversion),
    )


def _with_output(example: Usage, config: dict[str, Any]) -> Usage:
    """The example, with logits instead of features where the model has a classifier."""
    if not _classifies(config):
        return example
    code = example.code.replace("AutoModel", "AutoModelForImageClassification").replace("features", "logits")
    return replace(example, code=code.replace("pooler_output.flatten(1)", "logits"))


def _classifies(config: dict[str, Any]) -> bool:
    return any(str(name).endswith("ForImageClassification") for name in config.get("architectures") or ())


def _summary(model: ModelFolder, conversion: dict[str, Any]) -> str:
    # Architectures are named after methods: BYOL's weights are of the same network as ReLICv2's.
    padded = "ReLICv2 ResNet" if conversion["family"] == "relicv2" else "ResNet with SAME padding"
    kind = {"resnet": "ResNet", "relicv2": padded, "vit_msn": "vision transformer (ViT-MSN)"}
    name = kind.get(model.config["model_type"], markdown(model.config["model_type"]))
    count = conversion["model"]["parameters"]
    size = f"{count / 1e6:.1f} million" if count >= 1e6 else f"{count:,}"
    if _classifies(model.config):
        return f"A {name} of {size} parameters with a linear classifier: it turns an image into scores of classes."
    return f"A {name} of {size} parameters: it turns an image into one feature vector. It has no classifier."


def _origin(conversion: dict[str, Any]) -> str:
    published = f", published at {_address(conversion['source'])}" if conversion["source"] else ""
    return (
        f"The weights are those of {_paper(conversion)}{published}. They were rewritten in the format of "
        "transformers; nothing was trained or changed on the way."
    )


def _paper(conversion: dict[str, Any]) -> str:
    return f"{markdown(conversion['title'])} ({_address(conversion['paper'])})"


def _address(address: str) -> str:
    """A link for what is an address and cannot end the link early; anything else as text."""
    return f"<{address}>" if re.fullmatch(r"https?://[\w.~/?#=&%:+-]+", address) else markdown(address)


def _note(conversion: dict[str, Any]) -> str:
    family = FAMILIES.get(str(conversion.get("family")))
    return markdown(family.note, 1000) if family else ""


def _rows(conversion: dict[str, Any]) -> list[dict[str, str]]:
    made = ", ".join(f"{name} {number}" for name, number in conversion["environment"].items())
    facts = {name: fact for name, fact in conversion["facts"].items() if name not in ("left out", "notes")}
    facts["weights (sha256 over all tensors)"] = conversion["model"]["weights_sha256"]
    facts["converted"] = f"{conversion['date']}, {made}"
    return [{"name": markdown(name), "value": markdown(fact)} for name, fact in facts.items()]


def _left_out(found: Any) -> list[str]:
    if not isinstance(found, dict):
        return [markdown(name) for name in found]
    return [f"{markdown(name)}: {count} tensors" if count else markdown(name) for name, count in found.items()]


def _preprocessing(folder: Path) -> str:
    """The processor's settings in words."""
    settings = read_json(folder / "preprocessor_config.json")
    size, crop = settings.get("size", {}).get("shortest_edge"), settings.get("crop_size", {}).get("height")
    how = INTERPOLATIONS.get(settings.get("resample", -1), "")
    mean, std = (", ".join(map(str, settings.get(name, []))) for name in ("image_mean", "image_std"))
    return f"shorter side to {size} ({how}), middle {crop}x{crop}, mean ({mean}), standard deviation ({std})"


def _citation(conversion: dict[str, Any]) -> str:
    bibtex = PAPERS.get({"barlow_twins": "barlow"}.get(conversion["family"], conversion["family"]))
    return fenced(bibtex, "bibtex") if bibtex else _paper(conversion)
