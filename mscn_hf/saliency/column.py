# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Writes a dataset again with columns of masks, as Parquet shards that pre-training and `datasets` read as they are.

A folder OUT gets `data/SPLIT-00003-of-00010.parquet`, each written under another name and renamed when whole, so that
a run that was stopped goes on with the shards that are missing; `saliency.json`, what it was made from and how; and
at the end a README.md with the counts.
"""

from __future__ import annotations

import io
import json
import logging
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from accelerate import PartialState
from PIL import Image
from tqdm.auto import tqdm

from mscn_hf.data import BrokenImage, ImageRow, ImageSource, decode_image
from mscn_hf.views.background import FOREGROUND

logger = logging.getLogger(__name__)

ROWS_PER_SHARD = 1000
# Images decoded and masked at a time.
BATCH = 64
ROW_GROUP = 100
_COUNTS = b"mscn_hf.saliency"


class Masker(Protocol):
    """What makes masks of images."""

    @property
    def columns(self) -> tuple[str, ...]: ...

    @property
    def settings(self) -> dict[str, Any]: ...

    def __call__(self, images: Sequence[np.ndarray]) -> list[dict[str, np.ndarray]]: ...


@dataclass
class MaskCounts:
    """What became of images.

    Attributes:
        images: read.
        broken: could not be decoded; they are kept, without a mask.
        empty: whose mask has no pixel of foreground: pre-training leaves their background as it is.
        small: whose foreground, if any, is less than `threshold` of the image.
        foreground: sum of the shares of foreground, of images with a mask.
    """

    images: int = 0
    broken: int = 0
    empty: int = 0
    small: int = 0
    foreground: float = 0.0

    def __add__(self, other: MaskCounts) -> MaskCounts:
        mine, theirs = asdict(self), asdict(other)
        return MaskCounts(**{name: mine[name] + theirs[name] for name in mine})


@dataclass(frozen=True)
class _Shard:
    """Rows `start` to `stop` of a chunk; `stop` None: to its end."""

    chunk: int
    start: int = 0
    stop: int | None = None


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
        rows_per_shard: at most; chunks of unknown length are a shard each.
        max_images: only about the first so many images.
        progress: show a bar.

    Returns:
        Counts over all shards.

    Raises:
        ValueError: the folder was made from something else or in another way, or a column is there already.
    """
    process = PartialState()
    shards = list(islice(_plan(source, rows_per_shard, max_images), 100_000))
    made = {
        "dataset": source.name,
        "config": source.config_name,
        "split": source.split,
        "revision": source.revision,
        "fingerprint": source.fingerprint,
        "modified": source.modified,
        "max_images": max_images,
        "rows_per_shard": rows_per_shard,
        "shards": len(shards),
        "columns": list(masker.columns),
        **masker.settings,
    }
    folder = Path(out)
    with process.main_process_first():
        _claim(folder, source.split, made)
    taken = [column for column in masker.columns if column in source.features]
    if taken:
        raise ValueError(f"dataset {source.name!r} has a column {taken[0]!r} already: choose another dataset")
    paths = [folder / "data" / f"{source.split}-{i:05d}-of-{len(shards):05d}.parquet" for i in range(len(shards))]
    mine = list(zip(shards, paths, strict=True))[process.process_index :: process.num_processes]
    with tqdm(
        total=_known_rows(shards, source, process),
        unit="img",
        disable=not (progress and process.is_local_main_process),
    ) as bar:
        for shard, path in mine:
            counts = _counts_of(path)
            if counts is None:
                _write_shard(source, shard, masker, path, threshold, bar, process.process_index)
            else:
                bar.update(counts.images)
    process.wait_for_everyone()
    total = sum((_counts_of(path) or MaskCounts() for path in paths), MaskCounts())
    if process.is_main_process:
        (folder / "README.md").write_text(_readme(folder, threshold), encoding="utf-8")
    process.wait_for_everyone()
    return total


def _plan(source: ImageSource, rows_per_shard: int, max_images: int | None) -> Iterator[_Shard]:
    left = max_images
    for chunk in source.chunks:
        if chunk.rows is None:
            if max_images is not None:
                raise ValueError(f"dataset {source.name!r} does not tell how many rows it has: leave out max_images")
            yield _Shard(chunk.index)
            continue
        rows = chunk.rows if left is None else min(chunk.rows, left)
        for start in range(0, rows, rows_per_shard):
            yield _Shard(chunk.index, start, min(start + rows_per_shard, rows))
        if left is not None:
            left -= rows
            if left <= 0:
                return


def _known_rows(shards: list[_Shard], source: ImageSource, process: PartialState) -> int | None:
    mine = shards[process.process_index :: process.num_processes]
    return None if any(s.stop is None for s in mine) else sum((s.stop or 0) - s.start for s in mine)


def _claim(folder: Path, split: str, made: dict[str, Any]) -> None:
    """Notes what the folder's split is made from; refuses one that was made from something else."""
    notes = folder / "saliency.json"
    known = json.loads(notes.read_text(encoding="utf-8")) if notes.exists() else {}
    before = known.get(split, made)
    differing = [name for name in made if before.get(name) != json.loads(json.dumps(made[name]))]
    if split in known and differing:
        raise ValueError(f"{folder} holds masks made with another {differing[0]}: give another folder, or empty it")
    (folder / "data").mkdir(parents=True, exist_ok=True)
    if split not in known:
        notes.write_text(json.dumps({**known, split: made}, indent=1) + "\n", encoding="utf-8")


def _counts_of(path: Path) -> MaskCounts | None:
    """Counts of a shard that is whole, else None."""
    if not path.exists():
        return None
    metadata = pq.read_schema(path).metadata or {}
    return MaskCounts(**json.loads(metadata[_COUNTS])) if _COUNTS in metadata else None


def _write_shard(
    source: ImageSource, shard: _Shard, masker: Masker, path: Path, threshold: float, bar: Any, rank: int
) -> None:
    features = datasets.Features(
        {
            **source.features,
            source.image_column: datasets.Image(),
            **{column: datasets.Image() for column in masker.columns},
        }
    )
    counts = MaskCounts()
    rows: list[dict[str, Any]] = []
    records = islice(source.read_records(shard.chunk), shard.start, shard.stop)
    while batch := list(islice(records, BATCH)):
        rows.extend(_masked(batch, source.image_column, masker, threshold, counts))
        bar.update(len(batch))
    table = pa.Table.from_pylist(rows, schema=features.arrow_schema)
    metadata = {**(table.schema.metadata or {}), _COUNTS: json.dumps(asdict(counts)).encode()}
    unfinished = path.with_name(f".{path.name}.{rank}.part")
    pq.write_table(table.replace_schema_metadata(metadata), unfinished, row_group_size=ROW_GROUP)
    os.replace(unfinished, path)


def _masked(
    batch: list[tuple[ImageRow, dict[str, Any]]],
    image_column: str,
    masker: Masker,
    threshold: float,
    counts: MaskCounts,
) -> Iterator[dict[str, Any]]:
    """The rows of a batch with their masks; adds to `counts`."""
    with ThreadPoolExecutor(4) as pool:
        read = list(pool.map(lambda pair: _read(pair[0]), batch))
    found = iter(masker([pixels for _, pixels in read if pixels is not None]))
    for (row, record), (data, pixels) in zip(batch, read, strict=True):
        counts.images += 1
        image = {"bytes": data, "path": os.path.basename(row.path or row.id.split("/", 2)[-1]) or None}
        columns: dict[str, Any] = dict.fromkeys(masker.columns)
        if pixels is None:
            counts.broken += 1
            logger.warning("%s: no mask, the image cannot be read", row.id)
        else:
            masks = next(found)
            columns = {name: {"bytes": to_png(masks[name]), "path": None} for name in masker.columns}
            share = float((masks[masker.columns[0]] >= FOREGROUND).mean())
            counts.foreground += share
            counts.empty += share == 0
            counts.small += 0 < share < threshold
        yield {**record, image_column: image, **columns}


def _read(row: ImageRow) -> tuple[bytes | None, np.ndarray | None]:
    """The file's bytes, if there are any, and its pixels, if it is an image."""
    data = None
    try:
        data = row.read()
        return data, decode_image(data)
    except BrokenImage:
        return data, None


def to_png(mask_HW: np.ndarray) -> bytes:
    """A grey-scale PNG file of a uint8 mask."""
    out = io.BytesIO()
    Image.fromarray(mask_HW).save(out, "PNG")
    return out.getvalue()


def _readme(folder: Path, threshold: float) -> str:
    """What the folder holds, told from its notes and its shards."""
    notes = json.loads((folder / "saliency.json").read_text(encoding="utf-8"))
    rows, columns = [], ()
    for split, made in notes.items():
        paths = sorted((folder / "data").glob(f"{split}-*-of-{made['shards']:05d}.parquet"))
        counts = sum((_counts_of(path) or MaskCounts() for path in paths), MaskCounts())
        masked = counts.images - counts.broken
        mean = f"{100 * counts.foreground / masked:.1f} %" if masked else "none"
        finished = "" if len(paths) == made["shards"] else f" ({len(paths)} of {made['shards']} shards so far)"
        rows.append(
            f"| `{split}`{finished} | {counts.images} | {counts.broken} | {counts.empty} | {counts.small} | {mean} |"
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

| split | images | broken, without a mask | no foreground | foreground under {100 * threshold:g} % | mean foreground |
|---|---|---|---|---|---|
{chr(10).join(rows)}

Made by `mscn-hf saliency`:

```json
{json.dumps(how, indent=1)}
```
"""
