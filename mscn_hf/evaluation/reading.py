# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Rows of a source on their way to an encoder: which ones, in which batches, decoded and preprocessed."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import numpy as np
from PIL import Image
from torch.utils.data import Dataset

from mscn_hf.data.decode import BrokenImage, decode_image
from mscn_hf.data.source import ImageRow, ImageSource

from .encoder import PreprocessFn
from .multi_label import plain_label

logger = logging.getLogger(__name__)

NumberedRow = tuple[int, ImageRow]

# A photograph thinner than this is cut to its middle before it is resized: resizing a 1x3000 image so that its
# shorter side is 256 would make 768,000 columns, of which the centre crop keeps 224.
LONGEST_SIDE_RATIO = 16


def choose_rows(source: ImageSource, max_images: int | None, seed: int) -> np.ndarray | None:
    """Mask of rows to take, or None for all (or for the first ones of a source of unknown length)."""
    if max_images is None:
        return None
    if source.num_rows is None and source.is_local:
        source.count_rows()  # image folders are sorted by class: their first rows would be of one class only
    count = source.num_rows
    if count is None:
        logger.warning("%s does not tell its length: taking its first %d rows", source.name, max_images)
        return None
    if max_images >= count:
        return None
    chosen = np.zeros(count, dtype=bool)
    chosen[np.random.default_rng(seed).choice(count, max_images, replace=False)] = True
    return chosen


class RankBatches:
    """Lists of (position, undecoded row): every R-th batch of the chosen rows, in stored order."""

    def __init__(
        self,
        source: ImageSource,
        batch_size: int,
        chosen: np.ndarray | None,
        limit: int | None,
        rank: int,
        world: int,
        multi_label: bool = False,
    ) -> None:
        self.source, self.batch_size, self.chosen, self.limit = source, batch_size, chosen, limit
        self.rank, self.world, self.multi_label = rank, world, multi_label

    def __iter__(self) -> Iterator[list[NumberedRow]]:
        batch: list[NumberedRow] = []
        taken = 0
        for position, row in enumerate(self.source.rows()):
            if self.chosen is not None and not self.chosen[position]:
                continue
            row.label = plain_label(row.label)
            if not self.multi_label and isinstance(row.label, list | tuple | dict):
                raise ValueError(f"row {row.id} has the label {row.label!r}; this protocol takes one class an image")
            batch.append((position, row))
            taken += 1
            if len(batch) == self.batch_size:
                if (taken // self.batch_size - 1) % self.world == self.rank:
                    yield batch
                batch = []
            if taken == self.limit:
                break
        if batch and (taken // self.batch_size) % self.world == self.rank:
            yield batch


class Preprocessor(Dataset):
    """Worker half. The DataLoader's indices are the undecoded rows themselves: one reader, which fixes the order."""

    def __init__(self, preprocess: PreprocessFn) -> None:
        self.preprocess = preprocess

    def __getitems__(self, rows: list[NumberedRow]) -> dict[str, Any]:
        images, good, skipped = [], [], []
        for position, row in rows:
            try:
                images.append(_cut_to_middle(Image.fromarray(decode_image(row.read()))))
                good.append((position, row.id, row.label))
            except BrokenImage as error:
                skipped.append((row.id, str(error)))
        return {"images": self.preprocess(images) if images else None, "good": good, "skipped": skipped}

    def __getitem__(self, index: Any) -> Any:
        return self.__getitems__([index])


def _cut_to_middle(image: Image.Image) -> Image.Image:
    width, height = image.size
    limit = LONGEST_SIDE_RATIO * min(width, height)
    if max(width, height) <= limit:
        return image
    left, top = max(0, (width - limit) // 2), max(0, (height - limit) // 2)
    return image.crop((left, top, min(width, left + limit), min(height, top + limit)))
