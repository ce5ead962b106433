# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Rows of a split by number: held in memory, chosen from a remote source, or mapped from disk."""

from __future__ import annotations

import dataclasses
from collections import abc
from collections.abc import Mapping, Sequence

import numpy as np

from mscn_hf.data.source import ImageRow, ImageSource, open_source

from ..row_share import RowShare

# Undecoded bytes of rows that are kept in memory; beyond that a local source is memory-mapped, a remote one streamed.
HOLD_BYTES = 2**30


class HeldRows(abc.Sequence[ImageRow]):
    """Rows in memory, by their place in the source."""

    def __init__(self, held: Mapping[int, ImageRow]) -> None:
        self._held = held

    def __len__(self) -> int:
        return len(self._held)

    def __getitem__(self, place: int) -> ImageRow:  # type: ignore[override]
        return self._held[place]


class ChosenRows(abc.Sequence[ImageRow]):
    """Rows of a remote source by their place, read together by the first `read` and held from then on.

    The parts that a task takes of them, for every grid point, for the choice and for the last run, share one reading.
    """

    def __init__(self, source: ImageSource, place_N: np.ndarray) -> None:
        self._source, self._wanted = source, set(place_N.tolist())
        self._held: dict[int, ImageRow] = {}

    def read(self) -> None:
        """Reads the source unless that was done.

        Raises:
            ValueError: the rows are too many to be held.
        """
        if self._held:
            return
        held: dict[int, ImageRow] = {}
        size = 0
        for place, row in enumerate(self._source.rows()):
            if place in self._wanted:
                held[place] = row
                size += row.size
            if size > 16 * HOLD_BYTES:
                raise ValueError(
                    f"{len(self._wanted)} images chosen from {self._source.name!r}, {self._source.split!r}, are to be "
                    "read in random order, which a remote data set of this size does not allow: download it and give "
                    "its folder (a validation split of its own also helps: nothing is held out of train then)"
                )
            if len(held) == len(self._wanted):
                break
        self._held = held

    def __len__(self) -> int:
        return len(self._wanted)

    def __getitem__(self, place: int) -> ImageRow:  # type: ignore[override]
        return self._held[place]


class PickedRows(abc.Sequence[ImageRow]):
    """Some rows of a sequence, by their number among these; `class_N` in place of their labels where it is given."""

    def __init__(self, rows: Sequence[ImageRow], place_N: np.ndarray, class_N: np.ndarray | None = None) -> None:
        self._rows, self._place_N, self._class_N = rows, place_N, class_N

    def __len__(self) -> int:
        return len(self._place_N)

    def __getitem__(self, index: int) -> ImageRow:  # type: ignore[override]
        row = self._rows[int(self._place_N[index])]
        return row if self._class_N is None else dataclasses.replace(row, label=int(self._class_N[index]))


class JoinedRows(abc.Sequence[ImageRow]):
    """The rows of one sequence after those of another; neither is read."""

    def __init__(self, first: Sequence[ImageRow], second: Sequence[ImageRow]) -> None:
        self._first, self._second = first, second

    def __len__(self) -> int:
        return len(self._first) + len(self._second)

    def __getitem__(self, index: int) -> ImageRow:  # type: ignore[override]
        cut = len(self._first)
        return self._first[index] if index < cut else self._second[index - cut]


def mapped_rows(source: ImageSource) -> Sequence[ImageRow]:
    """All rows of a local source by place, from the Arrow copy that `datasets` keeps of it on disk.

    Raises:
        SourceError: the source changed since it was opened.
    """
    if not isinstance(source, RowShare):
        source.count_rows()  # tar files do not tell; to be mapped is to be compared with the count
        return source.memory_mapped()
    # The copy is of the whole split, which a side of a division names with its share behind it: `train[90%]`.
    whole = open_source(
        source.name,
        config_name=source.config_name,
        split=source.split.rpartition("[")[0],
        image_column=source.image_column,
        label_column=source.label_column,
        mask_column=source.mask_column,
        revision=source.revision,
    )
    whole.count_rows()
    starts = np.cumsum([0, *(chunk.rows or 0 for chunk in whole.chunks)])
    numbers = (row.id.split("/", 2) for row in source.rows())
    place_N = np.array([starts[int(chunk)] + int(number) for chunk, number, *_ in numbers], dtype=np.int64)
    return PickedRows(whole.memory_mapped(), place_N)
