# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Extracted features on disk: raw float32 rows, read as a memory-mapped array.

An entry is a folder `<hash of its key>/` with features.f32, labels.npy, rows.npy and meta.json. It is written beside
its place and renamed into it, so a reader sees a whole entry or none; sizes and sha256 are checked on reading.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from huggingface_hub import constants

from .encoder import text_hash

logger = logging.getLogger(__name__)

FORMAT = 1
FEATURES, LABELS, ROWS, META = "features.f32", "labels.npy", "rows.npy", "meta.json"


@dataclass
class FeatureSet:
    """Features of one split under one encoder.

    Args:
        features: (N, D) float32, usually memory-mapped.
        labels: (N,) int64; -1 where the row has none. Of images with several classes (N, K) int8, see `multi_hot`.
        label_names: name of each label value, where the dataset names them or labels are text.
        skipped: (id, reason) of images that could not be decoded; they have no row here.
        rows: (N,) int64, position of each row in the split's stored order.
        identity: the cache key, what fixes these numbers.
        device: kind of device that computed them.
    """

    features: np.ndarray
    labels: np.ndarray
    label_names: list[str] | None
    skipped: list[tuple[str, str]]
    rows: np.ndarray
    identity: dict[str, Any] = field(default_factory=dict)
    device: str = "cpu"

    def __len__(self) -> int:
        return len(self.features)


def default_cache_dir() -> Path:
    """`$MSCN_HF_CACHE`, else `mscn_hf/features` in the Hugging Face home folder."""
    own = os.environ.get("MSCN_HF_CACHE")
    return Path(own) if own else Path(constants.HF_HOME) / "mscn_hf" / "features"


def entry_folder(cache_dir: Path, identity: dict[str, Any]) -> Path:
    """Where the entry of this key lies or will lie."""
    return cache_dir / text_hash(identity)[:32]


def write_entry(
    scratch: Path,
    folder: Path,
    identity: dict[str, Any],
    *,
    features_hash: str,
    dim: int,
    labels: np.ndarray,
    rows: np.ndarray,
    label_names: list[str] | None,
    skipped: list[tuple[str, str]],
    device: str,
) -> None:
    """Completes `scratch`, which holds features.f32 already, and renames it to `folder`."""
    np.save(scratch / LABELS, labels)
    np.save(scratch / ROWS, rows)
    hashes = {FEATURES: features_hash, **{name: file_hash(scratch / name) for name in (LABELS, ROWS)}}
    meta = {
        "format": FORMAT,
        "identity": identity,
        "shape": [len(labels), dim],
        "sha256": hashes,
        "label_names": label_names,
        "skipped": skipped,
        "device": device,
    }
    (scratch / META).write_text(json.dumps(meta, indent=1, ensure_ascii=False), encoding="utf-8")
    try:
        os.rename(scratch, folder)
    except OSError:
        if not folder.is_dir():
            raise
        shutil.rmtree(scratch)  # another process finished the same entry first


def read_entry(folder: Path, identity: dict[str, Any], *, verify: bool = True) -> FeatureSet | None:
    """The entry if it is there and whole, else None; a damaged one is named in the log and removed."""
    if not folder.is_dir():
        return None
    try:
        meta = json.loads((folder / META).read_text(encoding="utf-8"))
        if meta["format"] != FORMAT or meta["identity"] != json.loads(json.dumps(identity, default=str)):
            raise ValueError("it was made for something else")
        count, dim = meta["shape"]
        if (folder / FEATURES).stat().st_size != 4 * count * dim:
            raise ValueError(f"{FEATURES} does not hold {count} x {dim} values")
        if verify:
            for name, expected in meta["sha256"].items():
                if file_hash(folder / name) != expected:
                    raise ValueError(f"sha256 of {name} does not match")
        return FeatureSet(
            features=np.memmap(folder / FEATURES, dtype=np.float32, mode="r", shape=(count, dim)),
            labels=np.load(folder / LABELS),
            label_names=meta["label_names"],
            skipped=[(row_id, reason) for row_id, reason in meta["skipped"]],
            rows=np.load(folder / ROWS),
            identity=identity,
            device=meta["device"],
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        logger.warning("cached features in %s are not usable (%s); extracting again", folder, error)
        if verify:
            shutil.rmtree(folder, ignore_errors=True)
        return None


def file_hash(path: Path) -> str:
    """sha256 of a file, read in pieces."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
