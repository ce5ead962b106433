# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""The order in which each rank sees a source: a pure function of (seed, epoch, ranks), entered at any sample.

A position is a number of samples, so resuming needs no saved state and reads nothing that was consumed already.
Each pass shows every row once: the rows stand in one permuted line, rank r takes the r-th of R equal stretches, and
what does not fill a last batch (less than one batch a rank) is left out of that pass.

Three orders, by what the source allows:

- `WholeOrder`: all rows permuted together. For sources that fit `window_bytes` undecoded (an image folder always
  does, as a list of paths), and for larger local ones through a memory-mapped Arrow copy made by `datasets`.
- `WindowOrder`: remote Parquet. Row groups are permuted, then read in windows of about `window_bytes`, whose rows are
  permuted among themselves. Row counts come from file footers, so a resumed pass skips windows unread.
- `UncountedOrder`: remote sources that do not tell their row count; a pass is `samples_per_epoch` long.
"""

import logging
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Protocol

import numpy as np

from .columns import SourceError
from .source import ImageRow, ImageSource

logger = logging.getLogger(__name__)

_TYPICAL_IMAGE_BYTES = 110_000  # an ImageNet JPEG; only sizes windows where the source tells no sizes
_ROW_BITS = 32


@dataclass(slots=True)
class Sample:
    """A row with its place: `position` names the row within its source whatever the order, `epoch` the pass."""

    row: ImageRow
    position: int
    epoch: int


@dataclass(frozen=True, slots=True)
class Share:
    """What one rank takes of a pass: it is rank `rank` of `ranks` and takes whole batches of `batch_size`."""

    seed: int
    rank: int = 0
    ranks: int = 1
    batch_size: int = 1

    def bounds(self, rows: int) -> tuple[int, int]:
        """First and one-past-last place of this rank in a line of `rows`, whole batches only."""
        per_rank = rows // self.ranks
        first = self.rank * per_rank
        return first, first + per_rank // self.batch_size * self.batch_size

    def random(self, *key: int) -> np.random.Generator:
        """Generator that depends on the seed and `key` alone."""
        return np.random.default_rng(np.random.SeedSequence([self.seed, *key]))


class Order(Protocol):
    """One rank's view of a source: `per_pass` samples a pass, of which any tail can be had."""

    per_pass: int

    def samples(self, epoch: int, start: int = 0) -> Iterator[Sample]:
        """Samples number `start` and later of pass `epoch` for this rank."""
        ...


class WholeOrder:
    """All rows of a source permuted together; the rows are held undecoded, or memory-mapped."""

    def __init__(self, rows: Sequence[ImageRow], positions: np.ndarray, share: Share):
        self._rows, self._positions, self._share = rows, positions, share
        first, last = share.bounds(len(positions))
        self.per_pass = last - first

    def samples(self, epoch: int, start: int = 0) -> Iterator[Sample]:
        line = self._share.random(epoch).permutation(len(self._positions))
        first, last = self._share.bounds(len(line))
        for index in line[first + start : last]:
            yield Sample(self._rows[int(index)], int(self._positions[index]), epoch)


class WindowOrder:
    """Permuted chunks, read window by window, each window's rows permuted; the next window is read ahead."""

    def __init__(self, source: ImageSource, share: Share, window_bytes: int):
        self._source, self._share, self._window_bytes = source, share, window_bytes
        total = source.num_rows
        assert total is not None
        first, last = share.bounds(total)
        self.per_pass = last - first

    def samples(self, epoch: int, start: int = 0) -> Iterator[Sample]:
        todo = []
        for number, window in enumerate(self._windows(epoch)):
            size = sum(last - first for _, first, last in window)
            if start >= size:
                start -= size
                continue
            todo.append((number, window, start))
            start = 0
        with ThreadPoolExecutor(1) as reader:
            ahead = reader.submit(self._read, todo[0][1]) if todo else None
            for place, (number, _, skip) in enumerate(todo):
                assert ahead is not None
                rows = ahead.result()
                ahead = reader.submit(self._read, todo[place + 1][1]) if place + 1 < len(todo) else None
                for index in self._share.random(epoch, self._share.rank, number).permutation(len(rows))[skip:]:
                    position, row = rows[int(index)]
                    yield Sample(row, position, epoch)

    def _windows(self, epoch: int) -> list[list[tuple[int, int, int]]]:
        """This rank's stretch of the line of permuted chunks, as windows of (chunk, first row, last row)."""
        chunks = self._source.chunks
        begin, end = self._share.bounds(sum(c.rows or 0 for c in chunks))
        windows: list[list[tuple[int, int, int]]] = [[]]
        filled = offset = 0
        for index in self._share.random(epoch).permutation(len(chunks)):
            chunk = chunks[int(index)]
            rows = chunk.rows or 0
            first, last = max(begin - offset, 0), min(end - offset, rows)
            offset += rows
            if first >= last:
                continue
            size = (chunk.bytes or rows * _TYPICAL_IMAGE_BYTES) * (last - first) // max(rows, 1)
            if windows[-1] and filled + size > self._window_bytes:
                windows.append([])
                filled = 0
            windows[-1].append((int(index), first, last))
            filled += size
        return windows

    def _read(self, window: list[tuple[int, int, int]]) -> list[tuple[int, ImageRow]]:
        rows: list[tuple[int, ImageRow]] = []
        for index, first, last in window:
            before = len(rows)
            for number, row in enumerate(islice(self._source.read_chunk(index), last)):
                if number >= first:
                    rows.append((_position(index, number), row))
            if len(rows) - before != last - first:
                raise SourceError(
                    f"dataset {self._source.name!r} changed while it was read: chunk {index} gave "
                    f"{len(rows) - before} of {last - first} rows; pin a revision"
                )
        return rows


class UncountedOrder:
    """A source without row counts: chunks dealt to ranks, read window by window for `samples_per_epoch` samples.

    A rank whose chunks end early begins them anew, in another order (said in the log). A resumed pass is read from
    its beginning, undecoded, since nothing else tells where it stood.
    """

    def __init__(self, source: ImageSource, share: Share, window_bytes: int, samples_per_epoch: int):
        if len(source.chunks) < share.ranks:
            raise SourceError(
                f"dataset {source.name!r} tells no row count and has {len(source.chunks)} files for {share.ranks} "
                "processes: use at least one file a process, or Parquet files"
            )
        self._source, self._share, self._window_bytes = source, share, window_bytes
        self.per_pass = samples_per_epoch // share.ranks // share.batch_size * share.batch_size

    def samples(self, epoch: int, start: int = 0) -> Iterator[Sample]:
        return islice(self._shuffled(epoch), start, self.per_pass)

    def _shuffled(self, epoch: int) -> Iterator[Sample]:
        window: list[Sample] = []
        filled = number = 0
        for sample in self._read(epoch):
            window.append(sample)
            filled += sample.row.size
            if filled >= self._window_bytes:
                yield from self._permuted(window, epoch, number)
                window, filled, number = [], 0, number + 1
            elif number == 0 and len(window) >= self.per_pass:
                break
        yield from self._permuted(window, epoch, number)

    def _permuted(self, window: list[Sample], epoch: int, number: int) -> Iterator[Sample]:
        for index in self._share.random(epoch, self._share.rank, number).permutation(len(window)):
            yield window[int(index)]

    def _read(self, epoch: int) -> Iterator[Sample]:
        mine = self._share.random(epoch).permutation(len(self._source.chunks))[self._share.rank :: self._share.ranks]
        lap = 0
        while True:
            any_row = False
            for index in self._share.random(epoch, self._share.rank, lap).permutation(mine) if lap else mine:
                for number, row in enumerate(self._source.read_chunk(int(index))):
                    any_row = True
                    yield Sample(row, _position(int(index), number), epoch)
            if not any_row:
                raise SourceError(f"dataset {self._source.name!r}: the files of rank {self._share.rank} hold no row")
            lap += 1
            logger.warning("pass %d: rank %d has read all its files and begins them anew", epoch, self._share.rank)


def open_order(
    source: ImageSource, share: Share, *, window_bytes: int = 2**30, samples_per_epoch: int | None = None
) -> Order:
    """Chooses the order for a source (see the module's head).

    Args:
        window_bytes: undecoded bytes that a rank may hold for shuffling; while one window is used up the next is
            read, so memory reaches twice this.
        samples_per_epoch: length of a pass over all ranks, for sources without a row count and for them only.

    Raises:
        SourceError: fewer rows than one batch a rank, or a missing or needless `samples_per_epoch`.
    """
    if source.num_rows is None and source.is_local:
        source.count_rows()
    order: Order
    if source.num_rows is None:
        if samples_per_epoch is None:
            raise SourceError(f"dataset {source.name!r} tells no row count: set samples_per_epoch")
        order = UncountedOrder(source, share, window_bytes, samples_per_epoch)
        rows = samples_per_epoch
    else:
        rows = source.num_rows
        if samples_per_epoch is not None:
            raise SourceError(
                f"samples_per_epoch={samples_per_epoch} is for sources without a row count; "
                f"dataset {source.name!r} has {rows} rows"
            )
        if _fits(source, window_bytes):
            held = [
                (_position(c.index, n), row) for c in source.chunks for n, row in enumerate(source.read_chunk(c.index))
            ]
            order = WholeOrder([row for _, row in held], np.array([p for p, _ in held], dtype=np.int64), share)
        elif source.is_local:
            positions = np.concatenate([np.arange(c.rows or 0) + _position(c.index, 0) for c in source.chunks])
            order = WholeOrder(source.memory_mapped(), positions, share)
        else:
            order = WindowOrder(source, share, window_bytes)
    if order.per_pass == 0:
        raise SourceError(
            f"dataset {source.name!r}, split {source.split!r}, has {rows} rows: fewer than one batch of "
            f"{share.batch_size} for each of {share.ranks} process(es); make the batch smaller"
        )
    return order


def _fits(source: ImageSource, window_bytes: int) -> bool:
    sizes = [chunk.bytes for chunk in source.chunks]
    if all(size is not None for size in sizes):
        return sum(size or 0 for size in sizes) <= window_bytes
    if not source.is_local:
        return False
    held = 0
    for row in source.rows():
        held += row.size
        if held > window_bytes:
            return False
    return True


def _position(chunk: int, row: int) -> int:
    return (chunk << _ROW_BITS) | row
