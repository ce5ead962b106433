# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""The images of a split that a classifier is trained or judged on: their rows, classes, and orders to read them in."""

from __future__ import annotations

import dataclasses
from collections import abc
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mscn_hf.data.source import ImageRow, ImageSource
from mscn_hf.data.stream import Order, Sample, Share, WholeOrder, open_order

from ..reading import choose_rows

# Undecoded bytes of rows that are kept in memory; beyond that a local source is memory-mapped, a remote one streamed.
HOLD_BYTES = 2**30


@dataclass
class LabelColumn:
    """The labels of the rows that were asked for, as the source has them.

    Attributes:
        place_N: number of each row in stored order.
        labels: as the source gives them.
        names: file name of each row.
        rows: all rows of the source with access by place, or None where they can only be streamed.
    """

    place_N: np.ndarray
    labels: list[Any]
    names: list[str]
    rows: Sequence[ImageRow] | None


def read_labels(source: ImageSource, max_images: int | None, seed: int, hold_bytes: int | None = None) -> LabelColumn:
    """Reads a split once, undecoded, for its labels, and keeps the rows where they fit.

    Args:
        source: see `open_source`.
        max_images, seed: a seeded draw of this many rows, the same as `extract` takes.
        hold_bytes: limit of the rows that are kept; `HOLD_BYTES` by default.

    Raises:
        ValueError: a row has several labels.
    """
    chosen = choose_rows(source, max_images, seed)
    limit = HOLD_BYTES if hold_bytes is None else hold_bytes
    column = LabelColumn(np.empty(0, dtype=np.int64), [], [], None)
    places: list[int] = []
    held: dict[int, ImageRow] | None = {}
    size = 0
    for place, row in enumerate(source.rows()):
        if chosen is not None and not chosen[place]:
            continue
        if isinstance(row.label, list | tuple | dict | np.ndarray):
            raise ValueError(f"row {row.id} has the label {row.label!r}; this protocol takes one class an image")
        places.append(place)
        column.labels.append(row.label)
        column.names.append(row.id.rsplit("/", 1)[-1])
        size += row.size
        held = None if size > limit else held
        if held is not None:
            held[place] = row
        if len(places) == max_images:
            break
    column.place_N = np.array(places, dtype=np.int64)
    column.rows = _ByPlace(held) if held is not None else source.memory_mapped() if source.is_local else None
    return column


class _ByPlace(abc.Sequence[ImageRow]):
    """Rows that are held, by their place in the source."""

    def __init__(self, held: Mapping[int, ImageRow]) -> None:
        self._held = held

    def __len__(self) -> int:
        return len(self._held)

    def __getitem__(self, place: int) -> ImageRow:  # type: ignore[override]
        return self._held[place]


@dataclass
class Pool:
    """Images with their classes, numbered 0..K-1 (-1: a class that train does not hold).

    Attributes:
        source: where they are from.
        rows: see `LabelColumn.rows`.
        place_N: places of the images in `rows`.
        class_N: their classes, int64.
        class_of: class of each label as the source gives it.
        whole: whether these are all rows of the source.
    """

    source: ImageSource
    rows: Sequence[ImageRow] | None
    place_N: np.ndarray
    class_N: np.ndarray
    class_of: dict[Any, int]
    whole: bool

    def __len__(self) -> int:
        return len(self.place_N)

    def pick(self, index_N: np.ndarray) -> Pool:
        """These images only."""
        place_N, class_N = self.place_N[index_N], self.class_N[index_N]
        return dataclasses.replace(
            self, place_N=place_N, class_N=class_N, whole=self.whole and len(place_N) == len(self)
        )

    def labelled(self) -> Sequence[ImageRow]:
        """The rows with access by number, their label the class.

        Raises:
            ValueError: the images are a choice among those of a remote source, and too many to be held.
        """
        rows = self.rows
        if rows is None:
            rows = _ByPlace(self._read_chosen())
        return _Labelled(rows, self.place_N, self.class_N)

    def joined(self, other: Pool) -> Pool:
        """The images of both; rows of the first come first."""
        rows = _Joined(self.labelled(), other.labelled())
        classes_N = np.concatenate([self.class_N, other.class_N])
        return Pool(self.source, rows, np.arange(len(rows)), classes_N, {}, True)

    def order(self, share: Share) -> Order:
        """A training order of this rank, the label of each row its class.

        Raises:
            ValueError: see `labelled`, or fewer images than one batch for each rank.
        """
        if len(self) < share.ranks * share.batch_size:
            raise ValueError(
                f"{len(self)} training images of {self.source.name!r} are fewer than one batch of {share.batch_size} "
                f"for each of {share.ranks} process(es)"
            )
        if self.rows is None and self.whole:
            count = None if self.source.num_rows is not None else len(self)
            return _Relabelled(open_order(self.source, share, samples_per_epoch=count), self.class_of)
        return WholeOrder(self.labelled(), np.arange(len(self)), share)

    def _read_chosen(self) -> dict[int, ImageRow]:
        wanted = set(self.place_N.tolist())
        held: dict[int, ImageRow] = {}
        size = 0
        for place, row in enumerate(self.source.rows()):
            if place in wanted:
                held[place] = row
                size += row.size
            if size > 16 * HOLD_BYTES:
                raise ValueError(
                    f"{len(self)} images chosen from {self.source.name!r}, {self.source.split!r}, are to be read "
                    "in random order, which a remote data set of this size does not allow: download it and give "
                    "its folder (a validation split of its own also helps: nothing is held out of train then)"
                )
        return held


class _Joined(abc.Sequence[ImageRow]):
    """The rows of one sequence after those of another; neither is read."""

    def __init__(self, first: Sequence[ImageRow], second: Sequence[ImageRow]) -> None:
        self._first, self._second = first, second

    def __len__(self) -> int:
        return len(self._first) + len(self._second)

    def __getitem__(self, index: int) -> ImageRow:  # type: ignore[override]
        cut = len(self._first)
        return self._first[index] if index < cut else self._second[index - cut]


class _Labelled(abc.Sequence[ImageRow]):
    def __init__(self, rows: Sequence[ImageRow], place_N: np.ndarray, class_N: np.ndarray) -> None:
        self._rows, self._place_N, self._class_N = rows, place_N, class_N

    def __len__(self) -> int:
        return len(self._place_N)

    def __getitem__(self, index: int) -> ImageRow:  # type: ignore[override]
        row = self._rows[int(self._place_N[index])]
        return dataclasses.replace(row, label=int(self._class_N[index]))


class _Relabelled:
    """A streamed order with classes for labels."""

    def __init__(self, order: Order, class_of: Mapping[Any, int]) -> None:
        self.per_pass, self._order, self._class_of = order.per_pass, order, class_of

    def samples(self, epoch: int, start: int = 0) -> Iterator[Sample]:
        for sample in self._order.samples(epoch, start):
            row = dataclasses.replace(sample.row, label=self._class_of[sample.row.label])
            yield Sample(row, sample.position, sample.epoch)
