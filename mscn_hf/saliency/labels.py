# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Images and the cues' maps of a dataset as squares of one size in memory-mapped files.

Shapes: N images, L cues, S the side of the squares.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.utils.data import Dataset

from mscn_hf.data import BrokenImage, ImageSource, decode_image
from mscn_hf.data.columns import check_image_feature
from mscn_hf.data.decode import decode_mask

from .notes import first_difference, read_notes, write_notes

logger = logging.getLogger(__name__)


@dataclass
class LabelSets(Dataset):
    """Images with one or several maps each, for `refinement_loss`.

    Attributes:
        images_NSS3: uint8.
        maps: by name, uint8 or float16 (N, S, S); what the network is to learn.
        skipped: rows without a usable image or map, or without anything salient.
    """

    images_NSS3: np.ndarray
    maps: dict[str, np.ndarray]
    skipped: int = 0

    def __len__(self) -> int:
        return len(self.images_NSS3)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor | int]:
        targets = [torch.from_numpy(np.array(part[index])) for part in self.maps.values()]
        scaled = [part.float() / 255 if part.dtype == torch.uint8 else part.float() for part in targets]
        return {
            "images": torch.from_numpy(np.array(self.images_NSS3[index])).permute(2, 0, 1),
            "targets": torch.stack(scaled),
            "index": index,
        }

    def only(self, maps: dict[str, np.ndarray]) -> LabelSets:
        """The same images with other maps."""
        return LabelSets(self.images_NSS3, maps)


def read_label_sets(
    source: ImageSource, columns: Sequence[str], side: int, folder: Path, max_images: int | None, seed: int
) -> LabelSets:
    """Decodes a random part of a dataset with the cues' columns into `folder`; what is there already is used.

    Images and maps are squeezed into squares, as in DeepUSPS.

    Args:
        source: opened with `all_columns=True`.
        columns: of maps.
        side: S.
        folder: for the memory maps; (3 + L) S^2 bytes an image.
        max_images: drawn from all rows; None: all.
        seed: of the draw.

    Raises:
        ValueError: a column is missing, or no image is left.
    """
    check_columns(source, columns)
    wanted = {
        "fingerprint": source.fingerprint,
        "columns": list(columns),
        "side": side,
        "max": max_images,
        "seed": seed,
    }
    notes = folder / "labels.json"
    known = read_notes(notes)
    if first_difference(known, wanted) is not None:
        known = wanted | _decode(source, columns, side, folder, max_images, seed)
        write_notes(notes, known)
    count = known["count"]
    shape = (count, side, side)
    images = np.memmap(folder / "images.u8", np.uint8, "r", shape=(*shape, 3))
    maps: dict[str, np.ndarray] = {
        name: np.memmap(folder / f"{name}.u8", np.uint8, "r", shape=shape) for name in columns
    }
    return LabelSets(images, maps, known["skipped"])


def check_columns(source: ImageSource, columns: Sequence[str]) -> None:
    """Raises ValueError where the dataset lacks one of the cues' columns, SourceError where one holds no images."""
    missing = [column for column in columns if column not in source.features]
    if missing:
        raise ValueError(
            f"dataset {source.name!r} has no column {missing[0]!r}; make the cues' maps first: "
            f"mscn-hf saliency cues {source.name} OUT"
        )
    for column in columns:
        check_image_feature(source.features[column], column, source.name)


def _decode(
    source: ImageSource, columns: Sequence[str], side: int, folder: Path, max_images: int | None, seed: int
) -> dict[str, int]:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "labels.json").unlink(missing_ok=True)
    rows = source.count_rows()
    order = np.random.default_rng(seed).permutation(rows)
    chosen = np.zeros(rows, dtype=bool)
    chosen[order[: rows if max_images is None else max_images]] = True
    count = skipped = place = 0
    names = ["images", *columns]
    files = {name: open(folder / f"{name}.u8.part", "wb") for name in names}  # noqa: SIM115
    try:
        for chunk in source.chunks:
            for row, record in source.read_records(chunk.index):
                place += 1
                if not chosen[place - 1]:
                    continue
                try:
                    squares = [_square(decode_image(row.read()), side)]
                    for column in columns:
                        squares.append(_square(decode_mask(source.read_cell(record, column) or b""), side))
                except BrokenImage as error:
                    logger.warning("%s is left out: %s", row.id, error)
                    skipped += 1
                    continue
                if not all(square.any() for square in squares[1:]):
                    skipped += 1  # nothing stands out, so there is nothing to learn
                    continue
                for name, square in zip(names, squares, strict=True):
                    files[name].write(square.tobytes())
                count += 1
    finally:
        for file in files.values():
            file.close()
    if not count:
        raise ValueError(f"dataset {source.name!r}: none of {place} images has maps in all of {', '.join(columns)}")
    for name in names:
        os.replace(folder / f"{name}.u8.part", folder / f"{name}.u8")
    return {"count": count, "skipped": skipped}


def _square(pixels: np.ndarray, side: int) -> np.ndarray:
    image = Image.fromarray(pixels)
    # averages where it shrinks, interpolates where it enlarges
    return np.asarray(image.resize((side, side), Image.Resampling.BILINEAR))
