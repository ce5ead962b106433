# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Encoded images -> one uint8 tensor of equal squares ("canvases"), decoded once, moved once."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image

from mscn_hf.views.background import FOREGROUND

from .decode import MAX_BYTES, MAX_PIXELS, BrokenImage, decode_image, decode_mask, upright_size
from .source import ImageRow
from .stream import Sample


class CanvasCollate:
    """Decodes the samples of one batch and lays each image in the top-left corner of a square canvas.

    Images are only ever shrunk (to a longer side of `canvas_size`), never enlarged; views crop inside the valid
    rectangle. A broken image keeps its slot: another good image of the same batch stands in for it, and its id and
    reason are returned under `broken`. Runs in DataLoader workers.

    Returns, for B samples and S = `canvas_size`: `canvas` uint8 (B, 3, S, S), `valid_hw` int32 (B, 2) in pixels,
    `position` int64 (B,) the row's number in its source, `epoch` int, `labels` int64 (B,) (-1 where there is none),
    `ids` list of str, `broken` list of (id, reason).

    With masks also `foreground` uint8 (B, 1, S, S), each mask resized to the size of its image on the canvas, 0 beside
    it; `foreground_share` float32 (B,), the share of the image at which the mask is 0.5 or more; `broken_masks` list
    of (id, reason). A mask may have another size than its image, but not other proportions, by more than 2 % or what
    rounding to whole pixels makes. Where a mask is missing or broken all is foreground, so nothing is removed, and
    the share is NaN. A stand-in brings its own mask.

    Args:
        canvas_size: side S of the canvases in pixels.
        max_bytes, max_pixels: limits of the files of images and masks.
        with_masks: decode the rows' masks, too.
    """

    def __init__(
        self,
        canvas_size: int,
        max_bytes: int = MAX_BYTES,
        max_pixels: int = MAX_PIXELS,
        with_masks: bool = False,
    ):
        if canvas_size < 1:
            raise ValueError(f"canvas_size must be at least 1 pixel, got {canvas_size}")
        self.canvas_size = canvas_size
        self.max_bytes = max_bytes
        self.max_pixels = max_pixels
        self.with_masks = with_masks

    def __call__(self, samples: Sequence[Sample]) -> dict[str, Any]:
        batch = len(samples)
        canvas = np.zeros((batch, self.canvas_size, self.canvas_size, 3), dtype=np.uint8)
        valid_hw = np.ones((batch, 2), dtype=np.int32)
        foreground = np.zeros((batch if self.with_masks else 0, 1, self.canvas_size, self.canvas_size), dtype=np.uint8)
        share = np.full(len(foreground), np.nan, dtype=np.float32)
        broken: list[tuple[str, str]] = []
        broken_masks: list[tuple[str, str]] = []
        good: list[int] = []
        bad: list[int] = []
        for slot, sample in enumerate(samples):
            try:
                data = sample.row.read()
                pixels = decode_image(data, fit=self.canvas_size, max_bytes=self.max_bytes, max_pixels=self.max_pixels)
            except BrokenImage as error:
                broken.append((sample.row.id, str(error)))
                bad.append(slot)
                continue
            height, width = pixels.shape[:2]
            canvas[slot, :height, :width] = pixels
            valid_hw[slot] = height, width
            good.append(slot)
            if self.with_masks:
                try:
                    mask = self._read_mask(sample.row, upright_size(data), (height, width))
                    share[slot] = (mask >= FOREGROUND).mean()
                except BrokenImage as error:
                    broken_masks.append((sample.row.id, str(error)))
                    mask = np.full((height, width), 255, dtype=np.uint8)
                foreground[slot, 0, :height, :width] = mask
        labels = np.array([_class_number(sample.row.label) for sample in samples], dtype=np.int64)
        for turn, slot in enumerate(bad):
            if good:  # a batch without one good image stays black; the trainer ends such a run
                stand_in = good[turn % len(good)]
                for array in (canvas, valid_hw, labels, *((foreground, share) if self.with_masks else ())):
                    array[slot] = array[stand_in]
        result = {
            # BHWC in memory, BCHW in shape: the copy to planes is left to the device that makes the views
            "canvas": torch.from_numpy(canvas).permute(0, 3, 1, 2),
            "valid_hw": torch.from_numpy(valid_hw),
            "position": torch.tensor([s.position for s in samples], dtype=torch.int64),
            "epoch": samples[0].epoch,
            "labels": torch.from_numpy(labels),
            "ids": [s.row.id for s in samples],
            "broken": broken,
        }
        if self.with_masks:
            result |= {
                "foreground": torch.from_numpy(foreground),
                "foreground_share": torch.from_numpy(share),
                "broken_masks": broken_masks,
            }
        return result

    def _read_mask(self, row: ImageRow, image_hw: tuple[int, int], canvas_hw: tuple[int, int]) -> np.ndarray:
        """The row's mask, uint8, in the size of the image on the canvas; raises BrokenImage."""
        mask = decode_mask(row.read_mask(), max_bytes=self.max_bytes, max_pixels=self.max_pixels)
        scale = max(mask.shape) / max(image_hw)
        for side, image_side in zip(mask.shape, image_hw, strict=True):
            expected = max(1.0, image_side * scale)
            if abs(side - expected) > max(0.02 * expected, 0.5):
                raise BrokenImage(
                    f"the mask of {mask.shape[1]}x{mask.shape[0]} pixels does not have the proportions of its image, "
                    f"{image_hw[1]}x{image_hw[0]}"
                )
        if mask.shape == canvas_hw:
            return mask
        # the mean over each pixel's area, so that small parts neither vanish nor jump as single pixels would
        return np.asarray(Image.fromarray(mask).resize(canvas_hw[::-1], Image.Resampling.BOX))


def _class_number(label: Any) -> int:
    return int(label) if isinstance(label, int | np.integer) and not isinstance(label, bool) else -1
