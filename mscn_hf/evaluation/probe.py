# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""One model, one protocol, one dataset -> Results."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from accelerate import PartialState
from torch import Tensor

from mscn_hf.data.source import ImageSource

from .bootstrap import bootstrap_interval
from .encoder import FrozenEncoder
from .features import FeatureSet, extract
from .knn import knn_predict
from .linear import fit_linear_probe
from .protocols import KNNSettings, LinearSettings
from .results import Result, environment
from .scores import Labels, classes_of, match_test_labels, topk_correct

Scores = Callable[[np.ndarray], Tensor]


@dataclasses.dataclass
class ExtractOptions:
    """How features are made; see `extract`."""

    cache_dir: str | os.PathLike[str] | None = None
    batch_size: int = 64
    num_workers: int = 0
    max_train_images: int | None = None
    max_test_images: int | None = None
    progress: bool = True


def evaluate_encoder(
    encoder: FrozenEncoder,
    train: ImageSource,
    test: ImageSource,
    protocol: str,
    settings: KNNSettings | LinearSettings,
    *,
    options: ExtractOptions | None = None,
    seed: int = 0,
    process: PartialState | None = None,
    command: str | None = None,
    benchmark: tuple[str | None, str | None] = (None, None),
) -> list[Result]:
    """Scores a frozen encoder under one protocol.

    Every choice is made on `train`; only then the rows of `test` are read, once. Under several processes all must
    call; the votes or the probe run on rank 0, which alone returns Results, the others an empty list.

    Raises:
        ValueError: labels that cannot be used, or anything `extract` refuses.
    """
    options = options or ExtractOptions()
    main = process is None or process.is_main_process

    def features_of(source: ImageSource, limit: int | None) -> FeatureSet:
        return extract(
            encoder,
            source,
            options.cache_dir,
            options.batch_size,
            options.num_workers,
            limit,
            seed=seed,
            process=process,
            progress=options.progress,
        )

    for source in (train, test):
        if source.label_column is None:
            where = f"dataset {source.name!r}, split {source.split!r}"
            raise ValueError(f"{where}: no label column found; name it with --label_column")
    bank = features_of(train, options.max_train_images)
    scores: Scores | None = None
    selection = ""
    chosen: dict[str, Any] = {}
    labels_N, names = classes_of(bank.labels, bank.label_names, f"{train.name}, {train.split}")
    if main:
        if isinstance(settings, KNNSettings):
            scores, selection = _knn(bank, labels_N, len(names), settings, encoder.device)
        else:
            scores, selection, chosen = _linear(bank, labels_N, len(names), settings, seed, encoder.device)

    queries = features_of(test, options.max_test_images)
    if scores is None:
        return []
    labels = match_test_labels(labels_N, names, queries.labels, queries.label_names, f"{test.name}, {test.split}")
    facts: dict[str, Any] = {
        **dataclasses.asdict(settings),
        **chosen,
        "feature": encoder.feature,
        "feature_dim": int(bank.features.shape[1]),
        "feature_device": queries.device,
        "preprocessing": encoder.preprocessing,
        "train_split": train.split,
        "num_train": len(bank),
        "num_classes": len(names),
        "classes_absent_from_train": labels.absent,
        "skipped_train": len(bank.skipped),
        "skipped_test": len(queries.skipped),
        "max_train_images": options.max_train_images,
        "max_test_images": options.max_test_images,
    }
    common = Result(
        dataset=test.name,
        dataset_config=test.config_name,
        dataset_revision=test.revision,
        split=test.split,
        protocol=protocol,
        metric=settings.metrics[0],
        value=0.0,
        num_examples=len(queries),
        seed=seed,
        selection=selection,
        model=encoder.name,
        model_revision=encoder.revision,
        command=command,
        settings=facts,
        environment=environment(),
        benchmark_id=benchmark[0],
        task_id=benchmark[1],
    )
    scores_MK = scores(queries.features)
    return _measure(common, scores_MK, labels, settings.metrics, isinstance(settings, KNNSettings), seed)


def _knn(
    bank: FeatureSet, labels_N: np.ndarray, num_classes: int, settings: KNNSettings, device: torch.device
) -> tuple[Scores, str]:
    if settings.k > len(bank):
        raise ValueError(f"k-NN with k = {settings.k} needs at least as many train images, got {len(bank)}")

    def scores(features_MD: np.ndarray) -> Tensor:
        return knn_predict(
            bank.features, labels_N, features_MD, settings.k, settings.temperature, num_classes, device=device
        )

    return scores, f"none (k={settings.k}, T={settings.temperature:g} fixed)"


def _linear(
    bank: FeatureSet, labels_N: np.ndarray, num_classes: int, settings: LinearSettings, seed: int, device: torch.device
) -> tuple[Scores, str, dict[str, Any]]:
    probe = fit_linear_probe(bank.features, labels_N, num_classes, settings, seed=seed, device=device)
    names = " x ".join(settings.grid()[0])
    selection = (
        f"{names} chosen from {len(settings.grid())} on {100 * settings.held_out:g} % of train held out "
        f"({probe.held_out} images, stratified, seed {seed}); fitted again on all of train"
    )
    return probe.scores, selection, {"choice": probe.choice, "trials": probe.trials}


def _measure(
    common: Result, scores_MK: Tensor, labels: Labels, metrics: list[str], votes: bool, seed: int
) -> list[Result]:
    """One Result a metric. Top-5 of five classes or fewer is always right, so it is left out."""
    test_M = torch.from_numpy(labels.test_M)
    first_M = topk_correct(scores_MK, test_M, 1, votes=votes).cpu().numpy()
    results = []
    for metric in metrics:
        correct_M, groups_M = first_M, None
        if metric == "top5_accuracy":
            if scores_MK.shape[1] <= 5:
                continue
            correct_M = topk_correct(scores_MK, test_M, 5, votes=votes).cpu().numpy()
        value = float(correct_M.mean())
        if metric == "mean_per_class_accuracy":
            groups_M = labels.test_class_M
            value = float(np.mean([correct_M[groups_M == group].mean() for group in np.unique(groups_M)]))
        interval = bootstrap_interval(correct_M, groups_N=groups_M, seed=seed)
        results.append(
            dataclasses.replace(
                common,
                metric=metric,
                value=value,
                interval=(interval.low, interval.high),
                interval_method=interval.method,
            )
        )
    return results
