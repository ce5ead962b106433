# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Gaussian blur with a standard deviation of its own for each image."""

from dataclasses import dataclass

import torch
from torch import Tensor

from .draws import Draws, Stream, chosen_rows, uniform_between
from .recipe import ViewSpec


@dataclass
class Blurs:
    """Which images are blurred, their standard deviations in pixels, and the number of taps of all kernels."""

    applies_B: Tensor
    sigma_B: Tensor
    taps: int


def draw_blurs(draws: Draws, view: int, spec: ViewSpec) -> Blurs:
    """Blurs each image with probability `spec.blur_p`, sigma uniform in `spec.blur_sigma`."""
    numbers_B2 = draws.uniform(view, Stream.BLUR, 2)
    sigma_B = uniform_between(numbers_B2[:, 1], *spec.blur_sigma)
    return Blurs(applies_B=numbers_B2[:, 0] < spec.blur_p, sigma_B=sigma_B, taps=spec.blur_taps)


def apply_blurs(images_BCHW: Tensor, blurs: Blurs) -> Tensor:
    """Blur the images that drew it; the others are returned as they are."""
    rows_N = chosen_rows(blurs.applies_B)
    if len(rows_N) == 0:
        return images_BCHW
    kernels_NK = gaussian_kernels(blurs.sigma_B[rows_N], blurs.taps).to(images_BCHW.device, non_blocking=True)
    rows_N = rows_N.to(images_BCHW.device, non_blocking=True)
    return images_BCHW.index_copy(0, rows_N, convolve_separable(images_BCHW.index_select(0, rows_N), kernels_NK))


def gaussian_kernels(sigma_N: Tensor, taps: int) -> Tensor:
    """Gaussians of `taps` weights that sum to 1: (N, taps)."""
    offset_K = torch.arange(taps, device=sigma_N.device) - taps // 2
    weights_NK = (-0.5 * (offset_K / sigma_N[:, None]) ** 2).exp()
    return weights_NK / weights_NK.sum(1, keepdim=True)


def convolve_separable(images_NCHW: Tensor, kernels_NK: Tensor) -> Tensor:
    """Convolve the rows and the columns of each image with its own odd kernel, borders reflected without repeat.

    Kernels may be longer than the image: the reflection goes on to and fro.
    """
    # Weighted sums of shifted slices: as fast as grouped convolutions on CPU, exact float32 on every device
    # (convolutions may be rounded to TF32 or to autocast's dtype).
    taps = kernels_NK.shape[1]
    for dim in (3, 2):
        length = images_NCHW.shape[dim]
        padded = images_NCHW.index_select(dim, _reflected(length, taps // 2, images_NCHW.device))
        images_NCHW = padded.narrow(dim, 0, length) * kernels_NK[:, 0, None, None, None]
        for k in range(1, taps):
            images_NCHW.addcmul_(padded.narrow(dim, k, length), kernels_NK[:, k, None, None, None])
    return images_NCHW


def _reflected(length: int, radius: int, device: torch.device) -> Tensor:
    """Source pixel of each place of a line that is padded by `radius` at both ends."""
    place = torch.arange(-radius, length + radius, device=device).remainder(max(1, 2 * (length - 1)))
    return torch.minimum(place, 2 * (length - 1) - place)
