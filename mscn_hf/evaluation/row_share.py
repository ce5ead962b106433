# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""A test set for data that ships without one: a fixed share of a split's rows, and the rest of them."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

from mscn_hf.data.source import Chunk, ImageRow, ImageSource, MappedRows


@dataclass
class RowShare(ImageSource):
    """Rows of a split on one side of a fixed division. Made by `divide_rows`.

    Which side a row is on follows from its place in the stored order alone (a hash of chunk and row number), so
    neither labels nor another pass are needed, and both sides are the same wherever the data lies.
    """

    share: float = 0.0
    inside: bool = True

    def read_chunk(self, index: int) -> Iterator[ImageRow]:
        """Rows of one chunk on this side, in stored order."""
        for number, row in enumerate(super().read_chunk(index)):
            if (_uniform(index, number) < self.share) == self.inside:
                yield row

    def memory_mapped(self) -> MappedRows:
        """Not for a part of a split."""
        raise ValueError(f"{self.name}, {self.split}: a share of a split cannot be read by row number")


def divide_rows(source: ImageSource, share: float) -> tuple[RowShare, RowShare]:
    """About `share` of the rows of a split, and the others; row counts are found by reading.

    Raises:
        ValueError: a share outside (0, 1).
    """
    if not 0 < share < 1:
        raise ValueError(f"a share of a split must lie in (0, 1), got {share}")
    fields = {field.name: getattr(source, field.name) for field in dataclasses.fields(ImageSource)}

    def side(inside: bool) -> RowShare:
        percent = 100 * (share if inside else 1 - share)
        return RowShare(
            **{
                **fields,
                "split": f"{source.split}[{percent:g}%]",
                "fingerprint": f"{source.fingerprint}-{'in' if inside else 'out'}-{share:g}",
                "chunks": [Chunk(chunk.index) for chunk in source.chunks],
            },
            share=share,
            inside=inside,
        )

    return side(True), side(False)


def _uniform(chunk: int, number: int) -> float:
    """A number in [0, 1) that the place of a row fixes."""
    return int.from_bytes(hashlib.sha256(f"{chunk}/{number}".encode()).digest()[:7], "big") / 2**56
