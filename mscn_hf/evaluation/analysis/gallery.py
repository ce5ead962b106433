# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Queries and the training images that lie nearest to them, as a picture."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont, ImageOps

from mscn_hf.data.decode import decode_image
from mscn_hf.data.source import ImageRow, ImageSource

_TILE, _GAP, _FRAME, _CAPTION, _MARGIN, _HEADER = 112, 10, 4, 16, 24, 30
_PAPER, _INK, _PALE_INK = (252, 251, 249), (38, 38, 42), (110, 110, 116)
# Blue and vermilion are told apart by everybody.
RIGHT, WRONG = (0, 114, 178), (213, 94, 0)


@dataclass
class GalleryTile:
    """An image with its caption; `right` None has no frame, True a blue one, False an orange one."""

    image: Image.Image
    caption: str = ""
    right: bool | None = None


def draw_queries(class_M: np.ndarray | None, count: int, total: int, seed: int) -> np.ndarray:
    """Positions of at most `count` queries, drawn with `seed`, spread evenly over the classes where there are any.

    Classes come in a random order and give one query each until all have given one, then a second, and so on.
    """
    random = np.random.default_rng(seed)
    order_M = random.permutation(total)
    if class_M is None:
        return np.sort(order_M[:count])
    shuffled = random.permutation(int(class_M.max()) + 1)
    turn: dict[int, int] = {}
    keys = []
    for position in order_M:
        number = int(class_M[position])
        turn[number] = turn.get(number, 0) + 1
        keys.append((turn[number], int(shuffled[number])))
    chosen = sorted(range(total), key=keys.__getitem__)[:count]
    return order_M[chosen]


def read_images(source: ImageSource, positions: Iterable[int]) -> dict[int, Image.Image]:
    """Decoded images of a source by their position in stored order.

    Pieces of the source without a wanted row are not read where it tells the size of its pieces; else reading ends
    with the last wanted row.
    """
    wanted = {int(position) for position in positions}
    found: dict[int, Image.Image] = {}
    for position, row in _rows_of(source, wanted):
        if position in wanted:
            found[position] = Image.fromarray(decode_image(row.read()))
            if len(found) == len(wanted):
                break
    return found


def _rows_of(source: ImageSource, wanted: set[int]) -> Iterable[tuple[int, ImageRow]]:
    chunks = getattr(source, "chunks", None)
    if not chunks or any(chunk.rows is None for chunk in chunks):
        yield from enumerate(source.rows())
        return
    start = 0
    for chunk in chunks:
        if any(start <= position < start + chunk.rows for position in wanted):
            yield from enumerate(source.read_chunk(chunk.index), start=start)
        start += chunk.rows


def draw_gallery(rows: Sequence[tuple[GalleryTile, Sequence[GalleryTile]]], path: str | Path, title: str) -> Path:
    """Saves a picture with a line for each query: the query, then its neighbours from near to far.

    Raises:
        ValueError: no row.
    """
    if not rows:
        raise ValueError("a gallery needs at least one query")
    columns = 1 + max(len(neighbours) for _, neighbours in rows)
    step = (_TILE + _GAP, _TILE + _CAPTION + _GAP)
    size = (2 * _MARGIN + columns * step[0] + _GAP, 2 * _MARGIN + _HEADER + len(rows) * step[1])
    sheet = Image.new("RGB", size, _PAPER)
    pen = ImageDraw.Draw(sheet)
    pen.text((_MARGIN, _MARGIN - 6), title, font=ImageFont.load_default(15), fill=_INK)
    for line, (query, neighbours) in enumerate(rows):
        top = _MARGIN + _HEADER + line * step[1]
        for column, tile in enumerate([query, *neighbours]):
            left = _MARGIN + column * step[0] + (2 * _GAP if column else 0)
            _draw_tile(sheet, pen, tile, left, top)
    path = Path(path)
    sheet.save(path)
    return path


def _draw_tile(sheet: Image.Image, pen: ImageDraw.ImageDraw, tile: GalleryTile, left: int, top: int) -> None:
    shown = ImageOps.fit(tile.image.convert("RGB"), (_TILE, _TILE), Image.Resampling.BICUBIC)
    if tile.right is not None:
        pen.rectangle(
            (left - _FRAME, top - _FRAME, left + _TILE + _FRAME - 1, top + _TILE + _FRAME - 1),
            fill=RIGHT if tile.right else WRONG,
        )
    sheet.paste(shown, (left, top))
    font = ImageFont.load_default(11)
    caption = tile.caption
    while caption and pen.textlength(caption, font=font) > _TILE:
        caption = caption[:-2].rstrip() + "…" if len(caption) > 2 else ""
    pen.text((left, top + _TILE + _FRAME), caption, font=font, fill=_PALE_INK)
