# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Features of a whole split, extracted once and kept.

Images are decoded and preprocessed in DataLoader workers and go through the encoder in stored order. Under
`accelerate launch` batch b belongs to rank b mod R, so every rank sees the very batches that one process would form,
and the joined rows are the same.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from accelerate import PartialState
from accelerate.utils import broadcast_object_list
from torch import Tensor
from torch.utils.data import DataLoader
from tqdm.auto import tqdm

from mscn_hf.data import decode
from mscn_hf.data.source import ImageSource

from .cache import FEATURES, FeatureSet, default_cache_dir, entry_folder, read_entry, write_entry
from .encoder import FrozenEncoder, weights_hash
from .loading import load_encoder
from .multi_label import is_multi_label, multi_hot
from .reading import Preprocessor, RankBatches, choose_rows

__all__ = ["FeatureSet", "FrozenEncoder", "extract", "load_encoder", "weights_hash"]

logger = logging.getLogger(__name__)


def extract(
    encoder: FrozenEncoder,
    source: ImageSource,
    cache_dir: str | os.PathLike[str] | None = None,
    batch_size: int = 64,
    num_workers: int = 0,
    max_images: int | None = None,
    *,
    seed: int = 0,
    process: PartialState | None = None,
    progress: bool = True,
    multi_label: bool = False,
) -> FeatureSet:
    """Features of every image of a split, from the cache where it holds them.

    Args:
        encoder: see `load_encoder`; computes on the device it is on.
        source: see `open_source`; its rows are read once, or not at all on a cache hit.
        cache_dir: folder of entries; see `default_cache_dir`.
        batch_size: images a forward pass.
        num_workers: processes that decode and preprocess; 0 does it in this one.
        max_images: take at most this many, drawn evenly over the split with `seed` (the first ones where the source
            cannot tell its length).
        seed: of that draw.
        process: under `accelerate launch`, the state of this process: all ranks must call, each extracts its
            share, all return the joined set. The cache must then be on a disk that all ranks see.
        progress: show a bar.
        multi_label: lists of classes are welcome; see `multi_hot` for what their labels become.

    Raises:
        ValueError: not one image could be decoded, a row has several labels where they are not welcome, labels mix
            numbers and text, or the encoder gave a feature that is not finite.
        RuntimeError: the encoder changed on the way.
    """
    if batch_size < 1 or (max_images is not None and max_images < 1):
        raise ValueError(f"batch_size and max_images must be positive, got {batch_size} and {max_images}")
    rank, world = (process.process_index, process.num_processes) if process else (0, 1)
    chosen = choose_rows(source, max_images, seed)
    identity = {**encoder.identity(), "data": _data_identity(source, max_images, seed if chosen is not None else None)}
    root = Path(cache_dir) if cache_dir is not None else default_cache_dir()
    root.mkdir(parents=True, exist_ok=True)
    folder = entry_folder(root, identity)

    cached = read_entry(folder, identity) if rank == 0 else None
    if not _from_rank0(cached is not None, process):
        scratch = Path(_from_rank0(tempfile.mkdtemp(prefix=".partial-", dir=root) if rank == 0 else "", process))
        try:
            batches = RankBatches(source, batch_size, chosen, max_images, rank, world, multi_label)
            stem = scratch / f"part-{rank}"
            part = _extract_share(encoder, source, batches, stem, num_workers, progress and rank == 0)
            encoder.assert_frozen()  # before anything is kept under the hash of the untouched weights
            if process is not None:
                process.wait_for_everyone()
            if rank == 0:
                _join(scratch, folder, identity, source, part, world, encoder.device.type)
        except BaseException:
            shutil.rmtree(scratch, ignore_errors=True)
            raise
    if process is not None:
        process.wait_for_everyone()
    features = cached if cached is not None else read_entry(folder, identity, verify=False)
    if features is None:
        raise RuntimeError(f"features written to {folder} cannot be read back; do all processes see this disk?")
    if features.labels.ndim > 1 and not multi_label:
        raise ValueError(f"{source.name}, {source.split}: images have lists of classes; this takes one class an image")
    for row_id, reason in features.skipped[:10] if rank == 0 else []:
        logger.warning("%s, %s: image %s skipped (%s)", source.name, source.split, row_id, reason)
    if features.skipped and rank == 0:
        logger.warning("%s, %s: %d images skipped in all", source.name, source.split, len(features.skipped))
    return features


def _from_rank0(value: Any, process: PartialState | None) -> Any:
    if process is None or process.num_processes == 1:
        return value
    return broadcast_object_list([value])[0]


def _data_identity(source: ImageSource, max_images: int | None, seed: int | None) -> dict[str, Any]:
    return {
        "fingerprint": source.fingerprint,
        "modified": source.modified,  # labels that were mended in place leave names and sizes of files as they were
        "split": source.split,
        "config": source.config_name,
        "label_column": source.label_column,
        "max_images": max_images,
        "seed": seed,
        "decoder": "PIL" if decode.simplejpeg is None else "simplejpeg",
    }


def _as_is(batch: Any) -> Any:
    return batch


def _extract_share(
    encoder: FrozenEncoder, source: ImageSource, batches: RankBatches, stem: Path, num_workers: int, progress: bool
) -> dict[str, Any]:
    """Writes this rank's features (`<stem>.f32`) and a record of its batches (`<stem>.json`), which it returns."""
    loader = DataLoader(
        Preprocessor(encoder.preprocess),
        batch_sampler=batches,  # type: ignore[arg-type]
        num_workers=num_workers,
        collate_fn=_as_is,
        pin_memory=False,
    )
    part: dict[str, Any] = {"batches": [], "skipped": [], "dim": 0, "sha256": ""}
    digest = hashlib.sha256()
    total = source.num_rows if batches.limit is None else min(batches.limit, source.num_rows or batches.limit)
    title = f"{encoder.name} on {source.name}/{source.split}"
    with open(f"{stem}.f32", "wb") as file, tqdm(total=total, unit="img", desc=title, disable=not progress) as bar:
        for batch in loader:
            good: Sequence[tuple[int, str, Any]] = batch["good"]
            if good:
                block = _finite(encoder, encoder.features(batch["images"]), good).numpy().tobytes()
                part["dim"] = len(block) // (4 * len(good))
                file.write(block)
                digest.update(block)
            part["batches"].append([(position, label) for position, _, label in good])
            part["skipped"].extend(batch["skipped"])
            bar.update((len(good) + len(batch["skipped"])) * batches.world)
    part["sha256"] = digest.hexdigest()
    Path(f"{stem}.json").write_text(json.dumps(part), encoding="utf-8")
    return part


def _finite(encoder: FrozenEncoder, z_BD: Tensor, good: Sequence[tuple[int, str, Any]]) -> Tensor:
    z_BD = z_BD.cpu().contiguous()
    bad_B = ~z_BD.isfinite().all(dim=1)
    if bool(bad_B.any()):
        first = int(bad_B.nonzero()[0])
        raise ValueError(
            f"{encoder.name}: the encoder gives features that are not finite for {int(bad_B.sum())} of {len(good)} "
            f"images of a batch, the first one {good[first][1]!r}; its weights have probably diverged"
        )
    return z_BD


def _join(
    scratch: Path,
    folder: Path,
    identity: dict[str, Any],
    source: ImageSource,
    part: dict[str, Any],
    world: int,
    device: str,
) -> None:
    """Rank 0: puts the ranks' batches back into stored order and closes the cache entry."""
    parts = [part] + [json.loads((scratch / f"part-{r}.json").read_text(encoding="utf-8")) for r in range(1, world)]
    order = [part["batches"][b] for b in range(len(parts[0]["batches"])) for part in parts if b < len(part["batches"])]
    good = [row for batch in order for row in batch]
    skipped = [tuple(pair) for part in parts for pair in part["skipped"]]
    if not good:
        reasons = "; ".join(f"{row_id}: {reason}" for row_id, reason in skipped[:3])
        where = f"{source.name}, {source.split}"
        raise ValueError(f"not one of {len(skipped)} images of {where}, can be decoded ({reasons})")
    dim = max(part["dim"] for part in parts)
    features_hash = part["sha256"]
    if world == 1:
        os.rename(scratch / "part-0.f32", scratch / FEATURES)
    else:
        features_hash = _interleave(scratch, parts, dim)
    labels, names = number_labels([label for _, label in good], source.label_names)
    for leftover in scratch.glob("part-*"):
        leftover.unlink()
    write_entry(
        scratch,
        folder,
        identity,
        features_hash=features_hash,
        dim=dim,
        labels=labels,
        rows=np.array([position for position, _ in good], dtype=np.int64),
        label_names=names,
        skipped=skipped,
        device=device,
    )


def _interleave(scratch: Path, parts: list[dict[str, Any]], dim: int) -> str:
    digest = hashlib.sha256()
    files = [open(scratch / f"part-{rank}.f32", "rb") for rank in range(len(parts))]  # noqa: SIM115 - closed below
    try:
        with open(scratch / FEATURES, "wb") as joined:
            for b in range(len(parts[0]["batches"])):
                for part, file in zip(parts, files, strict=True):
                    if b < len(part["batches"]):
                        block = file.read(4 * dim * len(part["batches"][b]))
                        joined.write(block)
                        digest.update(block)
    finally:
        for file in files:
            file.close()
    return digest.hexdigest()


def number_labels(labels: list[Any], label_names: list[str] | None) -> tuple[np.ndarray, list[str] | None]:
    """Labels as int64, -1 where missing; text gets numbers in sorted order, and its names are returned.

    Lists of classes become targets (N, K), see `multi_hot`.
    """
    if is_multi_label(labels):
        return multi_hot(labels, label_names)
    present = [label for label in labels if label is not None]
    if any(isinstance(label, str) for label in present):
        if not all(isinstance(label, str) for label in present):
            raise ValueError("the label column mixes text and numbers")
        names = sorted(set(present))
        number = {name: index for index, name in enumerate(names)}
        return np.array([-1 if label is None else number[label] for label in labels], dtype=np.int64), names
    for label in present:
        if int(label) != label:
            raise ValueError(f"labels must be whole numbers or text, got {label!r}")
    return np.array([-1 if label is None else int(label) for label in labels], dtype=np.int64), label_names
