# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""ReLICv2's background removal: outside a foreground mask the image becomes one grey level, before any other step."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from .draws import Draws, Stream, chosen_rows, integer_below, uniform_between
from .recipe import ViewRecipe, ViewSpec

FOREGROUND = 128  # least value of a uint8 mask that counts as foreground: masks below 0.5 are background
_RECTANGLE_RATIO = (1 / 2, 2.0)
# Pixels whose random numbers are made at a time: each takes a few int64 words (2^25: about 1 GiB).
_PIXELS_AT_A_TIME = 2**25


@dataclass
class Backgrounds:
    """Who loses the background.

    Attributes:
        rows_N: int64, the images of the batch whose background is replaced.
        grey_N: uint8, by which level.
        unmasked: number of images that drew it, but whose foreground is too small.
    """

    rows_N: Tensor
    grey_N: Tensor
    unmasked: int


@dataclass
class Rectangles:
    """One rectangle in each canvas, in pixels, int64 (N,); a height or width of 0 is an empty one."""

    top_N: Tensor
    left_N: Tensor
    height_N: Tensor
    width_N: Tensor


def draw_backgrounds(
    draws: Draws, view: int, spec: ViewSpec, share_B: Tensor | None = None, threshold: float = 0.0
) -> Backgrounds:
    """Removes each image's background with probability `spec.background_p`, where its foreground is large enough.

    The grey level is drawn for each image and view, all 256 levels equally likely. Source: ReLICv2, appendix F.2.

    Args:
        draws: random numbers of the batch, on CPU.
        view: index of the expanded view that draws.
        spec: its settings.
        share_B: float (B,) on CPU, share of the image that is foreground; NaN: the image has no usable mask, and is
            left as it is without being counted. None: masks are made and always large enough.
        threshold: least share at which a mask is used.
    """
    drawn_B = draw_removals(draws, view, spec)
    applies_B, unmasked = drawn_B, 0
    if share_B is not None:
        applies_B, unmasked = drawn_B & (share_B >= threshold), int((drawn_B & (share_B < threshold)).sum())
    rows_N = chosen_rows(applies_B)
    grey_N = integer_below(draws.part(rows_N).uniform(view, Stream.GREY, 1)[:, 0], 256)
    return Backgrounds(rows_N, grey_N.to(torch.uint8), unmasked)


def draw_removals(draws: Draws, view: int, spec: ViewSpec) -> Tensor:
    """Which images are to lose their background in a view, bool (B,)."""
    return draws.uniform(view, Stream.BACKGROUND, 1)[:, 0] < spec.background_p


def remove_backgrounds(canvas_NCHW: Tensor, keep_N1HW: Tensor, grey_N: Tensor) -> Tensor:
    """uint8 canvases whose pixels outside `keep` are the grey level, equal in all channels."""
    grey_N111 = grey_N[:, None, None, None].to(canvas_NCHW.device, non_blocking=True)
    # uint8 wraps around, so this is exact; on CPU it is four times as fast as torch.where
    return (canvas_NCHW - grey_N111).mul_(keep_N1HW).add_(grey_N111)


def make_masks(
    recipe: ViewRecipe, draws: Draws, view: int, valid_hw_N2: Tensor, side: int, device: torch.device | str = "cpu"
) -> Tensor:
    """Foreground bool (N, 1, side, side) that knows nothing of the image: `recipe.mask_source` of `recipe.mask_area`.

    Args:
        recipe: its `mask_source` is one of `recipe.MADE_MASKS`.
        draws: of the N images, on CPU.
        view: index of the expanded view that draws.
        valid_hw_N2: integer (N, 2) on CPU, height and width of each image in its canvas; rectangles lie inside.
        side: of the canvases in pixels.
        device: of the result.

    Source: ReLICv2, appendix G.2, table 19.
    """
    if recipe.mask_source == "random":
        return _random_pixels(draws, view, recipe.mask_area, side, device)
    area_N = recipe.mask_area * valid_hw_N2.double().prod(1)
    if recipe.mask_source == "rectangle":
        return inside(draw_rectangles(draws, view, area_N, valid_hw_N2), side, device)
    return inside(centered_rectangles(area_N, valid_hw_N2), side, device)


def change_masks(recipe: ViewRecipe, mask_N1HW: Tensor, share_N: Tensor, valid_hw_N2: Tensor) -> Tensor:
    """Foreground bool (N, 1, S, S) of a column's masks after `recipe.mask_change`.

    Args:
        recipe: how masks are changed; rectangles have `recipe.mask_area` times the area of the mask.
        mask_N1HW: uint8 masks of the canvases, >= 128 in the foreground; what lies outside of the image is ignored.
        share_N: on CPU, share of each image that is foreground.
        valid_hw_N2: integer (N, 2) on CPU, height and width of each image in its canvas.

    Source: ReLICv2, appendix G.2, table 20.
    """
    side, device = mask_N1HW.shape[-1], mask_N1HW.device
    keep_N1HW = (mask_N1HW >= FOREGROUND) & inside(_whole(valid_hw_N2), side, device)
    if recipe.mask_change is None:
        return keep_N1HW
    if recipe.mask_change == "bounding_box":
        return _between(keep_N1HW.any(3, keepdim=True), 2) & _between(keep_N1HW.any(2, keepdim=True), 3)
    area_N = recipe.mask_area * share_N.double() * valid_hw_N2.double().prod(1)
    middle_N1HW = inside(centered_rectangles(area_N, valid_hw_N2), side, device)
    return keep_N1HW | middle_N1HW if recipe.mask_change == "add_rectangle" else keep_N1HW & ~middle_N1HW


def foreground_share(mask_B1HW: Tensor, valid_hw_B2: Tensor) -> Tensor:
    """Share of each image, float32 (B,) on CPU, that uint8 masks count as foreground; waits for the device."""
    keep_B1HW = (mask_B1HW >= FOREGROUND) & inside(_whole(valid_hw_B2), mask_B1HW.shape[-1], mask_B1HW.device)
    return keep_B1HW.sum((1, 2, 3)).cpu() / valid_hw_B2.long().prod(1)


def draw_rectangles(draws: Draws, view: int, area_N: Tensor, valid_hw_N2: Tensor) -> Rectangles:
    """Rectangles of `area_N` pixels anywhere in the image.

    Width / height is log-uniform in [1/2, 2], clipped to the range at which so large a rectangle fits.
    """
    height_N, width_N = valid_hw_N2.double().unbind(1)
    numbers_N3 = draws.uniform(view, Stream.MASK_SHAPE, 3).double()
    ratio_N = uniform_between(numbers_N3[:, 0], *(math.log(bound) for bound in _RECTANGLE_RATIO)).exp()
    ratio_N = ratio_N.clamp(area_N / height_N**2, width_N**2 / area_N)
    found = _rectangles(area_N, ratio_N, valid_hw_N2)
    room_down_N, room_right_N = (height_N - found.height_N).long(), (width_N - found.width_N).long()
    found.top_N = integer_below(numbers_N3[:, 1], room_down_N + 1)
    found.left_N = integer_below(numbers_N3[:, 2], room_right_N + 1)
    return found


def centered_rectangles(area_N: Tensor, valid_hw_N2: Tensor) -> Rectangles:
    """Rectangles of `area_N` pixels with the image's proportions, in its middle."""
    height_N, width_N = valid_hw_N2.double().unbind(1)
    return _rectangles(area_N, width_N / height_N, valid_hw_N2)


def inside(rectangles: Rectangles, side: int, device: torch.device | str = "cpu") -> Tensor:
    """Bool (N, 1, side, side): the pixels inside each rectangle."""
    top_N, left_N, height_N, width_N = (
        sides_N[:, None].to(device, non_blocking=True)
        for sides_N in (rectangles.top_N, rectangles.left_N, rectangles.height_N, rectangles.width_N)
    )
    pixel_S = torch.arange(side, device=device)
    down_NS = (pixel_S >= top_N) & (pixel_S < top_N + height_N)
    right_NS = (pixel_S >= left_N) & (pixel_S < left_N + width_N)
    return (down_NS[:, :, None] & right_NS[:, None, :])[:, None]


def _rectangles(area_N: Tensor, ratio_N: Tensor, valid_hw_N2: Tensor) -> Rectangles:
    """Rectangles of about `area_N` pixels in the middle; at least 1x1 unless the area is 0."""
    valid_height_N, valid_width_N = valid_hw_N2.long().unbind(1)
    height_N = (area_N / ratio_N).sqrt().round().long().clamp_min(1).minimum(valid_height_N)
    # from the rounded height, so that the area is as near as whole pixels allow
    width_N = (area_N / height_N).round().long().clamp_min(1).minimum(valid_width_N) * (area_N > 0)
    return Rectangles((valid_height_N - height_N) // 2, (valid_width_N - width_N) // 2, height_N, width_N)


def _whole(valid_hw_N2: Tensor) -> Rectangles:
    height_N, width_N = valid_hw_N2.long().unbind(1)
    return Rectangles(torch.zeros_like(height_N), torch.zeros_like(width_N), height_N, width_N)


def _between(hit: Tensor, dim: int) -> Tensor:
    """True from the first to the last True along `dim`."""
    since_first = hit.cumsum(dim) > 0
    until_last = hit.flip(dim).cumsum(dim).flip(dim) > 0
    return since_first & until_last


def _random_pixels(draws: Draws, view: int, probability: float, side: int, device: torch.device | str) -> Tensor:
    keys_N = draws.keys_B.to(device, non_blocking=True)
    pieces = [
        Draws.from_keys(part_N).uniform(view, Stream.MASK_SHAPE, side**2) < probability
        for part_N in keys_N.split(max(1, _PIXELS_AT_A_TIME // side**2))
    ]
    return torch.cat(pieces).view(-1, 1, side, side)
