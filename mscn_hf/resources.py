# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Finds the documents that travel with the package: recipes, sweeps, protocols, suites, data sets and cards.

In a checkout they lie in the folders a reader expects (`training/recipes`, `evaluation/protocols`, `model_cards`, …);
a wheel carries the same files inside the package, under `mscn_hf/_resources/<kind>`.
"""

import difflib
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent
_IN_CHECKOUT = {
    "recipes": "training/recipes",
    "sweeps": "training/sweeps",
    "protocols": "evaluation/protocols",
    "suites": "evaluation/suites",
    "datasets": "evaluation/datasets",
    "cards": "model_cards",
    "saliency": "training/saliency",
}


def resource_folder(kind: str) -> Path:
    """The folder that holds the documents of one kind, such as recipes, protocols or cards."""
    if kind not in _IN_CHECKOUT:
        raise ValueError(f"kind must be one of {sorted(_IN_CHECKOUT)}, got {kind!r}")
    installed = _PACKAGE / "_resources" / kind
    return installed if installed.is_dir() else _PACKAGE.parent / _IN_CHECKOUT[kind]


def list_resources(kind: str) -> list[str]:
    """Names, without suffix, of all YAML or Markdown documents of one kind, sorted."""
    return sorted(p.stem for p in resource_folder(kind).iterdir() if p.suffix in (".yaml", ".md"))


def find_resource(kind: str, name: str) -> Path:
    """Path of a document, given as a path of the user's own, or as a name with or without its suffix.

    Raises:
        FileNotFoundError: names the nearest document that exists.
    """
    own = Path(name)
    if own.is_file():
        return own
    folder = resource_folder(kind)
    for candidate in (name, f"{name}.yaml", f"{name}.md"):
        if Path(candidate).name == candidate and (folder / candidate).is_file():
            return folder / candidate
    near = difflib.get_close_matches(Path(name).stem, list_resources(kind), n=1, cutoff=0.3)
    hint = f"; the nearest name is {near[0]!r}" if near else ""
    raise FileNotFoundError(f"there is no file {name!r}, and none of that name among the {kind} that ship here{hint}")
