# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Random resized crop with antialiased bicubic resampling, and horizontal flip, for a batch of uint8 canvases."""

import math
from dataclasses import dataclass, fields

import torch
import torch.nn.functional as F
from torch import Tensor

from .draws import Draws, Stream, chosen_rows, integer_below, uniform_between
from .recipe import ViewSpec

_ATTEMPTS = 10
# Float canvases and weights of one chunk of `crop_by_matmul` stay below this many elements (1 GiB in float32).
_MATMUL_ELEMENTS = 2**28


@dataclass
class Crops:
    """One rectangle inside each canvas, in pixels, and whether its view is mirrored."""

    top_B: Tensor
    left_B: Tensor
    height_B: Tensor
    width_B: Tensor
    flip_B: Tensor

    def part(self, rows_N: Tensor) -> "Crops":
        """The rectangles of some images of the batch."""
        return Crops(*(getattr(self, field.name)[rows_N] for field in fields(self)))


def draw_crops(draws: Draws, view: int, spec: ViewSpec, valid_hw_B2: Tensor) -> Crops:
    """Rectangles by torchvision's RandomResizedCrop rule, inside the valid rectangle of each canvas.

    Up to 10 attempts draw a share of the area and a log-uniform aspect ratio; the first that fits is used, else the
    largest centred rectangle whose ratio is allowed. Sides are at least 1 pixel.

    Args:
        draws: random numbers of the batch, on the device of `valid_hw_B2`.
        view: index of the expanded view.
        spec: its settings.
        valid_hw_B2: integer (B, 2), height and width of the image in the top-left corner of its canvas.
    """
    height_B, width_B = valid_hw_B2.long().unbind(1)
    numbers_BN = draws.uniform(view, Stream.CROP, 2 * _ATTEMPTS + 2).double()
    share_BN = uniform_between(numbers_BN[:, :_ATTEMPTS], *spec.crop_scale)
    lowest, highest = spec.crop_ratio
    log_ratio_BN = uniform_between(numbers_BN[:, _ATTEMPTS : 2 * _ATTEMPTS], math.log(lowest), math.log(highest))
    area_BN, ratio_BN = share_BN * (height_B * width_B)[:, None], log_ratio_BN.exp()
    heights_BN = (area_BN / ratio_BN).sqrt().round().long()
    widths_BN = (area_BN * ratio_BN).sqrt().round().long()
    fits_BN = (heights_BN > 0) & (heights_BN <= height_B[:, None]) & (widths_BN > 0) & (widths_BN <= width_B[:, None])
    attempt_B1 = fits_BN.byte().argmax(1, keepdim=True)  # the first that fits
    found_B = fits_BN.any(1)

    fallback_height_B = torch.minimum(height_B, (width_B / lowest).round().long()).clamp_min(1)
    fallback_width_B = torch.minimum(width_B, (height_B * highest).round().long()).clamp_min(1)
    crop_height_B = torch.where(found_B, heights_BN.gather(1, attempt_B1)[:, 0], fallback_height_B)
    crop_width_B = torch.where(found_B, widths_BN.gather(1, attempt_B1)[:, 0], fallback_width_B)
    room_down_B, room_right_B = height_B - crop_height_B, width_B - crop_width_B
    return Crops(
        top_B=torch.where(found_B, integer_below(numbers_BN[:, -2], room_down_B + 1), room_down_B // 2),
        left_B=torch.where(found_B, integer_below(numbers_BN[:, -1], room_right_B + 1), room_right_B // 2),
        height_B=crop_height_B,
        width_B=crop_width_B,
        flip_B=draws.uniform(view, Stream.FLIP, 1)[:, 0] < spec.flip_p,
    )


def apply_crops(canvas_BCHW: Tensor, crops: Crops, size: int) -> Tensor:
    """Crop, resize and flip: float32 (B, C, size, size) in [0, 1] on the canvas's device.

    On CPU `crop_by_image`, elsewhere `crop_by_matmul`; they agree within 1.5/255, the rounding of the former to uint8.

    Args:
        canvas_BCHW: uint8, best channels_last in memory on CPU.
        crops: rectangles, on CPU or on the canvas's device.
        size: side of the views in pixels.
    """
    return (crop_by_image if canvas_BCHW.device.type == "cpu" else crop_by_matmul)(canvas_BCHW, crops, size)


def crop_by_image(canvas_BCHW: Tensor, crops: Crops, size: int) -> Tensor:
    """`apply_crops` one image at a time through torch's vectorised uint8 resampling, which rounds as PIL does."""
    boxes = torch.stack([crops.top_B, crops.left_B, crops.height_B, crops.width_B], 1).tolist()
    views = [
        F.interpolate(
            canvas_BCHW[b : b + 1, :, top : top + height, left : left + width],
            (size, size),
            mode="bicubic",
            antialias=True,
        )
        for b, (top, left, height, width) in enumerate(boxes)
    ]
    images_BCHW = torch.cat(views).to(torch.float32, memory_format=torch.contiguous_format).mul_(1 / 255)
    rows_N = chosen_rows(crops.flip_B)
    return images_BCHW.index_copy_(0, rows_N, images_BCHW.index_select(0, rows_N).flip(-1))


def crop_by_matmul(canvas_BCHW: Tensor, crops: Crops, size: int) -> Tensor:
    """`apply_crops` as two batched matrix products, columns then rows, with the crop and the flip in the weights.

    No loop over images and no wait for the device. Where TF32 is allowed for matrix products, weights are rounded
    to 11 bits: less than half a step of uint8. Pixels, being uint8, are exact in TF32.
    """
    batch, channels, height, width = canvas_BCHW.shape
    device = canvas_BCHW.device
    top_B, left_B, height_B, width_B, flip_B = (
        side.to(device, non_blocking=True)
        for side in (crops.top_B, crops.left_B, crops.height_B, crops.width_B, crops.flip_B)
    )
    chunk = max(1, _MATMUL_ELEMENTS // ((channels * width + 2 * size) * height))
    images = []
    for start in range(0, batch, chunk):
        part = slice(start, start + chunk)
        rows_BOH = bicubic_weights(top_B[part], height_B[part], height, size)
        columns_BOW = bicubic_weights(left_B[part], width_B[part], width, size)
        columns_BOW = torch.where(flip_B[part, None, None], columns_BOW.flip(1), columns_BOW)
        pixels_BRW = canvas_BCHW[part].contiguous().float().view(-1, channels * height, width)
        # uint8 resampling cannot keep the overshoot of its first pass either
        narrow_BCHO = torch.bmm(pixels_BRW, columns_BOW.mT).clamp_(0, 255).view(-1, channels, height, size)
        images.append(torch.matmul(rows_BOH[:, None], narrow_BCHO))
    return torch.cat(images).mul_(1 / 255).clamp_(0, 1)


def bicubic_weights(start_B: Tensor, length_B: Tensor, source: int, size: int) -> Tensor:
    """Weights (B, size, source), float32, that resample `length` pixels of a line, from `start` on, to `size` pixels.

    Keys' cubic with a = -0.5, widened by the scale when shrinking; weights outside the stretch are 0 and the rest sum
    to 1, as in PIL's `resize(BICUBIC)` and torch's `interpolate(antialias=True)`.
    """
    start_B11, length_B11 = start_B.float()[:, None, None], length_B.float()[:, None, None]
    scale_B11 = length_B11 / size
    # counted from the start of the stretch, so that long canvases lose no precision
    source_W = torch.arange(source, device=start_B.device) - start_B11
    centre_O1 = (torch.arange(size, device=start_B.device)[:, None] + 0.5) * scale_B11
    distance = (source_W + 0.5 - centre_O1).div_(scale_B11.clamp_min(1)).abs_()
    near = (1.5 * distance - 2.5) * distance * distance + 1
    far = ((-0.5 * distance + 2.5) * distance - 4) * distance + 2
    weights = torch.where(distance < 1, near, far).masked_fill_(distance >= 2, 0)
    weights.masked_fill_((source_W < 0) | (source_W >= length_B11), 0)
    return weights.div_(weights.sum(-1, keepdim=True))
