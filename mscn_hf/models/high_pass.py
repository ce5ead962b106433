# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""High-pass filter of MSCN: what is left of an image when its Gaussian blur is taken away."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def _taps(sigma: float) -> list[float]:
    """Weights of the normalised Gaussian at -r..r pixels, r = ceil(sigma), as Python floats (float64)."""
    if not (isinstance(sigma, (int, float)) and math.isfinite(sigma) and sigma > 0):
        raise ValueError(f"sigma of the high-pass filter must be a positive number of pixels, got {sigma!r}")
    radius = math.ceil(sigma)
    weights = [math.exp(-0.5 * (offset / sigma) ** 2) for offset in range(-radius, radius + 1)]
    total = math.fsum(weights)
    return [weight / total for weight in weights]


def high_pass_kernel(sigma: float) -> Tensor:
    """The one-dimensional Gaussian of the filter, float32 of shape (k,), k = 2*ceil(sigma) + 1, summing to 1.

    Args:
        sigma: standard deviation in pixels.

    Raises:
        ValueError: sigma is not a positive finite number.
    """
    return torch.tensor(_taps(sigma), dtype=torch.float32)


def high_pass(images_BCHW: Tensor, sigma: float) -> Tensor:
    """High-pass filter a batch: h = x - G_sigma * x, each channel by itself, borders reflected.

    G_sigma is the separable Gaussian of `high_pass_kernel`. float16 and bfloat16 images are filtered in float32 and
    rounded once at the end. A constant image becomes 0.

    Args:
        images_BCHW: floating-point images, in practice after normalisation by mean and std.
        sigma: standard deviation of the Gaussian in pixels.

    Returns:
        Tensor of the same shape, dtype and device.

    Raises:
        ValueError: images are not a floating-point batch, or a side is not longer than ceil(sigma) pixels.

    Source: MSCN (Jing et al., 2022), section 4.3 and table 9; the kernel length follows "larger sigma, larger kernel".
    """
    taps = _taps(sigma)
    radius = len(taps) // 2
    if images_BCHW.ndim != 4 or not images_BCHW.is_floating_point():
        raise ValueError(
            "high_pass takes floating-point images of shape (batch, channels, height, width), "
            f"got {images_BCHW.dtype} of shape {tuple(images_BCHW.shape)}"
        )
    if min(images_BCHW.shape[-2:]) <= radius:
        raise ValueError(
            f"high_pass with sigma={sigma} reflects {radius} pixels at each border, so both sides must be longer "
            f"than that; got images of {images_BCHW.shape[-2]}x{images_BCHW.shape[-1]} pixels"
        )
    # A weighted sum of shifted slices, not a convolution: it is not rounded to TF32 or to autocast's dtype, needs no
    # kernel tensor that could stay uninitialised on the meta device, and is several times faster on CPU.
    images = images_BCHW if images_BCHW.dtype == torch.float64 else images_BCHW.float()
    blurred = images
    for dim, border in ((-1, (radius, radius, 0, 0)), (-2, (0, 0, radius, radius))):
        length = blurred.shape[dim]
        padded = F.pad(blurred, border, mode="reflect")
        blurred = padded.narrow(dim, radius, length) * taps[radius]
        for i in range(radius):
            blurred.add_(padded.narrow(dim, i, length), alpha=taps[i])
            blurred.add_(padded.narrow(dim, 2 * radius - i, length), alpha=taps[i])
    return (images - blurred).to(images_BCHW.dtype)


class HighPassFilter(nn.Module):
    """`high_pass` with a fixed sigma, as a module without parameters or buffers.

    Args:
        sigma: standard deviation of the Gaussian in pixels; a ValueError is raised if it is not positive.
    """

    def __init__(self, sigma: float):
        super().__init__()
        _taps(sigma)
        self.sigma = float(sigma)

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """Images (B, C, H, W) to their high-passed images, same shape and dtype."""
        return high_pass(images_BCHW, self.sigma)

    def extra_repr(self) -> str:
        return f"sigma={self.sigma}"
