# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Writes a dataset again with columns of masks, as Parquet shards that pre-training and `datasets` read as they are.

A folder OUT gets `data/SPLIT-00003-of-00010.parquet`, each written under another name and renamed when whole, so that
a run that was stopped goes on with the shards that are missing; `saliency.json`, what it was made from and how; and
at the end a README.md with the counts.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from accelerate import PartialState
from filelock import FileLock
from tqdm.auto import tqdm

from mscn_hf.data import ImageSource

from .notes import first_difference, read_notes, write_notes
from .processes import processes
from .shards import MaskCounts, Masker, Reader, Shard, counts_of, plan_shards, write_shard

ROWS_PER_SHARD = 1000
LOCK = ".lock"


def write_masks(
    source: ImageSource,
    masker: Masker,
    out: str | Path,
    *,
    threshold: float = 0.05,
    rows_per_shard: int = ROWS_PER_SHARD,
    max_images: int | None = None,
    progress: bool = True,
) -> MaskCounts:
    """Writes `source` with `masker`'s columns to a folder; call on every rank, each writes its share of the shards.

    Args:
        source: opened with `all_columns=True`.
        masker: its masks are PNG files of the size of their image.
        out: folder; shards that it has already are kept.
        threshold: of `MaskCounts.small`.
        rows_per_shard: the last may have fewer; remote chunks of unknown length are a shard each.
        max_images: only the first so many.
        progress: show a bar.

    Returns:
        Counts over all shards.

    Raises:
        ValueError: the folder was made from something else or in another way, or a column is there already.
    """
    process = processes()
    how = {"max_images": max_images, "rows_per_shard": rows_per_shard, "threshold": threshold}
    _check(source, masker, how)
    if source.is_local and any(chunk.rows is None for chunk in source.chunks):
        source.count_rows()  # folders of images and tar files: each shard is to be small, and any may be missing
    shards = list(plan_shards(source, rows_per_shard, max_images))
    folder = Path(out)
    with process.main_process_first():
        _claim(folder, source, masker, {**how, "shards": len(shards)})
    paths = [folder / "data" / f"{source.split}-{i:05d}-of-{len(shards):05d}.parquet" for i in range(len(shards))]
    mine = list(zip(shards, paths, strict=True))[process.process_index :: process.num_processes]
    reader = Reader(source)
    with tqdm(
        total=_known_rows(shards, process),
        unit="img",
        disable=not (progress and process.is_local_main_process),
    ) as bar:
        for shard, path in mine:
            counts = counts_of(path)
            if counts is None:
                write_shard(reader, shard, masker, path, threshold, bar)
            else:
                bar.update(counts.images)
    process.wait_for_everyone()
    total = MaskCounts()
    for path in paths:
        counts = counts_of(path)
        if counts is None:
            raise ValueError(f"{path} is not there, though made: all processes must write to one folder")
        total += counts
    if process.is_main_process:
        (folder / "README.md").write_text(_readme(folder), encoding="utf-8")
        for left_over in (folder / "data").glob(f".{source.split}-*.part"):  # of runs that were stopped
            left_over.unlink()
        (folder / "data" / LOCK).unlink(missing_ok=True)
    process.wait_for_everyone()
    return total


def _check(source: ImageSource, masker: Masker, how: dict[str, Any]) -> None:
    for name in ("rows_per_shard", "max_images"):
        if how[name] is not None and how[name] < 1:
            raise ValueError(f"{name} must be at least 1, got {how[name]}")
    if not 0 <= how["threshold"] <= 1:
        raise ValueError(f"threshold must lie in [0, 1], got {how['threshold']}")
    taken = [column for column in masker.columns if column in source.features]
    if taken:
        raise ValueError(f"dataset {source.name!r} has a column {taken[0]!r} already: choose another dataset")


def _known_rows(shards: list[Shard], process: PartialState) -> int | None:
    counts = [shard.rows for shard in shards[process.process_index :: process.num_processes]]
    return None if None in counts else sum(count or 0 for count in counts)


def _claim(folder: Path, source: ImageSource, masker: Masker, how: dict[str, Any]) -> None:
    """Notes what the folder's split is made from and how; refuses one that was made otherwise."""
    made = {
        "dataset": Path(source.name).name if source.is_local else source.name,  # no path of this machine
        "config": source.config_name,
        "split": source.split,
        "revision": source.revision,
        "fingerprint": source.fingerprint,
        "modified": source.modified,
        **how,
        "columns": list(masker.columns),
        **masker.settings,
    }
    path = folder / "saliency.json"
    if folder.exists() and not path.exists() and any(folder.iterdir()):
        raise ValueError(f"{folder} is not empty and holds no masks of this command: give another folder")
    (folder / "data").mkdir(parents=True, exist_ok=True)
    with FileLock(folder / "data" / LOCK):  # another split may be claimed at the same time
        known = read_notes(path)
        if source.split in known:
            differing = first_difference(known[source.split], made)
            if differing:
                raise ValueError(
                    f"{folder} holds masks made with another {differing}: give another folder, or empty it"
                )
        elif next((folder / "data").glob(f"{source.split}-*.parquet"), None):
            raise ValueError(f"{folder} holds shards of split {source.split!r} and no note of them: empty it")
        else:
            write_notes(path, {**known, source.split: made})


def _readme(folder: Path) -> str:
    """What the folder holds, told from its notes and its shards."""
    notes = read_notes(folder / "saliency.json")
    rows, columns = [], ()
    for split, made in notes.items():
        paths = sorted((folder / "data").glob(f"{split}-*-of-{made['shards']:05d}.parquet"))
        counts = sum((counts_of(path) or MaskCounts() for path in paths), MaskCounts())
        masked = counts.images - counts.broken
        mean = f"{100 * counts.foreground / masked:.1f} %" if masked else "none"
        finished = "" if len(paths) == made["shards"] else f" ({len(paths)} of {made['shards']} shards so far)"
        rows.append(
            f"| `{split}`{finished} | {counts.images} | {counts.broken} | {counts.empty} | "
            f"{counts.small} (under {100 * made['threshold']:g} %) | {mean} |"
        )
        columns = made["columns"]
    hidden = ("fingerprint", "modified")
    how = {split: {k: v for k, v in made.items() if k not in hidden} for split, made in notes.items()}
    return f"""---
tags: [saliency]
---
# {next(iter(notes.values()))["dataset"]}, with saliency masks

Added columns: `{"`, `".join(columns)}`; grey-scale PNG files of the image's size, white where something
stands out. No labels and no other data were used.

| split | images | broken, without a mask | no foreground | little foreground | mean foreground |
|---|---|---|---|---|---|
{chr(10).join(rows)}

Made by `mscn-hf saliency`:

```json
{json.dumps(how, indent=1)}
```
"""
