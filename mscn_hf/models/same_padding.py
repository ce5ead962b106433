# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""TensorFlow's and Haiku's SAME padding, for networks whose weights were learnt with it."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def pad_same(
    images_BCHW: Tensor,
    kernel_size: tuple[int, int],
    stride: tuple[int, int],
    dilation: tuple[int, int] = (1, 1),
    value: float = 0.0,
) -> Tensor:
    """Pad so that an operation without padding of its own returns ceil(size / stride) pixels a side.

    Along a side of n pixels the total is max((ceil(n/s) - 1)*s + d*(k - 1) + 1 - n, 0); the odd pixel goes to the
    bottom and the right. With stride 2 this depends on whether n is even: 7x7 on 224 pads (2, 3), on 225 (3, 3).

    Args:
        images_BCHW: the input; its last two sizes are height and width.
        kernel_size, stride, dilation: of the operation that follows, as (height, width).
        value: what is padded; minus infinity before a max-pool.
    """
    border: list[int] = []
    # F.pad counts from the last dimension, so width comes before height.
    for n, k, s, d in reversed(list(zip(images_BCHW.shape[-2:], kernel_size, stride, dilation))):
        total = max((-(-n // s) - 1) * s + d * (k - 1) + 1 - n, 0)
        border += [total // 2, total - total // 2]
    return F.pad(images_BCHW, border, value=value) if any(border) else images_BCHW


class SameConv2d(nn.Conv2d):
    """Convolution whose zero padding follows SAME, computed from the input's size at run time."""

    def forward(self, input: Tensor) -> Tensor:
        padded = pad_same(input, self.kernel_size, self.stride, self.dilation)  # type: ignore[arg-type]
        return F.conv2d(padded, self.weight, self.bias, self.stride, 0, self.dilation, self.groups)


class SameMaxPool2d(nn.Module):
    """Max-pool whose padding follows SAME; padded places never win, as in TensorFlow.

    Args:
        kernel_size, stride: in pixels, the same along both sides.
    """

    def __init__(self, kernel_size: int, stride: int):
        super().__init__()
        self.kernel_size = kernel_size
        self.stride = stride

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C, ceil(H / stride), ceil(W / stride))."""
        kernel, stride = (self.kernel_size,) * 2, (self.stride,) * 2
        padded = pad_same(images_BCHW, kernel, stride, value=float("-inf"))
        return F.max_pool2d(padded, self.kernel_size, self.stride)

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}"


def use_same_padding(network: nn.Module) -> None:
    """Put SAME padding, in place, wherever it differs from symmetric padding; weights and state-dict keys are kept.

    It differs for strided convolutions larger than 1x1 and for max-pools. Stride-1 convolutions with odd kernels pad
    alike under both rules, and 1x1 convolutions never pad.
    """
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.MaxPool2d):
                setattr(parent, name, SameMaxPool2d(int(child.kernel_size), int(child.stride)))  # type: ignore[arg-type]
            elif isinstance(child, nn.Conv2d) and max(child.stride) > 1 and max(child.kernel_size) > 1:
                setattr(parent, name, _same_twin(child))


def _same_twin(conv: nn.Conv2d) -> SameConv2d:
    with torch.device("meta"):  # the weights are taken over, so none are drawn
        twin = SameConv2d(
            conv.in_channels,
            conv.out_channels,
            conv.kernel_size,  # type: ignore[arg-type]
            stride=conv.stride,  # type: ignore[arg-type]
            dilation=conv.dilation,  # type: ignore[arg-type]
            groups=conv.groups,
            bias=conv.bias is not None,
        )
    twin.weight, twin.bias = conv.weight, conv.bias
    return twin
