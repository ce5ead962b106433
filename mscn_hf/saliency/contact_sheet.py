# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""A picture of saliency: a row for each image, a column for the image and for each map."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

_TILE, _GAP, _MARGIN, _HEADER = 150, 8, 20, 44
_PAPER, _INK = (252, 251, 249), (38, 38, 42)


def draw_saliency(rows: Sequence[Mapping[str, np.ndarray | None]], path: str | Path) -> Path:
    """Writes a PNG.

    Args:
        rows: one for each image: column name -> uint8 (H, W, 3) or (H, W), or None for an empty place.
        path: of the PNG.

    Returns:
        The path written.
    """
    columns = list(dict.fromkeys(name for row in rows for name in row))
    heights = [_height(row) for row in rows]
    width = 2 * _MARGIN + len(columns) * (_TILE + _GAP) - _GAP
    sheet = Image.new("RGB", (width, _MARGIN + _HEADER + sum(heights) + _GAP * len(rows)), _PAPER)
    pen = ImageDraw.Draw(sheet)
    for place, name in enumerate(columns):
        left = _MARGIN + place * (_TILE + _GAP)
        pen.text((left, _MARGIN), name.replace("_", " "), font=ImageFont.load_default(13), fill=_INK)
    top = _MARGIN + _HEADER - 16
    for row, height in zip(rows, heights, strict=True):
        for place, name in enumerate(columns):
            pixels = row.get(name)
            if pixels is not None:
                sheet.paste(_tile(pixels, height), (_MARGIN + place * (_TILE + _GAP), top))
        top += height + _GAP
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    sheet.save(path)
    return Path(path)


def _tile(pixels: np.ndarray, height: int) -> Image.Image:
    """The picture as large as a tile of that height can hold it, in the middle; beside it the sheet's colour."""
    # not ImageOps.pad, which fails where a side of the thinnest pictures rounds to 0
    scale = min(_TILE / pixels.shape[1], height / pixels.shape[0])
    inner = [max(1, round(side * scale)) for side in (pixels.shape[1], pixels.shape[0])]
    tile = Image.new("RGB", (_TILE, height), _PAPER)
    picture = Image.fromarray(pixels).convert("RGB").resize(inner, Image.Resampling.BICUBIC)
    tile.paste(picture, ((_TILE - inner[0]) // 2, (height - inner[1]) // 2))
    return tile


def _height(row: Mapping[str, np.ndarray | None]) -> int:
    first = next((pixels for pixels in row.values() if pixels is not None), None)
    if first is None:
        return _TILE
    return int(np.clip(round(_TILE * first.shape[0] / first.shape[1]), _TILE // 3, 2 * _TILE))
