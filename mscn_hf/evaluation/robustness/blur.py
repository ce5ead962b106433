# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Blurs of ImageNet-C: defocus, frosted glass, motion, zoom. Each takes and gives float64 (H, W, C) in [0, 1]."""

from __future__ import annotations

import numpy as np

from .filters import convolve, disk, gaussian, magnify
from .filters import motion_blur as trail

# First factor, end and step, for numpy.arange as in the benchmark: by rounding the first holds 1.11 too.
ZOOMS = ((1, 1.11, 0.01), (1, 1.16, 0.01), (1, 1.21, 0.02), (1, 1.26, 0.02), (1, 1.31, 0.03))


def defocus_blur(image_HWC: np.ndarray, severity: int, random: np.random.Generator) -> np.ndarray:
    """A lens out of focus."""
    radius, softness = ((3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5))[severity - 1]
    return convolve(image_HWC, disk(radius, softness))


def glass_blur(image_HWC: np.ndarray, severity: int, random: np.random.Generator) -> np.ndarray:
    """Frosted glass: a blur, pixels displaced one after the other by up to `reach`, a blur.

    The benchmark means to swap two pixels but overwrites one with the other, because its two sides are views of one
    array. The published pictures are made that way, so this does the same.
    """
    sigma, reach, rounds = ((0.7, 1, 2), (0.9, 2, 1), (1, 2, 3), (1.1, 3, 2), (1.5, 4, 2))[severity - 1]
    height, width, channels = image_HWC.shape
    levels: np.ndarray = (gaussian(image_HWC, sigma) * 255).astype(np.uint8)
    rows, columns = np.arange(height - reach, reach, -1), np.arange(width - reach, reach, -1)
    source = list(range(height * width))
    for _ in range(rounds):
        right, down = random.integers(-reach, reach, size=(2, len(rows), len(columns)))
        here = rows[:, None] * width + columns[None, :]
        there = here + down * width + right
        for pixel, other in zip(here.ravel().tolist(), there.ravel().tolist(), strict=True):
            source[pixel] = source[other]
    displaced = levels.reshape(-1, channels)[source].reshape(levels.shape)
    return gaussian(displaced / 255.0, sigma)


def motion_blur(image_HWC: np.ndarray, severity: int, random: np.random.Generator) -> np.ndarray:
    """A camera that moves within 45 degrees of level."""
    radius, sigma = ((10, 3), (15, 5), (15, 8), (15, 12), (20, 15))[severity - 1]
    return trail(image_HWC, radius, sigma, random.uniform(-45, 45))


def zoom_blur(image_HWC: np.ndarray, severity: int, random: np.random.Generator) -> np.ndarray:
    """A camera that moves towards the scene: the mean of the picture and of its magnifications."""
    factors = np.arange(*ZOOMS[severity - 1])
    total = image_HWC + np.sum([magnify(image_HWC, float(factor)) for factor in factors], axis=0)
    return total / (len(factors) + 1)
