# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""What the first layer looks for: its kernels as small pictures (MSCN, fig. 2)."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

MOST_SHOWN = 256
_TILE, _GAP, _PAPER = 42, 4, 252
# A kernel with less than this share of the largest one's norm shows nothing.
BLANK = 0.1


def first_convolution(model: nn.Module) -> tuple[str, Tensor] | None:
    """Name and weights (F, C, h, w) of the first convolution that sees the image, or None where there is none.

    It is the first in the order of registration that takes one to four channels: the stem of a ConvNet, the patch
    embedding of a ViT.
    """
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d) and module.in_channels <= 4 and module.groups == 1:
            return name, module.weight.detach().float().cpu()
    return None


def blank_share(weight_FChw: Tensor) -> float:
    """Share of kernels whose norm is below a tenth of the largest.

    MSCN (sec. 3) saw many kernels collapse to blank ones where masks put edges into the input.
    """
    norm_F = weight_FChw.flatten(1).norm(dim=1)
    return float((norm_F < BLANK * norm_F.max()).double().mean())


def draw_filters(weight_FChw: Tensor, path: str | Path) -> Path:
    """Saves the kernels as a grid, largest norm first; mid-grey is 0 and one scale holds for all.

    With a scale of its own each blank kernel would look like one that was learned. Three channels are shown as RGB,
    others as their mean; at most `MOST_SHOWN` kernels.

    Raises:
        ValueError: weights that are not finite.
    """
    if not bool(torch.isfinite(weight_FChw).all()):
        raise ValueError("the first layer holds NaN or infinite weights")
    order_F = weight_FChw.flatten(1).norm(dim=1).argsort(descending=True)[:MOST_SHOWN]
    weight_FChw = weight_FChw[order_F]
    if weight_FChw.shape[1] != 3:
        weight_FChw = weight_FChw.mean(dim=1, keepdim=True).expand(-1, 3, -1, -1)
    # Past the 99.5th percentile kernels are clipped: one strong kernel would leave the others grey.
    scale = max(float(np.quantile(weight_FChw.abs().numpy(), 0.995)), 1e-12)
    pixels_FhwC = ((0.5 + 0.5 * weight_FChw / scale).clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).numpy()
    columns = math.ceil(math.sqrt(len(pixels_FhwC)))
    rows = math.ceil(len(pixels_FhwC) / columns)
    height, width = pixels_FhwC.shape[1:3]
    zoom = max(1, round(_TILE / max(height, width)))
    step = (width * zoom + _GAP, height * zoom + _GAP)
    sheet = Image.new("RGB", (columns * step[0] + _GAP, rows * step[1] + _GAP), (_PAPER,) * 3)
    for number, tile in enumerate(pixels_FhwC):
        shown = Image.fromarray(tile).resize((width * zoom, height * zoom), Image.Resampling.NEAREST)
        sheet.paste(shown, (_GAP + number % columns * step[0], _GAP + number // columns * step[1]))
    path = Path(path)
    sheet.save(path)
    return path
