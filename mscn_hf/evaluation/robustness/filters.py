# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Filters that the corruptions are made of: blur kernels, magnification and the cloud fractal.

Shapes: H, W height and width, C channels. Pictures are float64 in [0, 1].
"""

from __future__ import annotations

import math

import numpy as np
import torch
from scipy import fft, ndimage, signal
from torch.nn.functional import interpolate


def disk(radius: int, softness: float) -> np.ndarray:
    """Kernel of an open lens: a disk of `radius` pixels that sums to 1, its edge softened by a small Gaussian.

    The published kernels lie on a grid of 17 (or 2 radius + 1) pixels and are softened over 3 (5) pixels of it.
    """
    reach, taps = (8, 3) if radius <= 8 else (radius, 5)
    steps = np.arange(-reach, reach + 1)
    kernel = (steps[:, None] ** 2 + steps[None, :] ** 2 <= radius**2).astype(np.float64)
    kernel /= kernel.sum()
    places: np.ndarray = np.arange(taps) - taps // 2
    soft = np.exp(-(places**2) / (2 * softness**2))
    soft /= soft.sum()
    for axis in (0, 1):
        kernel = ndimage.correlate1d(kernel, soft, axis=axis, mode="mirror")
    return kernel


def convolve(image_HWC: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Each channel convolved with a symmetric kernel, the picture mirrored at its edges (the edge pixel once)."""
    reach = kernel.shape[0] // 2
    padded = np.pad(image_HWC, ((reach, reach), (reach, reach), (0, 0)), mode="reflect")
    return signal.fftconvolve(padded, kernel[:, :, None], mode="valid", axes=(0, 1))


def gaussian(image_HWC: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian blur over four sigma, the edge pixel repeated outside, as scikit-image's default."""
    return ndimage.gaussian_filter(image_HWC, (sigma, sigma, 0), mode="nearest", truncate=4.0)


def smooth_field(field_HW: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian blur over three sigma, the picture reflected at its edges (edge pixel twice), for any sigma.

    Under that reflection a symmetric kernel is diagonal in the cosine basis (DCT-II), so a kernel that is five times
    as wide as the picture costs no more than a small one.
    """
    reach = int(3.0 * sigma + 0.5)
    taps = np.exp(-0.5 * (np.arange(reach + 1) / sigma) ** 2)
    taps /= taps[0] + 2 * taps[1:].sum()
    response = []
    for size in field_HW.shape:
        angles = np.pi * np.arange(size)[:, None] * np.arange(1, reach + 1)[None, :] / size
        response.append(taps[0] + 2 * np.cos(angles) @ taps[1:])
    return fft.idctn(fft.dctn(field_HW) * response[0][:, None] * response[1][None, :])


def motion_blur(image_HWC: np.ndarray, radius: int, sigma: float, angle: float) -> np.ndarray:
    """A trail in one direction with falling Gaussian weights, the edge pixel repeated outside.

    The definition of ImageMagick's motion blur, which the benchmark calls: 2 radius + 1 taps exp(-i^2 / 2 sigma^2),
    tap i taken i pixels away along `angle` (degrees, x to the right and y down), places rounded to whole pixels.
    """
    taps = np.arange(2 * radius + 1)
    weights = np.exp(-(taps**2) / (2 * sigma**2))
    weights /= weights.sum()
    down = np.ceil(taps * math.sin(math.radians(angle)) - 0.5).astype(int)
    right = np.ceil(taps * math.cos(math.radians(angle)) - 0.5).astype(int)
    height, width = image_HWC.shape[:2]
    margin = 2 * radius + 1
    padded = np.pad(image_HWC, ((margin, margin), (margin, margin), (0, 0)), mode="edge")
    blurred = np.zeros_like(image_HWC)
    for weight, y, x in zip(weights, down + margin, right + margin, strict=True):
        blurred += weight * padded[y : y + height, x : x + width]
    return blurred


def magnify(image_HWC: np.ndarray, factor: float) -> np.ndarray:
    """The middle of a picture magnified by `factor` >= 1 to the picture's size, by linear interpolation.

    The middle is ceil(size / factor) pixels; its corners come to lie on the corners of a picture of
    round(factor * middle) pixels, from which what is too much is cut.
    """
    sizes = image_HWC.shape[:2]
    middles = [math.ceil(size / factor) for size in sizes]
    large = [max(size, round(middle * factor)) for size, middle in zip(sizes, middles, strict=True)]
    top, left = ((size - middle) // 2 for size, middle in zip(sizes, middles, strict=True))
    middle_CHW = torch.from_numpy(image_HWC[top : top + middles[0], left : left + middles[1]]).permute(2, 0, 1)
    zoomed_CHW = interpolate(middle_CHW[None], size=large, mode="bilinear", align_corners=True)[0]
    top, left = ((wide - size) // 2 for wide, size in zip(large, sizes, strict=True))
    return zoomed_CHW[:, top : top + sizes[0], left : left + sizes[1]].permute(1, 2, 0).numpy()


def plasma(size: int, decay: float, random: np.random.Generator) -> np.ndarray:
    """A cloud picture (size, size) in [0, 1] by the diamond-square algorithm on a torus; `size` is a power of two.

    At each halving of the step a point is the mean of its four neighbours plus a uniform number within the amplitude,
    first of the squares, then of the two kinds of diamonds; the amplitude falls by decay^2 a step.
    """
    height = np.zeros((size, size))
    step, amplitude = size, 100.0**2
    while step >= 2:
        half = step // 2
        corner = height[::step, ::step]
        four = corner + np.roll(corner, -1, axis=0)
        four = four + np.roll(four, -1, axis=1)
        centre = four / 4 + random.uniform(-amplitude, amplitude, four.shape)
        height[half::step, half::step] = centre
        beside = (centre + np.roll(centre, 1, axis=0) + corner + np.roll(corner, -1, axis=1)) / 4
        height[::step, half::step] = beside + random.uniform(-amplitude, amplitude, four.shape)
        below = (centre + np.roll(centre, 1, axis=1) + corner + np.roll(corner, -1, axis=0)) / 4
        height[half::step, ::step] = below + random.uniform(-amplitude, amplitude, four.shape)
        step = half
        amplitude /= decay**2
    height -= height.min()
    return height / height.max()
