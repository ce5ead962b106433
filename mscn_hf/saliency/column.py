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
from mscn_hf.data.decode import MAX_BYTES
from mscn_hf.views.background import FOREGROUND

from .processes import processes

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
    """Pieces (chunk, start, stop) of the source; stop None: to the chunk's end."""

    pieces: tuple[tuple[int, int, int | None], ...]

    @property
    def rows(self) -> int | None:
        """How many, where that is known."""
        counts = [None if stop is None else stop - start for _, start, stop in self.pieces]
        return None if None in counts else sum(count or 0 for count in counts)

    def records(self, source: ImageSource) -> Iterator[tuple[ImageRow, dict[str, Any]]]:
        """Its rows in stored order."""
        for chunk, start, stop in self.pieces:
            yield from islice(source.read_records(chunk), start, stop)


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
    for name, value in (("rows_per_shard", rows_per_shard), ("max_images", max_images)):
        if value is not None and value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")
    if not 0 <= threshold <= 1:
        raise ValueError(f"threshold must lie in [0, 1], got {threshold}")
    taken = [column for column in masker.columns if column in source.features]
    if taken:
        raise ValueError(f"dataset {source.name!r} has a column {taken[0]!r} already: choose another dataset")
    if source.is_local and any(chunk.rows is None for chunk in source.chunks):
        source.count_rows()  # folders of images and tar files: each shard is to be small, and any may be missing
    shards = list(_plan(source, rows_per_shard, max_images))
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
        "threshold": threshold,
        "columns": list(masker.columns),
        **masker.settings,
    }
    folder = Path(out)
    with process.main_process_first():
        _claim(folder, source.split, made)
    paths = [folder / "data" / f"{source.split}-{i:05d}-of-{len(shards):05d}.parquet" for i in range(len(shards))]
    mine = list(zip(shards, paths, strict=True))[process.process_index :: process.num_processes]
    with tqdm(
        total=_known_rows(shards, process),
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
    """Consecutive rows, `rows_per_shard` at a time; a chunk of unknown length is a shard of its own."""
    left = max_images
    pieces: list[tuple[int, int, int | None]] = []
    room = rows_per_shard
    for chunk in source.chunks:
        if chunk.rows is None:
            if max_images is not None:
                raise ValueError(f"dataset {source.name!r} does not tell how many rows it has: leave out max_images")
            if pieces:
                yield _Shard(tuple(pieces))
            yield _Shard(((chunk.index, 0, None),))
            pieces, room = [], rows_per_shard
            continue
        start, rows = 0, chunk.rows if left is None else min(chunk.rows, left)
        left = None if left is None else left - rows
        while start < rows:
            taken = min(room, rows - start)
            pieces.append((chunk.index, start, start + taken))
            start, room = start + taken, room - taken
            if room == 0:
                yield _Shard(tuple(pieces))
                pieces, room = [], rows_per_shard
    if pieces:
        yield _Shard(tuple(pieces))


def _known_rows(shards: list[_Shard], process: PartialState) -> int | None:
    counts = [shard.rows for shard in shards[process.process_index :: process.num_processes]]
    return None if None in counts else sum(count or 0 for count in counts)


def _claim(folder: Path, split: str, made: dict[str, Any]) -> None:
    """Notes what the folder's split is made from; refuses one that was made from something else."""
    notes = folder / "saliency.json"
    if folder.exists() and not notes.exists() and any(folder.iterdir()):
        raise ValueError(f"{folder} is not empty and holds no masks of this command: give another folder")
    known = json.loads(notes.read_text(encoding="utf-8")) if notes.exists() else {}
    before = known.get(split, made)
    differing = [name for name in made if before.get(name) != json.loads(json.dumps(made[name]))]
    if split in known and differing:
        raise ValueError(f"{folder} holds masks made with another {differing[0]}: give another folder, or empty it")
    (folder / "data").mkdir(parents=True, exist_ok=True)
    if split not in known:
        # whole or not at all: other processes read it
        unfinished = notes.with_name(f".saliency.json.{os.getpid()}")
        unfinished.write_text(json.dumps({**known, split: made}, indent=1) + "\n", encoding="utf-8")
        os.replace(unfinished, notes)


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
            # read without decoding, but written as the images that they are
            **{name: _decoded(feature) for name, feature in source.features.items()},
            source.image_column: datasets.Image(),
            **{column: datasets.Image() for column in masker.columns},
        }
    )
    counts = MaskCounts()
    rows: list[dict[str, Any]] = []
    records = shard.records(source)
    while batch := list(islice(records, BATCH)):
        rows.extend(_masked(batch, source.image_column, masker, threshold, counts))
        bar.update(len(batch))
    table = pa.Table.from_pylist(rows, schema=features.arrow_schema)
    metadata = {**(table.schema.metadata or {}), _COUNTS: json.dumps(asdict(counts)).encode()}
    unfinished = path.with_name(f".{path.name}.{rank}.part")
    pq.write_table(table.replace_schema_metadata(metadata), unfinished, row_group_size=ROW_GROUP)
    os.replace(unfinished, path)


def _decoded(feature: Any) -> Any:
    return datasets.Image() if isinstance(feature, datasets.Image) else feature


def _masked(
    batch: list[tuple[ImageRow, dict[str, Any]]],
    source_column: str,
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
        image = record[source_column]
        if data is not None:
            stored = image.get("path") if isinstance(image, dict) else None
            image = {"bytes": data, "path": os.path.basename(stored) if stored else None}
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
        yield {**record, source_column: image, **columns}


def _read(row: ImageRow) -> tuple[bytes | None, np.ndarray | None]:
    """The file's bytes, if there are any, and its pixels, if it is an image."""
    data = None
    try:
        data = row.read()
        return (data if len(data) <= MAX_BYTES else None), decode_image(data)
    except BrokenImage:
        # a file above the limit was read in part only: its row keeps what it has
        return (data if data is None or len(data) <= MAX_BYTES else None), None


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
