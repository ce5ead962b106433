# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""A picture of what the network sees: for a few images, the original and every step of every view."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from .collator import ViewCollator
from .draws import Draws
from .masking import draw_masks, mask_holes
from .resample import draw_crops

_STEPS = ("crop", "background", "jitter", "grayscale", "blur", "solarize", "normalize", "high-pass", "holes", "mask")
_BATCH_KEYS = ("canvas", "valid_hw", "position", "foreground", "foreground_share")
_LEGEND = "   \u00b7   ".join(
    ("faded: the step left this image alone", "high-pass: 0 is mid-grey", "framed: what the network sees")
)
_TILE, _GAP, _CAPTION, _MARGIN, _HEADER, _BLOCK_GAP = 144, 14, 22, 28, 74, 44
_PAPER, _INK, _PALE_INK, _RULE = (252, 251, 249), (38, 38, 42), (110, 110, 116), (222, 220, 216)
_VIEW_INKS = ((47, 109, 181), (214, 106, 36), (56, 142, 92), (142, 91, 166), (176, 128, 16), (32, 150, 150))
# High-passed values are shown as 0.5 + value / 2: their standard deviation is about 0.37 on photographs.
_HIGH_PASS_GAIN = 0.5
_WHITE, _HOLE_DEPTH = 0.93, 0.7


def draw_contact_sheet(
    collator: ViewCollator, batch: Mapping[str, Any], path: str | Path, max_images: int = 8
) -> Path:
    """Write a PNG with one block an image and one row a view: original with its crops, then each step by name.

    Tiles that a step left unchanged are faded; the framed one is what the network sees. High-passed values are shown
    around mid-grey. `holes` shows a mask alone: dark where all channels are lost, coloured where only some are.

    Args:
        collator: makes the views, by the same code as in training.
        batch: as `collator.collate` makes it.
        path: of the PNG; its folder is made if it is missing.
        max_images: at most so many images of the batch are shown.

    Returns:
        The path written.
    """
    shown = min(max_images, len(batch["canvas"]))
    batch = {key: batch[key][:shown].cpu() for key in _BATCH_KEYS if key in batch} | {"epoch": batch["epoch"]}
    views = collator.recipe.expand()
    rows = [_tiles(collator, batch, index) for index in range(len(views))]
    steps = [step for step in _STEPS if any(step in row for row in rows)]

    block_height = len(views) * (_CAPTION + _TILE + _GAP) - _GAP + _BLOCK_GAP
    width = max(2 * _MARGIN + (len(steps) + 1) * (_TILE + _GAP), 640)
    sheet = Image.new("RGB", (width, _MARGIN + _HEADER + shown * block_height), _PAPER)
    pen = ImageDraw.Draw(sheet)
    title = f"{_plural(len(views), 'view')} of {_plural(shown, 'image')}"
    pen.text((_MARGIN, _MARGIN - 6), title, font=_font(24), fill=_INK)
    pen.text((_MARGIN, _MARGIN + 30), _LEGEND, font=_font(13), fill=_PALE_INK)
    for number in range(shown):
        top = _MARGIN + _HEADER + number * block_height
        if number:
            pen.line((_MARGIN, top - _BLOCK_GAP // 2, width - _MARGIN, top - _BLOCK_GAP // 2), fill=_RULE)
        height, breadth = batch["valid_hw"][number].tolist()
        pen.text((_MARGIN, top), f"original {breadth} x {height}", font=_font(13), fill=_PALE_INK)
        sheet.paste(_original(collator, batch, number), (_MARGIN, top + _CAPTION))
        for row, (name, copy, spec) in enumerate(views):
            label = name if spec.count == 1 else f"{name} {copy + 1}/{spec.count}"
            corner = (_MARGIN + _TILE + 2 * _GAP, top + row * (_CAPTION + _TILE + _GAP))
            _draw_row(sheet, pen, corner, label, row, [(step, rows[row].get(step)) for step in steps], number)
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(path, optimize=True)
    return path


def _draw_row(
    sheet: Image.Image,
    pen: ImageDraw.ImageDraw,
    corner: tuple[int, int],
    label: str,
    row: int,
    cells: list[tuple[str, "_Tiles | None"]],
    number: int,
) -> None:
    """One view of one image: caption and tile of each step, in the columns that all views share."""
    ink = _VIEW_INKS[row % len(_VIEW_INKS)]
    last = max(column for column, (_, tiles) in enumerate(cells) if tiles is not None)
    for column, (step, tiles) in enumerate(cells):
        left, top = corner[0] + column * (_TILE + _GAP), corner[1]
        indent = 0
        if column == 0:
            pen.text((left, top), label, font=_font(13), fill=ink)
            indent = round(pen.textlength(label, font=_font(13))) + 8
        if tiles is None:
            continue
        no_holes = step == "holes" and tiles.unchanged[number]
        pen.text((left + indent, top), "no holes" if no_holes else step, font=_font(13), fill=_PALE_INK)
        if no_holes:
            continue
        tile = tiles.images[number]
        if tiles.unchanged[number] and column != last:
            tile = Image.blend(tile, Image.new("RGB", tile.size, _PAPER), 0.72)
        sheet.paste(tile, (left, top + _CAPTION))
        if column == last:
            x, y = left - 3, top + _CAPTION - 3
            pen.rectangle((x, y, x + _TILE + 5, y + _TILE + 5), outline=ink, width=3)


@dataclass
class _Tiles:
    """What one step made of each image, and whether it left the image as it was."""

    images: list[Image.Image]
    unchanged: list[bool]


def _tiles(collator: ViewCollator, batch: Mapping[str, Any], index: int) -> dict[str, _Tiles]:
    """The tiles of one view, by step."""
    name, copy, spec = collator.recipe.expand()[index]
    traced = collator.trace(batch, name, copy)
    names = [step for step, _ in traced]
    mean = torch.tensor(collator.recipe.image_mean)[:, None, None]
    std = torch.tensor(collator.recipe.image_std)[:, None, None]
    tiles = {}
    before = None
    for step, images in traced:
        same = [False] * len(images) if before is None else (images == before).flatten(1).all(1).tolist()
        before = images
        if step == "normalize" and step != names[-1]:
            continue  # the same picture as before it
        if step in ("high-pass", "mask") and "high-pass" in names:
            images = 0.5 + _HIGH_PASS_GAIN * images
        elif step in ("normalize", "mask"):
            images = images * std + mean
        if step == "mask":
            draws = Draws(collator.seed, int(batch["epoch"]), batch["position"])
            holes = mask_holes(draw_masks(draws, index, spec), spec)
            intact = (~holes).flatten(1).all(1).tolist()
            tiles["holes"] = _Tiles([_tile(keep, spec.size) for keep in _WHITE - _HOLE_DEPTH * holes.float()], intact)
        tiles[step] = _Tiles([_tile(image, spec.size) for image in images], same)
    return tiles


def _tile(image_CHW: Tensor, size: int) -> Image.Image:
    pixels = image_CHW.clamp(0, 1).mul(255).round().byte().permute(1, 2, 0).contiguous().numpy()
    # whole multiples show true pixels; anything else is resampled
    method = Image.Resampling.NEAREST if _TILE % size == 0 else Image.Resampling.BICUBIC
    return Image.fromarray(pixels).resize((_TILE, _TILE), method)


def _original(collator: ViewCollator, batch: Mapping[str, Any], number: int) -> Image.Image:
    """The image inside its canvas, fitted into a tile, with the rectangle of each view's crop."""
    height, width = (int(side) for side in batch["valid_hw"][number])
    pixels = batch["canvas"][number, :, :height, :width].permute(1, 2, 0).contiguous().numpy()
    scale = _TILE / max(height, width)
    fitted = (max(1, round(width * scale)), max(1, round(height * scale)))
    tile = Image.fromarray(pixels).resize(fitted, Image.Resampling.BICUBIC)
    pen = ImageDraw.Draw(tile)
    draws = Draws(collator.seed, int(batch["epoch"]), batch["position"])
    drawn = collator.recipe.draw_indices()
    for index, (_, _, spec) in enumerate(collator.recipe.expand()):
        if drawn[index] != index:
            continue
        crops = draw_crops(draws, index, spec, batch["valid_hw"])
        left, top = int(crops.left_B[number]) * scale, int(crops.top_B[number]) * scale
        right, bottom = left + int(crops.width_B[number]) * scale, top + int(crops.height_B[number]) * scale
        box = (round(left), round(top), max(round(left), round(right) - 1), max(round(top), round(bottom) - 1))
        pen.rectangle(box, outline=_VIEW_INKS[index % len(_VIEW_INKS)], width=2)
    return tile


def _font(points: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(points)


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
