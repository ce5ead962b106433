# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Names of a recipe's fields, and how one is set by its dotted name, in a sweep or on the command line."""

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

import yaml

from mscn_hf.views.checks import nearest
from mscn_hf.views.recipe import ViewRecipe, ViewSpec

from .arguments import DataArguments, ModelArguments, PretrainingArguments

KINDS = (DataArguments, ModelArguments, PretrainingArguments)
VIEW_KEYS = tuple(f.name for f in dataclasses.fields(ViewRecipe))
FIELDS = (*(f.name for kind in KINDS for f in dataclasses.fields(kind) if f.init), *VIEW_KEYS)
# Fields of ModelArguments that hold a mapping, whose entries can be set one by one.
MAPPINGS = ("objective_params", "encoder_fields", "predictor_of_view", "patch_drop")
_VIEW_FIELDS = tuple(f.name for f in dataclasses.fields(ViewSpec))


def check_field(name: Any, where: str = "") -> None:
    """Raises ValueError for a field that no recipe has, naming the nearest one; `where` follows the name."""
    if name not in FIELDS:
        raise ValueError(f"unknown field {name!r}{where}{nearest(str(name), FIELDS)}")


def set_field(document: dict[str, Any], key: Any, value: Any, where: str = "") -> None:
    """Sets one field of a recipe's document, in place.

    Args:
        document: the recipe, as read from YAML.
        key: a field, `MAPPING.KEY`, `views.NAME` (None as value takes the view out), `views.NAME.FIELD` or
            `views.*.FIELD`, a field of all views.
        value: its value.
        where: follows the name in errors, such as " on the command line".

    Raises:
        ValueError: an unknown field or view (the nearest field is named), or no mapping where one is needed.
    """
    if not isinstance(key, str):
        raise ValueError(f"a field's name must be text, got {key!r}{where} (YAML reads on, off and 1 as values)")
    field, *rest = key.split(".")
    check_field(field, where)
    if not rest:
        document[field] = as_mapping(field, value) if field in MAPPINGS else value
    elif field == "views" and len(rest) <= 2:
        views = document.setdefault("views", {})
        if not isinstance(views, dict):
            raise ValueError(f"views must map names to their settings, got {views!r}")
        _set_view(views, rest, value, where)
    elif field in MAPPINGS and len(rest) == 1:
        document[field] = {**(as_mapping(field, document.get(field)) or {}), rest[0]: value}
    else:
        raise ValueError(f"field {key!r}{where} is nested too deeply, or {field!r} is no mapping")


def as_mapping(name: str, value: Any) -> dict[str, Any] | None:
    """A field of MAPPINGS as a dict, None staying None; text is read as JSON.

    Raises:
        ValueError: it is no mapping.
    """
    read = value
    if isinstance(value, str):
        try:
            read = json.loads(value)
        except ValueError:
            read = value
    if read is not None and not isinstance(read, dict):
        raise ValueError(f'{name} must be a JSON mapping such as {{"key": 1}}, got {value!r}')
    return None if read is None else {str(key): entry for key, entry in read.items()}


def read_word(word: str) -> Any:
    """The value of a word of the command line: none, JSON, or else YAML."""
    if word.lower() == "none":
        return None
    try:
        return json.loads(word)
    except ValueError:
        pass
    try:
        return yaml.safe_load(word)
    except yaml.YAMLError as error:
        raise ValueError(f"{word!r} is neither JSON nor YAML: {error}") from error


def _set_view(views: dict[str, Any], rest: list[str], value: Any, where: str) -> None:
    name = rest[0]
    if len(rest) == 1:
        if value is None:
            _check_view(name, views, where)
            del views[name]
        else:
            views[name] = value
        return
    field = rest[1]
    if field not in _VIEW_FIELDS:
        raise ValueError(f"unknown field {field!r} of view {name!r}{where}{nearest(field, _VIEW_FIELDS)}")
    if name != "*":
        _check_view(name, views, where)
    for view in views if name == "*" else [name]:
        settings = views[view] or {}
        if not isinstance(settings, dict):
            raise ValueError(f"view {view!r} must be a mapping of settings, got {settings!r}")
        views[view] = {**settings, field: value}


def _check_view(name: str, views: Mapping[str, Any], where: str) -> None:
    if name not in views:
        raise ValueError(f"there is no view {name!r}{where}; the recipe has {', '.join(map(str, views))}")
