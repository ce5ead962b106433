# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Encoded images -> one uint8 tensor of equal squares ("canvases"), decoded once, moved once."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from .decode import MAX_BYTES, MAX_PIXELS, BrokenImage, decode_image
from .stream import Sample


class CanvasCollate:
    """Decodes the samples of one batch and lays each image in the top-left corner of a square canvas.

    Images are only ever shrunk (to a longer side of `canvas_size`), never enlarged; views crop inside the valid
    rectangle. A broken image keeps its slot: another good image of the same batch stands in for it, and its id and
    reason are returned under `broken`. Runs in DataLoader workers.

    Returns, for B samples and S = `canvas_size`: `canvas` uint8 (B, 3, S, S), `valid_hw` int32 (B, 2) in pixels,
    `position` int64 (B,) the row's number in its source, `epoch` int, `labels` int64 (B,) (-1 where there is none),
    `ids` list of str, `broken` list of (id, reason).
    """

    def __init__(self, canvas_size: int, max_bytes: int = MAX_BYTES, max_pixels: int = MAX_PIXELS):
        if canvas_size < 1:
            raise ValueError(f"canvas_size must be at least 1 pixel, got {canvas_size}")
        self.canvas_size = canvas_size
        self.max_bytes = max_bytes
        self.max_pixels = max_pixels

    def __call__(self, samples: Sequence[Sample]) -> dict[str, Any]:
        batch = len(samples)
        canvas = np.zeros((batch, self.canvas_size, self.canvas_size, 3), dtype=np.uint8)
        valid_hw = np.ones((batch, 2), dtype=np.int32)
        broken: list[tuple[str, str]] = []
        good: list[int] = []
        bad: list[int] = []
        for slot, sample in enumerate(samples):
            try:
                pixels = decode_image(
                    sample.row.read(), fit=self.canvas_size, max_bytes=self.max_bytes, max_pixels=self.max_pixels
                )
            except BrokenImage as error:
                broken.append((sample.row.id, str(error)))
                bad.append(slot)
                continue
            height, width = pixels.shape[:2]
            canvas[slot, :height, :width] = pixels
            valid_hw[slot] = height, width
            good.append(slot)
        for turn, slot in enumerate(bad):
            if good:  # a batch without one good image stays black; the trainer ends such a run
                stand_in = good[turn % len(good)]
                canvas[slot], valid_hw[slot] = canvas[stand_in], valid_hw[stand_in]
        return {
            # BHWC in memory, BCHW in shape: the copy to planes is left to the device that makes the views
            "canvas": torch.from_numpy(canvas).permute(0, 3, 1, 2),
            "valid_hw": torch.from_numpy(valid_hw),
            "position": torch.tensor([s.position for s in samples], dtype=torch.int64),
            "epoch": samples[0].epoch,
            "labels": torch.tensor([_class_number(s.row.label) for s in samples], dtype=torch.int64),
            "ids": [s.row.id for s in samples],
            "broken": broken,
        }


def _class_number(label: Any) -> int:
    return int(label) if isinstance(label, int | np.integer) and not isinstance(label, bool) else -1
