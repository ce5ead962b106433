# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""One encoder on one data set -> its numbers and its pictures."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mscn_hf.data.source import ImageSource

from ..cache import FeatureSet
from ..encoder import FrozenEncoder
from ..features import extract
from ..scores import classes_of
from ..task import ExtractOptions
from .collapse import feature_std, rankme_of_spectrum, spectrum
from .concentration import class_concentration
from .crops import cropped_encoder
from .filters import blank_share, draw_filters, first_convolution
from .gallery import GalleryTile, draw_gallery, draw_queries, read_images
from .hypersphere import alignment, uniformity
from .neighbours import as_tensor, confused_pairs, contiguous_rows, nearest_neighbours, neighbour_confusion
from .plots import plot_confusion, plot_neighbours

MOST_CLASSES_DRAWN = 40


@dataclass
class StudyOptions:
    """What is looked at.

    Args:
        extract: how features are made.
        neighbours: of an image in confusions (5 in ReLICv2, fig. 7) and in the gallery.
        queries: lines of the gallery.
        classes: drawn as in ReLICv2, fig. 7; None takes the two pairs of classes that share most neighbours.
        images_per_class: of each of these.
        seed: of the queries.
    """

    extract: ExtractOptions = field(default_factory=ExtractOptions)
    neighbours: int = 5
    queries: int = 10
    classes: list[str] | None = None
    images_per_class: int = 50
    seed: int = 0


@dataclass
class Study:
    """What was found of one encoder.

    Attributes:
        model, revision, feature, preprocessing: which network, weights, layer and input, as in a Result.
        numbers: measure -> value.
        counts: how many images each split gave.
        pictures: title -> file beside the page.
        notes: what could not be made, and why.
        drawn_classes: those of the picture of confused classes.
        singular_values: of the features of train.
        ratios: between / within distance of each test image, or None without usable labels.
    """

    model: str
    revision: str
    feature: str
    preprocessing: dict[str, Any]
    numbers: dict[str, Any] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    pictures: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    drawn_classes: list[str] = field(default_factory=list)
    singular_values: np.ndarray = field(default_factory=lambda: np.zeros(0))
    ratios: np.ndarray | None = None


def study_encoder(
    encoder: FrozenEncoder, train: ImageSource, test: ImageSource, folder: Path, stem: str, options: StudyOptions
) -> Study:
    """Measures an encoder and draws its pictures into `folder`, their names beginning with `stem`.

    RankMe and the gallery's neighbours are of train; everything else is of test. Nothing is fitted or chosen.

    Raises:
        ValueError: anything `extract` refuses, or a class asked for that test does not hold.
    """
    bank = _features(encoder, train, options, options.extract.max_train_images)
    queries = _features(encoder, test, options, options.extract.max_test_images)
    study = Study(encoder.name, encoder.revision, encoder.feature, encoder.preprocessing)
    study.counts = {"train": len(bank), "test": len(queries)}
    values = spectrum(as_tensor(bank.features))
    study.singular_values = values.numpy()
    study.numbers = {"rankme": rankme_of_spectrum(values), "feature_dim": int(bank.features.shape[1])}
    study.numbers["feature_std"] = feature_std(as_tensor(bank.features))
    _study_sphere(study, encoder, test, queries, options)
    _study_first_layer(study, encoder, folder, stem)
    _study_classes(study, queries, test, folder, stem, options)
    _draw_gallery(study, bank, queries, (train, test), folder, stem, options)
    return study


def _features(encoder: FrozenEncoder, source: ImageSource, options: StudyOptions, most: int | None) -> FeatureSet:
    how = options.extract
    return extract(
        encoder,
        source,
        how.cache_dir,
        how.batch_size,
        how.num_workers,
        most,
        seed=options.seed,
        progress=how.progress,
        multi_label=True,  # what asks for one class an image is left out then, and said
    )


def _study_sphere(
    study: Study, encoder: FrozenEncoder, test: ImageSource, queries: FeatureSet, options: StudyOptions
) -> None:
    most = options.extract.max_test_images
    first, second = (_features(cropped_encoder(encoder, view), test, options, most) for view in (0, 1))
    study.numbers["alignment"] = alignment(as_tensor(first.features), as_tensor(second.features))
    study.numbers["uniformity"] = uniformity(as_tensor(queries.features))


def _study_first_layer(study: Study, encoder: FrozenEncoder, folder: Path, stem: str) -> None:
    found = first_convolution(encoder.model)
    if found is None:
        study.notes.append("no first-layer filters: the model has no convolution that sees the image")
        return
    name, weight_FChw = found
    study.numbers["first_layer"] = name
    study.numbers["blank_filters"] = blank_share(weight_FChw)
    study.pictures["first-layer filters"] = draw_filters(weight_FChw, folder / f"{stem}_filters.png").name


def _study_classes(
    study: Study, queries: FeatureSet, test: ImageSource, folder: Path, stem: str, options: StudyOptions
) -> None:
    labels = _classes(queries, test)
    if isinstance(labels, str):
        study.notes.append(f"nothing about classes: {labels}")
        return
    class_M, names = labels
    try:
        found = class_concentration(as_tensor(queries.features), class_M)
    except ValueError as error:
        study.notes.append(f"no class concentration: {error}")
    else:
        study.ratios = found.ratio_M
        study.numbers["class_concentration"] = float(found.ratio_M.mean())
        study.counts["left_out_of_concentration"] = found.left_out
    _, row_Mk = nearest_neighbours(as_tensor(queries.features), min(options.neighbours, len(queries) - 1))
    share_KK = neighbour_confusion(class_M[row_Mk], class_M, len(names))
    study.numbers["neighbours_of_own_class"] = float((class_M[row_Mk] == class_M[:, None]).mean())
    pairs = confused_pairs(share_KK, 5)
    study.numbers["confused_classes"] = [
        {"classes": [names[a], names[b]], "share": float(share_KK[a, b] + share_KK[b, a]) / 2} for a, b in pairs
    ]
    if len(names) <= MOST_CLASSES_DRAWN:
        path = plot_confusion(share_KK, names, folder / f"{stem}_confusion.png")
        study.pictures["classes of the nearest neighbours"] = path.name
    chosen = _chosen_classes(options.classes, names, test) or [number for pair in pairs[:2] for number in pair]
    _draw_neighbours(study, queries, class_M, names, chosen, folder / f"{stem}_neighbours.png", options)


def _draw_neighbours(
    study: Study,
    queries: FeatureSet,
    class_M: np.ndarray,
    names: list[str],
    chosen: list[int],
    path: Path,
    options: StudyOptions,
) -> None:
    rows = contiguous_rows(class_M, chosen, options.images_per_class)
    if len(rows) <= options.neighbours:
        study.notes.append(f"no picture of confusions: {len(rows)} images of the chosen classes are too few")
        return
    distance_Mk, place_Mk = nearest_neighbours(as_tensor(queries.features, rows), options.neighbours)
    sizes = [int((class_M[rows] == number).sum()) for number in chosen]
    plot_neighbours(distance_Mk, place_Mk, [names[number] for number in chosen], sizes, path)
    study.pictures["nearest neighbours of confused classes"] = path.name
    study.drawn_classes = [names[number] for number in chosen]


def _chosen_classes(asked: list[str] | None, names: list[str], test: ImageSource) -> list[int]:
    for name in asked or []:
        if name not in names:
            raise ValueError(f"{test.name}, {test.split}, has no class {name!r}; it has {names[:20]}")
    return [names.index(name) for name in asked or []]


def _classes(features: FeatureSet, source: ImageSource) -> tuple[np.ndarray, list[str]] | str:
    """Class of each row and the names, or why there are none."""
    if source.label_column is None:
        return f"{source.name}, {source.split}, has no label column"
    if features.labels.ndim != 1:
        return f"{source.name}, {source.split}, has several labels an image"
    try:
        return classes_of(features.labels, features.label_names, f"{source.name}, {source.split}")
    except ValueError as error:
        return str(error)


def _draw_gallery(
    study: Study,
    bank: FeatureSet,
    queries: FeatureSet,
    sources: tuple[ImageSource, ImageSource],
    folder: Path,
    stem: str,
    options: StudyOptions,
) -> None:
    train_names, test_names = (_names(f, s) for f, s in zip((bank, queries), sources, strict=True))
    labels = _classes(queries, sources[1])
    chosen = draw_queries(None if isinstance(labels, str) else labels[0], options.queries, len(queries), options.seed)
    k = min(options.neighbours, len(bank))
    distance_Qk, row_Qk = nearest_neighbours(as_tensor(bank.features), k, as_tensor(queries.features, chosen))
    near = read_images(sources[0], bank.rows[row_Qk].reshape(-1))
    asked = read_images(sources[1], queries.rows[chosen])
    lines = []
    for query, distances, rows in zip(chosen, distance_Qk, row_Qk, strict=True):
        name = test_names[query]
        tiles = []
        for distance, row in zip(distances, rows, strict=True):
            right = None if name is None or train_names[row] is None else name == train_names[row]
            caption = f"{distance:.2f} {train_names[row] or ''}"
            tiles.append(GalleryTile(near[int(bank.rows[row])], caption, right))
        lines.append((GalleryTile(asked[int(queries.rows[query])], name or ""), tiles))
    title = "Query and its nearest training images, distances below; blue: of its class, orange: of another"
    study.pictures["neighbour gallery"] = draw_gallery(lines, folder / f"{stem}_gallery.png", title).name


def _names(features: FeatureSet, source: ImageSource) -> list[str | None]:
    """Name of the class of each row, None where it has none."""
    labels = _classes(features, source)
    if isinstance(labels, str):
        return [None] * len(features)
    class_N, names = labels
    return [names[number] for number in class_N]
