# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Digital corruptions of ImageNet-C: contrast, elastic, pixelate, JPEG. Float64 (H, W, C) in [0, 1] in and out."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image
from scipy import ndimage

from .filters import smooth_field


def contrast(image_HWC: np.ndarray, severity: int, random: np.random.Generator) -> np.ndarray:
    """Every value drawn towards the mean of its channel."""
    share = (0.4, 0.3, 0.2, 0.1, 0.05)[severity - 1]
    mean_11C = image_HWC.mean(axis=(0, 1), keepdims=True)
    return (image_HWC - mean_11C) * share + mean_11C


def elastic_transform(image_HWC: np.ndarray, severity: int, random: np.random.Generator) -> np.ndarray:
    """A random affine map, then a displacement of every pixel by a smoothed random field (Simard et al. 2003).

    The benchmark's lengths are shares of 244 pixels on pictures of 224; here they are the same shares of
    244 / 224 times the shorter side, which is the same at 224. The first two severities bend gently and widely, the
    other three ruffle.
    """
    strength, sigma, corner = (
        (2, 0.7, 0.1),
        (2, 0.08, 0.2),
        (0.05, 0.01, 0.02),
        (0.07, 0.01, 0.02),
        (0.12, 0.01, 0.02),
    )[severity - 1]
    height, width = image_HWC.shape[:2]
    side = min(height, width) * 244 / 224
    middle, third = np.array([width // 2, height // 2]), min(height, width) // 3
    before = middle + third * np.array([[1, 1], [1, -1], [-1, -1]])  # (x, y) of three corners
    after = before + random.uniform(-corner * side, corner * side, before.shape)
    back = np.linalg.solve(np.c_[after, np.ones(3)], before)  # (x', y', 1) back = (x, y)
    y_HW, x_HW = np.mgrid[:height, :width]
    places = np.stack([x_HW.ravel(), y_HW.ravel(), np.ones(x_HW.size)], axis=1) @ back
    image_HWC = _sample(image_HWC, places[:, 1].reshape(height, width), places[:, 0].reshape(height, width), "mirror")
    right, down = (
        smooth_field(random.uniform(-1, 1, (height, width)), sigma * side) * strength * side for _ in range(2)
    )
    return _sample(image_HWC, y_HW + down, x_HW + right, "reflect")


def _sample(image_HWC: np.ndarray, y_HW: np.ndarray, x_HW: np.ndarray, mode: str) -> np.ndarray:
    channels = [
        ndimage.map_coordinates(image_HWC[:, :, c], [y_HW, x_HW], order=1, mode=mode)
        for c in range(image_HWC.shape[2])
    ]
    return np.stack(channels, axis=2)


def pixelate(image_HWC: np.ndarray, severity: int, random: np.random.Generator) -> np.ndarray:
    """Shrunk and enlarged with a box filter."""
    share = (0.6, 0.5, 0.4, 0.3, 0.25)[severity - 1]
    image = _picture(image_HWC)
    width, height = image.size
    small = image.resize((max(1, int(width * share)), max(1, int(height * share))), Image.Resampling.BOX)
    return np.asarray(small.resize((width, height), Image.Resampling.BOX)) / 255.0


def jpeg_compression(image_HWC: np.ndarray, severity: int, random: np.random.Generator) -> np.ndarray:
    """Saved as a JPEG of low quality."""
    return np.asarray(through_jpeg(_picture(image_HWC), (25, 18, 15, 10, 7)[severity - 1])) / 255.0


def through_jpeg(image: Image.Image, quality: int) -> Image.Image:
    """The picture as it comes back from a JPEG file."""
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return Image.open(file).convert("RGB")


def _picture(image_HWC: np.ndarray) -> Image.Image:
    return Image.fromarray(np.round(image_HWC * 255).astype(np.uint8))
