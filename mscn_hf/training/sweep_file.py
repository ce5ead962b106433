# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""A sweep file -> one recipe for each run of an ablation."""

import copy
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from mscn_hf.resources import find_resource
from mscn_hf.views.checks import nearest

from .fields import set_field

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
                raise ValueError(f"sweep {self.name!r} has no run {name!r}{nearest(name, self.runs)}")
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
        ValueError: an unknown field or view, or a key that is no text.
    """
    changed: dict[str, Any] = copy.deepcopy(dict(document))
    for key in sorted(changes, key=_generality):
        try:
            set_field(changed, key, copy.deepcopy(changes[key]))
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from error
    return changed


def _generality(key: Any) -> tuple[int, bool]:
    """Sorts `views` before `views.a` before `views.*.size` before `views.a.size`."""
    return str(key).count("."), "*" not in str(key)


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
            raise ValueError(f"{where}: unknown key {key!r}{nearest(str(key), known)}")  # type: ignore[arg-type]
    return value


def _paper(run: Mapping[str, Any], where: str) -> float | None:
    score = run.get("paper")
    if score is not None and (isinstance(score, bool) or not isinstance(score, int | float) or not 0 <= score <= 100):
        raise ValueError(f"{where}: paper must be a score in percent, got {score!r}")
    return score
