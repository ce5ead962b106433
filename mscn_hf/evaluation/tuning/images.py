# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""The images of a split that a classifier is trained or judged on: their rows, classes, and orders to read them in."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mscn_hf.data.source import ImageRow, ImageSource
from mscn_hf.data.stream import Order, Sample, Share, WholeOrder, open_order

from ..reading import choose_rows
from .rows import HOLD_BYTES, ChosenRows, HeldRows, JoinedRows, PickedRows, mapped_rows


@dataclass
class LabelColumn:
    """The labels of the rows that were asked for, as the source has them.

    Attributes:
        place_N: number of each row in stored order.
        labels: as the source gives them.
        names: file name of each row; empty where they were not asked for.
        rows: all rows of the source with access by place, or None where they can only be streamed.
    """

    place_N: np.ndarray
    labels: list[Any]
    names: list[str]
    rows: Sequence[ImageRow] | None


def read_labels(
    source: ImageSource, max_images: int | None, seed: int, hold_bytes: int | None = None, names: bool = False
) -> LabelColumn:
    """Reads a split once, undecoded, for its labels, and keeps the rows where they fit.

    Once the rows no longer fit, the labels are read without the images where the source can do so.

    Args:
        source: see `open_source`.
        max_images, seed: a seeded draw of this many rows, the same as `extract` takes.
        hold_bytes: limit of the rows that are kept; `HOLD_BYTES` by default.
        names: the file names are wanted too, which takes the images: they are parts of the same column.

    Raises:
        ValueError: a row has several labels.
        SourceError: the source changed while it was read.
    """
    chosen = choose_rows(source, max_images, seed)
    limit = HOLD_BYTES if hold_bytes is None else hold_bytes
    places: list[int] = []
    labels: list[Any] = []
    found_names: list[str] = []
    held: dict[int, ImageRow] | None = {}
    size = 0
    for place, row in enumerate(source.rows()):
        if chosen is not None and not chosen[place]:
            continue
        _check_label(row.label, f"row {row.id}")
        places.append(place)
        labels.append(row.label)
        if names:
            found_names.append(row.id.rsplit("/", 1)[-1])
        size += row.size
        if held is not None and size > limit:
            held = None
            column = None if names else source.labels()
            if column is not None:
                return _without_images(source, column, chosen)
        if held is not None:
            held[place] = row
        if len(places) == max_images:
            break
    rows = HeldRows(held) if held is not None else _unheld(source)
    return LabelColumn(np.array(places, dtype=np.int64), labels, found_names, rows)


def _without_images(source: ImageSource, column: Sequence[Any], chosen: np.ndarray | None) -> LabelColumn:
    place_N = np.arange(len(column)) if chosen is None else np.flatnonzero(chosen)
    labels = [column[place] for place in place_N.tolist()]
    for place, label in zip(place_N.tolist(), labels, strict=True):
        _check_label(label, f"row number {place}")
    return LabelColumn(place_N, labels, [], _unheld(source))


def _unheld(source: ImageSource) -> Sequence[ImageRow] | None:
    return mapped_rows(source) if source.is_local else None


def _check_label(label: Any, where: str) -> None:
    if isinstance(label, list | tuple | dict | np.ndarray):
        raise ValueError(
            f"{where} has the label {label!r}; this protocol takes one class an image (sets with lists of classes, as "
            "VOC2007, cannot be trained on here: score them by the protocol `transfer`)"
        )


@dataclass
class Pool:
    """Images with their classes, numbered 0..K-1 (-1: a class that train does not hold).

    Attributes:
        source: where they are from.
        rows: see `LabelColumn.rows`; of a choice among streamed rows those alone, read when they are first needed.
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

    def __post_init__(self) -> None:
        if self.rows is None and not self.whole:
            self.rows = ChosenRows(self.source, self.place_N)

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
            ValueError: the images are those of a remote source, and too many to be held.
        """
        if self.rows is None:
            self.rows = ChosenRows(self.source, self.place_N)
        if isinstance(self.rows, ChosenRows):
            self.rows.read()
        return PickedRows(self.rows, self.place_N, self.class_N)

    def in_order(self) -> Iterator[ImageRow]:
        """The rows in stored order, their label the class; a whole remote source is streamed.

        Raises:
            ValueError: see `labelled`.
        """
        if self.rows is not None:
            rows = self.labelled()
            yield from (rows[number] for number in range(len(rows)))
            return
        for row, label in zip(self.source.rows(), self.class_N.tolist(), strict=True):
            yield dataclasses.replace(row, label=label)

    def joined(self, other: Pool) -> Pool:
        """The images of both; rows of the first come first."""
        rows = JoinedRows(self.labelled(), other.labelled())
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
        if self.rows is None:
            count = None if self.source.num_rows is not None else len(self)
            return _Relabelled(open_order(self.source, share, samples_per_epoch=count), self.class_of)
        return WholeOrder(self.labelled(), np.arange(len(self)), share)


class _Relabelled:
    """A streamed order with classes for labels."""

    def __init__(self, order: Order, class_of: Mapping[Any, int]) -> None:
        self.per_pass, self._order, self._class_of = order.per_pass, order, class_of

    def samples(self, epoch: int, start: int = 0) -> Iterator[Sample]:
        for sample in self._order.samples(epoch, start):
            row = dataclasses.replace(sample.row, label=self._class_of[sample.row.label])
            yield Sample(row, sample.position, sample.epoch)
