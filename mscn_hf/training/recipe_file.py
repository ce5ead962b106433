# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""A recipe file and command-line overrides -> the run's arguments. A key that nothing knows is an error."""

import copy
import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml
from transformers import HfArgumentParser

from mscn_hf.resources import find_resource, list_resources
from mscn_hf.views.recipe import ViewRecipe

from .arguments import DataArguments, ModelArguments, PretrainingArguments
from .fields import KINDS, MAPPINGS, VIEW_KEYS, as_mapping, check_field, read_word, set_field

# Now, because HfArgumentParser rewrites the types of the fields it has seen.
_OPTIONAL = {f.name for kind in KINDS for f in dataclasses.fields(kind) if "None" in str(f.type)}


@dataclass
class RunConfig:
    """Everything that a pre-training run is made from, and the same as one flat document."""

    data: DataArguments
    model: ModelArguments
    training: PretrainingArguments
    views: ViewRecipe
    document: dict[str, Any]

    def write(self, path: Any) -> None:
        """Writes the resolved recipe as YAML: `--config` of that file repeats the run."""
        with open(path, "w", encoding="utf-8") as stream:
            yaml.safe_dump(self.document, stream, sort_keys=False, allow_unicode=True)


def parse_run(argv: Sequence[str], document: Mapping[str, Any] | None = None) -> RunConfig:
    """Arguments of `training/pretrain.py`: `--config RECIPE --any_field value --views.NAME.FIELD value`.

    RECIPE is a path or the name of a recipe that ships with the package. Values on the command line win, the later
    over the earlier; `--views.*.FIELD` is a field of all views, `--objective_params.KEY` one entry of a mapping.

    Args:
        argv: the words.
        document: content of the recipe, where it is not to be read from the file that `--config` names.

    Raises:
        ValueError: no recipe, one without views, an unknown key (the nearest known one is named), or a value that a
            field refuses.
        FileNotFoundError: no such recipe.
    """
    config, overrides = split_words(argv)
    if document is None:
        document = read_document("recipes", config) if config else {}
    for key in document:
        check_field(key, f" in {config}")
    document = {key: None if value == "" else copy.deepcopy(value) for key, value in document.items()}
    flags: list[str] = []
    for key, values in overrides:
        name = _field_name(key)
        field = name.split(".")[0]
        if field in VIEW_KEYS or field in MAPPINGS:
            read = [read_word(word) for word in values]
            set_field(document, name, read[0] if len(read) == 1 else read, " on the command line")
            continue
        check_field(name, " on the command line")
        if is_none(values):
            document[name] = None
        else:
            flags += [f"--{name}", *values]
    views = {key: document.pop(key) for key in VIEW_KEYS if key in document}
    if "views" not in views:
        names = ", ".join(list_resources("recipes"))
        no_recipe = f"name a recipe: --config RECIPE, a YAML file or one of {names}"
        raise ValueError(f"recipe {config!r} has no views" if config else no_recipe)
    mappings = {name: as_mapping(name, document.pop(name)) for name in MAPPINGS if name in document}
    _refuse_conflicts({*document, *(key.replace("-", "_") for key, _ in overrides)}, document, overrides)
    parser = HfArgumentParser(KINDS, allow_abbrev=False)  # type: ignore[arg-type]
    parser.set_defaults(**document)
    data, model, training = parser.parse_args_into_dataclasses(flags)
    for name, mapping in mappings.items():
        setattr(model, name, mapping)
    recipe = ViewRecipe.from_dict(views)
    return RunConfig(data, model, training, recipe, _document(data, model, training, recipe, document, overrides))


def read_document(kind: str, config: str) -> dict[str, Any]:
    """The mapping in a YAML file, a path or a name that ships with the package.

    Raises:
        ValueError: the file is no YAML, or no mapping.
        FileNotFoundError: no such file.
    """
    path = find_resource(kind, config)
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"recipe {str(path)!r} is not YAML: {error}") from error
    if not isinstance(document, dict):
        raise ValueError(f"recipe {str(path)!r} is not a mapping of fields to values")
    return document


def split_words(argv: Sequence[str]) -> tuple[str | None, list[tuple[str, list[str]]]]:
    """The value of `--config`, and the other fields in order with their values.

    Raises:
        ValueError: a value before any field, or several recipes.
    """
    config = None
    overrides: list[tuple[str, list[str]]] = []
    for word in argv:
        if word.startswith("--"):
            key, _, value = word[2:].partition("=")
            overrides.append((key, [value] if value or "=" in word else []))
        elif overrides:
            overrides[-1][1].append(word)
        else:
            raise ValueError(f"expected --field value, got {word!r}")
    for key, values in overrides:
        if key == "config":
            if len(values) != 1:
                raise ValueError(f"--config takes one recipe, got {values}")
            if config is not None:
                raise ValueError(f"--config is given twice, {config!r} and {values[0]!r}: a run has one recipe")
            config = values[0]
    return config, [(k, v) for k, v in overrides if k != "config"]


def is_none(values: list[str]) -> bool:
    """Whether the words of a field on the command line stand for None."""
    return [word.lower() for word in values] in (["none"], ["null"])


def _field_name(key: str) -> str:
    """`--num-train-epochs` is `num_train_epochs`; names of views and of a mapping's entries stay as they are."""
    parts = key.split(".")
    return ".".join(part.replace("-", "_") if n in (0, 2) else part for n, part in enumerate(parts))


def _refuse_conflicts(given: set[str], document: dict[str, Any], overrides: list[tuple[str, list[str]]]) -> None:
    """Fields that would be overruled in silence."""
    said = {key.replace("-", "_") for key, _ in overrides}
    base = "base_learning_rate" in said or document.get("base_learning_rate") is not None
    if "learning_rate" in given and base:
        raise ValueError("learning_rate and base_learning_rate are both given: the second is for a batch of 256")
    if given & {"warmup_steps", "warmup_ratio"}:
        raise ValueError("the warm-up is given in passes: use warmup_epochs instead of warmup_steps")
    for name, value in document.items():
        if value is None and name not in _OPTIONAL:
            raise ValueError(f"field {name!r} needs a value, got none")


def _document(
    data: Any, model: Any, training: Any, recipe: ViewRecipe, given: dict, overrides: list
) -> dict[str, Any]:
    """The resolved recipe: all fields of data and model; of the training's 150 those that were set or are ours."""
    ours = {f.name for f in dataclasses.fields(PretrainingArguments)} - {
        f.name for f in dataclasses.fields(_trainer_kind())
    }
    said = set(given) | {key.replace("-", "_") for key, _ in overrides}
    keep = ours | said | {"num_train_epochs", "per_device_train_batch_size", "weight_decay", "seed", "output_dir"}
    document = {**dataclasses.asdict(data), **dataclasses.asdict(model)}
    for f in dataclasses.fields(training):
        if f.name in keep and f.init:
            value = getattr(training, f.name)
            document[f.name] = getattr(value, "value", value)
    return {**document, **recipe.to_dict()}


def _trainer_kind() -> type:
    return PretrainingArguments.__mro__[1]
