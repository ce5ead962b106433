# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Fully connected CRF of two labels, foreground and background, that draws a map to the edges of its image.

Shapes: B images of H x W pixels; h, w the sides of the grid on which inference runs, N = h w its cells.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, avg_pool2d, interpolate

# Probabilities nearer to 0 or 1 than this are certain enough (pydensecrf's value).
CLIP = 1e-5
# Entries of kernels on a device at a time (2^28 of float32: 1 GiB).
ENTRIES_AT_A_TIME = 2**28
# Cells around each one from which colours and messages are compared.
NEAR = 2


@torch.no_grad()
def mean_field(
    probability_BHW: Tensor,
    images_B3HW: Tensor,
    *,
    iterations: int = 5,
    gaussian_sxy: float = 3.0,
    gaussian_compat: float = 3.0,
    bilateral_sxy: float = 80.0,
    bilateral_srgb: float = 13.0,
    bilateral_compat: float = 10.0,
    side: int = 432,
    grid: int = 54,
) -> Tensor:
    """Probability of the foreground after mean-field inference, (B, H, W), float64 if the input is, else float32.

    Krähenbühl & Koltun 2011, with the conventions of pydensecrf and DeepUSPS's constants. Of each pixel i, with
    p_i the probability given and q_i = p_i at first, each iteration computes

        logit q_i <- logit p_i + sum_m compat_m sum_j K_m,ij (2 q_j - 1) / sqrt(sum_k K_m,ik sum_k K_m,jk)

    in which K is a Gaussian of the distance in space, and one of those in space and in colour. The sums include j = i
    as pydensecrf's do (the paper's leave it out). Probabilities are clipped to [1e-5, 1 - 1e-5].

    Where no side of the image is longer than `grid` this is exact. Larger images are inferred on a grid of cells that
    have one q each. Its terms are means over their pixels: of logit p, of colours, and of the kernels' values in
    space (so a cell, too, hears its own pixels, as wide as `gaussian_sxy` reaches). What is lost are colours within a
    cell. The messages of the last iteration come to the pixels by bilinear interpolation and `colour_slope`, and
    are added to each pixel's own logit p.

    Args:
        probability_BHW: float in [0, 1].
        images_B3HW: uint8, on the same device.
        iterations: of mean field; 0 returns the clipped probability.
        gaussian_sxy: standard deviation of the kernel in space, in pixels of an image of `side` x `side`.
        gaussian_compat: its weight.
        bilateral_sxy: standard deviation in space of the kernel in space and colour, in the same pixels.
        bilateral_srgb: its standard deviation in each channel, in levels of 255.
        bilateral_compat: its weight.
        side: the widths in space are scaled with each side of the image as if it were resized to this one.
        grid: most cells a side; time and memory grow with the fourth power.

    Raises:
        ValueError: shapes that do not fit, images that are not uint8, or a grid without cells.
    """
    batch, height, width = _checked(probability_BHW, images_B3HW, grid)
    dtype = torch.float64 if probability_BHW.dtype == torch.float64 else torch.float32
    with torch.autocast(probability_BHW.device.type, enabled=False):
        unary_BHW = torch.logit(probability_BHW.to(dtype).clamp(CLIP, 1 - CLIP))
        if iterations == 0:
            return torch.sigmoid(unary_BHW)
        shape = min(height, grid), min(width, grid)
        points = [max(1, round(min(pixels, side) / cells)) for pixels, cells in zip((height, width), shape)]

        def in_space(sxy: float) -> list[Tensor]:
            return [cell_kernel(cells, many, sxy / side * cells).to(unary_BHW) for cells, many in zip(shape, points)]

        down_hh, across_ww = (symmetric(kernel) for kernel in in_space(gaussian_sxy))
        position = in_space(bilateral_sxy)
        # on CPU one by one: a kernel's rows stay in the cache
        step = 1 if unary_BHW.device.type == "cpu" else max(1, ENTRIES_AT_A_TIME // (shape[0] * shape[1]) ** 2)
        results = []
        cells = shape[0] * shape[1]
        # once: fresh memory costs more than the sums
        kernels_BNN = unary_BHW.new_empty(min(step, batch), cells, cells)
        for first in range(0, batch, step):
            unary_bHW = unary_BHW[first : first + step]
            colour_b3HW = images_B3HW[first : first + step].to(dtype) / bilateral_srgb
            cell_b3hw = adaptive_avg_pool2d(colour_b3HW, shape)
            unary_bhw = adaptive_avg_pool2d(unary_bHW[:, None], shape)[:, 0]
            kernel_bNN = bilateral_kernel(cell_b3hw, *position, out_BNN=kernels_BNN[: len(cell_b3hw)])
            root_bN1 = kernel_bNN.sum(dim=2, keepdim=True).rsqrt()
            message_bhw = torch.zeros_like(unary_bhw)
            for _ in range(iterations):
                sign_bhw = torch.tanh((unary_bhw + message_bhw) / 2)  # 2 q - 1
                alike_bN1 = root_bN1 * (kernel_bNN @ (root_bN1 * sign_bhw.flatten(1)[..., None]))
                near_bhw = down_hh @ sign_bhw @ across_ww
                message_bhw = bilateral_compat * alike_bN1.view_as(sign_bhw) + gaussian_compat * near_bhw
            results.append(torch.sigmoid(unary_bHW + to_pixels(message_bhw, cell_b3hw, colour_b3HW)))
    return torch.cat(results)


def cell_kernel(cells: int, points: int, sigma: float) -> Tensor:
    """Mean over the points of two cells of exp(-distance^2 / (2 sigma^2)), float64 (cells, cells).

    Args:
        cells: in a row.
        points: in each of them, evenly spaced.
        sigma: in cells.
    """
    place = torch.arange(cells * points, dtype=torch.float64) / points
    kernel = torch.exp(-((place[:, None] - place) ** 2) / (2 * sigma**2))
    return kernel.view(cells, points, cells, points).mean(dim=(1, 3))


def bilateral_kernel(colour_B3hw: Tensor, rows_hh: Tensor, columns_ww: Tensor, *, out_BNN: Tensor) -> Tensor:
    """Kernel in space times exp(-distance^2 / 2) in colour, (B, N, N).

    Args:
        colour_B3hw: in units of the kernel's standard deviation.
        rows_hh: kernel in space between rows.
        columns_ww: between columns.
        out_BNN: where it is written.
    """
    width = colour_B3hw.shape[3]
    colour_B3N = colour_B3hw.flatten(2)
    square_BwN = torch.empty_like(out_BNN[:, :width])
    for row, row_h in enumerate(rows_hh):  # by rows, for the processor's cache
        part = slice(row * width, (row + 1) * width)
        sum_BwN = out_BNN[:, part]
        # by differences: a matrix product would lose what is small next to the colours themselves, more so in TF32
        for number, channel_BN in enumerate(colour_B3N.unbind(1)):
            into_BwN = square_BwN if number else sum_BwN
            torch.sub(channel_BN[:, None, :], channel_BN[:, part, None], out=into_BwN).square_()
            if number:
                sum_BwN.add_(square_BwN)
        sum_BwN.mul_(-0.5).exp_().mul_(torch.kron(row_h[None], columns_ww))
    return out_BNN


def symmetric(kernel_NN: Tensor) -> Tensor:
    """Each entry divided by the roots of its row's and its column's sum."""
    root_N = kernel_NN.sum(dim=1).rsqrt()
    return kernel_NN * root_N[:, None] * root_N


def to_pixels(message_Bhw: Tensor, cell_B3hw: Tensor, colour_B3HW: Tensor) -> Tensor:
    """Messages (B, H, W) for pixels: bilinear between cells, moved by how a pixel's colour differs from its cells'.

    Args:
        message_Bhw: of the cells.
        cell_B3hw: their colours in units of the kernel's standard deviation.
        colour_B3HW: those of the pixels.
    """
    shape = colour_B3HW.shape[2:]
    if message_Bhw.shape[1:] == shape:
        return message_Bhw
    slope_B3hw = colour_slope(message_Bhw, cell_B3hw)
    smooth_B7HW = interpolate(
        torch.cat([message_Bhw[:, None], slope_B3hw, cell_B3hw], dim=1), shape, mode="bilinear", align_corners=False
    )
    message_BHW, slope_B3HW, usual_B3HW = smooth_B7HW[:, 0], smooth_B7HW[:, 1:4], smooth_B7HW[:, 4:]
    message_BHW = message_BHW + (slope_B3HW * (colour_B3HW - usual_B3HW)).sum(dim=1)
    least_B11, most_B11 = message_Bhw.amin((1, 2), keepdim=True), message_Bhw.amax((1, 2), keepdim=True)
    return message_BHW.clamp(least_B11, most_B11)


def colour_slope(message_Bhw: Tensor, cell_B3hw: Tensor) -> Tensor:
    """Slopes (B, 3, h, w) of the linear function of colour that fits the messages around each cell best.

    The coefficients of a guided filter (He et al. 2013, eq. 14 and 19) over (2 `NEAR` + 1)^2 cells, and with
    epsilon = 1 in the given units: colours that differ by less than the kernel's standard deviation tell little.
    """

    def mean(values_BChw: Tensor) -> Tensor:
        return avg_pool2d(values_BChw, 2 * NEAR + 1, 1, NEAR, count_include_pad=False)

    centred_B3hw = cell_B3hw - cell_B3hw.mean(dim=(2, 3), keepdim=True)
    mean_B3hw, message_B1hw = mean(centred_B3hw), message_Bhw[:, None]
    both_B3hw = mean(centred_B3hw * message_B1hw) - mean_B3hw * mean(message_B1hw)
    squares_B33hw = mean((centred_B3hw[:, :, None] * centred_B3hw[:, None]).flatten(1, 2)).unflatten(1, (3, 3))
    squares_B33hw = squares_B33hw - mean_B3hw[:, :, None] * mean_B3hw[:, None]
    matrix_Bhw33 = squares_B33hw.permute(0, 3, 4, 1, 2) + torch.eye(3).to(message_Bhw)
    return torch.linalg.solve(matrix_Bhw33, both_B3hw.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


def _checked(probability_BHW: Tensor, images_B3HW: Tensor, grid: int) -> tuple[int, int, int]:
    if probability_BHW.ndim != 3 or not probability_BHW.is_floating_point() or probability_BHW.numel() == 0:
        raise ValueError(
            f"probabilities must be floating point of shape (B, H, W), got {probability_BHW.dtype} "
            f"{tuple(probability_BHW.shape)}"
        )
    batch, height, width = probability_BHW.shape
    if images_B3HW.dtype != torch.uint8 or images_B3HW.shape != (batch, 3, height, width):
        raise ValueError(
            f"images must be uint8 of shape {(batch, 3, height, width)}, got {images_B3HW.dtype} "
            f"{tuple(images_B3HW.shape)}"
        )
    if grid < 1:
        raise ValueError(f"grid must be at least 1, got {grid}")
    return batch, height, width
