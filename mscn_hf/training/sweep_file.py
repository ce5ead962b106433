# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""A sweep file -> one recipe for each run of an ablation."""

import copy
import dataclasses
import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from mscn_hf.resources import find_resource
from mscn_hf.views.recipe import ViewRecipe, ViewSpec

from .arguments import DataArguments, ModelArguments, PretrainingArguments

_FIELDS = [
    f.name for k in (DataArguments, ModelArguments, PretrainingArguments) for f in dataclasses.fields(k) if f.init
]
_FIELDS += [f.name for f in dataclasses.fields(ViewRecipe)]
_VIEW_FIELDS = [f.name for f in dataclasses.fields(ViewSpec)]
_MAPPINGS = ("objective_params", "encoder_fields", "predictor_of_view", "patch_drop")
_SWEEP_KEYS = ("paper", "table", "metric", "recipe", "set", "runs", "small")
_SMALL_KEYS = ("recipe", "set", "runs")
_RUN_KEYS = ("recipe", "set", "paper")


@dataclass(frozen=True)
class SweepRun:
    """One run of a sweep.

    Attributes:
        name: of the run and of its folder.
        changes: what differs from the recipe, `set` of the sweep and then of the run.
        document: the recipe with these changes, as `--config` takes it.
        paper: the paper's score in percent, or None.
    """

    name: str
    changes: dict[str, Any]
    document: dict[str, Any]
    paper: float | None


@dataclass(frozen=True)
class Sweep:
    """All runs of an ablation, and what they are compared with.

    Attributes:
        name: of the file, without suffix.
        paper, table: where the numbers come from.
        metric: name of the Results' metric that the numbers are.
        small: whether these are the small runs, whose scores the paper's numbers tell nothing but the order of.
        runs: in the order of the file.
    """

    name: str
    paper: str
    table: str
    metric: str
    small: bool
    runs: dict[str, SweepRun]

    def choose(self, names: Iterable[str] | None) -> list[SweepRun]:
        """The named runs in the order of the file, or all; raises ValueError for an unknown name."""
        if names is None:
            return list(self.runs.values())
        wanted = list(names)
        for name in wanted:
            if name not in self.runs:
                raise ValueError(f"sweep {self.name!r} has no run {name!r}{_nearest(name, self.runs)}")
        return [run for run in self.runs.values() if run.name in wanted]


def read_sweep(name: str, small: bool = False) -> Sweep:
    """Reads a sweep: a path, or the name of one that ships with the package.

    The file is a mapping: `paper`, `table` and `metric` say what is compared; `recipe` names the recipe, `set` what
    all runs change in it; `runs` maps a run's name to its own `set`, the score in the `paper`, and where it starts
    from another `recipe`. `small` holds `recipe`, `set` and `runs` of a form for small machines; without `runs` of its
    own it takes those above, all from its recipe.

    A key of `set` is a field of a recipe, an entry of a mapping (`objective_params.negatives`), a field of one view
    (`views.a.mask_p`) or of all (`views.*.mask_p`), a view (`views.a`, a mapping, or null to leave it out) or all
    `views`. The more special wins over the more general, and a run's `set` over the sweep's.

    Raises:
        FileNotFoundError: no such sweep or recipe.
        ValueError: not a mapping, an unknown key, field or view (the nearest known one is named).
    """
    path = find_resource("sweeps", name)
    where = f"sweep {path.stem!r}"
    content = _mapping(_load(path, "sweep"), where, _SWEEP_KEYS)
    form = content
    if small:
        if "small" not in content:
            raise ValueError(f"{where} has no small form")
        form = _mapping(content["small"], f"{where}, small", _SMALL_KEYS)
    listed = _mapping(content.get("runs"), f"{where}, runs")
    recipes: dict[str, Any] = {}
    runs = {}
    for run_name, run in _mapping(form.get("runs", listed), f"{where}, runs").items():
        here = f"{where}, run {run_name!r}"
        if not isinstance(run_name, str) or not re.fullmatch(r"\w[\w.-]*", run_name, re.ASCII):
            raise ValueError(f"{here}: the name is that of a folder: letters, digits, '_', '-' and '.'")
        run, above = (_mapping(one, here, _RUN_KEYS) for one in (run, listed.get(run_name)))
        recipe = run.get("recipe", form.get("recipe")) if "runs" in form else form.get("recipe")
        if str(recipe) not in recipes:
            recipes[str(recipe)] = _read_recipe(recipe, here)
        common, own = _mapping(form.get("set"), f"{where}, set"), _mapping(run.get("set"), f"{here}, set")
        document = apply_changes(apply_changes(recipes[str(recipe)], common, here), own, here)
        runs[run_name] = SweepRun(run_name, {**common, **own}, document, _paper(above, here))
    if not runs:
        raise ValueError(f"{where} has no runs")
    return Sweep(
        name=path.stem,
        paper=str(content.get("paper", "")),
        table=str(content.get("table", "")),
        metric=str(content.get("metric", "top1_accuracy")),
        small=small,
        runs=runs,
    )


def apply_changes(document: Mapping[str, Any], changes: Mapping[str, Any], where: str) -> dict[str, Any]:
    """A copy of a recipe's document with some fields changed; see `read_sweep` for the keys.

    Args:
        document: the recipe, as read from YAML.
        changes: key -> value.
        where: named in errors.

    Raises:
        ValueError: an unknown field or view.
    """
    changed: dict[str, Any] = copy.deepcopy(dict(document))
    for key in sorted(changes, key=_generality):
        try:
            _set(changed, key, copy.deepcopy(changes[key]))
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from error
    return changed


def _generality(key: str) -> tuple[int, bool]:
    """Sorts `views` before `views.a` before `views.*.size` before `views.a.size`."""
    return key.count("."), "*" not in key


def _set(document: dict[str, Any], key: str, value: Any) -> None:
    field, *rest = key.split(".")
    if field not in _FIELDS:
        raise ValueError(f"unknown field {key!r}{_nearest(field, _FIELDS)}")
    if not rest:
        document[field] = value
    elif field == "views" and len(rest) <= 2:
        _set_view(document.setdefault("views", {}), rest, value)
    elif field in _MAPPINGS and len(rest) == 1:
        document[field] = {**(document.get(field) or {}), rest[0]: value}
    else:
        raise ValueError(f"field {key!r} is nested too deeply, or {field!r} is no mapping")


def _set_view(views: dict[str, Any], rest: list[str], value: Any) -> None:
    if len(rest) == 1:
        if value is None:
            _known_view(rest[0], views)
            del views[rest[0]]
        else:
            views[rest[0]] = value
        return
    name, field = rest
    if field not in _VIEW_FIELDS:
        raise ValueError(f"unknown field {field!r} of view {name!r}{_nearest(field, _VIEW_FIELDS)}")
    if name != "*":
        _known_view(name, views)
    for view in views if name == "*" else [name]:
        views[view] = {**(views[view] or {}), field: value}


def _known_view(name: str, views: Mapping[str, Any]) -> None:
    if name not in views:
        raise ValueError(f"there is no view {name!r}; the recipe has {', '.join(views)}")


def _read_recipe(recipe: Any, where: str) -> dict[str, Any]:
    if not isinstance(recipe, str):
        raise ValueError(f"{where}: recipe must be a path or the name of a recipe, got {recipe!r}")
    path = find_resource("recipes", recipe)
    return _mapping(_load(path, "recipe"), f"recipe {str(path)!r}")


def _load(path: Path, kind: str) -> Any:
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{kind} {str(path)!r} is not YAML: {error}") from error


def _mapping(value: Any, where: str, known: Iterable[str] | None = None) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ValueError(f"{where} must be a mapping, got {value!r}")
    for key in value if known else ():
        if key not in known:  # type: ignore[operator]
            raise ValueError(f"{where}: unknown key {key!r}{_nearest(str(key), known)}")  # type: ignore[arg-type]
    return value


def _paper(run: Mapping[str, Any], where: str) -> float | None:
    score = run.get("paper")
    if score is not None and (isinstance(score, bool) or not isinstance(score, int | float) or not 0 <= score <= 100):
        raise ValueError(f"{where}: paper must be a score in percent, got {score!r}")
    return score


def _nearest(word: str, known: Iterable[str]) -> str:
    known = list(known)
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.4)
    return f"; did you mean {near[0]!r}?" if near else f"; known are {', '.join(known)}" if len(known) < 40 else ""
