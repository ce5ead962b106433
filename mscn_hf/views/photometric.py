# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Colour jitter, grayscale, solarisation and normalisation of float images in [0, 1], by torchvision's formulas.

Drawn parameters live on any device; every step works on the images that drew it and leaves the others alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .draws import Draws, Stream, chosen_rows, uniform_between
from .recipe import ViewSpec

_LUMA = (0.2989, 0.587, 0.114)  # ITU-R 601-2, in torchvision's rounding


@dataclass
class Jitters:
    """Which images are jittered; factors (B, 4) of `JITTER_PARTS`; order_B4[:, s] is the part that runs s-th."""

    applies_B: Tensor
    factors_B4: Tensor
    order_B4: Tensor


def draw_jitters(draws: Draws, view: int, spec: ViewSpec) -> Jitters:
    """Jitters each image with probability `spec.jitter_p`, all 24 orders equally likely."""
    numbers_BN = draws.uniform(view, Stream.JITTER, 9)
    factors = [
        uniform_between(numbers_BN[:, 1 + k], max(0.0, 1 - strength), 1 + strength)
        for k, strength in enumerate((spec.brightness, spec.contrast, spec.saturation))
    ]
    factors.append(uniform_between(numbers_BN[:, 4], -spec.hue, spec.hue))
    return Jitters(
        applies_B=numbers_BN[:, 0] < spec.jitter_p,
        factors_B4=torch.stack(factors, 1),
        order_B4=numbers_BN[:, 5:].argsort(dim=1, stable=True),
    )


def apply_jitters(images_BCHW: Tensor, jitters: Jitters) -> Tensor:
    """Jitter the images that drew it, each in its own order; parts whose factors change no image are left out."""
    rows_N = chosen_rows(jitters.applies_B)
    if len(rows_N) == 0:
        return images_BCHW
    device = images_BCHW.device
    factors_N4, order_N4 = jitters.factors_B4[rows_N], jitters.order_B4[rows_N]
    active = [part for part, neutral in enumerate((1, 1, 1, 0)) if bool((factors_N4[:, part] != neutral).any())]
    rows_N = rows_N.to(device, non_blocking=True)
    images_NCHW = images_BCHW.index_select(0, rows_N)
    for stage_N in order_N4.unbind(1):
        for part in active:
            turn_M = chosen_rows(stage_N == part)
            if len(turn_M):
                factor_M = factors_N4[turn_M, part].to(device, non_blocking=True)
                turn_M = turn_M.to(device, non_blocking=True)
                changed = JITTER_PARTS[part](images_NCHW.index_select(0, turn_M), factor_M)
                images_NCHW.index_copy_(0, turn_M, changed)
    return images_BCHW.index_copy(0, rows_N, images_NCHW)


def adjust_brightness(images_NCHW: Tensor, factor_N: Tensor) -> Tensor:
    """Images times factor, clamped to [0, 1]."""
    return (images_NCHW * factor_N[:, None, None, None]).clamp_(0, 1)


def adjust_contrast(images_NCHW: Tensor, factor_N: Tensor) -> Tensor:
    """Blend with the mean of the image's luma: factor 0 is flat grey, 1 the image itself."""
    mean_N = images_NCHW.mean((2, 3)) @ images_NCHW.new_tensor(_LUMA)
    offset_N = mean_N * (1 - factor_N)
    scaled = images_NCHW * factor_N[:, None, None, None]
    return scaled.add_(offset_N[:, None, None, None]).clamp_(0, 1)


def adjust_saturation(images_NCHW: Tensor, factor_N: Tensor) -> Tensor:
    """Blend with the luma of each pixel: factor 0 is grayscale, 1 the image itself."""
    grey_N1HW = luma(images_NCHW) * (1 - factor_N)[:, None, None, None]
    return (images_NCHW * factor_N[:, None, None, None]).add_(grey_N1HW).clamp_(0, 1)


def adjust_hue(images_NCHW: Tensor, turn_N: Tensor) -> Tensor:
    """Turn the hue by a share of the colour circle, with value and saturation (HSV) kept.

    With M, m the greatest and least channel, a colour is M - (M - m) * dip(hue), where the dip of each channel is a
    trapezoid of the hue a third of a turn apart; so only the hue has to be found and shifted.
    """
    # No torch.where, comparison or remainder: on CPU they are several times slower than floor, round and clamp.
    greatest_NHW, least_NHW = images_NCHW.amax(1), images_NCHW.amin(1)
    chroma_NHW = greatest_NHW - least_NHW
    scaled = (images_NCHW - least_NHW[:, None]).div_(chroma_NHW.clamp_min(torch.finfo(chroma_NHW.dtype).tiny)[:, None])
    red, green, blue = scaled.unbind(1)
    # Sixths of a turn; floor() is 1 exactly where the channel is the greatest, and red wins ties over green over blue.
    hue_NHW = (red - green).add_(4)
    hue_NHW.add_((blue - red).add_(2).sub_(hue_NHW).mul_(green.floor()))
    hue_NHW.add_((green - blue).sub_(hue_NHW).mul_(red.floor()))
    turned_NHW = hue_NHW.mul_(1 / 6).add_(turn_N[:, None, None])
    shifted = torch.empty_like(images_NCHW)
    for channel, offset in enumerate((1 / 2, 1 / 6, -1 / 6)):
        from_dip = turned_NHW + offset  # the dip's centre lies at whole turns
        from_dip.sub_(from_dip.round()).abs_()
        dip = from_dip.mul_(-6).add_(2).clamp_(0, 1)
        torch.sub(greatest_NHW, dip.mul_(chroma_NHW), out=shifted[:, channel])
    return shifted


JITTER_PARTS = (adjust_brightness, adjust_contrast, adjust_saturation, adjust_hue)


def luma(images_NCHW: Tensor) -> Tensor:
    """Grey value of each pixel, (N, 1, H, W)."""
    red, green, blue = (images_NCHW[:, channel : channel + 1] for channel in range(3))
    return (red * _LUMA[0]).add_(green, alpha=_LUMA[1]).add_(blue, alpha=_LUMA[2])


def draw_grayscale(draws: Draws, view: int, spec: ViewSpec) -> Tensor:
    """Bool (B,): which images lose their colour."""
    return draws.uniform(view, Stream.GRAYSCALE, 1)[:, 0] < spec.grayscale_p


def apply_grayscale(images_BCHW: Tensor, applies_B: Tensor) -> Tensor:
    """Replace the three channels of the chosen images by their luma."""
    rows_N = chosen_rows(applies_B).to(images_BCHW.device, non_blocking=True)
    if len(rows_N) == 0:
        return images_BCHW
    grey = luma(images_BCHW.index_select(0, rows_N))
    return images_BCHW.index_copy(0, rows_N, grey.expand(-1, 3, -1, -1))


def draw_solarize(draws: Draws, view: int, spec: ViewSpec) -> Tensor:
    """Bool (B,): which images are solarised."""
    return draws.uniform(view, Stream.SOLARIZE, 1)[:, 0] < spec.solarize_p


def apply_solarize(images_BCHW: Tensor, applies_B: Tensor, threshold: float) -> Tensor:
    """Invert the values >= threshold of the chosen images."""
    rows_N = chosen_rows(applies_B).to(images_BCHW.device, non_blocking=True)
    if len(rows_N) == 0:
        return images_BCHW
    chosen = images_BCHW.index_select(0, rows_N)
    return images_BCHW.index_copy(0, rows_N, torch.where(chosen >= threshold, 1 - chosen, chosen))


def normalize(images_BCHW: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """(images - mean) / std of each channel."""
    scale_C11 = 1 / torch.tensor(std, dtype=torch.float64)[:, None, None]
    offset_C11 = -torch.tensor(mean, dtype=torch.float64)[:, None, None] * scale_C11
    scale_C11, offset_C11 = (
        coefficient.to(images_BCHW.device, images_BCHW.dtype, non_blocking=True)
        for coefficient in (scale_C11, offset_C11)
    )
    return (images_BCHW * scale_C11).add_(offset_C11)
