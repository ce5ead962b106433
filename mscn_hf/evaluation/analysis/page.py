# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Studies of encoders -> one page with tables and pictures, and the same numbers as JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..score_table import short_names
from .plots import plot_concentration, plot_spectra
from .study import Study

# Measure -> head of its column, digits, and what it means.
MEASURES = {
    "rankme": (
        "RankMe",
        1,
        "effective number of dimensions of train features (Garrido et al. 2023); near 1: collapse",
    ),
    "feature_std": ("std", 4, "mean standard deviation of unit-length train features; 0: collapse, 1/√D: even spread"),
    "alignment": (
        "alignment",
        3,
        "mean squared distance of two random crops (20 to 100 % of the area, flipped at random) of a test image "
        "(Wang & Isola 2020); lower is more invariant. The paper's pairs are its own training augmentations",
    ),
    "uniformity": ("uniformity", 3, "log mean exp(-2 d²) over pairs of test images (same paper); lower is more even"),
    "class_concentration": (
        "between / within",
        3,
        "distance to other classes / within the class, mean over test images (ReLICv2, fig. 4); higher is tighter",
    ),
    "neighbours_of_own_class": ("own-class neighbours", 3, "share of the nearest test images that are of the class"),
    "blank_filters": (
        "blank filters",
        3,
        "share of first-layer kernels below a tenth of the largest norm (MSCN, fig. 2)",
    ),
}


def write_page(folder: Path, studies: Sequence[Study], facts: dict[str, Any]) -> Path:
    """Writes `index.md`, the pictures that compare models, and `analysis.json` into `folder`.

    Args:
        folder: holds the pictures of each study already.
        studies: in the order they are to be shown.
        facts: data set, splits, seed, command, environment, date; kept in the JSON, the first ones shown.
    """
    names = short_names([study.model for study in studies])
    spectra = {name: study.singular_values for name, study in zip(names, studies)}
    shared = {"singular values": plot_spectra(spectra, folder / "spectra.png").name}
    ratios = {name: study.ratios for name, study in zip(names, studies) if study.ratios is not None}
    if ratios:
        shared["class concentration"] = plot_concentration(ratios, folder / "concentration.png").name
    where = f"{facts['dataset']}: train features of `{facts['train_split']}`, all else of `{facts['test_split']}`"
    lines = [
        "# What the features look like",
        "",
        f"{_cell(where)}. Nothing is fitted or chosen.",
        "",
    ]
    lines += [*_table(names, studies), "", *_explanations(studies), ""]
    for title, file in shared.items():
        lines += [f"![{title}]({file})", ""]
    for name, study in zip(names, studies):
        lines += [f"## {_cell(name)}", "", *_about(study), ""]
        for title, file in study.pictures.items():
            lines += [f"### {title.capitalize()}", "", f"![{title}]({file})", ""]
    record = {**facts, "models": [_record(study) for study in studies]}
    (folder / "analysis.json").write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    page = folder / "index.md"
    page.write_text("\n".join(lines).rstrip() + "\n", encoding="utf-8")
    return page


def file_stem(number: int, name: str) -> str:
    """What the files of a model begin with."""
    return f"{number}_{re.sub(r'[^A-Za-z0-9]+', '-', name).strip('-')[:40] or 'model'}"


def _table(names: Sequence[str], studies: Sequence[Study]) -> list[str]:
    keys = [key for key in MEASURES if any(key in study.numbers for study in studies)]
    head = ["model", *(MEASURES[key][0] for key in keys), "images"]
    rows = []
    for name, study in zip(names, studies):
        values = [study.numbers.get(key) for key in keys]
        shown = ["-" if value is None else f"{value:.{MEASURES[key][1]}f}" for key, value in zip(keys, values)]
        rows.append([_cell(name), *shown, f"{study.counts['train']:,} / {study.counts['test']:,}"])
    return [f"| {' | '.join(line)} |" for line in (head, ["---"] * len(head), *rows)]


def _explanations(studies: Sequence[Study]) -> list[str]:
    return [
        f"- {head}: {meaning}."
        for key, (head, _, meaning) in MEASURES.items()
        if any(key in study.numbers for study in studies)
    ]


def _about(study: Study) -> list[str]:
    lines = [f"Features: {_cell(study.feature)}, {study.numbers['feature_dim']} dimensions."]
    pairs = [pair for pair in study.numbers.get("confused_classes", []) if pair["share"] > 0]
    if pairs:
        told = (f"{_cell(' and '.join(pair['classes']))} ({100 * pair['share']:.1f} %)" for pair in pairs)
        lines += ["", f"Classes that share most neighbours: {'; '.join(told)}."]
    for note in study.notes:
        lines += ["", f"{_cell(note[0].upper() + note[1:])}."]
    return lines


def _record(study: Study) -> dict[str, Any]:
    return {
        "model": study.model,
        "model_revision": study.revision,
        "feature": study.feature,
        "preprocessing": study.preprocessing,
        "images": study.counts,
        "measures": study.numbers,
        "pictures": study.pictures,
        "notes": study.notes,
    }


def _cell(text: str) -> str:
    """Text of others (names of classes and models) that cannot break a table or become a link or HTML."""
    return re.sub(r"([|<>\[\]*])", r"\\\1", " ".join(text.split()))
