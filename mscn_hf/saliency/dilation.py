# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Makes a convolutional encoder keep finer maps: strides beyond a limit become dilation, weights stay as they are."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

from mscn_hf.models.same_padding import SameMaxPool2d

_TRACED_SIDE = 256
_POOLS = (nn.MaxPool2d, nn.AvgPool2d, SameMaxPool2d)


def dilate(encoder: nn.Module, output_stride: int, num_channels: int = 3) -> None:
    """Changes strides and dilations in place, so that no map is smaller than 1 / `output_stride` of the image.

    A convolution or pool whose output would be smaller loses its stride, and the convolutions behind it take their
    input at the distance that it had before (Yu & Koltun 2016; torchvision's `replace_stride_with_dilation` gives the
    same network). Which they are is found by passing one image through, so any order and naming will do.

    Args:
        encoder: called with images (B, C, H, W).
        output_stride: a power of two.
        num_channels: C.

    Raises:
        ValueError: an output stride that is no power of two, or an encoder without convolutions or not of images.
    """
    if output_stride < 1 or output_stride & (output_stride - 1):
        raise ValueError(f"output_stride must be a power of two, got {output_stride}")
    for layer, (before, after) in _reductions(encoder, num_channels).items():
        rate = max(1, before // output_stride)
        kept = max(1, max(output_stride, before) // before) if after > output_stride else None
        if isinstance(layer, nn.Conv2d):
            _set_conv(layer, rate, kept)
        elif kept is not None and after > before:
            _set_pool(layer, kept)


def _reductions(encoder: nn.Module, num_channels: int) -> dict[Any, tuple[int, int]]:
    """By how much the input and the output of every convolution and pool are smaller than the image."""
    found: dict[Any, tuple[int, int]] = {}

    def note(layer: nn.Module, inputs: Any, output: Any) -> None:
        # the reduction is a power of two, up to what padding adds or takes away
        before, after = (2 ** round(math.log2(_TRACED_SIDE / part.shape[-1])) for part in (inputs[0], output))
        found[layer] = (before, after)

    layers = [layer for layer in encoder.modules() if isinstance(layer, (nn.Conv2d, *_POOLS))]
    if not any(isinstance(layer, nn.Conv2d) for layer in layers):
        raise ValueError(f"a {type(encoder).__name__} has no convolutions, so it cannot be given dilated ones")
    handles = [layer.register_forward_hook(note) for layer in layers]
    training = encoder.training
    like = next(encoder.parameters())
    image = torch.zeros(1, num_channels, _TRACED_SIDE, _TRACED_SIDE, device=like.device, dtype=like.dtype)
    try:
        with torch.no_grad():
            encoder.eval()(image)
    except Exception as error:  # networks refuse what they are not made for in many ways
        raise ValueError(
            f"a {type(encoder).__name__} takes no image of {_TRACED_SIDE} x {_TRACED_SIDE} pixels: {error}"
        ) from error
    finally:
        encoder.train(training)
        for handle in handles:
            handle.remove()
    return found


def _set_conv(layer: nn.Conv2d, rate: int, stride: int | None) -> None:
    if stride is not None:
        layer.stride = (stride, stride)
    if rate > 1:
        layer.dilation = tuple(d * rate for d in layer.dilation)
        if not isinstance(layer.padding, str):
            layer.padding = tuple(p * rate for p in layer.padding)


def _set_pool(layer: Any, stride: int) -> None:
    # a window of even size and stride 1 would make the map a pixel smaller: such a pool only brought sizes together
    even = int(layer.kernel_size if isinstance(layer.kernel_size, int) else layer.kernel_size[0]) % 2 == 0
    if stride == 1 and even and not isinstance(layer, SameMaxPool2d):
        layer.kernel_size, layer.padding = 1, 0
    layer.stride = stride
