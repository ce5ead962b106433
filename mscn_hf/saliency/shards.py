# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Shards of a dataset with masks: which rows each holds, and one Parquet file written whole or not at all."""

from __future__ import annotations

import dataclasses
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
from PIL import Image

from mscn_hf.data import BrokenImage, ImageRow, ImageSource, decode_image
from mscn_hf.data.decode import MAX_BYTES, UnreadableFile
from mscn_hf.views.background import FOREGROUND

from .notes import put_in_place

logger = logging.getLogger(__name__)

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
class Shard:
    """Pieces (chunk, start, stop) of a source; stop None: to the chunk's end."""

    pieces: tuple[tuple[int, int, int | None], ...]

    @property
    def rows(self) -> int | None:
        """How many, where that is known."""
        counts = [None if stop is None else stop - start for _, start, stop in self.pieces]
        return None if None in counts else sum(count or 0 for count in counts)


def plan_shards(source: ImageSource, rows_per_shard: int, max_images: int | None) -> Iterator[Shard]:
    """Consecutive rows, `rows_per_shard` at a time; a chunk of unknown length is a shard of its own."""
    left = max_images
    pieces: list[tuple[int, int, int | None]] = []
    room = rows_per_shard
    for chunk in source.chunks:
        if chunk.rows is None:
            if max_images is not None:
                raise ValueError(f"dataset {source.name!r} does not tell how many rows it has: leave out max_images")
            if pieces:
                yield Shard(tuple(pieces))
            yield Shard(((chunk.index, 0, None),))
            pieces, room = [], rows_per_shard
            continue
        start, rows = 0, chunk.rows if left is None else min(chunk.rows, left)
        left = None if left is None else left - rows
        while start < rows:
            taken = min(room, rows - start)
            pieces.append((chunk.index, start, start + taken))
            start, room = start + taken, room - taken
            if room == 0:
                yield Shard(tuple(pieces))
                pieces, room = [], rows_per_shard
    if pieces:
        yield Shard(tuple(pieces))


class Reader:
    """Rows of a source, shard after shard; a chunk that holds several shards is read through once."""

    def __init__(self, source: ImageSource):
        self.source = source
        self._chunk: int | None = None
        self._place = 0
        self._rows: Iterator[tuple[ImageRow, dict[str, Any]]] = iter(())

    def read(self, shard: Shard) -> Iterator[tuple[ImageRow, dict[str, Any]]]:
        """The shard's rows in stored order."""
        for chunk, start, stop in shard.pieces:
            if chunk != self._chunk or start < self._place:
                self._chunk, self._place, self._rows = chunk, 0, self.source.read_records(chunk)
            for pair in self._rows:
                self._place += 1
                if self._place > start:
                    yield pair
                if self._place == stop:
                    break


def counts_of(path: Path) -> MaskCounts | None:
    """Counts of a shard that is whole; None where it is missing or broken."""
    if not path.exists():
        return None
    try:
        metadata = pq.read_schema(path).metadata or {}
    except pa.ArrowInvalid as error:
        logger.warning("%s is broken and made again (%s)", path, error)
        return None
    return MaskCounts(**json.loads(metadata[_COUNTS])) if _COUNTS in metadata else None


def write_shard(reader: Reader, shard: Shard, masker: Masker, path: Path, threshold: float, bar: Any) -> None:
    """Writes the rows of a shard with their masks, and their counts beside the columns' types.

    Args:
        reader: of the source.
        shard: its rows.
        masker: its masks are PNG files of the size of their image.
        path: of the file, made under another name first; its folder is there.
        threshold: of `MaskCounts.small`.
        bar: a progress bar, told of each image.
    """
    source = reader.source
    # read without decoding, but written as the images that they are
    features = datasets.Features({name: _decoded(feature) for name, feature in source.features.items()})
    others = [name for name, feature in features.items() if isinstance(feature, datasets.Image)]
    if not isinstance(features[source.image_column], dict):  # a struct may hold more than an image
        features[source.image_column] = datasets.Image()
    features |= dict.fromkeys(masker.columns, datasets.Image())
    counts = MaskCounts()
    rows: list[dict[str, Any]] = []
    records = reader.read(shard)
    while batch := list(islice(records, BATCH)):
        for record, image, masks in _masked(batch, source.image_column, masker, threshold, counts):
            pictures = {name: _with_bytes(source, record, name) for name in others if name != source.image_column}
            rows.append({**record, **pictures, source.image_column: image, **masks})
        bar.update(len(batch))
    table = pa.Table.from_pylist(rows, schema=features.arrow_schema)
    metadata = {**(table.schema.metadata or {}), _COUNTS: json.dumps(asdict(counts)).encode()}
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.part")
    pq.write_table(table.replace_schema_metadata(metadata), unfinished, row_group_size=ROW_GROUP)
    put_in_place(unfinished, path)


def _decoded(feature: Any) -> Any:
    """A feature whose images are decoded when they are read, however deep they lie."""
    if isinstance(feature, dict):
        return {name: _decoded(part) for name, part in feature.items()}
    if hasattr(feature, "feature"):
        return dataclasses.replace(feature, feature=_decoded(feature.feature))
    return dataclasses.replace(feature, decode=True) if hasattr(feature, "decode") else feature


def _with_bytes(source: ImageSource, record: dict[str, Any], column: str) -> Any:
    """An image cell with the file's bytes in the place of a path, which the new folder would not have."""
    try:
        data = source.read_cell(record, column)
    except UnreadableFile:
        raise
    except BrokenImage:
        return record[column]
    return record[column] if data is None or len(data) > MAX_BYTES else _cell(data, record[column])


def _cell(data: bytes, before: Any) -> dict[str, Any]:
    if not isinstance(before, dict):
        return {"bytes": data, "path": None}
    stored = before.get("path")
    return {**before, "bytes": data, "path": os.path.basename(stored) if stored else None}


def _masked(
    batch: list[tuple[ImageRow, dict[str, Any]]],
    source_column: str,
    masker: Masker,
    threshold: float,
    counts: MaskCounts,
) -> Iterator[tuple[dict[str, Any], Any, dict[str, Any]]]:
    """Record, image and masks of each row of a batch; adds to `counts`."""
    with ThreadPoolExecutor(4) as pool:
        read = list(pool.map(lambda pair: _read(pair[0]), batch))
    found = iter(masker([pixels for _, pixels in read if pixels is not None]))
    for (row, record), (data, pixels) in zip(batch, read, strict=True):
        counts.images += 1
        image = record[source_column]
        if data is not None or isinstance(image, bytes):
            image = _cell(image if data is None else data, image)
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
        yield record, image, columns


def _read(row: ImageRow) -> tuple[bytes | None, np.ndarray | None]:
    """The file's bytes, if there are any, and its pixels, if it is an image."""
    data = None
    try:
        data = row.read()
        return (data if len(data) <= MAX_BYTES else None), decode_image(data)
    except UnreadableFile:
        raise  # a later run may read it: this one must not call it broken for good
    except BrokenImage:
        # a file above the limit was read in part only: its row keeps what it has
        return (data if data is None or len(data) <= MAX_BYTES else None), None


def to_png(mask_HW: np.ndarray) -> bytes:
    """A grey-scale PNG file of a uint8 mask.

    One whose highest level is 1 of 255 is written as 0: read again, it would be taken for a mask of 0 and 1.
    """
    if mask_HW.max(initial=0) == 1:
        mask_HW = np.zeros_like(mask_HW)
    out = io.BytesIO()
    Image.fromarray(mask_HW).save(out, "PNG")
    return out.getvalue()
