# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""MSCN's masks: grid or focal, shared by the channels or one for each, holes filled with zeros or noise."""

from dataclasses import dataclass

import torch
from torch import Tensor

from .draws import Draws, Stream, integer_below
from .recipe import ViewSpec


@dataclass
class Masks:
    """Drawn masks: which images have one, of which kind, and where.

    Attributes:
        applies_B: bool, the image is masked.
        focal_B: bool, by a focal mask (else by a grid).
        top_B, left_B: int64, corner of the square that a focal mask keeps.
        cells_BCGG: bool, masked cells of a grid, for each of the three channels.
    """

    applies_B: Tensor
    focal_B: Tensor
    top_B: Tensor
    left_B: Tensor
    cells_BCGG: Tensor


def draw_masks(draws: Draws, view: int, spec: ViewSpec) -> Masks:
    """Draws who is masked and how.

    A grid mask takes exactly `spec.masked_cells` cells without replacement; with probability `spec.channel_p` each
    channel draws its own. A focal mask is always shared by the channels. Source: MSCN, sections 4.3 to 4.5.
    """
    numbers_B5 = draws.uniform(view, Stream.MASK, 5)
    batch, cells = len(numbers_B5), spec.grid**2
    scores_B3N = draws.uniform(view, Stream.MASK_CELLS, 3 * cells).view(batch, 3, cells)
    own_mask_B11 = (numbers_B5[:, 2] < spec.channel_p)[:, None, None]
    scores_B3N = torch.where(own_mask_B11, scores_B3N, scores_B3N[:, :1])
    chosen_B3N = scores_B3N.argsort(dim=-1, stable=True)[..., : spec.masked_cells]
    cells_B3N = torch.zeros_like(scores_B3N, dtype=torch.bool).scatter_(-1, chosen_B3N, True)
    room = spec.size - spec.focal_side + 1
    return Masks(
        applies_B=numbers_B5[:, 0] < spec.mask_p,
        focal_B=numbers_B5[:, 1] < spec.focal_p,
        top_B=integer_below(numbers_B5[:, 3], room),
        left_B=integer_below(numbers_B5[:, 4], room),
        cells_BCGG=cells_B3N.view(batch, 3, spec.grid, spec.grid),
    )


def mask_holes(masks: Masks, spec: ViewSpec, device: torch.device | str = "cpu") -> Tensor:
    """The masks as bool images (B, 3, size, size), True in a hole.

    The grid lies at the top-left corner; where the cell does not divide the size, its last row and column are cut.
    """
    grid_B = masks.applies_B & ~masks.focal_B
    cells_BCGG = (masks.cells_BCGG & grid_B[:, None, None, None]).to(device, non_blocking=True)
    pixel_S = torch.arange(spec.size, device=device)
    cell_S = pixel_S // spec.mask_cell
    holes_BCHW = cells_BCGG.index_select(3, cell_S).index_select(2, cell_S)  # columns first: rows are copied whole

    rows_N = (masks.applies_B & masks.focal_B).nonzero(as_tuple=True)[0]
    if len(rows_N):
        top_N1, left_N1 = (
            corner[rows_N, None].to(device, non_blocking=True) for corner in (masks.top_B, masks.left_B)
        )
        kept_down_NS = (pixel_S >= top_N1) & (pixel_S < top_N1 + spec.focal_side)
        kept_right_NS = (pixel_S >= left_N1) & (pixel_S < left_N1 + spec.focal_side)
        lost_N1HW = ~(kept_down_NS[:, :, None] & kept_right_NS[:, None, :])[:, None]
        holes_BCHW.index_copy_(0, rows_N.to(device, non_blocking=True), lost_N1HW.expand(-1, 3, -1, -1))
    return holes_BCHW


def apply_masks(images_BCHW: Tensor, holes_BCHW: Tensor, noise_std: float, noise: torch.Generator) -> Tensor:
    """Fill holes with N(0, noise_std^2), fresh for each value, or with 0 where `noise_std` is 0.

    Args:
        images_BCHW: normalised images, in practice high-passed: then 0 is the value that says nothing.
        holes_BCHW: bool, from `mask_holes`.
        noise_std: in normalised units.
        noise: generator on the images' device; the noise is a function of its seed and of the holes.
    """
    if noise_std == 0:
        return images_BCHW.masked_fill(holes_BCHW, 0)
    if images_BCHW.device.type == "cpu":  # normal numbers cost more than anything else here: only as many as needed
        fill = images_BCHW.new_empty(int(holes_BCHW.sum())).normal_(0, noise_std, generator=noise)
        return images_BCHW.masked_scatter(holes_BCHW, fill)
    # no wait for the device to count the holes
    return torch.where(holes_BCHW, torch.empty_like(images_BCHW).normal_(0, noise_std, generator=noise), images_BCHW)


def noise_generator(draws: Draws, view: int, device: torch.device | str) -> torch.Generator:
    """Generator of a batch's noise, seeded by (seed, epoch, position of its first sample, view)."""
    return torch.Generator(device).manual_seed(draws.generator_seed(view, Stream.MASK_NOISE))
